//! What an ICMP error says, as the system tells it in a control message.

use std::net::Ipv4Addr;

use nix::{libc, sys::socket::ControlMessageOwned};
use pinhole_proto::puncher::IcmpKind;

/// Returns what an ICMP error says, and who says so; none for errors of this machine.
pub(super) fn complaint(message: &ControlMessageOwned) -> Option<(IcmpKind, Ipv4Addr)> {
    let ControlMessageOwned::Ipv4RecvErr(error, Some(offender)) = message else { return None };
    let is_icmp =
        error.ee_origin == libc::SO_EE_ORIGIN_ICMP && libc::c_int::from(offender.sin_family) == libc::AF_INET;
    let kind = kind(error.ee_type, error.ee_code).filter(|_| is_icmp)?;
    Some((kind, Ipv4Addr::from(u32::from_be(offender.sin_addr.s_addr))))
}

/// Sorts ICMP's types and codes (RFC 792, RFC 1812 §5.2.7.1). That a packet is too large (type 3 code 4) or that
/// its pieces never met (type 11 code 1) cannot be true of a probe.
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
