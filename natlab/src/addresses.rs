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

/// Returns the address of a side's half of the internet, as the stranger sees it.
pub(crate) fn router_ip(side: Side) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + u8::try_from(side.index()).expect("an index of two"))
}

/// Returns the address of a side's half of the internet, as the other half sees it.
pub(crate) fn link_ip(side: Side) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 253 + u8::try_from(side.index()).expect("an index of two"))
}

/// The network between a node and the one below it, nearer to the host.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    /// The address of the node nearer to the internet.
    pub(crate) upper_ip: Ipv4Addr,
    /// The address of the node nearer to the host.
    pub(crate) lower_ip: Ipv4Addr,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only the kernel has routes"))]
    pub(crate) prefix: u8,
    /// The address that the lower node, which does not translate, passes on.
    pub(crate) behind: Option<Ipv4Addr>,
}

impl Leg {
    /// Plans the leg above the box at that level, counted inwards from the internet; the host is the last level.
    pub(crate) fn new(side: Side, inwards: &[&BoxSpec], level: usize) -> Leg {
        let passes_on = |level: usize| inwards.get(level).is_some_and(|spec| spec.translation().is_none());
        let owner = owner(side, inwards, level);
        let upper_ip = match level.checked_sub(1) {
            Some(above) if passes_on(above) => passer(owner, above),
            _ => with_last(owner, 1),
        };
        let is_unnumbered = passes_on(level) || level > 0 && passes_on(level - 1);
        Leg {
            upper_ip,
            lower_ip: if passes_on(level) { passer(owner, level) } else { owner },
            prefix: if is_unnumbered { 32 } else { 24 },
            behind: passes_on(level).then_some(owner),
        }
    }
}

/// Returns who owns the network above that level: the next NAT inwards, or the host.
fn owner(side: Side, inwards: &[&BoxSpec], level: usize) -> Ipv4Addr {
    let is_nat = |spec: &&&BoxSpec| spec.translation().is_some();
    let outside = inwards.iter().take(level).filter(is_nat).count();
    let inside = inwards.iter().skip(level).filter(is_nat).count();
    let [_, _, _, public_octet] = public_ip(side).octets();
    match (outside, inside) {
        (0, _) => public_ip(side),
        (_, 0) => Ipv4Addr::new(192, 168, public_octet, 2),
        (outside, _) => Ipv4Addr::new(100, 64, u8::try_from(outside).unwrap_or(u8::MAX), 2),
    }
}

/// Returns the address of a box that passes its network on.
fn passer(owner: Ipv4Addr, level: usize) -> Ipv4Addr {
    with_last(owner, 10 + u8::try_from(level).unwrap_or(u8::MAX - 10))
}

fn with_last(ip: Ipv4Addr, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = ip.octets();
    Ipv4Addr::new(a, b, c, last)
}
