//! One connection that fills its window over a road that loses and reorders.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use natlab::{LinkSpec, Side};

use crate::ground::{Ground, LOCAL_PORT, between, note};

const PORT: u16 = 7001;

/// Many stream windows' worth, bytes.
const BYTES: usize = 24 << 20;

/// The QUIC library ends a connection whose stream has too many pieces in disorder: with a stream window of 4 MiB and
/// a loss like this one it did. Ours is 2 MiB.
#[test]
fn one_flow_through_loss_and_disorder_arrives_whole_and_the_tunnel_stands() {
    let test = "one_flow_through_loss_and_disorder_arrives_whole_and_the_tunnel_stands";
    let delay = Duration::from_millis(30);
    let road = LinkSpec { delay, loss: 0.01, reorder: 0.001, ..LinkSpec::default() };
    let Some(ground) = Ground::or_skip(test, between("home", "home").with_link(road)) else { return };
    let service = ground.listen(Side::A, PORT);
    let sent: Vec<u8> =
        (0..BYTES as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let expected = sent.clone();
    thread::spawn(move || service.accept().expect("one client").0.write_all(&sent));
    let (serve, open) = ground.connect(PORT);

    let begun = Instant::now();
    let mut got = Vec::with_capacity(BYTES);
    ground.dial(Side::B, LOCAL_PORT).expect("the local port accepts").read_to_end(&mut got).expect("read");
    note(&format!("{} MiB in {:.1} s", got.len() >> 20, begun.elapsed().as_secs_f64()));

    assert!(got == expected, "{} of {BYTES} bytes, or other ones", got.len());
    for ended in [open.interrupt(), serve.interrupt()] {
        assert_eq!(ended.stderr.matches("tunnel up").count(), 1, "{}", ended.stderr);
    }
}
