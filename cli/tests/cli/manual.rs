//! What shells and `man` are told of the command line.

use std::{fs, process::Command};

use tempfile::TempDir;

use crate::program::{Run, isolate, pinhole};

#[test]
fn there_is_a_man_page_for_the_program_and_for_each_command() {
    let folder = TempDir::new().expect("a temporary folder");
    let pages = folder.path().join("not there yet");
    let ended = Run::start(pinhole(&["man", pages.to_str().expect("UTF-8")])).ends();
    assert_eq!((ended.code, ended.stderr.as_str(), ended.stdout.as_str()), (Some(0), "", ""));
    let page =
        |name: &str| fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let classic = cfg!(feature = "classic").then_some("classic");
    for verb in ["serve", "open", "key", "key-new", "check", "status", "demo"].into_iter().chain(classic) {
        let text = page(&format!("pinhole-{verb}.1"));
        assert!(text.contains(".SH SYNOPSIS") && text.contains(".SH \"SEE ALSO\""), "{text}");
    }
    let main = page("pinhole.1");
    for section in ["\"EXIT STATUS\"", "EXAMPLES", "OPTIONS", "SUBCOMMANDS"] {
        assert!(main.contains(&format!(".SH {section}\n")), "{section}: {main}");
    }
    let name = main.split(".SH NAME\n").nth(1).and_then(|rest| rest.split(".SH").next()).expect("a section");
    assert_eq!(name.trim_end().lines().count(), 1, "`whatis` takes one line: {name}");
}

#[test]
fn pages_that_cannot_be_written_are_told_with_the_folder() {
    let ended = Run::start(pinhole(&["man", "/dev/null/pages"])).ends();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("/dev/null/pages"), "{}", ended.stderr);
}

#[test]
fn every_shell_gets_a_script_that_asks_the_program() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = Run::start(pinhole(&["completions", shell])).ends();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains("PINHOLE_COMPLETE="), "{}", ended.stdout);
    }
    assert_eq!(Run::start(pinhole(&["completions", "csh"])).ends().code, Some(2));
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(completes("pinhole compl"), ["completions"]);
    assert!(completes("pinhole serve --pat").contains(&"--patience".to_owned()));
}

/// Has bash complete a line, by the script that the program prints.
fn completes(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let last = words.len() - 1;
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_pinhole")).parent().expect("a file is in a folder");
    let asked = format!(
        "PATH={}:$PATH; source <(pinhole completions bash); COMP_WORDS=({line}); COMP_CWORD={last}; COMP_TYPE=9
         _clap_complete_pinhole pinhole '{}' '' 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        folder.display(),
        words[last]
    );
    let mut bash = Command::new("bash");
    isolate(&mut bash);
    bash.args(["--norc", "-c", &asked]);
    let ended = Run::start(bash).ends();
    ended.stdout.lines().map(|word| word.trim_end().to_owned()).collect()
}
