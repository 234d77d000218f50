//! The user-space link does what its settings say.

#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side, WayStats, lab_or_skip};

const PATIENCE: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

#[test]
fn a_round_trip_takes_the_delay_twice() {
    if !lab_or_skip("a_round_trip_takes_the_delay_twice") {
        return;
    }
    let pair = Pair::new(LinkSpec::delayed(20 * MS));
    let mut trips: Vec<Duration> = (0..20).map(|_| pair.round_trip()).collect();
    trips.sort();
    assert!(trips[0] >= 40 * MS, "nothing is faster than the delay: {:?}", trips[0]);
    assert!(trips[trips.len() / 2] < 44 * MS, "half of them are hardly slower: {trips:?}");
}

#[test]
fn the_share_of_lost_packets_is_the_one_set_and_is_counted() {
    if !lab_or_skip("the_share_of_lost_packets_is_the_one_set_and_is_counted") {
        return;
    }
    let pair = Pair::new(LinkSpec { loss: 0.25, ..LinkSpec::default() });
    let arrived = pair.count_arrivals(4000);
    assert!((2850..3150).contains(&arrived), "{arrived} of 4000 arrive");
    assert_eq!(pair.lab.link().stats_from(Side::A).lost, 4000 - arrived);
}

#[test]
fn duplicates_arrive_twice() {
    if !lab_or_skip("duplicates_arrive_twice") {
        return;
    }
    let pair = Pair::new(LinkSpec { duplicate: 1.0, ..LinkSpec::default() });
    assert_eq!(pair.count_arrivals(100), 200);
}

#[test]
fn a_link_falls_silent_and_recovers_while_running() {
    if !lab_or_skip("a_link_falls_silent_and_recovers_while_running") {
        return;
    }
    let pair = Pair::new(LinkSpec::default());
    pair.round_trip();
    pair.lab.link().set(LinkSpec::silent()).expect("changeable");
    pair.a.send(b"lost").expect("sent");
    assert_eq!(pair.stats_after(2).lost, 1);
    pair.lab.link().set(LinkSpec::default()).expect("changeable");
    pair.round_trip();
}

#[test]
fn a_rate_limits_a_burst_to_its_time() {
    if !lab_or_skip("a_rate_limits_a_burst_to_its_time") {
        return;
    }
    let pair = Pair::new(LinkSpec { rate_bits_per_s: Some(10_000_000), ..LinkSpec::default() });
    // The first packet can wait a second for the neighbour's address, when that question is lost as interfaces come up.
    pair.round_trip();
    let begun = Instant::now();
    for _ in 0..50 {
        pair.a.send(&[0; 1000]).expect("sent");
    }
    for _ in 0..50 {
        pair.receive();
    }
    // 50 packets of 1,028 bytes at 10 Mbit/s.
    let due = Duration::from_micros(41_120);
    let took = begun.elapsed();
    assert!((due..due * 2).contains(&took), "{took:?}");
}

#[test]
fn a_direct_link_refuses_settings() {
    if !lab_or_skip("a_direct_link_refuses_settings") {
        return;
    }
    let lab = Lab::build(LabSpec::new(open(), open())).expect("built");
    assert!(lab.link().set(LinkSpec::silent()).is_err());
}

#[test]
#[ignore = "a measurement: prints how fast labs are built and how much the link carries"]
#[expect(clippy::print_stdout, reason = "a measurement is read")]
fn measures_build_time_and_throughput() {
    for (name, road) in [("direct", false), ("user space", true)] {
        let carrier = || NatSpec::preset("carrier").expect("a preset");
        let spec = LabSpec::new(carrier(), carrier());
        let spec = if road { spec.with_changeable_link() } else { spec };
        let begun = Instant::now();
        let lab = Lab::build(spec).expect("built");
        let built = begun.elapsed();
        drop(lab);
        println!("carrier x carrier, {name}: built in {built:?}, removed in {:?}", begun.elapsed() - built);
    }
    for delay in [Duration::ZERO, 20 * MS] {
        let pair = Pair::new(LinkSpec::delayed(delay));
        let mut trips: Vec<Duration> = (0..200).map(|_| pair.round_trip()).collect();
        trips.sort();
        println!("one-way delay {delay:?}: round trip median {:?}, p99 {:?}", trips[100], trips[198]);
    }
    for mbit_per_s in [200, 400, 600, 800] {
        println!("{}", throughput(mbit_per_s));
    }
}

/// Sends 1,400-byte datagrams at that pace for two seconds and tells how many arrive.
fn throughput(mbit_per_s: u64) -> String {
    let pair = Pair::new(LinkSpec::delayed(10 * MS));
    let per_s = mbit_per_s * 1_000_000 / 8 / 1400;
    let receiver = pair.b.try_clone().expect("cloned");
    let counting = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        let mut count = 0_u64;
        while receiver.recv(&mut buffer).is_ok_and(|bytes| bytes == 1400) {
            count += 1;
        }
        count
    });
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        if sent < (begun.elapsed().as_secs_f64() * per_s as f64) as u64 {
            pair.a.send(&[0; 1400]).expect("sent");
            sent += 1;
        }
    }
    let carried = pair.lab.link().stats_from(Side::A).packets;
    while !counting.is_finished() {
        // Again and again, because the receiver's socket may be full.
        pair.a.send(b"end").expect("sent");
        std::thread::yield_now();
    }
    let arrived = counting.join().expect("counted");
    let share = arrived as f64 / sent as f64;
    let share = share * 100.0;
    let overflowed = overflows(&pair.lab);
    format!(
        "{mbit_per_s} Mbit/s wanted: {sent} sent, {carried} carried, {arrived} arrived ({share:.2} %), \
         {overflowed} too fast for the receiver's socket"
    )
}

/// Returns how many datagrams host B's sockets had no room for (`RcvbufErrors`).
fn overflows(lab: &Lab) -> String {
    let read = || std::fs::read_to_string("/proc/thread-self/net/snmp");
    let snmp = lab.host(Side::B).enter(read).expect("entered").expect("readable");
    let udp = snmp.lines().filter(|line| line.starts_with("Udp:")).nth(1).expect("names, then values");
    udp.split_whitespace().nth(5).expect("the fifth value").to_owned()
}

/// Two open hosts with a socket each, connected to each other.
struct Pair {
    a: UdpSocket,
    b: UdpSocket,
    lab: Lab,
}

impl Pair {
    fn new(link: LinkSpec) -> Pair {
        let spec = LabSpec { link, ..LabSpec::new(open(), open()) }.with_changeable_link();
        let lab = Lab::build(spec).expect("built");
        Pair { a: socket(&lab, Side::A), b: socket(&lab, Side::B), lab }
    }

    fn round_trip(&self) -> Duration {
        let begun = Instant::now();
        self.a.send(b"ping").expect("sent");
        receive(&self.b);
        self.b.send(b"pong").expect("sent");
        receive(&self.a);
        begun.elapsed()
    }

    /// Sends so many packets of 1,000 bytes, each when what the last one became has arrived, then, by a perfect
    /// link, a last word; counts up to that.
    fn count_arrivals(&self, packets: u64) -> u64 {
        let mut arrived = 0;
        for number in 1..=packets {
            self.a.send(&[0; 1000]).expect("sent");
            let stats = self.stats_after(number);
            while arrived < stats.packets - stats.dropped() + stats.duplicated {
                assert_eq!(self.receive(), 1000);
                arrived += 1;
            }
        }
        self.lab.link().set(LinkSpec::default()).expect("changeable");
        self.a.send(b"end").expect("sent");
        assert_eq!(self.receive(), 3, "no more arrives than the link counted");
        arrived
    }

    /// Waits until the link has taken in so many packets.
    fn stats_after(&self, packets: u64) -> WayStats {
        let until = Instant::now() + PATIENCE;
        loop {
            let stats = self.lab.link().stats_from(Side::A);
            if stats.packets >= packets {
                return stats;
            }
            assert!(Instant::now() < until, "the link takes in what is sent");
            std::thread::yield_now();
        }
    }

    fn receive(&self) -> usize {
        receive(&self.b)
    }
}

/// Returns the size of the next datagram, which must arrive.
fn receive(socket: &UdpSocket) -> usize {
    match socket.recv(&mut [0; 2048]) {
        Ok(bytes) => bytes,
        // A read with a timeout is not resumed by the kernel when something stops the process for a while.
        Err(error) if error.kind() == ErrorKind::Interrupted => receive(socket),
        Err(error) => panic!("nothing arrives: {error}"),
    }
}

fn open() -> NatSpec {
    NatSpec::preset("open").expect("a preset")
}

fn socket(lab: &Lab, side: Side) -> UdpSocket {
    let bound = lab.host(side).enter(|| {
        let socket = UdpSocket::bind(SocketAddrV4::new(lab.host(side).ip(), 5555))?;
        socket.connect(SocketAddrV4::new(lab.side(side.other()).public_ip(), 5555))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok::<UdpSocket, std::io::Error>(socket)
    });
    bound.expect("entered").expect("bound")
}
