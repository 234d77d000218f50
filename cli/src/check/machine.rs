//! What is said of this machine and of the routers next to it.

use std::{net::SocketAddr, time::Duration};

use pinhole::{
    check::{Clock, Machine, Port, StunSeen},
    mux::{Hop, KEPT_DESCRIPTORS, WANTED_BUFFER_BYTES},
    proto::{
        nat::Reach,
        puncher::{IcmpKind, Limits},
    },
};
use serde_json::{Value, json};

use super::{
    super::{message::Message, texts, tunnel::ENOUGH_BUFFER_BYTES},
    layout::line,
    stun,
};

/// Descriptors of the program besides a search's sockets: streams, the runtime, local sockets and ports, files.
const OWN_DESCRIPTORS: u64 = 32;

/// A clock that may be further off than this is no help for the slots.
const CLOCK_BOUND: Duration = Duration::from_secs(5);

/// What is known without the peer.
pub(super) struct Own {
    pub(super) machine: Machine,
    pub(super) hops: Vec<Hop>,
    pub(super) port: u16,
    pub(super) limits: Limits,
    pub(super) peer: Option<SocketAddr>,
    /// What a STUN server sees, if one was asked.
    pub(super) stun: Option<StunSeen>,
}

/// What stands out, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    NoNetwork,
    PortTaken,
    Carrier,
    Nat,
    TwoNats,
    Public,
}

impl Standing {
    /// Names it for programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoNetwork => "no_network",
            Self::PortTaken => "port_taken",
            Self::Carrier => "carrier_nat",
            Self::TwoNats => "two_nats",
            Self::Nat => "nat",
            Self::Public => "public_address",
        }
    }

    /// Whether no tunnel can be had before it is mended.
    pub(super) fn is_obstacle(self) -> bool {
        matches!(self, Self::NoNetwork | Self::PortTaken)
    }
}

impl Own {
    pub(super) fn standing(&self) -> Standing {
        let reach = self.machine.reach();
        let routers = || self.hops.iter().filter_map(|hop| hop.router).map(Reach::of);
        if matches!(reach, None | Some(Reach::Machine | Reach::Link)) && !self.is_loopback() {
            return Standing::NoNetwork;
        }
        if matches!(self.machine.port, Port::Taken { .. }) {
            return Standing::PortTaken;
        }
        if reach == Some(Reach::Carrier) || routers().any(|reach| reach == Reach::Carrier) {
            return Standing::Carrier;
        }
        match routers().filter(|reach| *reach == Reach::Private).count() {
            _ if reach == Some(Reach::Public) => Standing::Public,
            0 | 1 => Standing::Nat,
            _ => Standing::TwoNats,
        }
    }

    /// The sentence that matters as long as nothing is known of the peer.
    pub(super) fn sentence(&self) -> Message {
        let port = self.port;
        let told = self.stun.as_ref().map(stun::sentence);
        let only_a_peer = told.unwrap_or(ONLY_A_PEER);
        let firewall = told.unwrap_or(FIREWALL);
        match (self.standing(), &self.machine.port) {
            (Standing::NoNetwork, _) => Message::NoNetwork,
            (_, Port::Taken { in_use: true, .. }) => Message::PortTaken(port),
            (_, Port::Taken { why, .. }) => Message::PortRefused(why.clone()),
            (Standing::Carrier, _) => Message::BehindCarrier(only_a_peer),
            (Standing::TwoNats, _) => Message::BehindTwoRouters(only_a_peer),
            (Standing::Public, _) => Message::PublicAddress(firewall),
            (Standing::Nat | Standing::PortTaken, _) => Message::BehindNat(only_a_peer),
        }
    }

    /// What the user should mend, though a tunnel may come up without.
    pub(super) fn advice(&self) -> Vec<Message> {
        let mut advice = Vec::new();
        if let Port::Free(granted) = self.machine.port
            && granted.receive.min(granted.send) < ENOUGH_BUFFER_BYTES
        {
            advice.push(texts::small_buffers(granted, WANTED_BUFFER_BYTES));
        }
        match self.machine.clock {
            Clock::Unsynchronised => advice.push(Message::ClockNotKept),
            Clock::Synchronised { within } if within > CLOCK_BOUND => {
                advice.push(Message::ClockOff(texts::span(within)));
            }
            Clock::Synchronised { .. } | Clock::Unknown => {}
        }
        let few = self.machine.descriptors.filter(|limit| *limit < self.search_descriptors());
        advice.extend(few.map(Message::FewDescriptors));
        let told = |kind| self.hops.iter().find(|hop| hop.kind == Some(kind)).and_then(|hop| hop.router);
        advice.extend(told(IcmpKind::Prohibited).map(Message::RouterForbids));
        advice.extend(told(IcmpKind::Unreachable).map(Message::RouterKnowsNoWay));
        advice
    }

    pub(super) fn machine_lines(&self) -> Vec<(String, String)> {
        let machine = &self.machine;
        let mut lines = Vec::new();
        for address in machine.addresses.iter().filter(|address| address.ip.is_ipv4()) {
            let used = if Some(address.ip) == machine.source { "; pinhole sends from here" } else { "" };
            lines.push(line(
                "address",
                format!("{} on {}, {}{used}", address.ip, address.interface, address.reach),
            ));
        }
        if let Some(gateway) = &machine.gateway {
            let ip = gateway.ip.map_or_else(String::new, |ip| format!("{ip} "));
            lines.push(line("gateway", format!("{ip}on {}", gateway.interface)));
        }
        if let Some(mtu) = machine.mtu {
            lines.push(line("MTU", format!("{mtu} bytes on the way out")));
        }
        lines.push(line("IPv6", self.ipv6()));
        lines.push(line(format!("UDP {}", self.port), self.port_line()));
        lines.push(line("clock", clock_line(machine.clock)));
        let limit = machine.descriptors.map_or_else(|| "no bound".into(), |limit| limit.to_string());
        lines.push(line("open files", format!("{limit}; a search wants {}", self.search_descriptors())));
        lines
    }

    pub(super) fn hop_lines(&self) -> Vec<(String, String)> {
        self.hops.iter().map(|hop| line(hop.ttl.to_string(), self.hop_line(hop))).collect()
    }

    pub(super) fn json(&self) -> Value {
        let machine = &self.machine;
        let (port, buffers) = match &machine.port {
            Port::Free(granted) => ("free", json!({ "receive": granted.receive, "send": granted.send })),
            Port::Taken { in_use: true, .. } => ("in_use", Value::Null),
            Port::Taken { .. } => ("refused", Value::Null),
        };
        let (synchronised, within) = match machine.clock {
            Clock::Synchronised { within } => (Some(true), Some(within.as_secs_f64() * 1000.0)),
            Clock::Unsynchronised => (Some(false), None),
            Clock::Unknown => (None, None),
        };
        let addresses = machine.addresses.iter().map(|address| {
            json!({ "interface": address.interface, "ip": address.ip.to_string(), "reach": address.reach.name() })
        });
        let hops = self.hops.iter().map(|hop| {
            json!({
                "ttl": hop.ttl,
                "router": hop.router.map(|ip| ip.to_string()),
                "reach": hop.router.map(|ip| Reach::of(ip).name()),
            })
        });
        json!({
            "standing": self.standing().name(),
            "addresses": addresses.collect::<Vec<_>>(),
            "source": machine.source.map(|ip| ip.to_string()),
            "gateway": machine.gateway.as_ref().map(|gateway| json!({
                "ip": gateway.ip.map(|ip| ip.to_string()),
                "interface": gateway.interface,
            })),
            "mtu": machine.mtu,
            "udp_port": { "port": self.port, "state": port },
            "buffer_bytes": buffers,
            "wanted_buffer_bytes": WANTED_BUFFER_BYTES,
            "clock": { "synchronised": synchronised, "within_ms": within },
            "stun": self.stun.as_ref().map(stun::json),
            "descriptors": machine.descriptors,
            "hops": hops.collect::<Vec<_>>(),
        })
    }

    /// Descriptors that a search wants, so that none of its sockets is left out.
    fn search_descriptors(&self) -> u64 {
        let sockets = u64::try_from(self.limits.sockets()).unwrap_or(u64::MAX);
        sockets.saturating_add(OWN_DESCRIPTORS + KEPT_DESCRIPTORS)
    }

    fn is_loopback(&self) -> bool {
        self.machine.source.is_some_and(|ip| ip.is_loopback())
    }

    fn ipv6(&self) -> String {
        let mut six = self.machine.addresses.iter().filter(|address| address.ip.is_ipv6());
        match six.find(|address| address.reach == Reach::Public) {
            Some(public) => format!(
                "{} on {}, public; not used by pinhole so far, and only a peer could tell whether a firewall is before it",
                public.ip, public.interface
            ),
            None => "no public address".into(),
        }
    }

    fn port_line(&self) -> String {
        match &self.machine.port {
            Port::Free(granted) => format!(
                "free; buffers of {} KiB to receive and {} KiB to send, {} KiB wanted",
                granted.receive >> 10,
                granted.send >> 10,
                WANTED_BUFFER_BYTES >> 10
            ),
            Port::Taken { why, .. } => why.clone(),
        }
    }

    fn hop_line(&self, hop: &Hop) -> String {
        match hop.router {
            None => "says nothing".into(),
            Some(ip) if self.peer.is_some_and(|peer| peer.ip() == ip) => format!("{ip}, the peer's address"),
            Some(ip) => format!("{ip}, {}", Reach::of(ip)),
        }
    }
}

pub(in super::super) const ONLY_A_PEER: &str = "Which ports its NAT gives and whom it lets in, only a check with the other side can tell: `pinhole check PEER`, on both sides.";
pub(in super::super) const FIREWALL: &str =
    "Whether a firewall is, only a check with the other side can tell: `pinhole check PEER`, on both sides.";

fn clock_line(clock: Clock) -> String {
    match clock {
        Clock::Synchronised { within } => format!("kept right, within {}", texts::rtt(within)),
        Clock::Unsynchronised => "nothing keeps it right".into(),
        Clock::Unknown => "the system does not say whether it is right".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use pinhole::mux::BufferSizes;

    use super::*;

    fn own(source: Option<&str>, routers: &[&str]) -> Own {
        let ip = |text: &&str| text.parse::<IpAddr>().expect("an address");
        let hops = routers.iter().zip(1..).map(|(router, ttl)| Hop {
            ttl,
            router: Some(ip(router)),
            kind: Some(IcmpKind::TtlExceeded),
        });
        let granted = BufferSizes { receive: 8 << 20, send: 8 << 20 };
        Own {
            machine: Machine {
                addresses: Vec::new(),
                source: source.as_ref().map(ip),
                gateway: None,
                mtu: Some(1500),
                port: Port::Free(granted),
                clock: Clock::Synchronised { within: Duration::from_millis(3) },
                descriptors: Some(4096),
            },
            hops: hops.collect(),
            port: 5555,
            limits: Limits::DEFAULT,
            peer: None,
            stun: None,
        }
    }

    #[test]
    fn routers_with_private_and_shared_addresses_tell_which_nats_there_are() {
        for (source, routers, expected) in [
            (None, &[][..], Standing::NoNetwork),
            (Some("169.254.3.4"), &[], Standing::NoNetwork),
            (Some("192.168.4.2"), &[], Standing::Nat),
            (Some("192.168.4.2"), &["192.168.4.1", "192.0.2.1"], Standing::Nat),
            (Some("192.168.4.2"), &["192.168.4.1", "10.0.0.1", "192.0.2.1"], Standing::TwoNats),
            (Some("192.168.4.2"), &["192.168.4.1", "100.64.1.1", "192.0.2.1"], Standing::Carrier),
            (Some("100.64.1.2"), &[], Standing::Carrier),
            (Some("198.51.100.4"), &["198.51.100.1", "10.0.0.1", "10.0.0.2"], Standing::Public),
        ] {
            assert_eq!(own(source, routers).standing(), expected, "{source:?} {routers:?}");
        }
    }

    #[test]
    fn whatever_is_wrong_comes_with_a_way_out() {
        let mut poor = own(Some("192.168.4.2"), &["192.168.4.1"]);
        assert!(poor.advice().is_empty());
        poor.machine.port = Port::Free(BufferSizes { receive: 208 << 10, send: 208 << 10 });
        poor.machine.clock = Clock::Unsynchronised;
        poor.machine.descriptors = Some(400);
        poor.hops[0].kind = Some(IcmpKind::Prohibited);
        let advice: String = poor.advice().iter().map(ToString::to_string).collect();
        for way_out in ["sysctl -w", "timedatectl", "ulimit -Hn", "192.168.4.1 refuses"] {
            assert!(advice.contains(way_out), "{way_out} in {advice}");
        }
        poor.machine.port = Port::Taken { in_use: true, why: "UDP port 5555 is in use".into() };
        assert!(
            poor.sentence().to_string().contains("is a pinhole running?") && poor.standing().is_obstacle()
        );
    }
}
