//! The file of named peers: a name does what its section says, and what is typed comes first.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    loopback::{Loopback, start_echo, with_key},
    program::{Ended, KEY, Run, isolate, pinhole},
};

/// A home with a file of peers.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn with(peers: &str) -> Self {
        let home = Self { folder: TempDir::new().expect("a temporary folder") };
        fs::create_dir_all(home.file("")).expect("writable");
        fs::write(home.file("config.toml"), peers).expect("writable");
        home
    }

    /// Returns a path in the program's folder.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(".config/pinhole").join(name)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Command {
        let mut command = pinhole(args);
        command.env("HOME", self.folder.path());
        command
    }

    fn refuses(&self, args: &[&str], parts: &[&str]) -> Ended {
        let ended = Run::start(with_key(self.run(args), KEY)).ends();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "{part:?} is missing for {args:?}: {}", ended.stderr);
        }
        ended
    }
}

/// What both sides of a pair say of each other, by the names "away" and "home".
pub(crate) fn sections(ends: &Loopback) -> String {
    let Loopback { serve_ip, open_ip } = ends;
    format!(
        "[peer.away]\npeer = \"{open_ip}\"\nserve = [\"{}\"]\nbind = \"{serve_ip}\"\nudp-port = 5600\n\n\
         [peer.home]\npeer = \"{serve_ip}\"\nopen = [\"{}\"]\nbind = \"{open_ip}\"\nport = 5600\nkey-file = \"home.key\"\n",
        ends.service(),
        ends.local()
    )
}

#[test]
fn two_names_are_all_that_is_typed_on_both_sides() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let home = Home::with(&sections(&ends));
    let kept = Run::start(home.run(&["key", "new", "--save", "home"])).ends();
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    let mode = fs::metadata(home.file("home.key")).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut serve = Run::start(with_key(home.run(&["serve", "away"]), kept.stdout.trim()));
    let mut open = Run::start(home.run(&["open", "home"]));
    open.says("tunnel up");
    serve.says("tunnel up");
    assert_eq!(ends.ask("by name"), "by name");
    let shown = Run::start(home.run(&["key", "show", "home"])).ends();
    assert_eq!(shown.stdout, kept.stdout);
}

#[test]
fn the_short_forms_know_the_names_too_and_what_is_typed_comes_first() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let home = Home::with(&sections(&ends));
    let (service, local) = (ends.service().to_string(), ends.local().to_string());
    fs::write(home.file("home.key"), "hazy-requisite-engraver-gawk-naming-wispy-suing\n").expect("writable");
    fs::set_permissions(home.file("home.key"), fs::Permissions::from_mode(0o600)).expect("ours");
    let key = home.file("right.key");
    fs::write(&key, KEY).expect("writable");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    let mut serve = Run::start(with_key(home.run(&["-c", &service, "away", "5601"]), KEY));
    let key = key.to_str().expect("UTF-8");
    let mut open = Run::start(home.run(&["-l", &local, "home", "5601", "--key-file", key]));
    open.says("tunnel up");
    serve.says("tunnel up");
    assert_eq!(ends.ask("typed"), "typed");
}

#[test]
fn the_file_is_found_by_option_and_environment_and_an_ip_needs_none() {
    let home = Home::with("[peer.home]\npeer = \"0.0.0.0\"\nopen = [\"2222\"]\n");
    let elsewhere = home.folder.path().join("elsewhere.toml");
    fs::rename(home.file("config.toml"), &elsewhere).expect("movable");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    home.refuses(&["open", "home"], &["no named peer", "config.toml"]);
    home.refuses(&["open", "home", "--config", elsewhere], &["0.0.0.0 is not the address of a machine"]);
    let mut by_environment = home.run(&["open", "home"]);
    by_environment.env("PINHOLE_CONFIG", elsewhere);
    let ended = Run::start(with_key(by_environment, KEY)).ends();
    assert!(ended.stderr.contains("0.0.0.0 is not the address"), "{}", ended.stderr);
    home.refuses(&["open", "home", "--config", "/nonexistent/file"], &["/nonexistent/file"]);

    fs::write(home.file("config.toml"), "not toml at all").expect("writable");
    home.refuses(&["-l", "2222", "home"], &["config.toml:1: "]);
    home.refuses(&["-l", "2222", "0.0.0.0"], &["0.0.0.0 is not the address of a machine"]);
}

#[test]
fn a_section_s_key_file_is_read_again_when_that_is_asked_for() {
    let ends = Loopback::new();
    let home = Home::with(&sections(&ends));
    let write_key = |key: &str| {
        fs::write(home.file("home.key"), key).expect("writable");
        fs::set_permissions(home.file("home.key"), fs::Permissions::from_mode(0o600)).expect("ours");
    };
    write_key(KEY);
    let mut open = Run::start(home.run(&["open", "home"]));
    open.says("waiting for the peer");
    write_key("turbojet-lion-copier-dividing-brought-eject-cuddly");
    open.signal(Signal::HUP);
    open.says("the key has changed");
    open.says("listening on ");
}

#[test]
fn an_unknown_name_is_answered_with_those_there_are() {
    let home = Home::with("[peer.home]\npeer = \"127.0.0.2\"\n[peer.office]\n");
    home.refuses(&["open", "hmoe"], &["home, office", "did you mean \"home\"?"]);
    home.refuses(&["open", "2222:22"], &["--peer PEER", "home, office"]);
    home.refuses(&["-l", "2222", "offices.invalid"], &["does not resolve", "did you mean \"office\"?"]);
    home.refuses(&["open", "home"], &["[peer.home]", "open = [\"2222:22\"]"]);
    home.refuses(&["open", "home", "office"], &["both name a peer"]);
    home.refuses(&["key", "save", "home"], &["key-file = \"home.key\""]);
    home.refuses(&["key", "show", "hom"], &["did you mean \"home\"?"]);
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let home = Home::with("[peer.home]\npeer = \"127.0.0.2\"\npatience = \"long\"\n");
    home.refuses(&["open", "home"], &["config.toml:3: a number of seconds is wanted, like 30"]);
}

#[test]
fn a_file_that_others_can_write_to_is_refused_with_the_way_out() {
    let home = Home::with("[peer.home]\npeer = \"127.0.0.2\"\nopen = [\"2222\"]\n");
    for mode in [0o664, 0o606] {
        fs::set_permissions(home.file("config.toml"), fs::Permissions::from_mode(mode)).expect("ours");
        home.refuses(&["open", "home"], &["others can write to", &format!("{mode:03o}"), "chmod go-w"]);
    }
}

#[test]
fn a_key_file_that_is_not_there_is_named_with_the_ways_to_have_one() {
    let home = Home::with("[peer.home]\npeer = \"127.0.0.2\"\nopen = [\"2222\"]\nkey-file = \"home.key\"\n");
    let place = home.file("home.key");
    home.refuses(&["open", "home"], &[place.to_str().expect("UTF-8"), "key new --save", "key save"]);
}

#[test]
fn a_shell_is_told_the_names() {
    let home = Home::with("[peer.house]\n[peer.hotel]\npeer = \"127.0.0.2\"\n");
    let mut asked = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    isolate(&mut asked);
    asked.env("HOME", home.folder.path()).env("PINHOLE_COMPLETE", "bash");
    asked.env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n").args(["--", "pinhole", "open", "ho"]);
    let ended = Run::start_reading(asked, Stdio::null()).ends();
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), ["hotel", "house"], "{}", ended.stderr);
}
