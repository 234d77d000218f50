//! The texts of `pinhole classic`.

use std::{io, net::SocketAddr, time::Duration};

use pinhole_classic::{End, Ratio, Summary};

use super::super::texts::{RAISE, span};

/// What everybody who uses this must know.
pub(super) fn caveat(serves: bool, tcp: &str, peer: &str) -> String {
    let side = if serves { "-c" } else { "-l" };
    format!(
        "classic is neither encrypted nor authenticated: whoever is on the way can read and change everything, and whoever can forge the peer's address can send in its name. As soon as both sides have pinhole, use `pinhole {side} {tcp} {peer}`"
    )
}

pub(super) fn waiting(peer: &str, address: SocketAddr) -> String {
    let found = address.to_string();
    let found = if found == peer { String::new() } else { format!(" ({found})") };
    format!("waiting for the peer's script at {peer}{found}")
}

pub(super) fn heard(from: SocketAddr) -> String {
    format!("the peer is heard: {from}")
}

/// The peer has moved on to pinhole.
pub(super) fn pinhole(from: SocketAddr, serves: bool) -> String {
    let (here, there) = if serves { ("-c", "-l") } else { ("-l", "-c") };
    format!(
        "packets of pinhole arrive from {from}, and none of the old script: end this one and run `pinhole {here} TCP_PORT PEER`, or run `pinhole classic {there} TCP_PORT PEER` there"
    )
}

pub(super) fn ended(summary: &Summary) -> String {
    let why = match summary.end {
        End::Local => "the local connection has ended",
        End::Peer => "the peer's connection has ended",
        End::PeerBroken => "the peer's connection was cut, or its service cannot be reached",
        End::Restarted => "the peer's program was started again; the connection of its former run is over",
        End::Unacked => "the peer does not acknowledge; the connection is over",
        End::Silent => "nothing heard from the peer for ten heartbeats; the connection is over",
    };
    let Summary { ratio: sent, received, lasted, .. } = summary;
    format!(
        "{why}: {} bytes sent (compressed to {:.0} %), {received} received, in {}",
        sent.original,
        sent.value() * 100.0,
        span(*lasted)
    )
}

pub(super) fn ratio(ratio: Ratio) -> String {
    format!("{} bytes sent so far, compressed to {:.0} %", ratio.original, ratio.value() * 100.0)
}

pub(super) fn cut(size: usize) -> String {
    format!(
        "large datagrams do not arrive, small ones do: some router drops fragments. From now on at most {size} bytes are sent at a time. If nothing comes from the peer either, set MAXBUF_SIZE in its script to {size}; and `--max-data {size}` here begins so at once"
    )
}

pub(super) fn no_service(service: &str, error: &io::Error) -> String {
    format!("the service {service} cannot be reached: {error}. Is it running?")
}

pub(super) fn cannot_accept(error: &io::Error) -> String {
    format!("cannot take local connections at the moment ({error}): {RAISE}")
}

pub(super) fn held(is_heard: bool, is_busy: bool) -> String {
    let why = if is_busy {
        BUSY
    } else if is_heard {
        "the peer is heard and does not answer: is its script the other side (-c here needs -l there), and does its service run?"
    } else {
        "no word from the peer: does its script run, with *our* public address and the same UDP port?"
    };
    format!("a local connection has waited for a minute and was reset: {why}")
}

pub(super) fn gave_up(wait: Duration) -> String {
    format!(
        "nothing heard from the peer after {} s, giving up: does its script run, with *our* public address and the same UDP port?",
        wait.as_secs_f64()
    )
}

pub(super) const BEGAN: &str = "connected: bytes flow";

pub(super) const LOST: &str = "nothing heard from the peer for ten heartbeats; waiting for it";

pub(super) const BUSY: &str = "the peer's script still holds the connection of a former session: end it there and start it again; by itself it notices within five minutes";

pub(super) const SECOND_CLIENT: &str = "a second connection at the same time was reset: the old script's format has room for one. pinhole on both sides has room for thousands";
