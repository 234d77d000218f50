//! What the system refuses costs what it must, is told, and ends nothing else.
//!
//! strace makes system calls fail, prlimit takes descriptors away, a small file system of its own is full. What is
//! missing on this machine is named and its test skipped.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use natlab::skip;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    loopback::{Loopback, start_echo, try_ask},
    program::{PATIENCE, Run, pinhole, under},
};

/// Descriptors that a program gets: for itself, and about thirty connections.
const FEW: &str = "--nofile=48:48";

/// More connections than that.
const MANY: usize = 60;

#[test]
fn an_open_side_without_descriptors_keeps_its_connections_and_takes_new_ones_when_it_can() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&[]));
    let mut open = Run::start(under(&["prlimit", FEW], &ends.open(&[])));
    serve.says("tunnel up");
    open.says("tunnel up");
    let mut first = client(&ends);
    echo(&mut first, b"1");
    let crowd: Vec<TcpStream> = (0..MANY).map(|_| client(&ends)).collect();
    assert!(open.says("cannot take connections").contains("ulimit"));
    echo(&mut first, b"2");

    drop(crowd);
    assert_eq!(ends.ask("there is room again"), "there is room again");
    echo(&mut first, b"3");
    let ended = open.interrupt();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("lost") && !ended.stderr.contains("fault"), "{}", ended.stderr);
}

#[test]
fn a_serve_side_without_descriptors_refuses_what_it_cannot_serve_and_recovers() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(under(&["prlimit", FEW], &ends.serve(&[])));
    let mut open = Run::start(ends.open(&[]));
    serve.says("tunnel up");
    open.says("tunnel up");
    let mut first = client(&ends);
    echo(&mut first, b"1");
    let crowd: Vec<TcpStream> = (0..MANY).map(|_| client(&ends)).collect();
    assert!(serve.says("cannot make connections to service").contains("ulimit"));
    open.says("the peer cannot take another connection now");
    echo(&mut first, b"2");

    drop(crowd);
    ask_until_served(&ends, "again");
    serve.says("answers again");
    echo(&mut first, b"3");
}

/// Asks again as long as some of a crowd is still on the way out, and the serve side refuses: the connection is reset.
fn ask_until_served(ends: &Loopback, word: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        match try_ask(ends.local(), word) {
            Ok(answer) => return assert_eq!(answer, word),
            Err(error) => assert!(is_refusal(&error) && Instant::now() < until, "{error:?}"),
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    // By the time it is reset the word may or may not have been written.
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected
    )
}

#[test]
fn datagrams_that_the_system_refuses_are_lost_datagrams_and_nothing_more() {
    for errno in ["EPERM", "ENOBUFS", "ENETUNREACH"] {
        let fault = format!("inject=sendmsg:error={errno}:when=40..60");
        let Some(said) = transfer_with_faults("datagrams_that_the_system_refuses", &fault) else { return };
        assert!(!said.contains("lost") && said.matches("tunnel up").count() == 1, "{errno}: {said}");
    }
}

#[test]
fn a_driver_that_cannot_split_datagrams_costs_speed_alone() {
    for errno in ["EIO", "EINVAL"] {
        let fault = format!("inject=sendmsg:error={errno}:when=30..40");
        let Some(said) = transfer_with_faults("a_driver_that_cannot_split_datagrams", &fault) else { return };
        assert!(!said.contains("lost") && said.matches("tunnel up").count() == 1, "{errno}: {said}");
    }
}

#[test]
fn a_program_that_has_lost_a_part_of_itself_says_so_and_ends_with_one() {
    if !has_strace("a_program_that_has_lost_a_part_of_itself") {
        return;
    }
    let ends = Loopback::new();
    let serve = Run::start(with_faults("inject=recvmmsg:error=EBADF:when=8+", &ends.serve(&[])));
    let open = Run::start(ends.open(&[]));
    let ended = serve.ends();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("pinhole is of no use without it"), "{}", ended.stderr);
    drop(open);
}

#[test]
fn nobody_to_talk_to_is_no_reason_to_end() {
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").expect("a device"));
    let streams: [(&str, &dyn Fn() -> Stdio); 2] = [("a full disk", &full), ("nobody reads", &Stdio::piped)];
    for (name, stream) in streams {
        for more in [&["--json"][..], &["--json", "-d", "-d"]] {
            let ends = Loopback::new();
            start_echo(ends.service());
            let _open = Quiet::start(ends.open(more), stream);
            let mut serve = Run::start(ends.serve(&[]));
            serve.says("tunnel up");
            assert_eq!(ends.ask(name), name);
            let ended = serve.interrupt();
            assert!(!ended.stderr.contains("lost"), "{name}: {}", ended.stderr);
        }
    }
}

#[test]
fn whoever_stops_reading_does_not_stop_the_program() {
    let ends = Loopback::new();
    let mut serve = Run::start(ends.serve(&[]));
    let mut open = ends.open(&["--json"]);
    let (unread, full) = std::io::pipe().expect("a pipe");
    (&full).write_all(&[b' '; 64 << 10]).expect("as much as it takes");
    open.stdin(Stdio::null()).stdout(full.try_clone().expect("cloneable")).stderr(full);
    let mut open = Quiet(open.spawn().expect("it starts"));
    serve.says("tunnel up");
    start_echo(ends.service());
    assert_eq!(ends.ask("nobody reads"), "nobody reads");
    kill_process(Pid::from_child(&open.0), Signal::TERM).expect("it runs");
    serve.says("peer left");
    assert_eq!(open.0.wait().expect("it ends").code(), Some(0));
    drop(unread);
}

#[test]
fn streams_that_are_closed_are_no_reason_to_end() {
    let ends = Loopback::new();
    start_echo(ends.service());
    let _open = Run::start(under(&["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"], &ends.open(&["-d"])));
    let mut serve = Run::start(ends.serve(&[]));
    serve.says("tunnel up");
    assert_eq!(ends.ask("closed"), "closed");
}

#[test]
fn a_full_disk_costs_the_peer_cache_and_nothing_else() {
    let Some((ends, disk)) =
        full_disk("a_full_disk_costs_the_peer_cache").map(|disk| (Loopback::new(), disk))
    else {
        return;
    };
    start_echo(ends.service());
    let mut serve = ends.serve(&[]);
    serve.env("XDG_STATE_HOME", disk.path());
    let mut serve = Run::start(on_full_disk(&serve, disk.path()));
    let mut open = Run::start(ends.open(&[]));
    serve.says("tunnel up");
    open.says("tunnel up");
    assert_eq!(ends.ask("without a memory"), "without a memory");
    let ended = serve.interrupt();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_key_that_a_full_disk_does_not_take_is_told_and_not_shown() {
    let Some(disk) = full_disk("a_key_that_a_full_disk_does_not_take") else { return };
    let ends = Loopback::new();
    let (peer, own) = (ends.open_ip.to_string(), ends.serve_ip.to_string());
    let mut serve = pinhole(&["-c", "22", &peer, "--bind", &own]);
    serve.env("HOME", disk.path());
    let ended = Run::start(on_full_disk(&serve, disk.path())).ends();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot keep the key in "), "{}", ended.stderr);
    assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("PINHOLE_KEY="), "{}", ended.stderr);
}

/// A connection that has not said anything.
fn client(ends: &Loopback) -> TcpStream {
    let tcp = TcpStream::connect(ends.local()).expect("the system completes it");
    tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
    tcp
}

/// Has a byte come back on a connection that stays.
fn echo(tcp: &mut TcpStream, byte: &[u8; 1]) {
    let mut back = [0];
    tcp.write_all(byte).and_then(|()| tcp.read_exact(&mut back)).expect("the connection goes on");
    assert_eq!(&back, byte);
}

/// Sends a megabyte to and fro through an open side whose system calls fail. Returns what it said; none where that
/// cannot be done.
fn transfer_with_faults(test: &str, fault: &str) -> Option<String> {
    if !has_strace(test) {
        return None;
    }
    let ends = Loopback::new();
    start_echo(ends.service());
    let mut serve = Run::start(ends.serve(&[]));
    let mut open = Run::start(with_faults(fault, &ends.open(&[])));
    serve.says("tunnel up");
    open.says("tunnel up");
    let mut tcp = client(&ends);
    let mut back = vec![0; 1 << 20];
    let mut writer = tcp.try_clone().expect("cloneable");
    let writing = std::thread::spawn(move || writer.write_all(&vec![7; 1 << 20]).expect("sent"));
    tcp.read_exact(&mut back).expect("all of it comes back");
    writing.join().expect("written");
    let ended = open.interrupt();
    assert_eq!(ended.code, Some(0), "{fault}: {}", ended.stderr);
    Some(ended.stderr)
}

fn with_faults(fault: &str, command: &Command) -> Command {
    // -D: the program stays our child, and strace becomes its grandchild.
    under(&["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", fault], command)
}

fn has_strace(test: &str) -> bool {
    is_there(
        test,
        "strace, or the right to use it",
        Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]),
    )
}

/// A folder for a full disk, unless there can be none.
fn full_disk(test: &str) -> Option<TempDir> {
    let folder = TempDir::new().expect("a temporary folder");
    let mut mount = on_full_disk(&Command::new("true"), folder.path());
    is_there(test, "a file system of its own (unshare)", &mut mount).then_some(folder)
}

/// Runs a program that finds a full disk in this folder; nobody else does.
fn on_full_disk(command: &Command, folder: &Path) -> Command {
    let script =
        "mount -t tmpfs -o size=64k none \"$0\" || exit 9; cat /dev/zero >\"$0/fill\" 2>&-; exec \"$@\"";
    let folder = folder.to_str().expect("UTF-8");
    under(&["unshare", "--map-root-user", "--mount", "sh", "-c", script, folder], command)
}

/// Skips the test loudly where something is missing.
fn is_there(test: &str, what: &str, trial: &mut Command) -> bool {
    let trial = trial.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = trial.is_ok_and(|status| status.success());
    if !is_there {
        skip(test, &format!("no {what}"));
    }
    is_there
}

/// A program that says nothing to us; killed when dropped.
struct Quiet(Child);

impl Quiet {
    /// Starts it with streams that take nothing.
    fn start(mut command: Command, stream: impl Fn() -> Stdio) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(stream()).stderr(stream()).spawn().expect("it starts");
        drop((child.stdout.take(), child.stderr.take()));
        Self(child)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ended_before = self.0.kill();
        let _reaped_before = self.0.wait();
    }
}
