//! Secure shell through the tunnel: a command, files both ways, and keys that are typed.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use natlab::{LinkSpec, Side, skip};
use tempfile::TempDir;

use crate::{
    ground::{Ground, LOCAL_PORT, between, note},
    program::{KEY, Run, isolate},
};

/// TCP port of sshd on host A.
pub(crate) const SSHD_PORT: u16 = 2200;

const SSHD: &str = "/usr/sbin/sshd";

/// Without this folder sshd refuses to start.
const SSHD_FOLDER: &str = "/run/sshd";

const FILE_BYTES: usize = 200 << 20;

const ONE_WAY: Duration = Duration::from_millis(20);

/// What ssh, both ends of the tunnel and the machine may add to a round trip.
const OVERHEAD: Duration = Duration::from_millis(30);

const KEYSTROKES: usize = 50;

#[test]
fn ssh_runs_a_command_and_scp_carries_200_mb_each_way_unchanged() {
    let test = "ssh_runs_a_command_and_scp_carries_200_mb_each_way_unchanged";
    let Some((ground, sshd)) = ground_with_sshd(test, LinkSpec::default()) else { return };
    let _both = ground.connect(SSHD_PORT);

    let output = sshd.ssh(&ground, "ssh").args(["root@localhost", "echo $((6 * 7))"]).output();
    let output = output.expect("ssh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n", "{output:?}");

    let (here, there, back) = (sshd.file("here"), sshd.file("there"), sshd.file("back"));
    write_pattern(&here, FILE_BYTES);
    let remote = format!("root@localhost:{}", there.display());
    for (from, to, way) in [(path(&here), &*remote, "up"), (&*remote, path(&back), "down")] {
        let begun = Instant::now();
        let output = sshd.ssh(&ground, "scp").args([from, to]).output().expect("scp runs");
        assert!(output.status.success(), "{output:?}");
        let rate = FILE_BYTES as f64 * 8.0 / 1e6 / begun.elapsed().as_secs_f64();
        note(&format!("scp {way}: {rate:.0} Mbit/s"));
    }
    for copy in [&there, &back] {
        assert!(same(&here, copy), "{} differs", copy.display());
    }
}

#[test]
fn a_typed_key_comes_back_within_the_round_trip_and_a_little() {
    let test = "a_typed_key_comes_back_within_the_round_trip_and_a_little";
    let Some((ground, sshd)) = ground_with_sshd(test, LinkSpec::delayed(ONE_WAY)) else { return };
    let _both = ground.connect(SSHD_PORT);

    let mut ssh = sshd.ssh(&ground, "ssh");
    let mut ssh = ssh.args(["root@localhost", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let ssh = ssh.as_mut().expect("ssh runs");
    let mut keyboard = ssh.stdin.take().expect("stdin was piped");
    let mut screen = BufReader::new(ssh.stdout.take().expect("stdout was piped"));
    let mut type_key = |n| {
        let (sent, begun) = (format!("{n}\n"), Instant::now());
        keyboard.write_all(sent.as_bytes()).expect("ssh reads");
        let mut line = String::new();
        screen.read_line(&mut line).expect("ssh writes");
        assert_eq!(line, sent);
        begun.elapsed()
    };
    let _login = type_key(KEYSTROKES);
    let mut times: Vec<Duration> = (0..KEYSTROKES).map(&mut type_key).collect();
    drop(keyboard);
    assert!(ssh.wait().expect("ssh ends").success());

    times.sort_unstable();
    let (median, worst) = (times[KEYSTROKES / 2], times[KEYSTROKES - 1]);
    note(&format!("typed key: median {median:.1?}, worst {worst:.1?}, round trip {:?}", ONE_WAY * 2));
    assert!(median < ONE_WAY * 2 + OVERHEAD, "{median:?}");
}

#[test]
fn ssh_by_proxy_command_needs_no_local_port_and_leaves_a_running_tunnel_alone() {
    let test = "ssh_by_proxy_command_needs_no_local_port_and_leaves_a_running_tunnel_alone";
    let Some((ground, sshd)) = ground_with_sshd(test, LinkSpec::delayed(ONE_WAY)) else { return };
    let mut serve = Run::start(ground.serve(SSHD_PORT));
    serve.says("waiting for the peer");

    // The first one starts a tunnel, the second one shares it, and outlives the first.
    let begun = Instant::now();
    let (mut first, mut keyboard) = start_cat(&sshd, &ground);
    note(&format!("ssh by pipe, punch included: {:.1?}", begun.elapsed()));
    let begun = Instant::now();
    let (mut second, mut other_keyboard) = start_cat(&sshd, &ground);
    note(&format!("ssh by pipe over a tunnel that stands: {:.1?}", begun.elapsed()));
    drop(keyboard.take());
    assert!(first.wait().expect("ssh ends").success());
    let output = by_pipe(&sshd, &ground, "ssh").args(["root@peer", "echo $((6 * 7))"]).output();
    let output = output.expect("ssh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n", "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "there is nothing to say");
    drop(other_keyboard.take());
    assert!(second.wait().expect("ssh ends").success());
    serve.says("peer left");

    let mut open = Run::start(ground.open());
    open.says("tunnel up");
    let (here, there) = (sshd.file("here"), sshd.file("there"));
    write_pattern(&here, FILE_BYTES / 10);
    let remote = format!("root@peer:{}", there.display());
    let output = by_pipe(&sshd, &ground, "scp").args([path(&here), &remote]).output().expect("scp runs");
    assert!(output.status.success(), "{output:?}");
    assert!(same(&here, &there), "{} differs", there.display());
    let ended = open.interrupt();
    assert_eq!(ended.stderr.matches("tunnel up").count(), 1, "{}", ended.stderr);
}

/// Describes a client on host B whose connection is a pipe's.
fn by_pipe(sshd: &Sshd, ground: &Ground, client: &str) -> Command {
    let peer = ground.lab.side(Side::A).public_ip();
    let program = env!("CARGO_BIN_EXE_pinhole");
    let mut command = sshd.ssh(ground, client);
    isolate(&mut command);
    command.env("PINHOLE_KEY", KEY).env("SHELL", "/bin/sh");
    command.args(["-o", &format!("ProxyCommand={program} pipe {SSHD_PORT} {peer} --stay 1")]);
    command
}

/// Starts `cat` over there, and waits until it has answered.
fn start_cat(sshd: &Sshd, ground: &Ground) -> (Child, Option<ChildStdin>) {
    let mut ssh = by_pipe(sshd, ground, "ssh");
    let mut ssh =
        ssh.args(["root@peer", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ssh");
    let mut keyboard = ssh.stdin.take().expect("stdin was piped");
    keyboard.write_all(b"here\n").expect("ssh reads");
    let mut line = String::new();
    BufReader::new(ssh.stdout.as_mut().expect("stdout was piped")).read_line(&mut line).expect("ssh writes");
    assert_eq!(line, "here\n");
    (ssh, Some(keyboard))
}

pub(crate) fn ground_with_sshd(test: &str, link: LinkSpec) -> Option<(Ground, Sshd)> {
    if !Path::new(SSHD).exists() {
        skip(test, "no sshd here; install openssh-server");
        return None;
    }
    let ground = Ground::or_skip(test, between("home", "home").with_link(link))?;
    let sshd = Sshd::start(&ground);
    Some((ground, sshd))
}

/// A running sshd on host A with keys of its own.
pub(crate) struct Sshd {
    folder: TempDir,
    _run: Run,
}

impl Sshd {
    fn start(ground: &Ground) -> Self {
        fs::create_dir_all(SSHD_FOLDER).expect("root may");
        let folder = TempDir::new().expect("a temporary folder");
        for name in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join(name));
            assert!(keygen.status().expect("ssh-keygen runs").success());
        }
        let at = folder.path().display();
        let config = format!(
            "Port {SSHD_PORT}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\n\
             StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        );
        fs::write(folder.path().join("config"), config).expect("writable");
        let mut command = ground.lab.host(Side::A).command(SSHD);
        command.args(["-D", "-e", "-f"]).arg(folder.path().join("config"));
        let run = Run::start(command);
        ground.await_port(Side::A, SSHD_PORT);
        Self { folder, _run: run }
    }

    /// Describes a client on host B that knows the key; the rest of its arguments is the caller's.
    pub(crate) fn ssh(&self, ground: &Ground, client: &str) -> Command {
        let mut command = ground.lab.host(Side::B).command(client);
        command.args(["-F", "none", "-q", "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]);
        command.args(["-o", &format!("Port={LOCAL_PORT}"), "-i"]).arg(self.file("user"));
        command.stdin(Stdio::null());
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Bytes that repeat with a period that no block has, and differ from block to block.
fn write_pattern(file: &Path, bytes: usize) {
    let bytes = (0..bytes as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    fs::write(file, bytes.collect::<Vec<u8>>()).expect("writable");
}

fn same(first: &Path, second: &Path) -> bool {
    let [mut first, mut second] = [first, second].map(|path| File::open(path).expect("there"));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    first.read_to_end(&mut a).expect("readable");
    second.read_to_end(&mut b).expect("readable");
    a == b
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
