//! Connections over a road so narrow that packing pays.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::Shutdown,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use natlab::{LinkSpec, Side};

use crate::{
    ground::{Ground, LOCAL_PORT, between, note},
    program::Run,
};

const PORT: u16 = 7002;

/// What the road carries in a second, bits.
const RATE: u64 = 8_000_000;

/// A bit more than that allows for text alone.
const TEXT_BYTES: usize = 6 << 20;

fn road() -> LinkSpec {
    let delay = Duration::from_millis(10);
    LinkSpec { delay, rate_bits_per_s: Some(RATE), queue_bytes: 100_000, ..LinkSpec::default() }
}

/// Lines of a log, none like another.
fn text(bytes: usize) -> Vec<u8> {
    let (mut text, mut state) = (String::with_capacity(bytes + 200), 7_u64);
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (client, status, took) = (state >> 56, 200 + (state >> 40) % 5, state >> 30 & 0xffff);
        let line =
            writeln!(text, "10.0.0.{client} GET /things/{:x} HTTP/1.1 {status}, {took} µs", state >> 44);
        line.expect("memory takes it");
    }
    text.into_bytes()
}

/// Bytes that nothing makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).wrapping_mul(at) as u8)
        .collect()
}

/// Starts both sides, with more arguments for the serve side.
fn connect(ground: &Ground, more: &[&str]) -> (Run, Run) {
    let mut serve: Command = ground.serve(PORT);
    serve.args(more);
    let (mut serve, mut open) = (Run::start(serve), Run::start(ground.open()));
    serve.says("tunnel up");
    open.says("tunnel up");
    (serve, open)
}

/// Sends in both directions at once; returns how long the way down took.
fn exchange(ground: &Ground, down: &[u8], up: &[u8]) -> Duration {
    let service = ground.listen(Side::A, PORT);
    let mut client = ground.dial(Side::B, LOCAL_PORT).expect("the local port accepts");
    let (mut server, _) = service.accept().expect("one client");
    let mut also_server = server.try_clone().expect("a descriptor");
    let mut also_client = client.try_clone().expect("a descriptor");
    thread::scope(|scope| {
        scope.spawn(move || {
            server.write_all(down).expect("write");
            server.shutdown(Shutdown::Write).expect("the end");
        });
        scope.spawn(move || {
            also_client.write_all(up).expect("write");
            also_client.shutdown(Shutdown::Write).expect("the end");
        });
        let at_server = scope.spawn(move || {
            let mut got = Vec::new();
            also_server.read_to_end(&mut got).expect("read");
            got
        });
        let (begun, mut got) = (Instant::now(), Vec::new());
        client.read_to_end(&mut got).expect("read");
        let took = begun.elapsed();
        assert!(got == down, "{} of {} bytes, or other ones", got.len(), down.len());
        let got = at_server.join().expect("read");
        assert!(got == up, "{} of {} bytes, or other ones", got.len(), up.len());
        took
    })
}

#[test]
fn text_is_faster_than_the_road_and_whatever_is_between_arrives_whole() {
    let test = "text_is_faster_than_the_road_and_whatever_is_between_arrives_whole";
    let Some(ground) = Ground::or_skip(test, between("home", "home").with_link(road())) else { return };
    let (_serve, _open) = connect(&ground, &[]);
    let down = text(TEXT_BYTES);
    let plain = Duration::from_secs_f64(down.len() as f64 * 8.0 / RATE as f64);
    let took = exchange(&ground, &down, b"and back");
    note(&format!(
        "{:.1} s where the road alone would take {:.1} s",
        took.as_secs_f64(),
        plain.as_secs_f64()
    ));
    assert!(took < plain * 2 / 3, "it was not packed");

    let mixed = [text(2 << 20), noise(1 << 20), text(1 << 20), noise(3), text(100)].concat();
    exchange(&ground, &mixed, &mixed);
}

#[test]
fn what_one_side_forbids_neither_does() {
    let test = "what_one_side_forbids_neither_does";
    let Some(ground) = Ground::or_skip(test, between("home", "home").with_link(road())) else { return };
    let (_serve, _open) = connect(&ground, &["--compress", "off"]);
    let (down, up) = (text(2 << 20), text(2 << 20));
    let plain = Duration::from_secs_f64(down.len() as f64 * 8.0 / RATE as f64);
    let begun = Instant::now();
    let took = exchange(&ground, &down, &up);
    assert!(took > plain, "packed on the way down");
    assert!(begun.elapsed() > plain, "packed on the way up");
}
