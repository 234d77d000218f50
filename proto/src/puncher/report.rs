//! The report of a search, and the one cause that says most of why there is no path yet.

use std::net::{IpAddr, SocketAddr};

use crate::nat::NotPublic;

/// The report of a search: what one side has seen of the way to the other while there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    pub is_refused: bool,
    /// A filter on the way says that it refuses our packets.
    pub prohibited_by: Option<IpAddr>,
    /// A router says that there is no way to the peer's network.
    pub unreachable_by: Option<IpAddr>,
    /// This system did not let us send.
    pub is_send_refused: bool,
    /// The outermost router that answered probes which end at it, where that is one of our own side and nothing
    /// behind it answered.
    pub ends_at: Option<IpAddr>,
    /// Whether all methods have had their turn, more than once.
    pub has_swept: bool,
    /// Whether a path was in use until this search began.
    pub had_path: bool,
    /// An address of the peer that no machine on the internet has, and to which no network of this machine leads.
    pub not_public: Option<(IpAddr, NotPublic)>,
    /// Whether our own address, inside or outside, has changed since the last path.
    pub own_changed: bool,
}

/// The cause why there is no path, as far as one side can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        match self {
            Self::OneWay { .. } => "one_way",
            Self::SendRefused => "send_refused",
            Self::Prohibited { .. } => "prohibited",
            Self::Unreachable { .. } => "unreachable",
            Self::NotPublic { .. } => "not_public",
            Self::Moved => "moved",
            Self::OwnSideBlocks { .. } => "own_side_blocks",
            Self::Refused => "refused",
            Self::Vanished => "vanished",
            Self::Silent => "silent",
            Self::Unmet => "unmet",
        }
    }
}
