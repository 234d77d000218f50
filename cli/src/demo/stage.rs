//! Where the demo plays: loopback, or two NATs of this kernel.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
};

use anyhow::Result;
use natlab::{Lab, LabSpec, NatSpec, Side};
use pinhole::{
    endpoint::DEFAULT_PORT,
    proto::nat::{Verdict, punchable},
};

use super::super::message::{Message, OrSay};

/// Attempts to find a UDP port that is free on both loopback addresses.
const PORT_ATTEMPTS: usize = 20;

const LOOPBACK: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];

/// Two hosts and what is between them.
pub(super) struct Stage {
    place: Place,
    /// UDP port of both ends.
    udp: u16,
    /// Local TCP port of the open side.
    tcp: u16,
}

enum Place {
    Loopback,
    Lab { lab: Box<Lab>, names: [String; 2], verdict: Verdict },
}

impl Stage {
    pub(super) fn build(nats: Option<&str>) -> Result<Self> {
        match nats {
            None => Self::loopback(),
            Some(nats) => Self::lab(nats),
        }
    }

    fn loopback() -> Result<Self> {
        let udp = free_udp_port()?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|l| l.local_addr())
            .or_say(|| Message::NoFreePort)?
            .port();
        Ok(Self { place: Place::Loopback, udp, tcp })
    }

    fn lab(nats: &str) -> Result<Self> {
        let names: Vec<&str> = nats.split(',').map(str::trim).collect();
        let [a, b] = names[..] else {
            return Err(Message::TwoNats.into());
        };
        let specs = [preset(a)?, preset(b)?];
        if !rustix::process::geteuid().is_root() {
            return Err(Message::DemoTakesRoot(nats.to_owned()).into());
        }
        let verdict = punchable(specs[0].access(), specs[1].access());
        let [first, second] = specs;
        let spec = LabSpec::new(first, second);
        let lab = Lab::build(spec).or_say(|| Message::NoLaboratory)?;
        let names = [a.to_owned(), b.to_owned()];
        Ok(Self { place: Place::Lab { lab: Box::new(lab), names, verdict }, udp: DEFAULT_PORT, tcp: 2222 })
    }

    pub(super) fn describe(&self) -> String {
        match &self.place {
            Place::Loopback => "two ends on loopback, 127.0.0.1 and 127.0.0.2".into(),
            Place::Lab { lab, names, .. } => {
                let [a, b] = [Side::A, Side::B].map(|side| lab.side(side).public_ip());
                format!("two hosts, behind NAT \"{}\" ({a}) and NAT \"{}\" ({b})", names[0], names[1])
            }
        }
    }

    /// Returns whether the two ends are expected to meet.
    pub(super) fn verdict(&self) -> Verdict {
        match &self.place {
            Place::Loopback => Verdict::Direct,
            Place::Lab { verdict, .. } => *verdict,
        }
    }

    /// Returns the IP that the peer of `side` is told.
    pub(super) fn public_ip(&self, side: Side) -> Ipv4Addr {
        match &self.place {
            Place::Loopback => LOOPBACK[side.index()],
            Place::Lab { lab, .. } => lab.side(side).public_ip(),
        }
    }

    /// Returns the IP that `side` binds to.
    pub(super) fn bind_ip(&self, side: Side) -> Ipv4Addr {
        match &self.place {
            Place::Loopback => LOOPBACK[side.index()],
            Place::Lab { .. } => Ipv4Addr::UNSPECIFIED,
        }
    }

    pub(super) fn udp_port(&self) -> u16 {
        self.udp
    }

    pub(super) fn tcp_port(&self) -> u16 {
        self.tcp
    }

    /// Returns a command that runs this program as `side`.
    pub(super) fn command(&self, side: Side) -> Result<Command> {
        let program = std::env::current_exe().or_say(|| Message::demo("cannot find the own program file"))?;
        Ok(match &self.place {
            Place::Loopback => Command::new(program),
            Place::Lab { lab, .. } => lab.host(side).command(&program.to_string_lossy()),
        })
    }

    /// Opens the service's port on the serve side's host.
    pub(super) fn serve_listener(&self) -> Result<TcpListener> {
        self.on(Side::A, || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?.or_say(|| Message::NoFreePort)
    }

    /// Connects to the tunnel's local port on the open side's host.
    pub(super) fn connect(&self) -> Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.tcp));
        Ok(self.on(Side::B, || TcpStream::connect(address))??)
    }

    fn on<T: Send>(&self, side: Side, work: impl FnOnce() -> io::Result<T> + Send) -> Result<io::Result<T>> {
        match &self.place {
            Place::Loopback => Ok(work()),
            Place::Lab { lab, .. } => {
                lab.host(side).enter(work).or_say(|| Message::demo("cannot enter the laboratory"))
            }
        }
    }
}

fn preset(name: &str) -> Result<NatSpec> {
    Ok(NatSpec::preset(name)?)
}

fn free_udp_port() -> Result<u16> {
    for _ in 0..PORT_ATTEMPTS {
        let first = UdpSocket::bind((LOOPBACK[0], 0)).or_say(|| Message::NoFreePort)?;
        let port = first.local_addr().or_say(|| Message::NoFreePort)?.port();
        match UdpSocket::bind((LOOPBACK[1], port)) {
            Ok(_) => return Ok(port),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(error).or_say(|| Message::NoSecondLoopback);
            }
        }
    }
    Err(Message::NoFreePort.into())
}
