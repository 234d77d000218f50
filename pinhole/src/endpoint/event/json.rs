//! What an event's JSON has in place of the library's types: flat fields, names for programs, and times in the unit that
//! the field's name has, else in seconds.

use std::{fmt::Display, net::SocketAddr, time::Duration};

#[cfg(feature = "schema")]
use pinhole_proto::puncher::{NoPathCauseKind, TroubleKind};
use pinhole_proto::{
    control::Services,
    puncher::{Connected, Loss, Method, SearchReport, Trouble},
};
use serde::{Serialize, Serializer};

use crate::tunnel::TunnelEnd;

/// A pair that carries packets both ways.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Path {
    /// The peer's address, as it looks from here.
    remote: SocketAddr,
    /// How the pair was found.
    method: Method,
    /// The round trip's time, as the proof measured it.
    rtt_ms: f64,
    /// Our address, as the peer sees it.
    observed: Option<SocketAddr>,
}

impl Path {
    fn new(connected: &Connected) -> Self {
        Self {
            remote: connected.pair.remote,
            method: connected.method,
            rtt_ms: connected.rtt.as_secs_f64() * 1000.0,
            observed: connected.observed,
        }
    }
}

/// A pair, and how long it took to find it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Punched {
    #[serde(flatten)]
    path: Path,
    /// Time since the start, or since the peer's first word where that was waited for.
    seconds: f64,
}

/// A pair, and how long there was none.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Back {
    #[serde(flatten)]
    path: Path,
    /// Time without a path.
    seconds: f64,
}

/// What the peer offers.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Offer<'a> {
    /// The names, as the serve side has given them.
    services: &'a [String],
    /// Whether these are all.
    complete: bool,
}

/// Why a path is given up.
#[derive(Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "loss"))]
pub(crate) enum Lost {
    /// Nothing was heard.
    Silent,
    /// Our router has given us another address.
    Moved,
    /// This machine has another address.
    Rerouted,
    /// The path works and is renewed, since the network ends those of its age.
    Aged,
    /// The path carries probes, and nothing of the tunnel.
    Blocked,
    /// The peer has noticed first.
    Peer,
}

impl From<Option<Loss>> for Lost {
    fn from(loss: Option<Loss>) -> Self {
        match loss {
            Some(Loss::Silent(_)) => Self::Silent,
            Some(Loss::Moved) => Self::Moved,
            Some(Loss::Rerouted) => Self::Rerouted,
            Some(Loss::Aged) => Self::Aged,
            Some(Loss::Blocked) => Self::Blocked,
            None => Self::Peer,
        }
    }
}

impl Lost {
    /// Names it for programs.
    pub(crate) fn name(&self) -> &'static str {
        self.into()
    }
}

/// How a tunnel has ended.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Ended {
    /// A sentence.
    why: String,
}

/// What is wrong; of a search without success with everything that it has seen.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Wrong<'a> {
    /// What is wrong.
    #[cfg_attr(feature = "schema", schemars(with = "TroubleKind"))]
    kind: &'static str,
    /// With `no_path` only: why there is no path, as far as one side can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "NoPathCauseKind"))]
    cause: Option<&'static str>,
    /// With `no_path` only: what the search has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "SearchReport"))]
    found: Option<&'a SearchReport>,
}

pub(super) fn path<S: Serializer>(connected: &Connected, serializer: S) -> Result<S::Ok, S::Error> {
    Path::new(connected).serialize(serializer)
}

pub(super) fn punched<S: Serializer>(connected: &Connected, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = connected.took.as_secs_f64();
    Punched { path: Path::new(connected), seconds }.serialize(serializer)
}

pub(super) fn back<S: Serializer>(
    connected: &Connected,
    after: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Back { path: Path::new(connected), seconds: after.as_secs_f64() }.serialize(serializer)
}

pub(super) fn offer<S: Serializer>(services: &Services, serializer: S) -> Result<S::Ok, S::Error> {
    Offer { services: services.names(), complete: services.is_complete() }.serialize(serializer)
}

pub(super) fn names<S: Serializer>(services: &Services, serializer: S) -> Result<S::Ok, S::Error> {
    services.names().serialize(serializer)
}

pub(super) fn lost<S: Serializer>(loss: &Option<Loss>, serializer: S) -> Result<S::Ok, S::Error> {
    Lost::from(*loss).serialize(serializer)
}

pub(super) fn ended<S: Serializer>(end: &TunnelEnd, serializer: S) -> Result<S::Ok, S::Error> {
    Ended { why: end.to_string() }.serialize(serializer)
}

pub(super) fn wrong<S: Serializer>(trouble: &Trouble, serializer: S) -> Result<S::Ok, S::Error> {
    let found = if let Trouble::NoPath(found) = trouble { Some(found) } else { None };
    let cause = found.map(|found| found.cause().name());
    Wrong { kind: trouble.name(), cause, found }.serialize(serializer)
}

/// Writes the sentence that a user reads.
pub(super) fn sentence<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
