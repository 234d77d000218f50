//! Forged ICMP errors: somebody claims that packets of a flow do not arrive.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketAddrAny, SocketType, sendto, socket};

use super::{LabError, Namespace};

/// Bytes of an IPv4 header without options, of an ICMP header, and of a UDP header.
const HEADERS: [usize; 3] = [20, 8, 8];

const TTL: u8 = 64;
const ICMP: u8 = 1;
const UDP: u8 = 17;

/// Type of the ICMP error "destination unreachable" (RFC 792).
const DESTINATION_UNREACHABLE: u8 = 3;

/// What a forged error claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody can reach the host (code 1).
    Host,
    /// No program has the port (code 3).
    Port,
    /// A router does not pass such packets (code 13).
    Prohibited,
}

impl Unreachable {
    /// Lists all of them.
    pub const ALL: [Unreachable; 3] = [Unreachable::Host, Unreachable::Port, Unreachable::Prohibited];

    fn code(self) -> u8 {
        match self {
            Unreachable::Host => 1,
            Unreachable::Port => 3,
            Unreachable::Prohibited => 13,
        }
    }
}

/// A flood of forged errors about one flow, all three claims in turn.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Who claims to complain.
    pub offender: Ipv4Addr,
    /// Who sent what is complained of, as the internet shows it: the victim.
    pub src: SocketAddrV4,
    /// Where it went.
    pub dst: SocketAddrV4,
    /// How many errors there are.
    pub count: u32,
    /// Time from one to the next.
    pub every: Duration,
}

impl Flood {
    /// Sends them from a node of the laboratory; returns after the last one.
    ///
    /// # Errors
    /// When the node has no route to the victim.
    pub fn run(&self, from: &Namespace) -> Result<(), LabError> {
        from.enter(|| self.send())?.map_err(LabError::io("forging ICMP errors"))
    }

    fn send(&self) -> io::Result<()> {
        // A socket of this protocol is given whole packets, so the offender may be anybody.
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::RAW))?;
        let victim: SocketAddrAny = SocketAddrV4::new(*self.src.ip(), 0).into();
        let begun = Instant::now();
        for (number, claim) in (0..self.count).zip(Unreachable::ALL.into_iter().cycle()) {
            let due = begun + self.every * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            sendto(&raw, &self.packet(claim), SendFlags::empty(), &victim)?;
        }
        Ok(())
    }

    /// Builds the packet; the kernel fills in the outer header's length and checksum.
    fn packet(&self, claim: Unreachable) -> Vec<u8> {
        let [ip_bytes, icmp_bytes, udp_bytes] = HEADERS;
        let mut udp = [self.src.port().to_be_bytes(), self.dst.port().to_be_bytes()].concat();
        udp.extend(u16::try_from(udp_bytes).expect("a small number").to_be_bytes());
        udp.extend([0; 2]);
        let mut icmp = vec![0; icmp_bytes];
        icmp[0] = DESTINATION_UNREACHABLE;
        icmp[1] = claim.code();
        icmp.extend(ip_header(*self.src.ip(), *self.dst.ip(), UDP, udp_bytes));
        icmp.extend(udp);
        let sum = checksum(&icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        debug_assert_eq!(icmp.len(), icmp_bytes + ip_bytes + udp_bytes);
        let mut packet = ip_header(self.offender, *self.src.ip(), ICMP, icmp.len());
        packet.extend(icmp);
        packet
    }
}

fn ip_header(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload_bytes: usize) -> Vec<u8> {
    let total = u16::try_from(HEADERS[0] + payload_bytes).expect("a small packet");
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    header.extend([0, 0, 0, 0, TTL, protocol, 0, 0]);
    header.extend(src.octets());
    header.extend(dst.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Sums up as RFC 1071 says.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded into 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_its_checksum_sums_up_to_nothing() {
        let header = ip_header(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 4), ICMP, 36);
        assert_eq!(header.len(), HEADERS[0]);
        assert_eq!(checksum(&header), 0);
    }
}
