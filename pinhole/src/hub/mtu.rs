//! How large a datagram may be, as far as this machine knows.

use std::net::SocketAddr;

/// Headers of IPv4 and UDP, bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const HEADERS: u16 = 20 + 8;

/// Returns the largest payload of UDP that the system would send from there to there in one packet, bytes: by the
/// interface's MTU, and by what routers have said before (ip(7), `IP_MTU`). None if it does not tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn largest_datagram(from: SocketAddr, to: SocketAddr) -> Option<u16> {
    use nix::sys::socket::{getsockopt, sockopt};

    let socket = std::net::UdpSocket::bind((from.ip(), 0)).ok()?;
    socket.connect(to).ok()?; // sends nothing
    let mtu = getsockopt(&socket, sockopt::IpMtu).ok()?;
    u16::try_from(mtu).unwrap_or(u16::MAX).checked_sub(HEADERS)
}

/// Knows nothing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn largest_datagram(_from: SocketAddr, _to: SocketAddr) -> Option<u16> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_datagram_to_this_machine_may_be_as_large_as_its_interface_takes() {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").expect("an interface");
        let mtu: u32 = mtu.trim().parse().expect("a number");
        let expected = u16::try_from(mtu).unwrap_or(u16::MAX) - HEADERS;
        assert_eq!(largest_datagram(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), here), Some(expected));
    }
}
