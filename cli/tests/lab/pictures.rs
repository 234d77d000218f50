//! Makes the pictures and the text of docs/status.md: `cargo test --test lab pictures -- --ignored`, as root.
//!
//! A tunnel through two NATs with traffic in both directions, which loses its path once; the page in Chromium, and the
//! live view in tmux. No test: somebody has to look at them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use natlab::{LinkSpec, Side};
use tempfile::TempDir;

use crate::{
    ground::{Ground, between, note},
    program::{KEY, Run, isolate},
};

/// Something to see is on the graphs by then.
const BEFORE_THE_LOSS: Duration = Duration::from_secs(45);
const AFTER_THE_LOSS: Duration = Duration::from_secs(60);

/// Columns and rows of the terminal.
const TERMINAL: [&str; 4] = ["-x", "112", "-y", "36"];

/// Host A: one port that sends, one that takes.
const SERVICES: &str = "
import socket, threading
def serve(port, work):
    s = socket.create_server(('127.0.0.1', port))
    while True:
        c, _ = s.accept()
        threading.Thread(target=work, args=(c,), daemon=True).start()
def send(c):
    try:
        while True: c.sendall(bytes(65536))
    except OSError: pass
def take(c):
    while c.recv(65536): pass
threading.Thread(target=serve, args=(8000, send), daemon=True).start()
serve(873, take)
";

/// Host B: reads and writes in waves.
const CLIENTS: &str = "
import math, socket, threading, time
def wave(port, mean, swing, period, work):
    c = socket.create_connection(('127.0.0.1', port))
    start = time.monotonic()
    while True:
        t = time.monotonic() - start
        work(c, int((mean + swing * math.sin(t / period) * math.sin(t / period / 2.7)) / 20))
        time.sleep(0.05)
def read(c, count):
    while count > 0: count -= len(c.recv(min(count, 65536)))
def write(c, count): c.sendall(bytes(count))
for _ in range(3):
    threading.Thread(target=wave, args=(8080, 1.2e6, 0.9e6, 3.1, read), daemon=True).start()
wave(8730, 0.9e6, 0.7e6, 5.3, write)
";

#[test]
#[ignore = "it makes pictures, which somebody has to look at; needs chromium, tmux and aha"]
fn pictures() {
    let spec = between("home", "random")
        .with_link(LinkSpec { loss: 0.002, ..LinkSpec::delayed(Duration::from_millis(12)) });
    let Some(ground) = Ground::or_skip("pictures", spec) else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let _services = python(&ground, Side::A, SERVICES);
    let mut serve = Run::start(pinhole(&ground, Side::A, &folder, &["serve", "web=8000", "backup=873"]));
    let ports = ["open", "8080:web", "8730:backup", "--status", "8555"];
    let mut open = Run::start(pinhole(&ground, Side::B, &folder, &ports));
    serve.says("tunnel up");
    open.says("tunnel up");
    ground.await_port(Side::A, 873);
    let _clients = python(&ground, Side::B, CLIENTS);
    thread::sleep(BEFORE_THE_LOSS);
    ground.lab.nat(Side::B, 0).flush_conntrack().expect("root");
    open.says("path is back");
    thread::sleep(AFTER_THE_LOSS);
    let status = pinhole_at(&ground, Side::B, &folder, &["status"]).output().expect("it runs");
    note(&String::from_utf8_lossy(&status.stdout));
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    fs::create_dir_all(&images).expect("writable");
    photograph(&ground, &folder, "http://127.0.0.1:8555/", "1120,1200", &images.join("status-page.png"));
    let html = folder.path().join("watch.html");
    fs::write(&html, terminal(&ground, &folder)).expect("writable");
    let html = format!("file://{}", html.display());
    photograph(&ground, &folder, &html, "980,690", &images.join("status-watch.png"));
}

/// Returns the live view as HTML.
fn terminal(ground: &Ground, folder: &TempDir) -> String {
    let socket = folder.path().join("tmux");
    let tmux = |args: &[&str]| {
        let mut command = ground.lab.host(Side::B).command("tmux");
        isolate(&mut command);
        command
            .env("XDG_RUNTIME_DIR", runtime(folder, Side::B))
            .env("LC_ALL", "C.UTF-8")
            .arg("-S")
            .arg(&socket);
        let done = command.args(args).output().expect("tmux is there");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    let watch = format!("{} status --watch", env!("CARGO_BIN_EXE_pinhole"));
    tmux(&[&["new-session", "-d"], &TERMINAL[..], &[&watch]].concat());
    thread::sleep(Duration::from_secs(3));
    let text = folder.path().join("watch.ansi");
    fs::write(&text, tmux(&["capture-pane", "-p", "-e"])).expect("writable");
    tmux(&["kill-server"]);
    let file = fs::File::open(&text).expect("just written");
    let done = Command::new("aha").arg("--black").stdin(file).output().expect("aha is there");
    String::from_utf8_lossy(&done.stdout)
        .replace("<pre>", "<pre style='font:14px/1.17 monospace;margin:8px'>")
}

fn photograph(ground: &Ground, folder: &TempDir, what: &str, size: &str, to: &Path) {
    let mut chromium = ground.lab.host(Side::B).command("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    chromium.args(["--hide-scrollbars", "--virtual-time-budget=3000"]);
    chromium.arg(format!("--user-data-dir={}", folder.path().join("chromium").display()));
    chromium.arg(format!("--window-size={size}")).arg(format!("--screenshot={}", to.display())).arg(what);
    let done = chromium.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("chromium is there");
    assert!(done.success() && to.exists(), "no picture of {what}");
}

fn python(ground: &Ground, side: Side, script: &str) -> Run {
    let mut command = ground.lab.host(side).command("python3");
    command.args(["-c", script]);
    Run::start(command)
}

fn pinhole(ground: &Ground, side: Side, folder: &TempDir, args: &[&str]) -> Command {
    let mut command = pinhole_at(ground, side, folder, args);
    command.args(["--peer", &ground.lab.side(side.other()).public_ip().to_string()]).env("PINHOLE_KEY", KEY);
    command
}

fn pinhole_at(ground: &Ground, side: Side, folder: &TempDir, args: &[&str]) -> Command {
    let mut command = ground.lab.host(side).command(env!("CARGO_BIN_EXE_pinhole"));
    isolate(&mut command);
    command.args(args).env("XDG_RUNTIME_DIR", runtime(folder, side));
    command
}

/// Each side has a folder of its own: on two machines they would not see each other.
fn runtime(folder: &TempDir, side: Side) -> PathBuf {
    let own = folder.path().join(format!("{side:?}"));
    fs::create_dir_all(&own).expect("writable");
    own
}
