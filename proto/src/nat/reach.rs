//! From where an address can be reached: the first thing that tells whether there is a NAT.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

/// Says from where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// From this machine alone, or from nowhere.
    Machine,
    /// From the same link (RFC 3927; IPv6 fe80::/10).
    Link,
    /// From inside the same private network (RFC 1918; IPv6 fc00::/7, RFC 4193).
    Private,
    /// From inside a carrier's network, before the carrier's NAT (100.64.0.0/10, RFC 6598).
    Carrier,
    /// From everywhere, as far as the address goes.
    Public,
}

impl Reach {
    /// Classifies an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) if ip.is_loopback() || ip == Ipv4Addr::UNSPECIFIED => Self::Machine,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Link,
            IpAddr::V4(ip) if ip.is_private() => Self::Private,
            IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0b1100_0000 == 64 => Self::Carrier,
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => Self::Machine,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Link,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Private,
            IpAddr::V4(_) | IpAddr::V6(_) => Self::Public,
        }
    }

    /// Names it for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Link => "link",
            Self::Private => "private",
            Self::Carrier => "carrier",
            Self::Public => "public",
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "this machine only",
            Self::Link => "link-local",
            Self::Private => "private (RFC 1918)",
            Self::Carrier => "a carrier's NAT (RFC 6598)",
            Self::Public => "public",
        })
    }
}

/// The reason why an address cannot be that of a machine elsewhere on the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotPublic {
    /// Inside a private network (RFC 1918).
    Private,
    /// Inside a carrier's network (RFC 6598).
    Carrier,
    /// On one link (RFC 3927).
    Link,
    /// Reserved: "this network" (RFC 1122), protocol assignments (RFC 6890), benchmarks (RFC 2544), future use (RFC 1112).
    Reserved,
}

impl NotPublic {
    /// Classifies an IPv4 address; `None` if it may be public, or is this machine's own.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        let IpAddr::V4(four) = ip else { return None };
        match Reach::of(ip) {
            Reach::Private => Some(Self::Private),
            Reach::Carrier => Some(Self::Carrier),
            Reach::Link => Some(Self::Link),
            Reach::Machine => None,
            Reach::Public => match four.octets() {
                [0 | 240..=255, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] => Some(Self::Reserved),
                _ => None,
            },
        }
    }
}

/// Returns whether an address stands in documents as an example (RFC 5737), and nowhere else.
#[must_use]
pub fn is_example(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_documentation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_on_the_internet_has_is_named() {
        for (expected, addresses) in [
            (Some(NotPublic::Private), &["192.168.99.1", "172.20.1.1", "10.0.0.1"][..]),
            (Some(NotPublic::Carrier), &["100.64.7.8"]),
            (Some(NotPublic::Link), &["169.254.1.1"]),
            (
                Some(NotPublic::Reserved),
                &["240.1.1.1", "0.1.2.3", "192.0.0.8", "198.18.0.1", "198.19.255.255"],
            ),
            (
                None,
                &["127.0.0.1", "9.9.9.9", "198.20.0.1", "198.17.0.1", "192.0.1.1", "203.0.113.9", "fd00::1"],
            ),
        ] {
            for address in addresses {
                assert_eq!(NotPublic::of(address.parse().expect("an address")), expected, "{address}");
            }
        }
        assert!(is_example(IpAddr::from([203, 0, 113, 9])) && !is_example(IpAddr::from([203, 0, 114, 9])));
    }

    #[test]
    fn each_address_is_of_one_kind_up_to_the_edges_of_its_network() {
        for (reach, addresses) in [
            (Reach::Machine, &["127.0.0.1", "0.0.0.0", "::1", "::"][..]),
            (Reach::Link, &["169.254.7.7", "fe80::1"]),
            (Reach::Private, &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.2", "fd00::1"]),
            (Reach::Carrier, &["100.64.0.0", "100.127.255.255"]),
            (Reach::Public, &["100.63.255.255", "100.128.0.0", "172.32.0.0", "203.0.113.9", "2001:db8::1"]),
        ] {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().expect("an address")), reach, "{address}");
            }
        }
    }
}
