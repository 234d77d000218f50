//! Linux and Android.

mod clock;
mod icmp;
mod icmp_error;
mod interfaces;
mod loopback;
mod mtu;
mod network;
mod ports;
mod route;
mod ttl;

/// The kernel reports twice the size of a socket buffer that it grants (socket(7), SO_RCVBUF).
pub(crate) const BUFFER_BOOKKEEPING: usize = 2;

pub(crate) use self::{
    clock::clock,
    icmp::{is_icmp_cause, subscribe_icmp, take_icmp},
    interfaces::addresses,
    loopback::pace_nothing,
    mtu::mtu,
    network::Network,
    ports::is_closed,
    route::{gateway, leads_to},
    ttl::{TTL_BELONGS_TO_DATAGRAM, send_with_ttl},
};
