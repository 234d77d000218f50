//! What carries a TCP connection from host B to the service on host A.

mod dumbpipe;
mod pinhole;
mod ssh;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use natlab::Side;

use crate::{figures::Figures, ground::Ground, options::Options, running::Running};

/// Longest wait for a tunnel to stand.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a port is tried that is not yet there.
const LOOK: Duration = Duration::from_millis(10);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Peer {
    /// The kernel's TCP alone
    Direct,
    /// The ceiling program
    Ceiling,
    /// Two socats: TCP again, unencrypted
    Socat,
    /// `ssh -L` with aes128-gcm
    Ssh,
    /// dumbpipe
    Dumbpipe,
    /// This build
    Pinhole,
    /// This build with `--compress off`
    #[value(skip)]
    Uncompressed,
    /// The build that --other names
    #[value(skip)]
    Other,
}

impl Peer {
    /// Lists all of them.
    pub(crate) const ALL: [Peer; 8] = [
        Peer::Direct,
        Peer::Ceiling,
        Peer::Socat,
        Peer::Ssh,
        Peer::Dumbpipe,
        Peer::Pinhole,
        Peer::Uncompressed,
        Peer::Other,
    ];

    /// Names it in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Direct => "kernel TCP, direct",
            Peer::Ceiling => "ceiling",
            Peer::Socat => "socat pair",
            Peer::Ssh => "ssh -L",
            Peer::Dumbpipe => "dumbpipe",
            Peer::Pinhole => "pinhole",
            Peer::Uncompressed => "pinhole, --compress off",
            Peer::Other => "pinhole, other build",
        }
    }

    /// The TCP port of host B at which it listens.
    fn local_port(self) -> u16 {
        2300 + self as u16
    }

    fn local_address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.local_port()))
    }
}

/// A peer that stands ready.
pub(crate) struct Tunnel {
    pub(crate) peer: Peer,
    /// Where a client on host B connects to.
    pub(crate) address: SocketAddr,
    /// The programs at both ends, the serve side's first; none for the kernel alone.
    programs: Vec<Running>,
}

impl Tunnel {
    /// Starts a peer on both hosts and waits until it carries a connection.
    pub(crate) fn start(peer: Peer, ground: &Ground, options: &Options) -> Result<Tunnel, String> {
        let programs = match peer {
            Peer::Direct => {
                return Ok(Tunnel { peer, address: ground.direct_address(), programs: Vec::new() });
            }
            Peer::Ceiling => ceiling(ground, peer)?,
            Peer::Socat => socat(ground, peer)?,
            Peer::Ssh => ssh::start(ground, peer.local_address())?,
            Peer::Dumbpipe => dumbpipe::start(ground, peer.local_address(), &options.peers_folder)?,
            Peer::Pinhole => pinhole::start(ground, peer.local_port(), 5555, &this_build(), &[])?,
            Peer::Uncompressed => {
                pinhole::start(ground, peer.local_port(), 5557, &this_build(), &["--compress", "off"])?
            }
            Peer::Other => {
                let program = options.other.as_deref().ok_or("--other names no program")?;
                pinhole::start(ground, peer.local_port(), 5556, program, &[])?
            }
        };
        await_port(ground, peer.local_address())?;
        Ok(Tunnel { peer, address: peer.local_address(), programs })
    }

    /// Starts all of them; one that cannot be had is left out.
    pub(crate) fn start_all(
        peers: &[Peer],
        ground: &Ground,
        options: &Options,
        figures: &mut Figures,
    ) -> Vec<Tunnel> {
        let start =
            |peer: &Peer| Tunnel::start(*peer, ground, options).map_err(|why| figures.give_up(*peer, &why));
        peers.iter().map(start).filter_map(Result::ok).collect()
    }

    /// Returns the CPU time of its programs so far; nothing for the kernel alone.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let times = self.programs.iter().map(Running::cpu);
        (!self.programs.is_empty()).then(|| times.sum())
    }

    /// Returns the resident memory of the serve side and of the open side.
    pub(crate) fn rss_kib(&self) -> Vec<u64> {
        self.programs.iter().map(Running::rss_kib).collect()
    }
}

/// Whether this build can compress.
pub(crate) fn can_compress() -> bool {
    let help = Command::new(this_build()).args(["serve", "--help"]).output();
    help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--compress"))
}

fn this_build() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_pinhole"))
}

fn ceiling(ground: &Ground, peer: Peer) -> Result<Vec<Running>, String> {
    let [a, b] = Side::BOTH.map(|side| ground.ip(side).to_string());
    let mut far = ground.role(Side::A)?;
    far.args(["ceiling-far", &a, &b, &ground.service_address().to_string()]);
    let mut near = ground.role(Side::B)?;
    near.args(["ceiling-near", &peer.local_address().to_string(), &b, &a]);
    let mut programs = vec![Running::start("the ceiling", far)?, Running::start("the ceiling", near)?];
    programs.iter_mut().try_for_each(|program| program.wait_for("ready", PATIENCE).map(drop))?;
    Ok(programs)
}

fn socat(ground: &Ground, peer: Peer) -> Result<Vec<Running>, String> {
    let port = peer.local_port();
    let socat = |side, from: String, to: String| -> Command {
        let mut command = ground.lab.host(side).command("socat");
        // The end of one direction leaves the other one open.
        command.args([
            "-t",
            "60",
            &format!("TCP-LISTEN:{from},fork,reuseaddr,nodelay,backlog=1024"),
            &format!("TCP:{to},nodelay"),
        ]);
        command
    };
    let serve =
        socat(Side::A, format!("{port},bind={}", ground.ip(Side::A)), ground.service_address().to_string());
    let open = socat(Side::B, format!("{port},bind=127.0.0.1"), format!("{}:{port}", ground.ip(Side::A)));
    let programs = vec![Running::start("socat", serve)?, Running::start("socat", open)?];
    await_at(ground, Side::A, SocketAddr::from((ground.ip(Side::A), port)))?;
    Ok(programs)
}

fn await_port(ground: &Ground, address: SocketAddr) -> Result<(), String> {
    await_at(ground, Side::B, address)
}

/// Waits until something listens on a host.
fn await_at(ground: &Ground, side: Side, address: SocketAddr) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    let dial = || TcpStream::connect(address);
    loop {
        match ground.lab.host(side).enter(dial).map_err(|e| e.to_string())? {
            Ok(_there) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(format!("nothing listens at {address}: {error}"));
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}
