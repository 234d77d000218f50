//! The TCP service of the demo: one line asks for the page, an echo, or the bulk.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

use super::super::message::{Message, OrSay};

/// What the demo shows.
pub(super) const PAGE: &str = "
   +--------+      +-----+      ...      +-----+      +--------+
   |  here  |------| NAT |------ o ------| NAT |------| there  |
   +--------+      +-----+      ...      +-----+      +--------+

   This page came through a pinhole: no server, no account, no relay.
";

/// The bulk's bytes repeat with this period, a prime, so that nothing that shifts or swaps blocks goes unnoticed.
const PERIOD: u64 = 251;

/// Longest line that is read.
const MAX_LINE: u64 = 64;

/// Serves until the process ends.
pub(super) fn start(listener: TcpListener, size: u64) -> Result<SocketAddr> {
    let address = listener.local_addr().or_say(|| Message::NoAddress("demo's service"))?;
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            thread::spawn(move || serve(tcp, size));
        }
    });
    Ok(address)
}

fn serve(tcp: TcpStream, size: u64) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut writer = tcp.try_clone()?;
    let mut reader = BufReader::new(tcp);
    let mut line = String::new();
    Read::by_ref(&mut reader).take(MAX_LINE).read_line(&mut line)?;
    match line.trim_end() {
        "/" => writer.write_all(PAGE.as_bytes()),
        "/bulk" => send_bulk(&mut writer, size),
        "/echo" => io::copy(&mut reader, &mut writer).map(drop),
        _ => Ok(()),
    }
}

fn send_bulk(writer: &mut TcpStream, size: u64) -> io::Result<()> {
    let pattern: Vec<u8> = (0..PERIOD * 1024).map(bulk_byte).collect();
    let mut left = size;
    while left > 0 {
        let part = pattern.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        writer.write_all(&pattern[..part])?;
        left -= part as u64;
    }
    Ok(())
}

/// Returns whether `bytes` are those of the bulk at `offset`.
pub(super) fn is_bulk(offset: u64, bytes: &[u8]) -> bool {
    (offset..).zip(bytes).all(|(at, byte)| *byte == bulk_byte(at))
}

fn bulk_byte(at: u64) -> u8 {
    u8::try_from(at % PERIOD).unwrap_or_default()
}
