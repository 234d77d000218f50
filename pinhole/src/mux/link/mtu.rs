//! The largest datagram of a path, as far as this machine knows.

use std::net::{SocketAddr, UdpSocket};

use crate::sys;

/// Headers of IPv4 and UDP, bytes.
const HEADERS_V4: u32 = 20 + 8;

/// Headers of IPv6 and UDP, bytes.
const HEADERS_V6: u32 = 40 + 8;

/// Returns the largest payload of UDP that the system would send from there to there in one packet, bytes. `None` if it
/// does not tell.
pub(super) fn largest_datagram(from: SocketAddr, to: SocketAddr) -> Option<u16> {
    let socket = UdpSocket::bind((from.ip(), 0)).ok()?;
    socket.connect(to).ok()?; // sends nothing
    let headers = if to.is_ipv6() { HEADERS_V6 } else { HEADERS_V4 };
    let payload = sys::mtu(&socket)?.min(u16::MAX.into()).checked_sub(headers)?;
    u16::try_from(payload).ok()
}

#[cfg(all(test, not(pinhole_portable)))]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_datagram_to_this_machine_may_be_as_large_as_its_interface_takes() {
        let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").expect("an interface");
        let mtu: u32 = mtu.trim().parse().expect("a number");
        let expected = |headers| u16::try_from(mtu.min(u16::MAX.into()) - headers).ok();
        let (four, six) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let from_any = largest_datagram((Ipv4Addr::UNSPECIFIED, 0).into(), (four, 9).into());
        assert_eq!(from_any, expected(HEADERS_V4));
        let has_ipv6 = UdpSocket::bind((six, 0)).is_ok();
        let over_ipv6 = largest_datagram((IpAddr::from(six), 0).into(), (six, 9).into());
        assert_eq!(over_ipv6, expected(HEADERS_V6).filter(|_| has_ipv6));
    }
}
