//! What happens to a session: faults, and what its users do.

use std::time::Duration;

use natlab::{NatSpec, Side, chance::Chance};
use pinhole_proto::nat::{Verdict, punchable};

use super::world::World;

/// Which sides, or which directions of the link, named by the side that they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    A,
    B,
    Both,
}

impl Sides {
    fn each(self) -> impl Iterator<Item = Side> {
        Side::BOTH.into_iter().filter(move |side| match self {
            Self::A => *side == Side::A,
            Self::B => *side == Side::B,
            Self::Both => true,
        })
    }

    fn draw(chance: &mut Chance) -> Self {
        [Self::A, Self::B, Self::Both][usize::try_from(chance.below(3)).expect("one of three")]
    }
}

/// One thing that happens, or begins to.
#[derive(Debug, Clone)]
pub enum Op {
    Loss {
        from: Sides,
        share: f64,
        lasts: Duration,
    },
    Silence {
        from: Sides,
        lasts: Duration,
    },
    Delay {
        from: Sides,
        by: Duration,
        lasts: Duration,
    },
    BlackHole {
        from: Sides,
        mtu: u16,
        lasts: Duration,
    },
    Flush(Sides),
    /// Another preset before that side.
    Nat {
        side: Side,
        to: String,
    },
    Clock {
        side: Side,
        ahead_ms: i64,
    },
    Sleep {
        sides: Sides,
        lasts: Duration,
    },
    Restart {
        side: Side,
        says_goodbye: bool,
        down: Duration,
    },
    /// The machine is off, and its monotonic clock stands still.
    Suspend {
        side: Side,
        lasts: Duration,
    },
    /// The host gets another own address, if it is behind a NAT.
    Lease {
        side: Side,
        last_octet: u8,
    },
    /// The side gets another public address, and its name follows then, if ever.
    PublicIp {
        side: Side,
        last_octet: u8,
        name_after: Option<Duration>,
    },
    /// The host has no network.
    Unplug {
        side: Side,
        lasts: Duration,
    },
    Burst {
        side: Side,
        bytes: u64,
    },
    Idle(Duration),
}

impl Op {
    /// Draws one; `nats` is what stands before each side by then.
    pub fn draw(chance: &mut Chance, nats: &mut [NatSpec; 2]) -> Self {
        let side = Side::BOTH[usize::try_from(chance.below(2)).expect("one of two")];
        let s = |chance: &mut Chance, from: u64, to: u64| {
            Duration::from_millis(1000 * from + chance.below(1000 * (to - from)))
        };
        match chance.below(31) {
            0 | 1 => {
                let (from, share) = (Sides::draw(chance), 0.4 * chance.fraction());
                Self::Loss { from, share, lasts: s(chance, 1, 60) }
            }
            2..=4 => Self::Silence { from: Sides::draw(chance), lasts: s(chance, 1, 120) },
            5 | 6 => {
                let (from, by) = (Sides::draw(chance), s(chance, 0, 2));
                Self::Delay { from, by, lasts: s(chance, 1, 60) }
            }
            7 => {
                let mtu = 1280 + u16::try_from(chance.below(150)).expect("small");
                Self::BlackHole { from: Sides::draw(chance), mtu, lasts: s(chance, 1, 60) }
            }
            8..=10 => Self::Flush(Sides::draw(chance)),
            11 | 12 => Self::draw_nat(side, chance, nats),
            13 => {
                let ahead_ms = i64::try_from(chance.below(14_400_000)).expect("small") - 7_200_000;
                Self::Clock { side, ahead_ms }
            }
            14 | 15 => Self::Sleep { sides: Sides::draw(chance), lasts: s(chance, 1, 120) },
            16 | 17 => {
                let says_goodbye = chance.happens(0.5);
                Self::Restart { side, says_goodbye, down: s(chance, 0, 8) }
            }
            18..=21 => {
                let most = 1 << (4 + chance.below(16));
                Self::Burst { side, bytes: 1 + chance.below(most) }
            }
            24 | 25 => Self::Suspend { side, lasts: s(chance, 1, 120) },
            26 | 27 => {
                let name_after = (!chance.happens(0.1)).then(|| s(chance, 0, 60));
                let last_octet = 60 + u8::try_from(chance.below(90)).expect("small");
                Self::PublicIp { side, last_octet, name_after }
            }
            28 => Self::Unplug { side, lasts: s(chance, 1, 120) },
            22 | 23 => Self::Lease { side, last_octet: 10 + u8::try_from(chance.below(200)).expect("small") },
            _ => {
                let most = [300, 1200, 10_800][usize::try_from(chance.below(3)).expect("one of three")];
                Self::Idle(s(chance, 60, most))
            }
        }
    }

    /// Another NAT for that side, with which the two can still be connected as surely as before.
    fn draw_nat(side: Side, chance: &mut Chance, nats: &mut [NatSpec; 2]) -> Self {
        let before = punchable(nats[0].access(), nats[1].access());
        let presets = NatSpec::presets();
        let others = nats[side.other().index()].access();
        let fits = |spec: &&NatSpec| {
            let verdict = punchable(spec.access(), others);
            verdict == Verdict::Direct || verdict == before
        };
        let fitting: Vec<&NatSpec> = presets.iter().filter(fits).collect();
        let to = fitting[usize::try_from(chance.below(fitting.len() as u64)).expect("an index")].clone();
        nats[side.index()] = to.clone();
        Self::Nat { side, to: to.name().to_owned() }
    }

    /// For how long it is felt, beginning when it happens.
    pub fn lasts(&self) -> Duration {
        match self {
            Self::Loss { lasts, .. }
            | Self::Silence { lasts, .. }
            | Self::Delay { lasts, .. }
            | Self::BlackHole { lasts, .. }
            | Self::Sleep { lasts, .. }
            | Self::Suspend { lasts, .. }
            | Self::Unplug { lasts, .. }
            | Self::PublicIp { name_after: Some(lasts), .. }
            | Self::Idle(lasts)
            | Self::Restart { down: lasts, .. } => *lasts,
            Self::Flush(_)
            | Self::Nat { .. }
            | Self::Clock { .. }
            | Self::Lease { .. }
            | Self::PublicIp { name_after: None, .. }
            | Self::Burst { .. } => Duration::ZERO,
        }
    }

    pub fn apply(&self, world: &mut World) {
        world.note(self);
        let now = world.now;
        let until = now + self.lasts();
        match self {
            Self::Loss { from, share, .. } => {
                from.each().for_each(|side| world.weather[side.index()].lose(*share, until));
            }
            Self::Silence { from, .. } => {
                from.each().for_each(|side| world.weather[side.index()].silence(until));
            }
            Self::Delay { from, by, .. } => {
                world.was_slow = true;
                from.each().for_each(|side| world.weather[side.index()].slow(*by, until));
            }
            Self::BlackHole { from, mtu, .. } => {
                from.each().for_each(|side| world.weather[side.index()].narrow(*mtu, until));
            }
            Self::Flush(sides) => sides.each().for_each(|side| world.flush(side)),
            Self::Nat { side, to } => world.set_nats(*side, to.parse().expect("a preset")),
            Self::Clock { side, ahead_ms } => world.hosts[side.index()].set_clock(*ahead_ms),
            Self::Sleep { sides, .. } => {
                sides.each().for_each(|side| world.hosts[side.index()].sleep(until));
            }
            Self::Suspend { side, .. } => world.hosts[side.index()].suspend(now, until),
            Self::Unplug { side, .. } => world.unplug(*side, until),
            Self::PublicIp { side, last_octet, name_after } => {
                world.set_public_ip(*side, *last_octet);
                if name_after.is_some() {
                    world.rename_at(*side, until);
                }
            }
            Self::Restart { side, says_goodbye, .. } => {
                let World { hosts, network, .. } = world;
                hosts[side.index()].restart(*says_goodbye, until, now, network);
            }
            Self::Lease { side, last_octet } => world.readdress(*side, *last_octet),
            Self::Burst { side, bytes } => world.say(*side, *bytes),
            Self::Idle(_) => {}
        }
        world.set_links();
    }
}
