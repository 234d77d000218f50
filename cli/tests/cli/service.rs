//! Under a service manager: it is told what happens, SIGHUP reads everything again, and the journal stays readable.

use std::{
    fs::{self, File},
    io::Read,
    net::TcpStream,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixDatagram,
    },
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    loopback::{Loopback, start_echo},
    program::{KEY, PATIENCE, Run, pinhole},
};

/// Another good key.
const NEW_KEY: &str = "pureblood-mandate-purist-proton-worrier-affected-sporty";

/// Silence after which this manager takes a service for dead, microseconds.
const WATCHDOG_USEC: &str = "200000";

/// Lines of one kind in a log, see docs/service.md.
const LINES: usize = 60;

/// A service manager, as far as its socket goes.
struct Manager {
    heard: Receiver<String>,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let ear = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        // Read at once: the system keeps ten messages, and loses what comes then.
        let (tell, heard) = channel();
        thread::spawn(move || {
            let mut room = [0; 1024];
            while let Ok(length) = ear.recv(&mut room) {
                if tell.send(String::from_utf8_lossy(&room[..length]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { heard, folder }
    }

    fn start(&self, mut command: Command) -> Run {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.env("WATCHDOG_USEC", WATCHDOG_USEC);
        Run::start(command)
    }

    /// Waits for a message that begins so, and returns it.
    fn hears(&self, beginning: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let message = self.heard.recv_timeout(rest);
            let message = message.unwrap_or_else(|error| panic!("no {beginning:?}: {error}"));
            if message.starts_with(beginning) {
                return message;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_that_we_are_ready_what_we_do_that_we_live_and_that_we_end() {
    let (ends, manager) = (Loopback::new(), Manager::new());
    start_echo(ends.service());
    let open = manager.start(ends.open(&[]));
    manager.hears("READY=1");
    TcpStream::connect(ends.local()).expect("ready means that the port is open");
    manager.hears(&format!("STATUS=waiting for the peer at {}", ends.serve_ip));
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    let mut serve = Run::start(ends.serve(&[]));
    manager.hears(&format!("STATUS=tunnel up, to {}", ends.serve_ip));
    serve.says("tunnel up");
    assert_eq!(serve.interrupt().code, Some(0));
    manager.hears("STATUS=peer left");
    open.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(open.ends().code, Some(0));
}

#[test]
fn a_program_that_is_out_of_descriptors_still_says_that_it_lives() {
    let (ends, manager) = (Loopback::new(), Manager::new());
    let mut open = manager.start(crate::program::under(&["prlimit", "--nofile=32:32"], &ends.open(&[])));
    manager.hears("READY=1");
    let held: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(ends.local()).expect("the system completes it")).collect();
    open.says("cannot take connections");
    while manager.heard.try_recv().is_ok() {}
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    drop(held);
}

#[test]
fn a_hangup_without_a_terminal_reads_everything_again_and_the_tunnel_stays() {
    let (ends, manager, folder) = (Loopback::new(), Manager::new(), TempDir::new().expect("a folder"));
    start_echo(ends.service());
    let mut open = manager.start(with_key_file(ends.open(&[]), &folder, KEY));
    let mut serve = Run::start(ends.serve(&[]));
    open.says("tunnel up");
    serve.says("tunnel up");

    open.signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    open.says(&format!("re-read: key unchanged, peer {}", ends.serve_ip));
    manager.hears("READY=1");

    fs::write(folder.path().join("key"), "weak").expect("written");
    open.signal(Signal::HUP);
    let told = open.says("re-read: the former key stays in use");
    assert!(told.contains("key"), "{told}");
    assert_eq!(ends.ask("the same tunnel"), "the same tunnel");
    let ended = open.interrupt();
    assert!(!ended.stderr.contains("lost") && !ended.stderr.contains("left"), "{}", ended.stderr);
}

#[test]
fn a_hangup_after_the_key_has_changed_starts_over_with_the_new_one() {
    let (ends, manager) = (Loopback::new(), Manager::new());
    let folders = [TempDir::new().expect("a folder"), TempDir::new().expect("a folder")];
    start_echo(ends.service());
    let mut open = manager.start(with_key_file(ends.open(&[]), &folders[0], KEY));
    let mut serve = Run::start(with_key_file(ends.serve(&[]), &folders[1], KEY));
    for run in [&mut open, &mut serve] {
        run.says("tunnel up");
    }
    manager.hears("READY=1");
    for (run, folder) in [(&mut open, &folders[0]), (&mut serve, &folders[1])] {
        fs::write(folder.path().join("key"), NEW_KEY).expect("written");
        run.signal(Signal::HUP);
        run.says("the key has changed");
    }
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    for run in [&mut open, &mut serve] {
        run.says("tunnel up");
    }
    assert_eq!(ends.ask("with the new key"), "with the new key");
    for run in [open, serve] {
        assert_eq!(run.interrupt().code, Some(0));
    }
}

#[test]
fn an_end_that_is_asked_for_while_it_starts_over_is_heard() {
    for _ in 0..10 {
        let (ends, folder) = (Loopback::new(), TempDir::new().expect("a folder"));
        let mut open = Run::start(with_key_file(ends.open(&[]), &folder, KEY));
        open.says("waiting for the peer");
        fs::write(folder.path().join("key"), NEW_KEY).expect("written");
        open.signal(Signal::HUP);
        open.says("the key has changed");
        open.signal(Signal::TERM);
        assert_eq!(open.ends().code, Some(0));
    }
}

#[test]
fn a_hangup_on_a_terminal_ends_the_program() {
    let (terminal, user) = terminal();
    let mut serve = Run::start_reading(Loopback::new().serve(&[]), Stdio::from(terminal));
    serve.says("waiting for the peer");
    serve.signal(Signal::HUP);
    let ended = serve.ends();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    drop(user);
}

#[test]
fn the_journal_gets_priorities() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("log");
    let log = File::create(&path).expect("made");
    let inode = log.metadata().expect("just made");
    let mut serve = Loopback::new().serve(&["--wait", "0.5", "-d"]);
    serve.env("JOURNAL_STREAM", format!("{}:{}", inode.dev(), inode.ino()));
    serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    assert_eq!(serve.status().expect("it runs").code(), Some(1));
    let text = fs::read_to_string(&path).expect("text");
    assert!(text.lines().any(|line| line.starts_with("<6>waiting for the peer")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<3>no tunnel after 0.5 s")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<7>DEBUG")), "no time of its own: {text}");
    assert!(text.lines().all(|line| line.starts_with('<')), "{text}");
}

#[test]
fn a_service_that_is_down_for_long_does_not_flood_the_log() {
    let ends = Loopback::new();
    let mut serve = Run::start(ends.serve(&[]));
    let mut open = Run::start(ends.open(&["--json"]));
    serve.says("tunnel up");
    open.says("tunnel up");
    for _ in 0..LINES + 5 {
        let mut tcp = TcpStream::connect(ends.local()).expect("the local port accepts");
        tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
        tcp.read(&mut [0]).expect_err("nobody is there");
        open.prints("service_failed");
    }
    let ended = open.interrupt();
    let told = ended.stderr.lines().filter(|line| line.starts_with("service ")).count();
    assert_eq!(told, LINES, "{}", ended.stderr);
    assert!(ended.stderr.contains("and 5 more like that, the last: service "), "{}", ended.stderr);
}

#[test]
fn a_credential_of_the_service_manager_may_show_an_access_list_in_its_mode() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("key");
    for (mode, is_good) in [(0o440, true), (0o400, true), (0o444, false), (0o460, false)] {
        fs::write(&file, KEY).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("ours");
        let check = |credentials: &Path| {
            let mut check = pinhole(&["key", "check", "--key-file", file.to_str().expect("UTF-8")]);
            check.env("CREDENTIALS_DIRECTORY", credentials);
            Run::start(check).ends().code == Some(0)
        };
        assert_eq!(check(folder.path()), is_good, "{mode:o}");
        assert_eq!(check(Path::new("/run")), mode == 0o400, "{mode:o} elsewhere");
        fs::remove_file(&file).expect("ours");
    }
}

/// Gives a run its key by a file.
fn with_key_file(mut command: Command, folder: &TempDir, key: &str) -> Command {
    let file = folder.path().join("key");
    fs::write(&file, key).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
    command.arg("--key-file").arg(file);
    command
}

/// A terminal, and the end where its user sits.
pub(crate) fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&user).and_then(|()| unlockpt(&user)).expect("ours");
    let name = ptsname(&user, Vec::new()).expect("it has a name");
    let terminal = File::options().read(true).write(true).open(name.to_str().expect("UTF-8"));
    (terminal.expect("opened"), File::from(user))
}

/// The default patience of a manager is far longer than a run of this test.
const _: () = assert!(PATIENCE.as_millis() > Duration::from_millis(200).as_millis());
