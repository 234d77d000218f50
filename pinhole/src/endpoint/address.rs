//! The address of a peer: a name or an IP, and a UDP port.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use super::DEFAULT_PORT;

/// The address of a peer, as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name or an IPv4 address.
    pub host: String,
    /// Its main UDP port.
    pub port: u16,
}

impl PeerAddress {
    /// Makes one of a name or an address, without a port in it, and of a UDP port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Returns whether the host is a name, which may mean another address later.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Looks the peer up. What it finds is sorted, so that it can be compared with what was found before.
    ///
    /// # Errors
    ///
    /// When the name has no IPv4 address now, or the address is none that a machine can have.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, PeerError> {
        let host = || self.host.clone();
        if self.host.parse::<SocketAddr>().is_ok() || self.host.matches(':').count() == 1 {
            return Err(PeerError::PortInName(host()));
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| PeerError::Unresolved(host()))?.collect();
        let usable = usable(&found);
        if usable.is_empty() {
            return Err(if found.is_empty() {
                PeerError::Unresolved(host())
            } else {
                PeerError::OnlyIpv6(host())
            });
        }
        match usable.iter().find(|a| !is_unicast(a.ip())) {
            Some(odd) => Err(PeerError::NoMachine(odd.ip())),
            None => Ok(usable),
        }
    }

    /// Checks that none of a peer's addresses is that of our own socket.
    ///
    /// # Errors
    ///
    /// When one is.
    pub fn check_foreign(found: &[SocketAddr], local: SocketAddr) -> Result<(), PeerError> {
        match found.iter().find(|address| is_own(**address, local)) {
            Some(own) => Err(PeerError::OwnAddress(*own)),
            None => Ok(()),
        }
    }
}

impl From<&str> for PeerAddress {
    /// Takes a name or an address at the [`DEFAULT_PORT`].
    fn from(host: &str) -> Self {
        Self::new(host, DEFAULT_PORT)
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The reason why a peer cannot be used as it was named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// No such name, or the name server does not answer.
    #[error("the peer's name {0:?} does not resolve")]
    Unresolved(String),
    /// The port was written behind the name.
    #[error("{0:?} has a port in it: name the peer alone; its UDP_PORT is an argument of its own")]
    PortInName(String),
    /// Only IPv6 addresses, which this version does not use.
    #[error("{0:?} has no IPv4 address, and IPv6 is not supported yet: name the peer's public IPv4 address")]
    OnlyIpv6(String),
    /// Multicast, broadcast or unspecified.
    #[error("{0} is not the address of a machine: PEER must be the public IPv4 address of the other one")]
    NoMachine(IpAddr),
    /// The peer's address and port are our own.
    #[error("{0} is this program's own address: PEER must be the public address of the other machine")]
    OwnAddress(SocketAddr),
}

/// Returns whether packets to `peer` would come back to the socket bound to `local`.
fn is_own(peer: SocketAddr, local: SocketAddr) -> bool {
    if peer.port() != local.port() {
        return false;
    }
    if !local.ip().is_unspecified() {
        return peer.ip() == local.ip();
    }
    peer.ip().is_loopback() || source_toward(peer) == Some(peer.ip())
}

/// Returns the address that the system would send from. No packet is sent.
pub(crate) fn source_toward(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Returns those that this version can use, each once.
fn usable(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut usable: Vec<SocketAddr> = found.iter().copied().filter(SocketAddr::is_ipv4).collect();
    usable.sort_unstable();
    usable.dedup();
    usable
}

fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn own_addresses_are_recognised() {
        assert!(is_own(address("127.0.0.1:5555"), address("0.0.0.0:5555")));
        assert!(!is_own(address("127.0.0.1:5555"), address("0.0.0.0:5556")));
        assert!(!is_own(address("127.0.0.2:5555"), address("127.0.0.1:5555")));
        assert!(!is_own(address("203.0.113.9:5555"), address("0.0.0.0:5555")));
    }

    #[test]
    fn the_own_address_is_of_the_family_of_the_peer_s() {
        for here in ["127.0.0.1:9", "[::1]:9"].map(address) {
            let is_there = UdpSocket::bind((here.ip(), 0)).is_ok(); // a machine may have no IPv6
            assert_eq!(source_toward(here), is_there.then_some(here.ip()));
        }
    }

    #[test]
    fn the_order_of_a_name_server_s_answers_makes_no_difference() {
        let [a, b, six] = ["192.0.2.1:5555", "192.0.2.2:5555", "[::1]:5555"].map(address);
        assert_eq!(usable(&[b, six, a, b]), [a, b]);
        assert_eq!(usable(&[b, a]), usable(&[a, a, b]));
    }

    #[tokio::test]
    async fn what_no_machine_can_have_is_refused() {
        for odd in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            assert!(
                matches!(PeerAddress::new(odd, 5555).resolve().await, Err(PeerError::NoMachine(_))),
                "{odd}"
            );
        }
        assert_eq!(PeerAddress::new("::1", 5555).resolve().await, Err(PeerError::OnlyIpv6("::1".into())));
        let unresolved = PeerAddress::new("no-such-host.invalid", 5555).resolve().await;
        assert_eq!(unresolved, Err(PeerError::Unresolved("no-such-host.invalid".into())));
    }
}
