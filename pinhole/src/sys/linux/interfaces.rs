//! Addresses and MTUs of this machine's interfaces.

use std::net::{IpAddr, UdpSocket};

use nix::sys::socket::{getsockopt, sockopt};

/// Returns the interfaces' names and addresses.
pub(crate) fn addresses() -> Vec<(String, IpAddr)> {
    let Ok(found) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = found.filter_map(|found| {
        let address = found.address?;
        let ip: IpAddr = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(four), _) => four.ip().into(),
            (None, Some(six)) => six.ip().into(),
            (None, None) => return None,
        };
        Some((found.interface_name, ip))
    });
    addresses.collect()
}

/// Returns the largest packet in bytes that the system would send from a connected IPv4 socket without fragments: by the
/// interface's MTU, and by what routers have said before (ip(7), `IP_MTU`).
pub(crate) fn mtu(connected: &UdpSocket) -> Option<u32> {
    getsockopt(connected, sockopt::IpMtu).ok().and_then(|mtu| u32::try_from(mtu).ok())
}
