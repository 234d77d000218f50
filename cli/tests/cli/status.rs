//! What a running instance tells of itself: on its socket, on its page, and as metrics.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::{AtFlags, CWD, Timespec, Timestamps, utimensat},
    process::Signal,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    loopback::{Loopback, start_echo},
    program::{Ended, PATIENCE, Run, pinhole},
};

/// A runtime folder of its own, and the programs that use it.
struct Session(TempDir);

impl Session {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn start(&self, mut command: Command) -> Run {
        command.env("XDG_RUNTIME_DIR", self.0.path());
        Run::start(command)
    }

    fn status(&self, args: &[&str]) -> Ended {
        self.start(pinhole(&[&["status"], args].concat())).ends()
    }

    /// Returns what `status --json` says, an object for each instance.
    fn snapshots(&self) -> Vec<Value> {
        let said = self.status(&["--json"]).stdout;
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("pinhole")
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten();
        entries.map(|entry| entry.expect("readable").path()).collect()
    }
}

/// The answer to a request.
struct Answer {
    head: String,
    body: String,
}

/// Sends a request as it stands and reads until the other end closes.
fn request(to: SocketAddr, head: &str) -> Answer {
    let mut tcp = TcpStream::connect(to).expect("the page is served");
    tcp.set_read_timeout(Some(PATIENCE)).expect("settable");
    tcp.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).expect("sent");
    let mut text = String::new();
    tcp.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    Answer { head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, &format!("GET {path} HTTP/1.1\r\nHost: {to}"))
}

/// Starts a serve side with a page, and returns where that is.
fn start_with_page(session: &Session, ends: &Loopback) -> (Run, SocketAddr) {
    let mut serve = session.start(ends.serve(&["--status", &format!("{}:0", ends.serve_ip)]));
    let told = serve.says("status page at http://");
    let address = told.trim_start_matches("status page at http://").trim_end_matches('/');
    (serve, address.parse().expect("an address"))
}

#[test]
fn running_instances_say_what_they_do() {
    let (ends, session) = (Loopback::new(), Session::new());
    start_echo(ends.service());
    let mut serve = session.start(ends.serve(&[]));
    serve.says("waiting for the peer");
    let waiting = session.status(&[]);
    assert_eq!(waiting.code, Some(0));
    assert!(waiting.stdout.starts_with("waiting for the peer at "), "{}", waiting.stdout);
    let mut open = session.start(ends.open(&[]));
    serve.says("tunnel up");
    open.says("tunnel up");
    assert_eq!(ends.ask("nine bytes"), "nine bytes");

    let all = session.snapshots();
    assert_eq!(all.len(), 2, "{all:?}");
    for (snapshot, role) in all.iter().zip(["serve", "open"]) {
        assert_eq!((&snapshot["schema"], &snapshot["role"]), (&1.into(), &role.into()));
        assert_eq!(snapshot["state"], "connected");
        assert_eq!(snapshot["path"]["method"], "base");
        assert_eq!(snapshot["path"]["chosen"], "first");
        assert_eq!(snapshot["network"]["is_behind_nat"], false, "{snapshot}");
        assert_eq!(snapshot["forwards"][0]["total"], 1);
        assert_eq!(snapshot["traffic"]["sent_bytes"], 10, "{snapshot}");
        assert_eq!(snapshot["traffic"]["received_bytes"], 10);
        assert_eq!(snapshot["history"][0]["event"], "punched");
    }
    let told = session.status(&[]);
    assert_eq!(told.code, Some(0));
    assert_eq!(told.stdout.matches("connected to ").count(), 2, "{}", told.stdout);
}

#[test]
fn a_path_that_is_lost_is_in_the_state_and_in_the_history() {
    let (ends, session) = (Loopback::new(), Session::new());
    let mut serve = session.start(ends.serve(&[]));
    let mut open = session.start(ends.open(&[]));
    open.says("tunnel up");
    serve.says("tunnel up");
    assert_eq!(serve.interrupt().code, Some(0));
    open.says("peer left");
    let all = session.snapshots();
    assert_eq!(all.len(), 1, "whoever leaves takes the socket away");
    assert_eq!((&all[0]["state"], &all[0]["path"]), (&"searching".into(), &Value::Null));
    let last = all[0]["history"].as_array().and_then(|entries| entries.last()).expect("an entry");
    assert_eq!(last["event"], "peer_left");
}

#[test]
fn without_an_instance_it_says_so_with_status_1() {
    let session = Session::new();
    let ended = session.status(&[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let live = session.status(&["--watch"]);
    assert_eq!(live.code, Some(2));
    assert!(live.stderr.contains("terminal") || live.stderr.contains("built without"), "{}", live.stderr);
}

#[test]
fn a_socket_is_for_its_user_alone_and_answers_what_is_asked() {
    let (ends, session) = (Loopback::new(), Session::new());
    let mut serve = session.start(ends.serve(&[]));
    serve.says("waiting for the peer");
    let sockets = session.sockets();
    let meta = fs::metadata(&sockets[0]).expect("it is there");
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(session.folder()).expect("made").permissions().mode() & 0o777, 0o700);
    // More than are answered at a time hold the line; others still get their turn.
    let silent: Vec<UnixStream> = (0..80).map(|_| connect(&sockets[0])).collect();
    let ask = |wanted: &str| {
        let mut client = connect(&sockets[0]);
        client.write_all(wanted.as_bytes()).expect("it listens");
        let mut answer = String::new();
        client.read_to_string(&mut answer).map(|_| answer)
    };
    let answer = ask("\"status\"\n").expect("an answer");
    assert!(answer.contains("\"state\":\"searching\""), "{answer}");
    drop(silent);
    assert_eq!(ask("{\"leave\":{\"port\":5555}}\n").expect("an answer"), "{\"is\":\"other\"}\n");
    assert_eq!(ask("\"dance\"\n").expect("it closes"), "");
    assert_eq!(serve.interrupt().code, Some(0));
    assert_eq!(session.sockets(), Vec::<PathBuf>::new());
}

/// Takes a client that asks for the status.
fn take_client(listener: &UnixListener) -> UnixStream {
    let (client, _) = listener.accept().expect("a client");
    let mut wanted = String::new();
    BufReader::new(&client).read_line(&mut wanted).expect("a line");
    assert_eq!(wanted, "\"status\"\n");
    client
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("settable");
    stream
}

#[test]
fn what_dead_instances_left_is_removed_and_what_may_be_starting_is_not() {
    let (ends, session) = (Loopback::new(), Session::new());
    let mut serve = session.start(ends.serve(&[]));
    serve.says("waiting for the peer");
    serve.signal(Signal::KILL);
    assert_eq!(serve.ends().code, None);
    assert_eq!(session.sockets().len(), 1, "nobody could remove it");
    assert_eq!(session.status(&[]).code, Some(1));
    assert_eq!(session.sockets().len(), 1, "too young to be judged");
    let long_ago = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    utimensat(CWD, &session.sockets()[0], &times, AtFlags::SYMLINK_NOFOLLOW).expect("ours");
    assert_eq!(session.status(&[]).code, Some(1));
    assert_eq!(session.sockets(), Vec::<PathBuf>::new());
}

#[test]
fn an_instance_that_talks_nonsense_or_not_at_all_is_named() {
    let session = Session::new();
    fs::create_dir(session.folder()).expect("ours");
    let liar = UnixListener::bind(session.folder().join("1-serve-liar.sock")).expect("a socket");
    let speaking = std::thread::spawn(move || {
        let mut client = take_client(&liar);
        let _gone = client.write_all(b"{\"schema\":");
    });
    let ended = session.status(&[]);
    speaking.join().expect("no panic");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("1-serve-liar.sock is there and does not answer"), "{}", ended.stderr);
}

#[test]
fn what_another_program_says_of_itself_does_nothing_to_a_terminal() {
    const HOSTILE: &str = include_str!("../../../fuzz/seeds/status/hostile");
    let session = Session::new();
    fs::create_dir(session.folder()).expect("ours");
    let liar = UnixListener::bind(session.folder().join("1-serve-liar.sock")).expect("a socket");
    let speaking = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut client = take_client(&liar);
            client.write_all(HOSTILE.as_bytes()).expect("it listens");
        }
    });
    let shown = session.status(&[]).stdout;
    assert!(shown.contains(r"a\u{202e}b\u{9b}2J\u{1b}[2J"), "{shown}");
    let said = session.status(&["--json"]).stdout;
    let value = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
    assert_eq!(value(&said), value(HOSTILE), "a program reads what was said");
    for text in [shown, said] {
        let acts = |c: char| c.is_control() && c != '\n' || ['\u{202e}', '\u{2066}'].contains(&c);
        assert!(!text.contains(acts), "{text:?}");
    }
    speaking.join().expect("no panic");
}

#[test]
fn a_socket_that_cannot_be_had_is_told_once_and_ends_nothing() {
    let (ends, session) = (Loopback::new(), Session::new());
    fs::create_dir(session.folder()).expect("ours");
    fs::set_permissions(session.folder(), fs::Permissions::from_mode(0o777)).expect("ours");
    start_echo(ends.service());
    let mut serve = session.start(ends.serve(&[]));
    let told = serve.says("`pinhole status` will not see this one");
    assert!(told.contains("others can write to it"), "{told}");
    let mut open = Run::start(ends.open(&[]));
    open.says("tunnel up");
    assert_eq!(ends.ask("all the same"), "all the same");
    let ended = serve.interrupt();
    assert_eq!(ended.stderr.matches("will not see").count(), 1, "{}", ended.stderr);
}

#[test]
fn the_page_shows_what_the_socket_says() {
    let (ends, session) = (Loopback::new(), Session::new());
    let (_serve, page) = start_with_page(&session, &ends);
    let html = get(page, "/");
    assert!(html.head.starts_with("http/1.1 200"), "{}", html.head);
    assert!(
        html.head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
        "{}",
        html.head
    );
    for (path, kind) in
        [("/status.css", "text/css"), ("/status.js", "text/javascript"), ("/icon.svg", "image/svg")]
    {
        assert!(html.body.contains(path), "the page uses {path}");
        assert!(get(page, path).head.contains(&format!("content-type: {kind}")), "{path}");
    }
    let json: Value = serde_json::from_str(&get(page, "/status.json").body).expect("JSON");
    let socket = session.snapshots().pop().expect("one runs");
    for field in ["schema", "version", "pid", "role", "peer", "state"] {
        assert_eq!(json[field], socket[field], "{field}");
    }
}

#[test]
fn the_page_is_for_this_machine_and_for_reading() {
    let (ends, session) = (Loopback::new(), Session::new());
    let (_serve, page) = start_with_page(&session, &ends);
    let code = |head: &str| request(page, head).head.split(' ').nth(1).map(str::to_owned);
    let expected = [
        (format!("GET /status.json HTTP/1.1\r\nHost: {page}"), "200"),
        (format!("HEAD / HTTP/1.1\r\nHost: localhost:{}", page.port()), "200"),
        (format!("GET /status.json HTTP/1.1\r\nHost: evil.example:{}", page.port()), "421"),
        (format!("GET http://evil.example/status.json HTTP/1.1\r\nHost: {page}"), "421"),
        ("GET /status.json HTTP/1.1".to_owned(), "421"),
        (format!("GET / HTTP/1.1\r\nHost: {page}\r\nHost: evil.example"), "421"),
        (format!("POST /status.json HTTP/1.1\r\nHost: {page}\r\nContent-Length: 0"), "405"),
        (format!("GET /../Cargo.toml HTTP/1.1\r\nHost: {page}"), "404"),
        (format!("GET / HTTP/1.1\r\nHost: {page}\r\nX: {}", "x".repeat(20_000)), "431"),
    ];
    for (head, expected) in expected {
        assert_eq!(code(&head).as_deref(), Some(expected), "{}", &head[..head.len().min(80)]);
    }
    assert!(!get(page, "/status.json").head.contains("access-control-allow"), "nobody else may read it");
}

#[test]
fn a_page_that_others_could_reach_takes_consent_and_a_port_in_use_is_told() {
    let (ends, session) = (Loopback::new(), Session::new());
    let ended = session.start(ends.serve(&["--status", "0.0.0.0:0"])).ends();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--status-public"), "{}", ended.stderr);
    let mut public = session.start(ends.serve(&["--status", "0.0.0.0:0", "--status-public"]));
    public.says("status page at http://0.0.0.0:");
    drop(public);
    let (_serve, page) = start_with_page(&session, &ends);
    let ended = session.start(ends.open(&["--status", &page.to_string()])).ends();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("in use"), "{}", ended.stderr);
}

#[test]
fn the_metrics_are_well_formed() {
    let (ends, session) = (Loopback::new(), Session::new());
    start_echo(ends.service());
    let (mut serve, page) = start_with_page(&session, &ends);
    check_open_metrics(&get(page, "/metrics").body);
    let mut open = session.start(ends.open(&[]));
    open.says("tunnel up");
    serve.says("tunnel up");
    ends.ask("five bytes");
    let answer = get(page, "/metrics");
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        answer.head
    );
    check_open_metrics(&answer.body);
    let service = format!("service=\"{}\",target=\"{}\"", ends.service().port(), ends.service());
    for sample in [
        "pinhole_state{pinhole_state=\"connected\"} 1".to_owned(),
        "pinhole_events_total{event=\"tunnel_up\"} 1".to_owned(),
        format!("pinhole_sent_bytes_total{{{service}}} 10"),
        format!("pinhole_sent_saved_bytes_total{{{service}}} 0"),
        format!("pinhole_received_saved_bytes_total{{{service}}} 0"),
        format!("pinhole_connections_total{{{service}}} 1"),
    ] {
        assert!(answer.body.contains(&sample), "{sample} in\n{}", answer.body);
    }
}

/// Holds a text to the rules of OpenMetrics 1.0.0 that its parsers refuse to do without.
fn check_open_metrics(text: &str) {
    let lines: Vec<&str> = text.strip_suffix("# EOF\n").expect("ends so").lines().collect();
    let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = ("", "");
    for line in lines {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(families.insert(family), "{family} twice");
            assert!(["gauge", "counter", "info", "stateset"].contains(&kind), "{line}");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("a name and a unit");
            assert!(name == family && family.ends_with(&format!("_{unit}")), "{line}");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(&format!("{family} ")), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            assert!(samples.insert(series), "{series} twice");
            let number: f64 = value.parse().expect("a number");
            assert!(number.is_finite() && number >= 0.0, "{line}");
            let name = series.split('{').next().expect("a name");
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            assert_eq!(name, format!("{family}{suffix}"), "{line}");
            assert!(kind != "counter" || !family.ends_with("_total"), "{line}");
        }
    }
    assert!(samples.len() > 5, "{text}");
}
