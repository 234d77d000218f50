//! The service at the end of every tunnel.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use super::wire::{REQUEST_BYTES, Tally, Wish, give};

/// Answers whoever connects, each on a thread of its own, until the process ends.
pub(super) fn serve(at: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    println!("ready");
    for tcp in listener.incoming() {
        let tcp = tcp?;
        thread::Builder::new().spawn(move || {
            // A client that ends early is none of the service's business; the client's figures tell.
            let _cut_off = answer(&tcp);
        })?;
    }
    Ok(())
}

fn answer(mut tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut request = [0; REQUEST_BYTES];
    tcp.read_exact(&mut request)?;
    match Wish::from_bytes(request).ok_or(io::ErrorKind::InvalidData)? {
        Wish::Echo => echo(tcp),
        Wish::Take { skip } => {
            Tally::take(tcp, skip)?.write(tcp)?;
            tcp.shutdown(Shutdown::Write)
        }
        Wish::Give { time } => {
            give(tcp, time)?;
            // Whoever leaves first must not cut off what is still under way.
            tcp.read(&mut [0]).map(drop)
        }
    }
}

fn echo(mut tcp: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = tcp.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        tcp.write_all(&buffer[..count])?;
    }
}
