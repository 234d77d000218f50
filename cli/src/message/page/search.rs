//! One trouble and one diagnosis of each kind.

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
pub(super) fn diagnoses() -> Vec<Diagnosis> {
    let (from, moved) = (peer(), Some((5555, 61_000)));
    let not_public = |why| Diagnosis::NotPublic { ip: router(), why };
    let one_way = |peer_hears, own_port_moved, peer_port_moved| Diagnosis::OneWay {
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
        Diagnosis::SendRefused,
        Diagnosis::Prohibited { by: router() },
        Diagnosis::Unreachable { by: router() },
        not_public(NotPublic::Private),
        not_public(NotPublic::Carrier),
        not_public(NotPublic::Link),
        not_public(NotPublic::Reserved),
        Diagnosis::Moved,
        Diagnosis::OwnSideBlocks { router: router() },
        Diagnosis::Refused,
        Diagnosis::Vanished,
        Diagnosis::Silent,
        Diagnosis::Unmet,
    ];
    for diagnosis in &all {
        match diagnosis {
            Diagnosis::OneWay { .. }
            | Diagnosis::SendRefused
            | Diagnosis::Prohibited { .. }
            | Diagnosis::Unreachable { .. }
            | Diagnosis::NotPublic {
                why: NotPublic::Private | NotPublic::Carrier | NotPublic::Link | NotPublic::Reserved,
                ..
            }
            | Diagnosis::Moved
            | Diagnosis::OwnSideBlocks { .. }
            | Diagnosis::Refused
            | Diagnosis::Vanished
            | Diagnosis::Silent
            | Diagnosis::Unmet => {}
        }
    }
    all
}
