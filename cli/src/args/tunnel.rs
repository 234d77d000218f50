//! What every tunnel may be told, whoever starts it: `serve`, `open`, a pipe, or a section of the file of peers.

use std::{ffi::OsString, fmt, net::Ipv4Addr, time::Duration};

use clap::Args;
use pinhole::{endpoint::Compress, proto::puncher::Limits};

use super::parse::{parse_max_mappings, parse_max_pps, parse_seconds};

/// The options of a tunnel.
#[derive(Debug, Args, Default, Clone)]
pub(crate) struct TunnelArgs {
    /// Send from this local IP [default: any]
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<Ipv4Addr>,

    /// Give up after this many seconds without a tunnel, with exit status 1 [default: wait for ever]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, allow_hyphen_values = true)]
    pub(crate) wait: Option<Duration>,

    /// Keep connections for so long while there is no path to the peer, and punch again; 0 resets them at once
    /// [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, allow_hyphen_values = true)]
    pub(crate) patience: Option<Duration>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Compress connections where that makes them faster, or never: what one side forbids neither does [default: auto]
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) compress: Option<When>,
}

impl TunnelArgs {
    /// Adds what was not typed.
    pub(crate) fn fill(&mut self, other: &Self) {
        self.bind = self.bind.or(other.bind);
        self.wait = self.wait.or(other.wait);
        self.patience = self.patience.or(other.patience);
        self.limits.fill(&other.limits);
        self.compress = self.compress.or(other.compress);
    }

    /// Returns what is typed to say the same of another program's tunnel. How long to wait is each program's own.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let Self { bind, wait: _, patience, limits, compress } = self;
        let LimitArgs { max_mappings, max_pps, gentle } = limits;
        let options = [
            ("bind", bind.map(|ip| ip.to_string())),
            ("patience", patience.map(|patience| patience.as_secs_f64().to_string())),
            ("max-mappings", max_mappings.map(|number| number.to_string())),
            ("max-pps", max_pps.map(|number| number.to_string())),
            ("compress", compress.map(|when| when.to_string())),
        ];
        let typed = |(name, value): (&str, Option<String>)| Some(format!("--{name}={}", value?).into());
        options.into_iter().filter_map(typed).chain(gentle.then(|| "--gentle".into())).collect()
    }
}

/// When to compress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum When {
    /// When the bytes compress, and the path is the limit and not the processor
    #[default]
    Auto,
    /// Never
    Off,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
        })
    }
}

impl From<When> for Compress {
    fn from(when: When) -> Self {
        match when {
            When::Auto => Self::Auto,
            When::Off => Self::Off,
        }
    }
}

/// What the search may ask of the routers on the way.
#[derive(Debug, Args, Default, Clone)]
pub(crate) struct LimitArgs {
    /// Never keep more than this many mappings alive at once in a router [default: 1536]
    #[arg(long, value_name = "N", value_parser = parse_max_mappings)]
    pub(crate) max_mappings: Option<u16>,

    /// Never send more than this many probes in a second [default: 500]
    #[arg(long, value_name = "N", value_parser = parse_max_pps)]
    pub(crate) max_pps: Option<u16>,

    /// Be content with 512 mappings and 100 probes a second: for carrier lines with few ports
    #[arg(long)]
    pub(crate) gentle: bool,
}

impl LimitArgs {
    /// Adds what was not typed. One bound that was typed is all of them.
    pub(crate) fn fill(&mut self, other: &Self) {
        if self.max_mappings.is_none() && self.max_pps.is_none() && !self.gentle {
            self.clone_from(other);
        }
    }

    /// Returns the bounds; a number that is named counts more than --gentle.
    pub(crate) fn limits(&self) -> Limits {
        let usual = if self.gentle { Limits::GENTLE } else { Limits::DEFAULT };
        Limits {
            mappings: self.max_mappings.unwrap_or(usual.mappings),
            packets_per_second: self.max_pps.unwrap_or(usual.packets_per_second),
        }
    }
}
