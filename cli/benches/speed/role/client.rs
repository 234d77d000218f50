//! Clients of the service: each makes one connection, or many, and counts.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{
    text::Text,
    wire::{Tally, Wish, give},
};

/// Longest silence that a client bears: whoever is cut off must say so.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Receives for so long.
pub(super) fn down(from: SocketAddr, time: Duration, skip: Duration) -> io::Result<Tally> {
    let tcp = dial(from, Wish::Give { time })?;
    Tally::take(&tcp, skip, None)
}

/// Receives for so long and cuts off what is under way then: a slow tunnel may have buffered what takes minutes.
pub(super) fn watch(from: SocketAddr, time: Duration, skip: Duration) -> io::Result<Tally> {
    let tcp = dial(from, Wish::Give { time: time + PATIENCE })?;
    Tally::take(&tcp, skip, Some(time))
}

/// Receives text in the same way.
pub(super) fn read(from: SocketAddr, text: Text, time: Duration, skip: Duration) -> io::Result<Tally> {
    let tcp = dial(from, Wish::Tell { text, time: time + PATIENCE })?;
    Tally::take(&tcp, skip, Some(time))
}

/// Sends for so long; the service counts.
pub(super) fn up(to: SocketAddr, time: Duration, skip: Duration) -> io::Result<Tally> {
    let tcp = dial(to, Wish::Take { skip })?;
    give(&tcp, time)?;
    Tally::read(&tcp)
}

/// Sends one byte at a time and waits for it; those sent within `skip` do not count. Returns how many, and the 50th, 99th and last percentile in nanoseconds.
pub(super) fn echo(to: SocketAddr, time: Duration, skip: Duration) -> io::Result<[u64; 4]> {
    let start = Instant::now();
    let mut tcp = dial(to, Wish::Echo)?;
    let mut nanos = Vec::new();
    while nanos.is_empty() || start.elapsed() < time {
        let begun = Instant::now();
        tcp.write_all(b"?")?;
        tcp.read_exact(&mut [0])?;
        if begun - start >= skip {
            nanos.push(begun.elapsed().as_nanos() as u64);
        }
    }
    nanos.sort_unstable();
    let at = |percent: usize| nanos[(nanos.len() - 1) * percent / 100];
    Ok([nanos.len() as u64, at(50), at(99), at(100)])
}

fn dial(to: SocketAddr, wish: Wish) -> io::Result<TcpStream> {
    let mut tcp = TcpStream::connect(to)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    tcp.write_all(&wish.to_bytes())?;
    Ok(tcp)
}
