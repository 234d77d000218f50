//! A box of a running laboratory, and what can happen to it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::namespace::Namespace;
use super::ruleset::ruleset;
use super::topology::udp_timers;
use super::{LabError, tool, write_sysctls};
use crate::spec::BoxSpec;

/// Rules of a box without power: nothing passes, nothing is answered, its neighbours get no reply to ARP.
const OFF: &str = "table ip natlab_off {
  chain in { type filter hook prerouting priority -400; policy drop; }
  chain out { type filter hook output priority -400; policy drop; }
}
table arp natlab_off {
  chain in { type filter hook input priority 0; policy drop; }
  chain out { type filter hook output priority 0; policy drop; }
}
";

/// A NAT or firewall of a running laboratory.
#[derive(Debug)]
pub struct NatBox {
    pub(super) ip: Ipv4Addr,
    namespace: Namespace,
    translates: bool,
}

impl NatBox {
    pub(super) fn new(ip: Ipv4Addr, namespace: Namespace, spec: &BoxSpec) -> NatBox {
        NatBox { ip, namespace, translates: spec.translation().is_some() }
    }

    /// Makes it forget every flow and every open port, as a reboot would.
    ///
    /// # Errors
    /// When the tools of conntrack are missing.
    pub fn flush_conntrack(&self) -> Result<(), LabError> {
        self.namespace.enter(forget)?
    }

    /// Takes its power: from now on nothing passes, in either direction, and nobody is told.
    ///
    /// # Errors
    /// When it has none.
    pub fn power_off(&self) -> Result<(), LabError> {
        self.namespace.enter(|| tool::run("nft", &["-f", "-"], OFF))?
    }

    /// Gives it power again; it has forgotten every flow and every open port.
    ///
    /// # Errors
    /// When it has power.
    pub fn power_on(&self) -> Result<(), LabError> {
        self.namespace.enter(|| {
            forget()?;
            tool::run("nft", &["-f", "-"], "delete table ip natlab_off\ndelete table arp natlab_off\n")
        })?
    }

    /// Makes it another box, as after new firmware or new settings: other rules and timers, all flows forgotten.
    ///
    /// # Errors
    /// [`LabError::Unsupported`] when nftables cannot do it, or when it would begin or cease to translate, because
    /// then others would need other addresses.
    pub fn change(&self, spec: &BoxSpec) -> Result<(), LabError> {
        if spec.translation().is_some() != self.translates {
            let what = "a box that begins or ceases to translate while it runs".to_owned();
            return Err(LabError::Unsupported { what });
        }
        let rules = ruleset(spec, self.ip)?;
        self.namespace.enter(|| {
            write_sysctls(&udp_timers(spec))?;
            tool::run("nft", &["-f", "-"], &format!("delete table ip natlab\n{rules}"))?;
            forget()
        })?
    }

    /// Returns its outside address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Returns its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns how many flows its connection tracking remembers, of all protocols.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn conntrack_count(&self) -> Result<usize, LabError> {
        let read = || fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
        let text = self.namespace.enter(read)?.map_err(LabError::io("reading the flow count"))?;
        let count = text.trim().parse().map_err(std::io::Error::other);
        count.map_err(LabError::io("reading the flow count"))
    }

    /// Returns the UDP flows that it remembers, those from the inside.
    ///
    /// # Errors
    /// When the tools of conntrack are missing.
    pub fn udp_flows(&self) -> Result<Vec<UdpFlow>, LabError> {
        let list = self.namespace.enter(|| tool::output("conntrack", &["-L", "-p", "udp"]))??;
        Ok(list.lines().filter_map(UdpFlow::parse).collect())
    }
}

/// A UDP flow as a box remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpFlow {
    /// Who sent its first packet.
    pub inside: SocketAddrV4,
    /// The address that the sender has for the remote.
    pub outside: SocketAddrV4,
    /// Where the first packet went.
    pub remote: SocketAddrV4,
    /// Whether it has been answered.
    pub is_replied: bool,
}

impl UdpFlow {
    /// Reads a line of `conntrack -L`: the first packet's addresses, then those of an answer.
    fn parse(line: &str) -> Option<UdpFlow> {
        let mut values = line.split_whitespace().filter_map(|field| field.split_once('='));
        let mut address_pair = || {
            let mut next = |name| values.find(|(key, _)| *key == name).map(|(_, value)| value);
            let (src, dst): (Ipv4Addr, Ipv4Addr) = (next("src")?.parse().ok()?, next("dst")?.parse().ok()?);
            let (sport, dport) = (next("sport")?.parse().ok()?, next("dport")?.parse().ok()?);
            Some((SocketAddrV4::new(src, sport), SocketAddrV4::new(dst, dport)))
        };
        let ((inside, remote), (_, outside)) = (address_pair()?, address_pair()?);
        Some(UdpFlow { inside, outside, remote, is_replied: !line.contains("[UNREPLIED]") })
    }
}

/// Forgets every flow and every open port; the calling thread is in the box's namespace.
fn forget() -> Result<(), LabError> {
    tool::run("conntrack", &["-F"], "")?;
    // Fails where the box has no map of open ports, which is fine.
    let _no_map = tool::run("nft", &["-f", "-"], "flush map ip natlab mapped\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_read_from_the_tools_line() {
        let line = "udp      17 26 src=192.168.4.2 dst=203.0.113.9 sport=5555 dport=7000 [UNREPLIED] \
                    src=203.0.113.9 dst=198.51.100.4 sport=7000 dport=40123 mark=0 use=1";
        let flow = UdpFlow::parse(line).expect("a flow");
        assert_eq!(flow.inside, SocketAddrV4::new(Ipv4Addr::new(192, 168, 4, 2), 5555));
        assert_eq!(flow.outside, SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 4), 40123));
        assert_eq!(flow.remote, SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 7000));
        assert!(!flow.is_replied);
    }

    #[test]
    fn what_is_no_flow_is_none() {
        assert_eq!(UdpFlow::parse("conntrack v1.4.7: 0 flow entries have been shown."), None);
    }
}
