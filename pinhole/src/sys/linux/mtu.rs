//! How large a datagram may be, as far as this machine knows.

use std::net::SocketAddr;

use nix::sys::socket::{getsockopt, sockopt};

/// Headers of IPv4 and UDP, bytes.
const HEADERS_V4: u16 = 20 + 8;

/// Headers of IPv6 and UDP, bytes.
const HEADERS_V6: u16 = 40 + 8;

/// Returns the largest payload of UDP that the system would send from there to there in one packet, bytes: by the
/// interface's MTU, and by what routers have said before (`IP_MTU` of ip(7), `IPV6_MTU` of ipv6(7)). `None` if it does not
/// tell.
pub(crate) fn largest_datagram(from: SocketAddr, to: SocketAddr) -> Option<u16> {
    let socket = std::net::UdpSocket::bind((from.ip(), 0)).ok()?;
    socket.connect(to).ok()?; // sends nothing
    let (mtu, headers) = if to.is_ipv6() {
        (u16::try_from(rustix::net::sockopt::ipv6_mtu(&socket).ok()?), HEADERS_V6)
    } else {
        (u16::try_from(getsockopt(&socket, sockopt::IpMtu).ok()?), HEADERS_V4)
    };
    mtu.unwrap_or(u16::MAX).checked_sub(headers)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_datagram_to_this_machine_may_be_as_large_as_its_interface_takes() {
        let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").expect("an interface");
        let mtu: u32 = mtu.trim().parse().expect("a number");
        let expected = |headers| Some(u16::try_from(mtu).unwrap_or(u16::MAX) - headers);
        let (four, six) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let from_any = largest_datagram((Ipv4Addr::UNSPECIFIED, 0).into(), (four, 9).into());
        assert_eq!(from_any, expected(HEADERS_V4));
        let has_ipv6 = std::net::UdpSocket::bind((six, 0)).is_ok();
        let over_ipv6 = largest_datagram((IpAddr::from(six), 0).into(), (six, 9).into());
        assert_eq!(over_ipv6, expected(HEADERS_V6).filter(|_| has_ipv6));
    }
}
