//! Who has which address, the same in both realisations.
//!
//! Each side's public address (RFC 5737's documentation networks) sits on its outermost NAT, or on the host
//! where there is none; firewalls only pass it on. Behind a NAT follow 100.64.0.0/10 (between two NATs) and
//! 192.168.0.0/16 (around the host), as at a carrier's customer.

use std::net::Ipv4Addr;

use crate::spec::{BoxSpec, Side};

/// The two addresses of the stranger, whom neither side knows.
pub const STRANGER_IPS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 66), Ipv4Addr::new(192, 0, 2, 67)];

/// Returns the address by which the internet knows a side.
pub fn public_ip(side: Side) -> Ipv4Addr {
    match side {
        Side::A => Ipv4Addr::new(198, 51, 100, 4),
        Side::B => Ipv4Addr::new(203, 0, 113, 9),
    }
}

/// The addresses between two translations; firewalls in between share them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subnet {
    /// The address of the NAT, or the host, that ends it on the inside.
    pub(crate) owner: Ipv4Addr,
}

impl Subnet {
    /// Returns the network above the box at that level, counted from the internet; the host is the last level.
    pub(crate) fn above(side: Side, inwards: &[&BoxSpec], level: usize) -> Subnet {
        let is_nat = |spec: &&&BoxSpec| spec.translation().is_some();
        let outside = inwards.iter().take(level).filter(is_nat).count();
        let inside = inwards.iter().skip(level).filter(is_nat).count();
        let [_, _, _, public_octet] = public_ip(side).octets();
        let owner = match (outside, inside) {
            (0, _) => public_ip(side),
            (_, 0) => Ipv4Addr::new(192, 168, public_octet, 2),
            (outside, _) => Ipv4Addr::new(100, 64, u8::try_from(outside).unwrap_or(u8::MAX), 2),
        };
        Subnet { owner }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.with_last(1)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn firewall(self, level: usize) -> Ipv4Addr {
        self.with_last(10 + u8::try_from(level).unwrap_or(u8::MAX - 10))
    }

    #[cfg(target_os = "linux")]
    fn with_last(self, last: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.owner.octets();
        Ipv4Addr::new(a, b, c, last)
    }
}
