//! `pinhole pipe`.

use std::time::Duration;

use clap::{ArgAction, Args};
use clap_complete::ArgValueCandidates;

use super::{
    super::config,
    ConfigArgs, KeySource, TunnelArgs,
    parse::{parse_seconds, parse_udp_port},
};

pub(super) const PIPE_HELP: &str = "Examples:
  ssh -o ProxyCommand='pinhole pipe 22 %h' user@198.51.100.4
  pinhole pipe web home < request > answer

It is a connection of the `pinhole open` that runs for this peer, of the same user. If none runs, a tunnel is started in the background and shared with the pipes that follow; it ends when none has needed it for half a minute. Nothing but the connection's bytes comes out of stdout.

Exit status: 0 both directions have ended, 1 no path to the peer, refused, or cut, 2 wrong use or a port that cannot be had.";

// What some of a tunnel's options mean here.
const WAIT: &str = "Give up after this many seconds without a tunnel, with exit status 1 [default: 60]";
const PATIENCE: &str = "Keep connections for so long while there is no path to the peer [default: 3600]";
const COMPRESS: &str = "Let a tunnel that is started for this compress where that makes connections faster, or never [default: auto]";

/// One connection, as stdin and stdout.
#[derive(Debug, Args)]
#[command(
    mut_arg("wait", |arg| arg.help(WAIT)),
    mut_arg("patience", |arg| arg.help(PATIENCE)),
    mut_arg("compress", |arg| arg.help(COMPRESS))
)]
pub(crate) struct PipeArgs {
    /// TCP port that the peer offers, or the service's name
    #[arg(value_name = "TCP_PORT")]
    pub(crate) service: String,

    /// Public IPv4 address, or name, of the other side; or a name of the file of peers
    #[arg(value_name = "PEER", add = ArgValueCandidates::new(config::candidates))]
    pub(crate) peer: String,

    /// UDP port of both sides [default: 5555]
    #[arg(long, value_name = "UDP_PORT", value_parser = parse_udp_port)]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) key: KeySource,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    #[command(flatten)]
    pub(crate) tunnel: TunnelArgs,

    /// Keep a tunnel that was started for this for so long after the last connection [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, allow_hyphen_values = true)]
    pub(crate) stay: Option<Duration>,

    /// Be the tunnel in the background; the key comes from stdin
    #[arg(long, hide = true)]
    pub(crate) hold: bool,

    /// Show what happens inside; twice for every datagram
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) debug: u8,
}
