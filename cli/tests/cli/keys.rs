//! Keys: made strong, kept private, never overwritten, refused with the reason.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use natlab::skip;
use tempfile::TempDir;

use crate::{
    loopback::{Loopback, with_key},
    program::{Ended, KEY, Run, pinhole},
    service::terminal,
};

#[test]
fn a_new_key_is_seven_words_and_nothing_else_on_stdout() {
    for args in [&["key"][..], &["key", "new"]] {
        let ended = Run::start(pinhole(args)).ends();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let (line, rest) = ended.stdout.split_once('\n').expect("a line");
        assert!(line.split('-').count() >= 7 && !line.contains(' '), "{line}");
        assert_eq!(rest, "");
    }
}

#[test]
fn every_new_key_is_another_one() {
    let make = || Run::start(pinhole(&["key"])).ends().stdout;
    assert_ne!(make(), make());
}

#[test]
fn a_saved_key_is_private_and_is_the_one_shown() {
    let home = home();
    let made = in_home(&home, &["key", "new", "--save"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let file = key_file(&home);
    assert!(made.stderr.contains(file.to_str().expect("UTF-8")), "{}", made.stderr);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(in_home(&home, &["key", "show"]).stdout, made.stdout);
    assert_eq!(in_home(&home, &["key", "check"]).code, Some(0));
}

#[test]
fn a_key_is_never_overwritten() {
    let home = home();
    let first = in_home(&home, &["key", "new", "--save"]);
    let second = in_home(&home, &["key", "new", "--save"]);
    assert_eq!(second.code, Some(2));
    assert_eq!(second.stdout, "", "a key that was not kept is not shown");
    assert!(second.stderr.contains("remove that file first"), "{}", second.stderr);
    assert_eq!(save(&home, KEY).code, Some(2));
    assert_eq!(in_home(&home, &["key", "show"]).stdout, first.stdout);
}

#[test]
fn the_other_sides_key_is_taken_from_stdin_and_kept_private() {
    let home = home();
    let saved = save(&home, "  Moonlight spotter shush THEFT relocate vending affix \n");
    assert_eq!((saved.code, saved.stdout.as_str()), (Some(0), ""), "{}", saved.stderr);
    assert_eq!(mode(&key_file(&home)), 0o600);
    assert_eq!(in_home(&home, &["key", "show"]).stdout, format!("{KEY}\n"));
}

#[test]
fn a_weak_or_empty_key_is_not_kept() {
    for text in ["", "\n", "password", "hunter2 hunter2"] {
        let home = home();
        let refused = save(&home, text);
        assert_eq!(refused.code, Some(2), "{text:?}: {}", refused.stderr);
        assert!(!key_file(&home).exists(), "{text:?}");
    }
}

#[test]
fn a_key_with_a_typing_error_is_not_kept_and_the_place_of_the_error_is_told() {
    let wrong = [
        ("moonlight spotter shush theft relocate vending afix", "word 7"),
        ("moonlight spotter shush theme relocate vending affix", "word 4"),
        ("moonlight spotter theft shush relocate vending affix", "words 3 and 4"),
        ("moonlight spotter shush theft relocate", "5 words"),
        ("moonlight spotter shush theft theft relocate vending affix", "word 4 is one too many"),
    ];
    for (text, place) in wrong {
        let home = home();
        let refused = save(&home, text);
        assert_eq!(refused.code, Some(2), "{text:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(place), "{text:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("pinhole key show"), "{text:?}: {}", refused.stderr);
        assert!(!key_file(&home).exists(), "{text:?}");
        let words = text.split(' ').chain(["theft", "affix"]);
        for word in words {
            assert!(!refused.stderr.contains(word), "a word of the key in a log: {}", refused.stderr);
        }
    }
}

#[test]
fn on_a_terminal_the_word_that_is_wrong_is_shown_with_the_one_that_is_meant() {
    let (terminal, user) = terminal();
    let mut command =
        pinhole(&["key", "check", "--key", "moonlight spoter shush theft relocate vending affix"]);
    let status = command.stderr(terminal).status().expect("it runs");
    assert_eq!(status.code(), Some(2));
    drop(command); // and its end of the terminal with it
    let shown: String = BufReader::new(user).lines().map_while(Result::ok).collect();
    for word in ["word 2", "spoter", "spotter"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert!(!shown.contains("moonlight"), "only the wrong word: {shown}");
}

#[test]
fn a_key_of_an_older_version_is_called_so() {
    let refused = save(&home(), "moonlight-spotter-shush-theft-relocate-vending");
    assert_eq!(refused.code, Some(2));
    for words in ["6 words", "older version", "pinhole key new"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}

#[test]
fn a_phrase_of_ones_own_is_taken_when_that_is_asked_for_and_then_remembered() {
    let home = home();
    let own = "gT7!kq92-Lw#xVz0";
    let refused = save(&home, own);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--own-phrase"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("gT7"), "the phrase itself is not repeated: {}", refused.stderr);
    assert!(!key_file(&home).exists());

    let kept = save_with(&home, &["--own-phrase"], own);
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    let shown = in_home(&home, &["key", "show"]);
    assert_eq!(shown.stdout, format!("{}\n", own.to_lowercase()), "{}", shown.stderr);
    let checked = in_home(&home, &["key", "check"]);
    assert!(checked.stderr.contains("a phrase of your own"), "{}", checked.stderr);

    write_key(&key_file(&home), own, 0o600);
    assert_eq!(in_home(&home, &["key", "show"]).code, Some(2), "nobody has said that it is meant so");
    assert_eq!(in_home(&home, &["key", "show", "--own-phrase"]).code, Some(0));
}

#[test]
fn a_key_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        skip("a_key_file_of_another_user_is_refused", "only root can give a file away");
        return;
    }
    let home = home();
    let file = home.path().join("key");
    write_key(&file, KEY, 0o600);
    std::os::unix::fs::chown(&file, Some(65_534), None).expect("root may");
    let path = file.to_str().expect("UTF-8");
    let refused = in_home(&home, &["key", "show", "--key-file", path]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert!(refused.stderr.contains("belongs to another user"), "{}", refused.stderr);
}

#[test]
fn no_key_is_made_for_a_peer_that_cannot_be_one() {
    for (peer, why) in [("127.0.0.1", "own address"), ("0.0.0.0", "not the address of a machine")] {
        let home = home();
        let refused = in_home(&home, &["-c", "22", peer]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        assert!(!key_file(&home).exists(), "{}", refused.stderr);
    }
}

#[test]
fn showing_a_key_that_is_not_there_names_the_ways_to_get_one() {
    let refused = in_home(&home(), &["key", "show"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    for way in ["key new --save", "key save"] {
        assert!(refused.stderr.contains(way), "{}", refused.stderr);
    }
}

#[test]
fn the_open_side_without_a_key_and_without_a_terminal_names_the_ways_to_give_one() {
    let home = home();
    let refused = in_home(&home, &["-l", "2222", "127.0.0.2"]);
    assert_eq!(refused.code, Some(2));
    for way in ["PINHOLE_KEY", "--key-file", "pinhole key"] {
        assert!(refused.stderr.contains(way), "{}", refused.stderr);
    }
    assert!(!key_file(&home).exists(), "only the serve side makes a key");
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    for mode in [0o644, 0o640, 0o604] {
        let home = home();
        let file = home.path().join("key file");
        write_key(&file, KEY, mode);
        let path = file.to_str().expect("UTF-8");
        let refused = in_home(&home, &["-c", "22", "127.0.0.2", "--key-file", path]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!("{mode:03o}")), "{}", refused.stderr);
    }
}

#[test]
fn the_command_that_mends_a_key_file_works_as_printed() {
    let home = home();
    let file = home.path().join("key file");
    write_key(&file, KEY, 0o644);
    let path = file.to_str().expect("UTF-8");
    let refused = in_home(&home, &["key", "check", "--key-file", path]);
    let hint = refused.stderr.split('`').nth(1).expect("a command between backticks");
    assert!(Command::new("sh").args(["-c", hint]).status().expect("sh runs").success(), "{hint}");
    assert_eq!(in_home(&home, &["key", "check", "--key-file", path]).code, Some(0));
}

#[test]
fn a_key_file_that_is_not_there_is_named() {
    let refused = in_home(&home(), &["-c", "22", "127.0.0.2", "--key-file", "/nonexistent/key"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("/nonexistent/key"), "{}", refused.stderr);
}

#[test]
fn a_folder_in_place_of_a_key_file_is_called_so() {
    let refused = in_home(&home(), &["-c", "22", "127.0.0.2", "--key-file", "/"]);
    assert_eq!(refused.code, Some(2));
    assert!(!refused.stderr.contains("not text"), "{}", refused.stderr);
}

#[test]
fn an_empty_variable_is_refused_and_not_taken_for_none() {
    let home = home();
    let mut command = pinhole(&["-c", "22", "127.0.0.2"]);
    command.env("HOME", home.path()).env("PINHOLE_KEY", "");
    let refused = Run::start(command).ends();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("PINHOLE_KEY"), "{}", refused.stderr);
    assert!(refused.stderr.contains("empty"), "{}", refused.stderr);
    assert!(!key_file(&home).exists());
}

#[test]
fn a_weak_key_is_refused_wherever_it_comes_from() {
    let home = home();
    let file = home.path().join("weak");
    write_key(&file, "correct horse", 0o600);
    let path = file.to_str().expect("UTF-8");
    let runs = [
        with_key(pinhole(&["-c", "22", "127.0.0.2", "--own-phrase"]), "letmein123"),
        pinhole(&["-l", "2222", "127.0.0.2", "--own-phrase", "--key", "letmein123"]),
        pinhole(&["key", "check", "--own-phrase", "--key-file", path]),
    ];
    for run in runs {
        let refused = Run::start(run).ends();
        assert_eq!(refused.code, Some(2));
        for word in ["easy to guess", "pinhole key new"] {
            assert!(refused.stderr.contains(word), "{}", refused.stderr);
        }
        assert!(!refused.stderr.contains("letmein"), "the key itself is not repeated: {}", refused.stderr);
    }
}

#[test]
fn the_key_file_works_as_the_key() {
    let home = home();
    let file = home.path().join("key");
    write_key(&file, &KEY.to_uppercase().replace('-', " "), 0o600);
    let ends = Loopback::new();
    let path = file.to_str().expect("UTF-8");
    let mut serve = ends.serve(&["--key-file", path]);
    serve.env_remove("PINHOLE_KEY");
    let (mut serve, mut open) = (Run::start(serve), Run::start(ends.open(&[])));
    serve.says("tunnel up");
    open.says("tunnel up");
}

/// What the kernel gives to root in /proc, the user's other programs and core dumps do not get.
#[cfg(target_os = "linux")]
#[test]
fn the_programs_memory_is_not_shown_to_other_programs_of_its_user() {
    let mut serve = Loopback::new().serve(&[]);
    if rustix::process::geteuid().is_root() {
        serve.uid(65_534); // root's programs are root's in any case
    }
    let mut serve = Run::start(serve);
    serve.says("waiting for the peer");
    let shown = fs::metadata(format!("/proc/{}/maps", serve.pid().as_raw_nonzero())).expect("it runs");
    assert_eq!(shown.uid(), 0);
}

fn home() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn in_home(home: &TempDir, args: &[&str]) -> Ended {
    let mut command = pinhole(args);
    command.env("HOME", home.path());
    Run::start(command).ends()
}

/// Runs `pinhole key save` with this text on stdin.
fn save(home: &TempDir, text: &str) -> Ended {
    save_with(home, &[], text)
}

fn save_with(home: &TempDir, options: &[&str], text: &str) -> Ended {
    let mut command = pinhole(&["key", "save"]);
    command.args(options);
    command.env("HOME", home.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin was piped");
    stdin.write_all(text.as_bytes()).expect("a pipe holds so little");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), stderr: text(output.stderr), stdout: text(output.stdout) }
}

fn key_file(home: &TempDir) -> std::path::PathBuf {
    home.path().join(".config/pinhole/key")
}

fn write_key(path: &Path, key: &str, mode: u32) {
    fs::write(path, key).expect("writable");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own file");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}
