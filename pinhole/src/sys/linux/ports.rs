//! Whether a program of this machine has a UDP port: what the system's own table of sockets says (proc(5), net/udp).
//!
//! An ICMP error says as much, but a firewall or a router says it as well of a program that lives. The table does not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

/// The tables of the network namespace that this thread is in: IPv4's, and IPv6's, whose sockets may serve IPv4 too.
const TABLES: [&str; 2] = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];

/// Whether no socket of this machine has that port, as far as that is certain: the table must list our own one.
pub(crate) fn is_closed(port: u16, own: u16) -> bool {
    let is_listed = |wanted| TABLES.map(|table| File::open(table).is_ok_and(|file| lists(file, wanted)));
    is_listed(own).contains(&true) && !is_listed(port).contains(&true)
}

/// Whether a table has a socket on that port.
fn lists(table: impl io::Read, wanted: u16) -> bool {
    let lines = BufReader::new(table).lines().map_while(Result::ok);
    lines.filter_map(|line| local_port(&line)).any(|port| port == wanted)
}

/// Returns the local port of a line: the second field is address and port, in hexadecimal digits.
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.split_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_each_line_is_read_and_the_head_is_none() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n  \
                     12: 0100007F:15B3 00000000:0000 07 00000000:00000000 00:00000000 00000000     0\n  \
                     13: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101\n";
        assert!(lists(table.as_bytes(), 5555) && lists(table.as_bytes(), 53));
        assert!(!lists(table.as_bytes(), 0) && !lists(table.as_bytes(), 5556));
    }

    #[test]
    fn a_port_is_closed_only_when_its_socket_is_gone_and_never_without_a_look_at_our_own() {
        let [own, peers] =
            [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free"));
        let [own_port, peers_port] =
            [&own, &peers].map(|socket| socket.local_addr().expect("it is bound").port());
        assert!(!is_closed(peers_port, own_port));
        drop(peers);
        assert!(is_closed(peers_port, own_port));
        drop(own);
        assert!(!is_closed(peers_port, own_port), "the table says nothing of ourselves");
    }
}
