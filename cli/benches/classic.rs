//! What the old script's format carries, and at what cost: `cargo bench --bench classic` (root, nftables, python3).
//!
//! Two hosts of the laboratory behind port-preserving NATs. One TCP connection carries bytes that do not compress, first
//! down to the open side and then up, byte-exact or the run fails. Each pair of programs in turn, on the same link:
//! goodput, and CPU time of each program per megabyte. `-- MB DELAY_MS` for other sizes and one-way delays than 100 MB
//! at once and 8 MB over 25 ms; `PINHOLE_OLD_SCRIPT=FILE` for another script than cli/tests/classic/script.py.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[expect(dead_code, reason = "other benches use more of it")]
#[path = "rig/program.rs"]
mod program;

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side};
use program::Program;

const SERVICE: u16 = 7001;
const LOCAL: u16 = 2222;

/// USER_HZ, the same on all of Linux' usual architectures (proc_pid_stat(5)).
const TICKS_PER_S: f64 = 100.0;

/// How often is looked whether a program listens.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Script,
    Pinhole,
}

/// Serve side and open side.
const PAIRS: [[Kind; 2]; 4] = [
    [Kind::Script, Kind::Script],
    [Kind::Pinhole, Kind::Script],
    [Kind::Script, Kind::Pinhole],
    [Kind::Pinhole, Kind::Pinhole],
];

fn main() {
    if let Err(missing) = natlab::available() {
        println!("skipped: {missing}");
        return;
    }
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let runs = match numbers[..] {
        [megabytes, delay_ms] => vec![(megabytes, delay_ms)],
        _ => vec![(100, 0), (8, 25)],
    };
    println!("serve side  open side      MB  delay    down      up   CPU serve   CPU open");
    for (megabytes, delay_ms) in runs {
        for pair in PAIRS {
            measure(pair, megabytes, delay_ms);
        }
    }
}

fn measure(pair: [Kind; 2], megabytes: u64, delay_ms: u64) {
    let home = || NatSpec::preset("home").expect("a preset");
    let link = LinkSpec::delayed(Duration::from_millis(delay_ms));
    let lab = Lab::build(LabSpec::new(home(), home()).with_link(link)).expect("a laboratory");
    let bytes = usize::try_from(megabytes * 1_000_000).expect("it fits into memory");
    let service = lab.host(Side::A).enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, SERVICE)));
    let service = service.expect("inside").expect("a port");
    let served = thread::spawn(move || serve(&service, bytes));
    let programs = Side::BOTH.map(|side| start(&lab, side, pair[side.index()]));
    await_listener(&lab);
    let tcp = lab.host(Side::B).enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, LOCAL)));
    let mut tcp = tcp.expect("inside").expect("the local port accepts");

    let begun = Instant::now();
    tcp.write_all(b"!").expect("taken");
    let mut got = vec![0; bytes];
    tcp.read_exact(&mut got).expect("all of it arrives");
    let down = begun.elapsed();
    assert!(got == noise(bytes, 1), "other bytes came down");
    got.clear();
    let sent = noise(bytes, 2);
    let begun = Instant::now();
    tcp.write_all(&sent).expect("taken");
    tcp.read_exact(&mut [0]).expect("the service has it all");
    let up = begun.elapsed();

    let rate = |time: Duration| megabytes as f64 / time.as_secs_f64();
    let cost = |program: &Program| cpu(program).as_secs_f64() * 1000.0 / (2 * megabytes) as f64;
    let [serve, open] = &programs;
    println!(
        "{:10}  {:10} {megabytes:5}  {delay_ms:2} ms  {:6.2}  {:6.2} MB/s  {:5.2}  {:5.2} ms/MB",
        name(pair[0]),
        name(pair[1]),
        rate(down),
        rate(up),
        cost(serve),
        cost(open),
    );
    drop(tcp);
    served.join().expect("what came up is what was sent");
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Script => "script",
        Kind::Pinhole => "pinhole",
    }
}

/// Sends one noise, demands the other one.
fn serve(service: &TcpListener, bytes: usize) {
    let mut tcp = service.accept().expect("one client").0;
    tcp.read_exact(&mut [0]).expect("the word to begin");
    tcp.write_all(&noise(bytes, 1)).expect("taken");
    let mut got = vec![0; bytes];
    tcp.read_exact(&mut got).expect("all of it arrives");
    assert!(got == noise(bytes, 2), "other bytes came up");
    tcp.write_all(b"!").expect("taken");
}

/// Bytes that do not compress.
fn noise(bytes: usize, salt: u64) -> Vec<u8> {
    let mut state = salt;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Waits until somebody listens on the local port, without connecting: the script takes just one connection.
fn await_listener(lab: &Lab) {
    let listens = || {
        let sockets = fs::read_to_string("/proc/thread-self/net/tcp").expect("there");
        sockets.lines().any(|line| line.contains(&format!(":{LOCAL:04X} 00000000:0000 0A")))
    };
    while !lab.host(Side::B).enter(listens).expect("inside") {
        thread::sleep(LOOK);
    }
}

fn start(lab: &Lab, side: Side, kind: Kind) -> Program {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classic/script.py").to_owned();
    let script = std::env::var("PINHOLE_OLD_SCRIPT").unwrap_or(own);
    let host = lab.host(side);
    let mut command = match kind {
        Kind::Script => host.command("python3"),
        Kind::Pinhole => host.command(env!("CARGO_BIN_EXE_pinhole")),
    };
    command.arg(if kind == Kind::Script { &script } else { "classic" });
    let (option, port) = if side == Side::A { ("-c", SERVICE) } else { ("-l", LOCAL) };
    let peer = lab.side(side.other()).public_ip();
    command.args([option, &port.to_string(), &peer.to_string()]);
    Program::start(command).expect("it starts")
}

/// Returns the CPU time that a program has used (proc_pid_stat(5): utime and stime).
fn cpu(program: &Program) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", program.id())).expect("it runs");
    let behind_name = stat.rsplit_once(") ").expect("the form of that file").1;
    let ticks = behind_name.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().expect("a number"));
    Duration::from_secs_f64(ticks.sum::<u64>() as f64 / TICKS_PER_S)
}
