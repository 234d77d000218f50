//! `pinhole classic`: the old script's grammar.

use std::{net::Ipv4Addr, time::Duration};

use clap::{ArgAction, ArgGroup, Args};

use super::{parse_seconds, parse_udp_port};

/// The old script's grammar, for its own wire format.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("classic_side").args(["serve", "open"]).required(true))]
pub(crate) struct ClassicArgs {
    /// Offer the local TCP_PORT (or HOST:PORT) to the peer
    #[arg(short = 'c', conflicts_with = "open")]
    pub(crate) serve: bool,

    /// Make the peer's service a local TCP_PORT (or BIND:PORT)
    #[arg(short = 'l')]
    pub(crate) open: bool,

    /// TCP port; with -c also HOST:PORT, with -l also BIND:PORT (default: loopback only)
    #[arg(value_name = "TCP_PORT")]
    pub(crate) tcp: String,

    /// Public IPv4 address, or name, of the other side
    #[arg(value_name = "PEER")]
    pub(crate) peer: String,

    /// UDP port of both sides
    #[arg(value_name = "UDP_PORT", default_value_t = pinhole::endpoint::DEFAULT_PORT, value_parser = parse_udp_port)]
    pub(crate) udp: u16,

    /// One argument too many; named so in an error of ours
    #[arg(hide = true)]
    pub(crate) extra: Vec<String>,

    /// Send from this local IP
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub(crate) bind: Ipv4Addr,

    /// Give up after this many seconds without a word from the peer, with exit status 1 [default: wait for ever]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, allow_hyphen_values = true)]
    pub(crate) wait: Option<Duration>,

    /// Send at most this many bytes in one datagram; not more than MAXBUF_SIZE in the peer's script
    #[arg(long, value_name = "BYTES", default_value_t = 40_000, value_parser = clap::value_parser!(u16).range(1..=65_491))]
    pub(crate) max_data: u16,

    /// Show what happens inside; twice for every datagram
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) debug: u8,
}
