//! The largest packet of a path, as far as this machine knows.

use std::net::UdpSocket;

use nix::sys::socket::{getsockopt, sockopt};

/// Returns the largest packet in bytes that the system would send from a connected socket without fragments: by the
/// interface's MTU, and by what routers have said before (`IP_MTU` of ip(7), `IPV6_MTU` of ipv6(7)). `None` if it does not
/// tell.
pub(crate) fn mtu(connected: &UdpSocket) -> Option<u32> {
    if connected.local_addr().ok()?.is_ipv6() {
        return rustix::net::sockopt::ipv6_mtu(connected).ok();
    }
    u32::try_from(getsockopt(connected, sockopt::IpMtu).ok()?).ok()
}
