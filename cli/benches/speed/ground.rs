//! Two hosts of the laboratory and what is between them: a plain pair of virtual Ethernet interfaces, or the link.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side};
use tempfile::TempDir;

use crate::{congestion, running::Running};

/// TCP port of the service.
const SERVICE_PORT: u16 = 7000;

/// Name of the plain pair, and its addresses at A and B.
const WIRE: &str = "plain";
const WIRE_IPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

/// TCP's buffers on a link: least, at first, most.
const WINDOWS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 33554432"),
    ("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 33554432"),
];

/// A link that carries no more than this in that time is idle: a packet or two of each tunnel.
const SILENCE: Duration = Duration::from_millis(300);
const CHATTER_BYTES: u64 = 4096;

/// Longest wait for one of our own programs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two hosts with a service on A. Fields are dropped in this order.
pub(crate) struct Ground {
    service: Running,
    ips: [Ipv4Addr; 2],
    pub(crate) lab: Lab,
    folder: TempDir,
}

impl Ground {
    /// Joins both hosts by a plain pair of interfaces. TCP is CUBIC there, as nothing is lost.
    pub(crate) fn wire() -> Result<Ground, String> {
        let lab = build(LinkSpec::default(), "cubic")?;
        let [a, b] = Side::BOTH.map(|side| lab.host(side).name());
        ip(&["link", "add", "name", WIRE, "netns", a, "type", "veth", "peer", "name", WIRE, "netns", b])?;
        for side in Side::BOTH {
            let (name, address) = (lab.host(side).name(), format!("{}/24", WIRE_IPS[side.index()]));
            ip(&["-netns", name, "addr", "add", &address, "dev", WIRE])?;
            ip(&["-netns", name, "link", "set", WIRE, "up"])?;
        }
        Ground::new(lab, WIRE_IPS)
    }

    /// Joins both hosts by a link. TCP is BBR there, the best that the kernel has for it, with windows for any link.
    pub(crate) fn link(spec: LinkSpec) -> Result<Ground, String> {
        let lab = build(spec, "bbr")?;
        for side in Side::BOTH {
            let set = || WINDOWS.iter().try_for_each(|(key, value)| std::fs::write(key, value));
            let is_set = lab.host(side).enter(set).map_err(|e| e.to_string())?;
            is_set.map_err(|e| format!("setting the windows of TCP: {e}"))?;
        }
        let ips = Side::BOTH.map(|side| lab.side(side).public_ip());
        Ground::new(lab, ips)
    }

    fn new(lab: Lab, ips: [Ipv4Addr; 2]) -> Result<Ground, String> {
        let folder = tempfile::tempdir().map_err(|e| format!("no folder: {e}"))?;
        let mut command = role(&lab, Side::A)?;
        command.arg("service").arg(SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERVICE_PORT)).to_string());
        let mut service = Running::start("the service", command)?;
        service.wait_for("ready", PATIENCE)?;
        Ok(Ground { service, ips, lab, folder })
    }

    /// Turns off every offload of segmentation of the plain pair.
    pub(crate) fn turn_off_offloads(&self) -> Result<(), String> {
        for side in Side::BOTH {
            let mut command = self.lab.host(side).command("ethtool");
            command.args(["-K", WIRE]);
            for feature in ["tso", "gso", "gro", "tx-udp-segmentation"] {
                command.args([feature, "off"]);
            }
            run(command)?;
        }
        Ok(())
    }

    /// Waits until nothing passes the link: what somebody has sent before it was cut off is none of the next one's.
    pub(crate) fn await_silence(&self) {
        let until = Instant::now() + PATIENCE;
        let count = || Side::BOTH.map(|side| self.lab.link().stats_from(side).bytes);
        let mut before = count();
        while Instant::now() < until {
            thread::sleep(SILENCE);
            let now = count();
            if now.iter().zip(before).all(|(now, before)| now - before <= CHATTER_BYTES) {
                return;
            }
            before = now;
        }
    }

    /// Begins the description of this program in another role, on a host.
    pub(crate) fn role(&self, side: Side) -> Result<Command, String> {
        role(&self.lab, side)
    }

    /// Returns a host's address.
    pub(crate) fn ip(&self, side: Side) -> Ipv4Addr {
        self.ips[side.index()]
    }

    /// Returns the service as host A has it.
    pub(crate) fn service_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, SERVICE_PORT))
    }

    /// Returns the service as host B reaches it without any tunnel.
    pub(crate) fn direct_address(&self) -> SocketAddr {
        SocketAddr::from((self.ip(Side::A), SERVICE_PORT))
    }

    /// Returns the service itself.
    pub(crate) fn service(&self) -> &Running {
        &self.service
    }

    /// Returns a folder that ends with the ground.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Builds the laboratory; its TCP uses that congestion control.
fn build(link: LinkSpec, congestion: &str) -> Result<Lab, String> {
    let open_host = || NatSpec::preset("open").map_err(|e| e.to_string());
    let spec = LabSpec::new(open_host()?, open_host()?).with_link(link);
    let lab = Lab::build(spec).map_err(|e| e.to_string())?;
    congestion::choose(&lab, congestion)?;
    Ok(lab)
}

fn role(lab: &Lab, side: Side) -> Result<Command, String> {
    let itself = std::env::current_exe().map_err(|e| format!("this program does not find itself: {e}"))?;
    let itself = itself.to_str().ok_or("this program's path is not text")?;
    Ok(lab.host(side).command(itself))
}

fn ip(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(args);
    run(command)
}

/// Runs a tool that says nothing when it succeeds.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let shown = || format!("{command:?}").replace('"', "");
    let name = shown();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
