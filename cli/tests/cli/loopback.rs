//! Two ends on loopback: addresses that no other test has, an echo service, and clients.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use crate::program::{KEY, PATIENCE, Run, pinhole};

/// TCP port of the service on the serve side's own address.
const SERVICE_PORT: u16 = 2200;

/// TCP port of the tunnel on the open side's own address.
const LOCAL_PORT: u16 = 2222;

/// Two addresses each.
const PAIRS_IN_A_NETWORK: u8 = 120;

/// Numbers the pairs of this process.
static PAIRS: AtomicU8 = AtomicU8::new(0);

/// A serve side and an open side, on loopback addresses of their own: every port is free there.
pub(crate) struct Loopback {
    pub(crate) serve_ip: Ipv4Addr,
    pub(crate) open_ip: Ipv4Addr,
}

impl Loopback {
    pub(crate) fn new() -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let pair = PAIRS.fetch_add(1, Ordering::Relaxed);
        assert!(pair < 2 * PAIRS_IN_A_NETWORK, "more pairs than addresses");
        // Not 127.0.x.x, where other programs live.
        let second = if pair < PAIRS_IN_A_NETWORK { high | 0x80 } else { high & 0x3f | 0x40 };
        let pair = pair % PAIRS_IN_A_NETWORK;
        let ip = |last| Ipv4Addr::new(127, second, low, last);
        Self { serve_ip: ip(pair * 2 + 1), open_ip: ip(pair * 2 + 2) }
    }

    /// Returns the address of the service.
    pub(crate) fn service(&self) -> SocketAddr {
        (self.serve_ip, SERVICE_PORT).into()
    }

    /// Returns the address that local clients of the open side connect to.
    pub(crate) fn local(&self) -> SocketAddr {
        (self.open_ip, LOCAL_PORT).into()
    }

    /// Describes the serve side with the usual key.
    pub(crate) fn serve(&self, more: &[&str]) -> Command {
        let (spec, peer, own) =
            (self.service().to_string(), self.open_ip.to_string(), self.serve_ip.to_string());
        with_key(pinhole(&[&["-c", &spec, &peer, "--bind", &own], more].concat()), KEY)
    }

    /// Describes the open side with the usual key.
    pub(crate) fn open(&self, more: &[&str]) -> Command {
        let (spec, peer, own) =
            (self.local().to_string(), self.serve_ip.to_string(), self.open_ip.to_string());
        with_key(pinhole(&[&["-l", &spec, &peer, "--bind", &own], more].concat()), KEY)
    }

    /// Starts both sides and waits until both say that the tunnel is up.
    pub(crate) fn connect(&self) -> (Run, Run) {
        let (mut serve, mut open) = (Run::start(self.serve(&[])), Run::start(self.open(&[])));
        serve.says("tunnel up");
        open.says("tunnel up");
        (serve, open)
    }

    /// Sends a word through the tunnel on a new connection and returns what comes back.
    pub(crate) fn ask(&self, word: &str) -> String {
        ask(self.local(), word)
    }
}

/// Starts a service that sends back whatever it gets.
pub(crate) fn start_echo(address: SocketAddr) {
    let listener = TcpListener::bind(address).expect("nobody else has the address");
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            thread::spawn(move || echo(&tcp));
        }
    });
}

/// Gives a run its key.
pub(crate) fn with_key(mut command: Command, key: &str) -> Command {
    command.env("PINHOLE_KEY", key);
    command
}

/// Sends a word on a new connection and returns what comes back until the other end closes.
pub(crate) fn ask(to: SocketAddr, word: &str) -> String {
    try_ask(to, word).expect("the answer arrives")
}

/// The same; fails where the connection is reset, or nothing comes in time.
pub(crate) fn try_ask(to: SocketAddr, word: &str) -> io::Result<String> {
    let mut tcp = TcpStream::connect(to)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.write_all(word.as_bytes())?;
    tcp.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    tcp.read_to_string(&mut answer)?;
    Ok(answer)
}

fn echo(tcp: &TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = (tcp, tcp);
    io::copy(&mut reader, &mut writer)?;
    tcp.shutdown(std::net::Shutdown::Write)
}
