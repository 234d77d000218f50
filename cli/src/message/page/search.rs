//! One trouble and one cause of each kind.

use super::*;

/// What stands in the way, but for why there is no path.
pub(super) fn troubles() -> Vec<Trouble> {
    let from = peer();
    let all = vec![
        Trouble::WrongKey { from },
        Trouble::OtherVersion { from, version: 3 },
        Trouble::OldScript { from, role: Role::Serve },
        Trouble::OldScript { from, role: Role::Open },
        Trouble::OtherVerb { from, checks: true },
        Trouble::OtherVerb { from, checks: false },
        Trouble::SameRole { role: Role::Serve },
        Trouble::SameRole { role: Role::Open },
        Trouble::OwnEcho { from },
        Trouble::Clock { apart: 9 * SECOND },
    ];
    for trouble in &all {
        match trouble {
            Trouble::WrongKey { .. }
            | Trouble::OtherVersion { .. }
            | Trouble::OldScript { .. }
            | Trouble::OtherVerb { .. }
            | Trouble::SameRole { .. }
            | Trouble::OwnEcho { .. }
            | Trouble::NoPath(_)
            | Trouble::Clock { .. } => {}
        }
    }
    all
}

/// Why there is no path.
pub(super) fn causes() -> Vec<NoPathCause> {
    let (from, moved) = (peer(), Some((5555, 61_000)));
    let not_public = |why| NoPathCause::NotPublic { ip: router(), why };
    let one_way = |peer_hears, own_port_moved, peer_port_moved| NoPathCause::OneWay {
        from,
        peer_hears,
        own_port_moved,
        peer_port_moved,
    };
    let all = vec![
        one_way(false, None, None),
        one_way(false, None, moved),
        one_way(true, None, None),
        one_way(true, moved, None),
        NoPathCause::SendRefused,
        NoPathCause::Prohibited { by: router() },
        NoPathCause::Unreachable { by: router() },
        not_public(NotPublic::Private),
        not_public(NotPublic::Carrier),
        not_public(NotPublic::Link),
        not_public(NotPublic::Reserved),
        NoPathCause::Moved,
        NoPathCause::OwnSideBlocks { router: router() },
        NoPathCause::Refused,
        NoPathCause::Vanished,
        NoPathCause::Silent,
        NoPathCause::Unmet,
    ];
    for cause in &all {
        match cause {
            NoPathCause::OneWay { .. }
            | NoPathCause::SendRefused
            | NoPathCause::Prohibited { .. }
            | NoPathCause::Unreachable { .. }
            | NoPathCause::NotPublic {
                why: NotPublic::Private | NotPublic::Carrier | NotPublic::Link | NotPublic::Reserved,
                ..
            }
            | NoPathCause::Moved
            | NoPathCause::OwnSideBlocks { .. }
            | NoPathCause::Refused
            | NoPathCause::Vanished
            | NoPathCause::Silent
            | NoPathCause::Unmet => {}
        }
    }
    all
}
