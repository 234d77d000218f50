//! The report of a search, and the one cause that says most of why there is no path yet.

use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use crate::nat::NotPublic;

/// The report of a search: what one side has seen of the way to the other while there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "found"))]
pub struct SearchReport {
    /// Where the peer's last word came from, if one came.
    pub heard_from: Option<SocketAddr>,
    /// The peer says that it hears us.
    pub peer_hears: bool,
    /// Our main port, and the one that the peer saw instead.
    pub own_port_moved: Option<(u16, u16)>,
    /// The peer's main port, and the one that we saw instead.
    pub peer_port_moved: Option<(u16, u16)>,
    /// The peer's IP answers that nobody is there: a machine without pinhole, or a router that answers for itself.
    #[serde(rename = "refused")]
    pub is_refused: bool,
    /// Who says that a filter refuses our packets.
    pub prohibited_by: Option<IpAddr>,
    /// Who says that there is no way to the peer's network.
    pub unreachable_by: Option<IpAddr>,
    /// This system did not let us send.
    #[serde(rename = "send_refused")]
    pub is_send_refused: bool,
    /// The outermost router that answered probes which end at it, where that is one of our own side and nothing
    /// behind it answered.
    pub ends_at: Option<IpAddr>,
    /// Whether all methods have had their turn, more than once.
    #[serde(rename = "swept")]
    pub has_swept: bool,
    /// Whether a path was in use until this search began.
    pub had_path: bool,
    /// An address of the peer that is private, a carrier's, link-local or reserved, and to which no network of this
    /// machine leads.
    #[serde(serialize_with = "address")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<IpAddr>"))]
    pub not_public: Option<(IpAddr, NotPublic)>,
    /// Whether our own address, inside or outside, has changed since the last path.
    pub own_changed: bool,
}

/// The cause why there is no path, as far as one side can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(
    feature = "schema",
    derive(strum::EnumDiscriminants),
    strum_discriminants(
        name(NoPathCauseKind),
        doc = "Why there is no path, as far as one side can tell.",
        derive(strum::VariantArray, strum::IntoStaticStr, schemars::JsonSchema),
        strum(serialize_all = "snake_case"),
        schemars(rename = "cause", rename_all = "snake_case")
    )
)]
pub enum NoPathCause {
    /// We hear the peer, and no pair carries packets both ways.
    OneWay {
        /// Where the peer is heard from.
        from: SocketAddr,
        /// Whether the peer says that it hears us too.
        peer_hears: bool,
        /// Our main port, and the one that the peer saw instead.
        own_port_moved: Option<(u16, u16)>,
        /// The peer's main port, and the one that we saw instead.
        peer_port_moved: Option<(u16, u16)>,
    },
    /// This system does not let us send: a firewall of its own, or no route.
    SendRefused,
    /// A filter on the way refuses our packets.
    Prohibited {
        /// Who says so.
        by: IpAddr,
    },
    /// There is no way to the peer's network.
    Unreachable {
        /// Who says so.
        by: IpAddr,
    },
    /// The peer's address cannot be that of a machine elsewhere.
    NotPublic {
        /// The address.
        ip: IpAddr,
        /// Why.
        why: NotPublic,
    },
    /// Nothing came back since our own address changed: the peer may look for us at the former one.
    Moved,
    /// Nothing behind our own router answers: it lets no UDP out, or the network behind it is silent.
    OwnSideBlocks {
        /// The router.
        router: IpAddr,
    },
    /// The peer's IP answers that nobody is there.
    Refused,
    /// Nothing came back since a path was lost.
    Vanished,
    /// Nothing came back at all.
    Silent,
    /// Nothing came back at all though all methods have had their turn.
    Unmet,
}

impl SearchReport {
    /// Returns the cause that says most.
    #[must_use]
    pub fn cause(&self) -> NoPathCause {
        let &Self { peer_hears, own_port_moved, peer_port_moved, .. } = self;
        if let Some(from) = self.heard_from {
            return NoPathCause::OneWay { from, peer_hears, own_port_moved, peer_port_moved };
        }
        if self.is_send_refused {
            return NoPathCause::SendRefused;
        }
        if self.is_refused && !self.had_path {
            return NoPathCause::Refused;
        }
        if let Some((ip, why)) = self.not_public.filter(|_| !self.had_path) {
            return NoPathCause::NotPublic { ip, why };
        }
        let told = self.prohibited_by.map(|by| NoPathCause::Prohibited { by });
        told.or_else(|| self.unreachable_by.map(|by| NoPathCause::Unreachable { by }))
            .or_else(|| self.own_changed.then_some(NoPathCause::Moved))
            .or_else(|| self.ends_at.map(|router| NoPathCause::OwnSideBlocks { router }))
            .unwrap_or(match (self.had_path, self.has_swept) {
                (true, _) => NoPathCause::Vanished,
                (false, true) => NoPathCause::Unmet,
                (false, false) => NoPathCause::Silent,
            })
    }
}

impl NoPathCause {
    /// Names it for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// Writes the address alone.
fn address<S: Serializer>(
    not_public: &Option<(IpAddr, NotPublic)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    not_public.map(|(ip, _)| ip).serialize(serializer)
}
