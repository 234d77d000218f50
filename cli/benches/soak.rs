//! What stays when the peer comes and goes: `cargo bench --bench soak [-- --rounds N]`.
//!
//! Two programs on loopback. One of them stays, the other is ended and started again N times, half of them politely and
//! half by SIGKILL; each time a word goes through the tunnel and back. Then the same with the sides exchanged. Prints
//! memory, descriptors and threads of the side that stays, and the time from the start of the other to the answer.
//! Fails when the side that stays has grown between a tenth of the rounds and the last.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod rig;

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use rig::Program;
use rustix::process::Signal;

/// Rounds with each side, unless told otherwise.
const ROUNDS: u32 = 300;

/// What the side that stays may grow by, KiB.
const MAX_GROWTH_KIB: u64 = 1024;

/// Time in which the descriptors of a connection that is over must be gone.
const SETTLED: Duration = Duration::from_secs(5);

/// How often is looked whether they are.
const LOOK: Duration = Duration::from_millis(20);

const UDP_PORT: &str = "42879";

fn main() -> ExitCode {
    let rounds = rounds();
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ground = Ground {
        service: service.local_addr().expect("bound").port(),
        local: TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port(),
    };
    thread::spawn(move || echo(&service));
    println!("stays  rounds  RSS, KiB  descriptors  threads  reconnected in: median  max");
    let held = [Side::Serve, Side::Open].map(|stays| ground.soak(stays, rounds));
    if held.contains(&false) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Serve,
    Open,
}

/// The TCP ports of the two ends.
struct Ground {
    service: u16,
    local: u16,
}

/// What a program holds.
struct Held {
    rss_kib: u64,
    descriptors: u64,
    threads: u64,
}

impl Ground {
    /// Returns whether the side that stays has not grown.
    fn soak(&self, stays: Side, rounds: u32) -> bool {
        let (mut survivor, goes) = match stays {
            Side::Serve => (self.start(Side::Serve), Side::Open),
            Side::Open => (self.start(Side::Open), Side::Serve),
        };
        survivor.wait_for(if stays == Side::Serve { "waiting for the peer" } else { "listening" });
        let marks = [rounds.div_ceil(10), rounds.div_ceil(2), rounds];
        let (mut times, mut seen) = (Vec::new(), Vec::<Held>::new());
        for round in 1..=rounds {
            let begun = Instant::now();
            let mut comes = self.start(goes);
            comes.wait_for("tunnel up");
            self.ask();
            times.push(begun.elapsed());
            if marks.contains(&round) {
                let held = Held::settled(&survivor, seen.first().map(|first| first.descriptors));
                println!(
                    "{:5}  {round:6}  {:8}  {:11}  {:7}  {:22.3}  {:.3} s",
                    format!("{stays:?}").to_lowercase(),
                    held.rss_kib,
                    held.descriptors,
                    held.threads,
                    median(&mut times).as_secs_f64(),
                    times.iter().max().expect("a round").as_secs_f64(),
                );
                seen.push(held);
            }
            // Not before it was looked: who searches has hundreds of sockets.
            comes.end(if round % 2 == 0 { Signal::INT } else { Signal::KILL });
        }
        let (first, last) = (seen.first().expect("a mark"), seen.last().expect("a mark"));
        last.rss_kib <= first.rss_kib + MAX_GROWTH_KIB && last.descriptors <= first.descriptors
    }

    fn start(&self, side: Side) -> Program {
        let (verb, spec, peer, own) = match side {
            Side::Serve => ("serve", format!("it=127.0.0.1:{}", self.service), "127.0.0.2", "127.0.0.1"),
            Side::Open => ("open", format!("{}:it", self.local), "127.0.0.1", "127.0.0.2"),
        };
        let args = [verb, &spec, "--peer", peer, "--bind", own, "--port", UDP_PORT];
        Program::start(Command::new(env!("CARGO_BIN_EXE_pinhole")), &args)
    }

    /// Sends a word through the tunnel and takes it back.
    fn ask(&self) {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.local)).expect("the local port accepts");
        tcp.write_all(b"still there?").and_then(|()| tcp.shutdown(Shutdown::Write)).expect("sent");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).expect("the answer arrives");
        assert_eq!(answer, "still there?");
    }
}

impl Held {
    /// Looks once what is over has been cleared away: as few descriptors as before, or a while has passed.
    fn settled(program: &Program, before: Option<u64>) -> Self {
        let until = Instant::now() + SETTLED;
        while Instant::now() < until && before.is_none_or(|before| program.descriptors() > before) {
            thread::sleep(LOOK);
        }
        Self {
            rss_kib: program.status("VmRSS:"),
            descriptors: program.descriptors(),
            threads: program.status("Threads:"),
        }
    }
}

/// Sends back whatever comes.
fn echo(service: &TcpListener) {
    for tcp in service.incoming() {
        let tcp = tcp.expect("a connection");
        thread::spawn(move || {
            let _cut_off = io::copy(&mut &tcp, &mut &tcp);
            let _gone = tcp.shutdown(Shutdown::Write);
        });
    }
}

fn rounds() -> u32 {
    let mut args = std::env::args().skip_while(|arg| arg != "--rounds");
    args.next().map_or(ROUNDS, |_| args.next().and_then(|n| n.parse().ok()).expect("--rounds takes a number"))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
