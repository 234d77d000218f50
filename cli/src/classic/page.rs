//! What docs/reference/messages.md says of `pinhole classic`.

use std::{io, net::SocketAddr, time::Duration};

use pinhole_classic::{End, Ratio, Summary};

use super::texts::{
    BEGAN, BUSY, LOST, SECOND_CLIENT, cannot_accept, caveat, cut, ended, gave_up, heard, held, no_service,
    pinhole, ratio, waiting,
};
use crate::message::page::{Entry, Section, texts};

fn peer() -> SocketAddr {
    ([203, 0, 113, 9], 5555).into()
}

fn half(original: u64) -> Ratio {
    Ratio { original, packed: original / 2 }
}

fn over(end: End) -> String {
    let lasted = Duration::from_secs(7);
    ended(&Summary { end, ratio: half(2000), received: 300, lasted, rest: Vec::new() })
}

/// "`pinhole classic`".
pub(in super::super) const CLASSIC: Section = Section {
    title: "`pinhole classic`",
    about: "[classic.md](../classic.md) describes it.",
    entries: &[
        Entry {
            says: || texts([caveat(true, "22", "203.0.113.9")]),
            why: "The old script's format has no encryption.",
            action: "Use it only until the other side has pinhole.",
        },
        Entry {
            says: || {
                texts([
                    waiting("home.example:5555", peer()),
                    heard(peer()),
                    BEGAN.into(),
                    ratio(half(1_000_000)),
                ])
            },
            why: "What happens.",
            action: "Nothing.",
        },
        Entry {
            says: || {
                texts(
                    [End::Silent, End::Local, End::Unacked, End::Peer, End::PeerBroken, End::Restarted]
                        .map(over),
                )
            },
            why: "A connection is over; the first words say which side ended it.",
            action: "Connect again. If the peer does not acknowledge or falls silent, look whether its script \
                 still runs.",
        },
        Entry {
            says: || texts([true, false].map(|offers| pinhole(peer(), offers))),
            why: "The other side has pinhole by now, and runs `-c` or `-l`.",
            action: "Use pinhole on both sides. It needs the key: `pinhole key show` there shows it.",
        },
        Entry {
            says: || texts([gave_up(Duration::from_secs(30)), LOST.into()]),
            why: "The script does not answer.",
            action: "Is it started, with this side's address, the same UDP port and the other letter?",
        },
        Entry {
            says: || texts([held(false, false), held(true, false), held(true, true), BUSY.into()]),
            why: "The script carries one connection a run, and knows nothing of ours.",
            action: "End the script and start it again; a loop around it helps.",
        },
        Entry {
            says: || texts([SECOND_CLIENT.into()]),
            why: "The old format has room for one connection at a time.",
            action: "Wait for the end of the first, or use pinhole on both sides.",
        },
        Entry {
            says: || texts([cut(1372)]),
            why: "A router drops fragments of large UDP packets.",
            action: "As the sentence says.",
        },
        Entry {
            says: || {
                texts([
                    no_service("localhost:22", &io::Error::from_raw_os_error(111)),
                    cannot_accept(&io::Error::from_raw_os_error(24)),
                ])
            },
            why: "The service behind this side cannot be reached, or this machine is out of descriptors.",
            action: "Start the service; raise `ulimit -n`.",
        },
    ],
};
