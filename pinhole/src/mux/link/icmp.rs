//! Failed system calls that are ICMP errors about some earlier datagram.

use std::io;

use crate::sys;

/// Returns whether a failed read tells of an ICMP error about some earlier datagram, and so says nothing about the
/// socket (Linux: `icmp_err_convert` in net/ipv4/icmp.c, and `__udp4_lib_err`).
pub(super) fn is_cause(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(errno) = Errno::from_io_error(error) else { return false };
    let anywhere = [
        Errno::CONNREFUSED,
        Errno::CONNRESET,
        Errno::HOSTUNREACH,
        Errno::HOSTDOWN,
        Errno::NETUNREACH,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::MSGSIZE,
        Errno::PROTO,
    ];
    anywhere.contains(&errno) || sys::is_icmp_cause(errno)
}
