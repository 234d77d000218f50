//! ICMP errors as a host gets them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use natlab::kernel::Host;
use natlab::{IcmpError, IcmpKind};
use rustix::net::{AddressFamily, SocketType, ipproto, socket_with};

/// What a host learns from an ICMP error.
#[derive(Debug, Clone)]
pub(crate) struct Complaint {
    offender: Ipv4Addr,
    kind: String,
    local: SocketAddrV4,
    remote: SocketAddrV4,
    quoted_bytes: usize,
}

impl Complaint {
    /// Takes what the model says, which came for that address of the host.
    pub(crate) fn of_model(error: IcmpError, local: SocketAddrV4) -> Complaint {
        let IcmpError { offender, kind, remote, quoted, .. } = error;
        Complaint { offender, kind: format!("{kind:?}"), local, remote, quoted_bytes: quoted.len() }
    }

    /// Reads a whole IPv4 packet with an ICMP error.
    pub(crate) fn of_packet(packet: &[u8]) -> Complaint {
        let (_, offender, _, icmp) = ip(packet);
        let kind = match icmp[..2] {
            [11, 0] => format!("{:?}", IcmpKind::TtlExceeded),
            [3, 3] => format!("{:?}", IcmpKind::PortUnreachable),
            [3, 13] => format!("{:?}", IcmpKind::AdminProhibited),
            ref other => format!("type and code {other:?}"),
        };
        let (protocol, src, dst, udp) = ip(&icmp[8..]);
        assert_eq!(protocol, 17, "it is about a UDP datagram");
        let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        let (local, remote) = (SocketAddrV4::new(src, port(0)), SocketAddrV4::new(dst, port(2)));
        Complaint { offender, kind, local, remote, quoted_bytes: udp.len() - 8 }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Complaint { offender, kind, local, remote, quoted_bytes } = self;
        write!(f, "{offender} says {kind} of {quoted_bytes} bytes from {local} to {remote}")
    }
}

/// Opens a socket that reads all ICMP of a host.
pub(crate) fn socket(host: &Host) -> UdpSocket {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let open = || socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::ICMP));
    UdpSocket::from(host.enter(open).expect("entered").expect("root may open raw sockets"))
}

/// Takes an IPv4 packet apart: protocol, source, destination, what is inside.
fn ip(packet: &[u8]) -> (u8, Ipv4Addr, Ipv4Addr, &[u8]) {
    let header_bytes = usize::from(packet[0] & 0x0f) * 4;
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    (packet[9], address(12), address(16), &packet[header_bytes..])
}
