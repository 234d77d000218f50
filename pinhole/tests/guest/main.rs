//! The library from outside: a crate that is no part of this workspace depends on it by its path, and on nothing of this
//! workspace's manifest. It sends a megabyte to a peer on loopback and gets it back, in twenty lines (`echo.rs`).

#![cfg(target_os = "linux")] // all of 127.0.0.0/8 is this machine's without being asked for

use std::{fs, path::Path, process::Command};

use natlab::skip;

/// The guest's program.
const ECHO: &str = include_str!("echo.rs");

/// Most lines of it that are not empty, without the three that import.
const MOST_LINES: usize = 20;

#[test]
fn a_crate_outside_the_workspace_echoes_a_megabyte_in_twenty_lines() {
    let test_name = "a_crate_outside_the_workspace_echoes_a_megabyte_in_twenty_lines";
    let lines = ECHO.lines().filter(|line| !line.is_empty() && !line.starts_with("use "));
    assert!(lines.count() <= MOST_LINES);
    if std::env::var_os("PINHOLE_LAB").is_none() {
        return skip(test_name, "it builds the library anew, for minutes: set PINHOLE_LAB=required");
    }
    let library = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = library.parent().expect("the library is in the workspace");
    let guest = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| fs::write(guest.path().join(name), text).expect("it can be written");
    fs::create_dir(guest.path().join("src")).expect("it can be made");
    write("Cargo.toml", &manifest(library));
    write("src/main.rs", ECHO);
    // The versions that are tested here, and that are on this machine already.
    fs::copy(workspace.join("Cargo.lock"), guest.path().join("Cargo.lock")).expect("the lock can be copied");
    let ran = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline"])
        .current_dir(guest.path())
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/guest"))
        .status()
        .expect("cargo starts");
    assert!(ran.success(), "{ran}");
}

fn manifest(library: &Path) -> String {
    format!(
        r#"[package]
name = "guest"
version = "0.0.0"
edition = "2024"

[dependencies]
pinhole = {{ path = {library:?} }}
tokio = {{ version = "1", features = ["full"] }}

[workspace]

[profile.dev]
debug = false
"#
    )
}
