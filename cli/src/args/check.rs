//! The command line of `pinhole check`: definitions only.

use std::{net::Ipv4Addr, time::Duration};

use clap::{ArgAction, Args};
use clap_complete::ArgValueCandidates;
use pinhole::{
    endpoint::DEFAULT_PORT,
    proto::survey::{LEAST_LIFETIME, MOST_LIFETIME},
};

use super::{ConfigArgs, KeySource, LimitArgs, parse_seconds, parse_udp_port};
use crate::config;

pub(super) const CHECK_HELP: &str = "Alone it looks at this machine; with PEER also at the first routers on the way there. With PEER and a key it then waits for a check on the other side; the two find out what both NATs do and measure the path between them:

  here   pinhole check PEER              there   pinhole check THIS_IP --as serve

Nobody else is asked, but for a STUN server if you name one. A tunnel that runs between the two is left alone; check beside it on another port: --port 5556 on both sides.

Exit status: 0 nothing stands in the way, 1 something does (the report says what), 2 wrong use.";

/// The two sides of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CheckSide {
    /// Like `-l`
    Open,
    /// Like `-c`
    Serve,
}

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Public IPv4 address, or name, of the other side; or a name of the file of peers
    #[arg(value_name = "PEER", add = ArgValueCandidates::new(config::candidates))]
    pub(crate) peer: Option<String>,

    /// UDP port of both sides [default: 5555]
    #[arg(long, value_name = "UDP_PORT", value_parser = parse_udp_port)]
    pub(crate) port: Option<u16>,

    /// Which of the two sides this one plays in the check; the other side must play the other one
    #[arg(long = "as", value_name = "SIDE", value_enum, default_value_t = CheckSide::Open, requires = "peer")]
    pub(crate) side: CheckSide,

    #[command(flatten)]
    pub(crate) key: KeySource,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Wait so many seconds for the other side
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "120")]
    pub(crate) wait: Duration,

    /// Transfer at most so many MiB in each direction, for four seconds at most; 0 for none
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub(crate) transfer: u32,

    /// Also find out how long both NATs keep an idle mapping, in so many seconds (15 to 300, or else 180); one side's
    /// wish is enough
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "180", requires = "peer",
        value_parser = clap::value_parser!(u16).range(i64::from(LEAST_LIFETIME)..=i64::from(MOST_LIFETIME)))]
    pub(crate) lifetime: Option<u16>,

    /// Also ask this STUN server (RFC 5780), like stun.cloudflare.com: a third party, which learns this side's public
    /// address and tells it
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) stun: Option<String>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Send from this local IP [default: any]
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<Ipv4Addr>,

    /// Print the report as one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Show what happens inside; twice for every datagram
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) debug: u8,
}

impl CheckArgs {
    /// Returns the UDP port of both sides.
    pub(crate) fn udp_port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// Returns the own IP to send from.
    pub(crate) fn own_ip(&self) -> Ipv4Addr {
        self.bind.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}
