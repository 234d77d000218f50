//! The meaning of an ICMP error, as the system reports it in a control message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::{
    libc::{self, sock_extended_err},
    sys::socket::ControlMessageOwned,
};
use pinhole_proto::puncher::IcmpKind;

/// Returns what an ICMP error says, and who says so; `None` for errors of this machine.
pub(crate) fn icmp_error(message: &ControlMessageOwned) -> Option<(IcmpKind, IpAddr)> {
    let is_of = |error: &sock_extended_err, origin, family: u16, expected: libc::c_int| {
        error.ee_origin == origin && libc::c_int::from(family) == expected
    };
    if let ControlMessageOwned::Ipv4RecvErr(error, Some(from)) = message
        && is_of(error, libc::SO_EE_ORIGIN_ICMP, from.sin_family, libc::AF_INET)
    {
        let offender = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
        return Some((kind(error.ee_type, error.ee_code)?, offender.into()));
    }
    if let ControlMessageOwned::Ipv6RecvErr(error, Some(from)) = message
        && is_of(error, libc::SO_EE_ORIGIN_ICMP6, from.sin6_family, libc::AF_INET6)
    {
        let offender = Ipv6Addr::from(from.sin6_addr.s6_addr);
        return Some((kind_v6(error.ee_type, error.ee_code)?, offender.into()));
    }
    None
}

/// Sorts ICMP's types and codes (RFC 792, RFC 1812 §5.2.7.1). That a packet is too large (type 3 code 4) or that
/// its fragments never met (type 11 code 1) cannot be true of a probe.
fn kind(icmp_type: u8, code: u8) -> Option<IcmpKind> {
    match (icmp_type, code) {
        (11, 0) => Some(IcmpKind::TtlExceeded),
        (3, 3) => Some(IcmpKind::PortUnreachable),
        (3, 4) => None,
        (3, 9 | 10 | 13) => Some(IcmpKind::Prohibited),
        (3, _) => Some(IcmpKind::Unreachable),
        _ => None,
    }
}

/// Sorts those of ICMPv6 (RFC 4443 §3). "Prohibited" is what a policy refuses: codes 1, 5 and 6.
fn kind_v6(icmp_type: u8, code: u8) -> Option<IcmpKind> {
    match (icmp_type, code) {
        (3, 0) => Some(IcmpKind::TtlExceeded),
        (1, 4) => Some(IcmpKind::PortUnreachable),
        (1, 1 | 5 | 6) => Some(IcmpKind::Prohibited),
        (1, _) => Some(IcmpKind::Unreachable),
        _ => None,
    }
}
