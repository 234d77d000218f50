//! What the system's queue of errors says: any error, from anybody, about any datagram.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::{arbitrary, fuzz_target};
use nix::{libc, sys::socket::ControlMessageOwned};
use pinhole_proto::puncher::IcmpKind;

use self::icmp_error::icmp_error;

// The file, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[path = "../../pinhole/src/sys/linux/icmp_error.rs"]
mod icmp_error;

#[derive(Debug, arbitrary::Arbitrary)]
struct Error {
    errno: u32,
    origin: u8,
    icmp_type: u8,
    code: u8,
    info: u32,
    data: u32,
    offender: Option<(u16, u32)>,
    /// What the same error says in IPv6's queue.
    offender_v6: Option<(u16, [u8; 16])>,
}

fuzz_target!(|error: Error| {
    let extended = libc::sock_extended_err {
        ee_errno: error.errno,
        ee_origin: error.origin,
        ee_type: error.icmp_type,
        ee_code: error.code,
        ee_pad: 0,
        ee_info: error.info,
        ee_data: error.data,
    };
    let offender = error.offender.map(|(family, ip)| libc::sockaddr_in {
        sin_family: family,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: ip.to_be() },
        sin_zero: [0; 8],
    });
    let told = icmp_error(&ControlMessageOwned::Ipv4RecvErr(extended, offender));
    let is_icmp = error.origin == libc::SO_EE_ORIGIN_ICMP
        && error.offender.is_some_and(|(family, _)| i32::from(family) == libc::AF_INET);
    match told {
        None => assert!(!is_icmp || !matches!((error.icmp_type, error.code), (3, 3) | (11, 0))),
        Some((kind, by)) => {
            assert!(is_icmp, "an error of this machine is none of the network's");
            assert_eq!(error.offender.map(|(_, ip)| IpAddr::from(Ipv4Addr::from(ip))), Some(by));
            match kind {
                IcmpKind::TtlExceeded => assert_eq!((error.icmp_type, error.code), (11, 0)),
                IcmpKind::PortUnreachable => assert_eq!((error.icmp_type, error.code), (3, 3)),
                IcmpKind::Unreachable | IcmpKind::Prohibited => {
                    assert!(error.icmp_type == 3 && ![3, 4].contains(&error.code));
                }
            }
        }
    }
    let offender = error.offender_v6.map(|(family, ip)| libc::sockaddr_in6 {
        sin6_family: family,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: ip },
        sin6_scope_id: 0,
    });
    let told = icmp_error(&ControlMessageOwned::Ipv6RecvErr(extended, offender));
    let is_icmp = error.origin == libc::SO_EE_ORIGIN_ICMP6
        && error.offender_v6.is_some_and(|(family, _)| i32::from(family) == libc::AF_INET6);
    match told {
        None => assert!(!is_icmp || !matches!((error.icmp_type, error.code), (1, 4) | (3, 0))),
        Some((kind, by)) => {
            assert!(is_icmp, "an error of this machine is none of the network's");
            assert_eq!(error.offender_v6.map(|(_, ip)| IpAddr::from(Ipv6Addr::from(ip))), Some(by));
            match kind {
                IcmpKind::TtlExceeded => assert_eq!((error.icmp_type, error.code), (3, 0)),
                IcmpKind::PortUnreachable => assert_eq!((error.icmp_type, error.code), (1, 4)),
                IcmpKind::Unreachable | IcmpKind::Prohibited => {
                    assert!(error.icmp_type == 1 && error.code != 4)
                }
            }
        }
    }
    // What the QUIC library asks for comes by the same way.
    assert_eq!(icmp_error(&ControlMessageOwned::Ipv4Tos(error.code)), None);
});
