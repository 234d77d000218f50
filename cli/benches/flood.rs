//! A transfer of 100 Mbit/s while a stranger floods the port: `cargo bench --bench flood` (root, nftables).
//!
//! Two open hosts of the laboratory, 100 Mbit/s and 10 ms between them; a stranger on the serve side's own network
//! sends 50,000 datagrams a second to its port, of each kind in turn. Prints goodput without and with the flood, in
//! turn, and the medians' ratio; and what the stranger got back.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[expect(dead_code, reason = "`soak` uses more of it")]
mod rig;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side, chance::Chance};
use rig::Program;

const RATE_BITS_PER_S: u64 = 100_000_000;
const DELAY: Duration = Duration::from_millis(10);
const FLOOD_PER_S: u32 = 50_000;
const ROUNDS: usize = 5;
const TRANSFER: usize = 40 << 20;
const LOCAL: u16 = 2222;

fn main() {
    if let Err(missing) = natlab::available() {
        println!("skipped: {missing}");
        return;
    }
    let link =
        LinkSpec { rate_bits_per_s: Some(RATE_BITS_PER_S), queue_bytes: 1 << 20, ..LinkSpec::delayed(DELAY) };
    let open_host = || NatSpec::preset("open").expect("a preset");
    let lab = Lab::build(LabSpec::new(open_host(), open_host()).with_link(link)).expect("a laboratory");
    let service = lab
        .host(Side::A)
        .enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .expect("inside")
        .expect("a port");
    let target = format!("it={}", service.local_addr().expect("an address"));
    thread::spawn(move || send_bulk(&service));
    let program = |side| lab.host(side).command(env!("CARGO_BIN_EXE_pinhole"));
    let [a, b] = Side::BOTH.map(|side| lab.side(side).public_ip().to_string());
    let mut serve = Program::start(program(Side::A), &["serve", &target, "--peer", &b]);
    let mut open = Program::start(program(Side::B), &["open", &format!("{LOCAL}:it"), "--peer", &a]);
    serve.wait_for("tunnel up");
    open.wait_for("tunnel up");
    for kind in ["noise", "lookalike", "initial"] {
        let (mut calm, mut flooded) = (Vec::new(), Vec::new());
        let mut sent = 0.0;
        let mut answers = 0;
        for _ in 0..ROUNDS {
            calm.push(transfer(&lab));
            let flood = Flood::start(&lab, kind);
            flooded.push(transfer(&lab));
            let (rate, back) = flood.stop();
            sent += rate / ROUNDS as f64;
            answers += back;
        }
        let (calm, flooded) = (median(calm), median(flooded));
        println!(
            "{kind:9}  calm {calm:5.1} Mbit/s  flooded {flooded:5.1} Mbit/s  ratio {:.3}  flood {sent:.0}/s  answers {answers}  RSS serve {} KiB",
            flooded / calm,
            serve.status("VmRSS:"),
        );
    }
}

fn send_bulk(service: &TcpListener) {
    // Bytes that do not compress: the link must be the limit.
    let mut chance = Chance::new(7);
    let block: Vec<u8> = (0..1 << 17).flat_map(|_| chance.next_u64().to_le_bytes()).collect();
    for tcp in service.incoming() {
        let mut tcp = tcp.expect("a connection");
        for _ in 0..TRANSFER >> 20 {
            if tcp.write_all(&block).is_err() {
                break;
            }
        }
    }
}

/// Returns the goodput of one transfer, Mbit/s.
fn transfer(lab: &Lab) -> f64 {
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, LOCAL));
    let mut tcp = lab.host(Side::B).enter(connect).expect("inside").expect("the local port accepts");
    let begun = Instant::now();
    let mut got = Vec::with_capacity(TRANSFER);
    tcp.read_to_end(&mut got).expect("the transfer goes through");
    assert_eq!(got.len(), TRANSFER);
    got.len() as f64 * 8.0 / 1e6 / begun.elapsed().as_secs_f64()
}

/// A stranger at work.
struct Flood {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    sender: thread::JoinHandle<f64>,
}

impl Flood {
    fn start(lab: &Lab, kind: &'static str) -> Self {
        let target = SocketAddr::from((lab.side(Side::A).public_ip(), 5555));
        let socket = lab
            .stranger()
            .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .expect("inside")
            .expect("a port");
        socket.set_nonblocking(true).expect("a flag");
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopping, heard) = (stop.clone(), answers.clone());
        let sender = thread::spawn(move || flood(&socket, target, kind, &stopping, &heard));
        Self { stop, answers, sender }
    }

    /// Returns datagrams a second that were sent, and answers that came back.
    fn stop(self) -> (f64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        (self.sender.join().expect("no panic"), self.answers.load(Ordering::Relaxed))
    }
}

fn flood(socket: &UdpSocket, target: SocketAddr, kind: &str, stop: &AtomicBool, answers: &AtomicU64) -> f64 {
    let payload = match kind {
        "lookalike" => vec![0x82; 101],
        "initial" => [&[0xc3, 0, 0, 0, 1, 8][..], &[7; 1194]].concat(),
        _ => vec![0x11; 100],
    };
    let begun = Instant::now();
    let (mut tried, mut sent) = (0u32, 0u32);
    while !stop.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * f64::from(FLOOD_PER_S)) as u32;
        while tried < due {
            // The system refuses some where its queue is full.
            sent += u32::from(socket.send_to(&payload, target).is_ok());
            tried += 1;
        }
        while socket.recv_from(&mut [0; 2048]).is_ok() {
            answers.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_micros(500));
    }
    f64::from(sent) / begun.elapsed().as_secs_f64()
}

/// Returns the median.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
