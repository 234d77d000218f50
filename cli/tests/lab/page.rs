//! A web server on host A and a browser on host B.

use std::{fs, process::Stdio, time::Duration};

use natlab::Side;
use tempfile::TempDir;

use crate::{
    ground::{Ground, LOCAL_PORT},
    program::Run,
};

/// TCP port of the web server on host A.
pub(crate) const WEB_PORT: u16 = 8000;

/// What the web server serves.
pub(crate) const PAGE: &str = "<h1>This page came through a pinhole</h1>\n";

/// A running web server.
pub(crate) struct Web {
    _run: Run,
    _folder: TempDir,
}

impl Web {
    /// Starts a web server on host A and waits until it accepts.
    pub(crate) fn start(ground: &Ground) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::write(folder.path().join("index.html"), PAGE).expect("writable");
        let mut command = ground.lab.host(Side::A).command("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &WEB_PORT.to_string()]);
        command.current_dir(folder.path());
        let run = Run::start(command);
        ground.await_port(Side::A, WEB_PORT);
        Self { _run: run, _folder: folder }
    }
}

/// What a browser got.
pub(crate) struct Fetched {
    pub(crate) page: String,
    /// Time from the browser's start to the first byte.
    pub(crate) first_byte: Duration,
    pub(crate) error: String,
}

/// Fetches the page on host B through the tunnel.
pub(crate) fn fetch(ground: &Ground) -> Fetched {
    let mut command = ground.lab.host(Side::B).command("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{time_starttransfer}"]);
    command.arg(format!("http://localhost:{LOCAL_PORT}/")).stdin(Stdio::null());
    let output = command.output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (page, seconds) = text.rsplit_once('\n').unwrap_or((&text, "0"));
    Fetched {
        page: page.to_owned(),
        first_byte: Duration::from_secs_f64(seconds.parse().unwrap_or_default()),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Fetches the page and demands that it is right.
pub(crate) fn fetch_page(ground: &Ground) {
    let fetched = fetch(ground);
    assert_eq!(fetched.page, PAGE, "{}", fetched.error);
}
