//! The command line: definitions only.

mod check;
#[cfg(feature = "classic")]
mod classic;
mod key;
mod parse;
mod pipe;
mod tunnel;

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueHint, builder::styling};
use clap_complete::ArgValueCandidates;

#[cfg(feature = "classic")]
pub(crate) use self::classic::ClassicArgs;
use self::{check::CHECK_HELP, key::KEY_HELP, pipe::PIPE_HELP};
pub(crate) use self::{
    check::{CheckArgs, CheckSide},
    key::{KeyAction, KeyPlace, KeySource, OwnPhrase, WhichKey},
    parse::{parse_max_mappings, parse_max_pps, parse_seconds, parse_status, parse_udp_port},
    pipe::PipeArgs,
    tunnel::{LimitArgs, TunnelArgs, When},
};
use super::{config, manual};

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::Yellow.on_default().bold())
    .usage(styling::AnsiColor::Yellow.on_default().bold())
    .literal(styling::AnsiColor::Green.on_default())
    .placeholder(styling::AnsiColor::Cyan.on_default());

const USAGE: &str = "pinhole -c TCP_PORT PEER [UDP_PORT]  offer a TCP service to the peer
       pinhole -l TCP_PORT PEER [UDP_PORT]  reach the peer's at a local port
       pinhole <COMMAND>";

const EXAMPLES: &str = "Example: ssh from one home to another, nothing in between
  at home  (public IP 198.51.100.4):  pinhole -c 22 203.0.113.9
  away     (public IP 203.0.113.9):   pinhole -l 2222 198.51.100.4
                                      ssh -p 2222 user@localhost

Without a local port:                 ssh -o ProxyCommand='pinhole pipe 22 %h' user@198.51.100.4
With a name from the file of peers:   pinhole open home
Try it on this machine alone:         pinhole demo

PEER is the *public* IP, or a name, of the other side: what a web page that answers \"what is my IP\"
shows there; or a name of your own from ~/.config/pinhole/config.toml. Both sides need the same key.
The first `pinhole -c` makes one and shows it; `pinhole -l` asks for it.

Exit status: 0 done, 1 no path to the peer or a part has failed, 2 wrong use or a port that cannot be had.";

/// Brings a TCP port of one machine to another, straight through both NATs.
#[derive(Debug, Parser)]
#[command(
    name = "pinhole",
    version,
    about = "A TCP port of one machine on another, straight through both NATs.\nNo server, no account, no relay: each side needs the other's public IP and a shared key.",
    override_usage = USAGE,
    after_help = EXAMPLES,
    styles = STYLES,
    args_conflicts_with_subcommands = true,
    group = ArgGroup::new("side").args(["serve", "open"])
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,

    #[command(flatten)]
    pub(crate) short: ShortForm,
}

/// The grammar of the old script: one service, two letters.
#[derive(Debug, Args)]
pub(crate) struct ShortForm {
    /// Serve side: offer the local TCP_PORT (or HOST:PORT) to the peer
    #[arg(short = 'c', requires = "tcp", conflicts_with = "open")]
    pub(crate) serve: bool,

    /// Open side: make the peer's service a local TCP_PORT (or BIND:PORT)
    #[arg(short = 'l', requires = "tcp")]
    pub(crate) open: bool,

    /// TCP port; with -c also HOST:PORT, with -l also BIND:PORT (default: loopback only)
    #[arg(value_name = "TCP_PORT", requires = "side", requires = "peer")]
    pub(crate) tcp: Option<String>,

    /// Public IPv4 address, or name, of the other side; or a name of the file of peers
    #[arg(value_name = "PEER", add = ArgValueCandidates::new(config::candidates))]
    pub(crate) peer: Option<String>,

    /// UDP port of both sides [default: 5555]
    #[arg(value_name = "UDP_PORT", value_parser = parse_udp_port)]
    pub(crate) udp: Option<u16>,

    /// One argument too many; named so in an error of ours
    #[arg(hide = true)]
    pub(crate) extra: Vec<String>,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// What you can ask of pinhole.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Offer TCP services to the peer (-c with more than one service)
    #[command(
        override_usage = "pinhole serve [OPTIONS] SPEC... --peer PEER\n       pinhole serve [OPTIONS] NAME",
        after_help = SERVE_HELP
    )]
    Serve {
        /// Services to offer; without --peer also the PEER
        #[arg(value_name = "SPEC|PEER", add = ArgValueCandidates::new(config::candidates))]
        words: Vec<String>,

        #[command(flatten)]
        peer: PeerArgs,

        #[command(flatten)]
        common: Common,
    },

    /// Make the peer's services local TCP ports (-l with more than one service)
    #[command(
        override_usage = "pinhole open [OPTIONS] SPEC... --peer PEER\n       pinhole open [OPTIONS] NAME",
        after_help = OPEN_HELP
    )]
    Open {
        /// Local ports and the services behind them; without --peer also the PEER
        #[arg(value_name = "SPEC|PEER", add = ArgValueCandidates::new(config::candidates))]
        words: Vec<String>,

        #[command(flatten)]
        peer: PeerArgs,

        #[command(flatten)]
        common: Common,
    },

    /// One connection of the tunnel as stdin and stdout, for ssh's ProxyCommand
    #[command(after_help = PIPE_HELP)]
    Pipe(PipeArgs),

    /// Make, keep, show or check a key
    #[command(after_help = KEY_HELP)]
    Key {
        /// Show the key that would be used as a QR code, like `key show --qr`
        #[arg(long)]
        qr: bool,

        #[command(subcommand)]
        action: Option<KeyAction>,
    },

    /// Say what stands in the way of a tunnel and what would help: alone, or with a check on the other side
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),

    /// Say what the running instances do: path, streams, bytes, history
    #[command(after_help = "Examples:
  pinhole status
  pinhole status --json | jq .state
  sudo pinhole status --watch

root sees the instances of all users, services included.

Exit status: 0 an instance runs, 1 none does, 2 wrong use.")]
    Status(StatusArgs),

    /// Show it all on this machine: two processes, a hole, a page, a bulk transfer
    #[command(after_help = "Examples:
  pinhole demo
  sudo pinhole demo --nat home,carrier

Exit status: 0 the page and the bulk came through, 1 they did not, 2 wrong use, or something that is needed cannot be had.")]
    Demo(DemoArgs),

    #[cfg(feature = "classic")]
    /// Talk to a peer that still runs the old Python script: neither encrypted nor authenticated
    #[command(
        override_usage = "pinhole classic -c TCP_PORT PEER [UDP_PORT]  offer a service to the script
       pinhole classic -l TCP_PORT PEER [UDP_PORT]  reach the script's service",
        after_help = "The peer runs \"UDP Hole Puncher\" 0.12, as the other side: -l there for -c here, and the other way round.
It carries one TCP connection a run: start it in a loop to have more than one, one after the other.
docs/classic.md has the details. As soon as both sides have pinhole, use pinhole -c and pinhole -l.

Exit status: 0 done, 1 no word from the peer, 2 wrong use or a port that cannot be had."
    )]
    Classic(ClassicArgs),

    /// Print what a shell needs to complete pinhole's command line
    #[command(after_help = manual::COMPLETIONS_HELP)]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL", value_enum)]
        shell: manual::Shell,
    },

    /// Write the man pages into a folder: pinhole.1 and one for each command
    #[command(after_help = manual::MAN_HELP)]
    Man {
        /// The folder, made if need be
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

const SERVE_HELP: &str = "SPEC: PORT, HOST:PORT or NAME=[HOST:]PORT

Examples:
  pinhole serve 22 web=localhost:8080 --peer 203.0.113.9
  pinhole serve office                what [peer.office] in the file of peers says
  pinhole serve 22 office             the same with other services

Exit status: 0 ended by Ctrl-C or SIGTERM, 1 no tunnel in the time of --wait or a part has failed, 2 wrong use or a port that cannot be had.";

const OPEN_HELP: &str = "SPEC: PORT, PORT:SERVICE, BIND:PORT or BIND:PORT:SERVICE; SERVICE is a name or port that the peer offers

Examples:
  pinhole open 2222:22 8080:web --peer 198.51.100.4
  pinhole open home                   what [peer.home] in the file of peers says
  pinhole open 2222:22 home           the same with other ports

Exit status: 0 ended by Ctrl-C or SIGTERM, 1 no tunnel in the time of --wait or a part has failed, 2 wrong use or a port that cannot be had.";

/// Who the peer is.
#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Public IPv4 address, or name, of the other side; or a name of the file of peers
    #[arg(long, value_name = "PEER", add = ArgValueCandidates::new(config::candidates))]
    pub(crate) peer: Option<String>,

    /// UDP port of both sides [default: 5555]
    #[arg(long, value_name = "UDP_PORT", value_parser = parse_udp_port)]
    pub(crate) port: Option<u16>,
}

/// Where named peers come from. Without it: PINHOLE_CONFIG, then the default file.
#[derive(Debug, Args, Default)]
pub(crate) struct ConfigArgs {
    /// The file of named peers [default: ~/.config/pinhole/config.toml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// What serving and opening have in common.
#[derive(Debug, Args, Default)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) key: KeySource,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    #[command(flatten)]
    pub(crate) tunnel: TunnelArgs,

    /// Print events as JSON lines on stdout
    #[arg(long)]
    pub(crate) json: bool,

    /// Serve a page with what goes on, read-only, at this address of this machine (a port alone: 127.0.0.1)
    #[arg(long, value_name = "[IP:]PORT", value_parser = parse_status)]
    pub(crate) status: Option<SocketAddr>,

    /// Let --status be an address that other machines reach: whoever reaches it sees the page
    #[arg(long, requires = "status")]
    pub(crate) status_public: bool,

    /// Show what happens inside; twice for every datagram
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) debug: u8,
}

/// How to show what runs.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print a JSON object for each instance, one a line
    #[arg(long, conflicts_with = "watch")]
    pub(crate) json: bool,

    /// Show it live on the terminal; q ends that
    #[arg(long, short)]
    pub(crate) watch: bool,
}

/// What the demo shows.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Punch through two NATs of this kernel: two names like home,random; a wrong one lists them all (needs root)
    #[arg(long, value_name = "A,B")]
    pub(crate) nat: Option<String>,

    /// Size of the bulk transfer, MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) size: u32,
}
