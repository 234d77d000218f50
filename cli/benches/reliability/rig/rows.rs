//! All that can go wrong, with what and for how long.

use std::{fmt, time::Duration};

use natlab::{LinkSpec, Side};

use super::{death::Death, fault::Fault, stage::usual_link, trial::Case};

/// NATs that keep ports, and one that does not.
const USUAL: &[[&str; 2]] = &[["home", "home"], ["home", "carrier"], ["home", "random"]];

/// A serve side with a mapping that is open to everybody, or with none.
const REACHABLE: &[[&str; 2]] = &[["open", "home"], ["cone", "home"], ["cone", "random"]];

/// Longest stalls: where ports are kept, where one side's NAT picks them at random, and of a goodbye.
const KEPT_PORTS: Duration = Duration::from_secs(3);
const RANDOM_PORTS: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(1);

/// Time from one look-up of the peer's name to the next while a tunnel waits for its path: so much later a side may know
/// what the name gives now.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Time for which a killed program is gone.
const GONE: Duration = Duration::from_secs(5);

/// Routers of which one answers for itself, for what it does not know: a packet of ours is refused though the peer lives.
/// Where the second side of each pair moves it is the first that refuses, and the other way round.
const REFUSING: &[[&str; 2]] = &[
    ["reject", "home"],
    ["reject", "random"],
    ["spoilt", "home"],
    ["spoilt", "random"],
    ["spoilt", "spoilt"],
];
const REFUSING_OPEN: &[[&str; 2]] =
    &[["home", "reject"], ["random", "reject"], ["home", "spoilt"], ["random", "spoilt"]];

/// Sides that are hit.
const BOTH: &[Side] = &Side::BOTH;
const SERVE: &[Side] = &[Side::A];
const OPEN: &[Side] = &[Side::B];

/// One thing that can go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    pub(crate) trouble: Trouble,
    /// How long it lasts, where it lasts.
    pub(crate) lasts: Duration,
    /// The NATs of the serve side and of the open side.
    pub(crate) pairs: &'static [[&'static str; 2]],
    /// The side that is known to the other one by a name.
    pub(crate) named: Option<Side>,
    /// Whether it is also tried with a connection that rests.
    pub(crate) is_tried_idle: bool,
    /// Whether all that is asked is that no connection is cut.
    is_slow: bool,
}

/// What a row must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bar {
    /// The connection goes on, and stalls no longer than that.
    Within(Duration),
    /// The connection is not cut.
    Uncut,
}

impl Bar {
    /// Whether a stall is short enough on a machine that is slower by that factor, or has that long in any case.
    pub(crate) fn allows(self, stall: Duration, slack: u32, least: Duration) -> bool {
        match self {
            Bar::Within(longest) => stall <= least.max(longest * slack),
            Bar::Uncut => true,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::Within(longest) => write!(f, "≤ {} s", longest.as_secs()),
            Bar::Uncut => f.write_str("not cut"),
        }
    }
}

/// Tells apart what a connection must survive and what must end it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    Fault(Fault),
    Death(Death),
}

/// What the connection does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Both ends talk all the time.
    Busy,
    /// Nothing is said until the network is usable again; then a byte goes there and one back.
    Idle,
}

impl Row {
    fn fault(name: &'static str, what: &'static str, fault: Fault) -> Row {
        Row::new(name, what, Trouble::Fault(fault))
    }

    fn death(name: &'static str, what: &'static str, death: Death) -> Row {
        Row { lasts: GONE, ..Row::new(name, what, Trouble::Death(death)) }
    }

    fn new(name: &'static str, what: &'static str, trouble: Trouble) -> Row {
        let (lasts, pairs, named) = (Duration::ZERO, USUAL, None);
        Row { name, what, trouble, lasts, pairs, named, is_tried_idle: false, is_slow: false }
    }

    fn lasts(self, seconds: u64) -> Row {
        Row { lasts: Duration::from_secs(seconds), ..self }
    }

    fn between(self, pairs: &'static [[&'static str; 2]]) -> Row {
        Row { pairs, ..self }
    }

    fn idle_too(self) -> Row {
        Row { is_tried_idle: true, ..self }
    }

    /// Asks only that no connection is cut.
    fn uncut(self) -> Row {
        Row { is_slow: true, ..self }
    }

    /// Lets the other side know that side by a name.
    fn named(self, side: Side) -> Row {
        Row { named: Some(side), ..self }
    }

    /// Returns what must hold between two NATs.
    pub(crate) fn bar(&self, pair: [&str; 2]) -> Bar {
        if self.is_slow {
            return Bar::Uncut;
        }
        let becomes_random = matches!(self.trouble, Trouble::Fault(Fault::Becomes(_, "random")));
        let longest = if becomes_random || pair.contains(&"random") { RANDOM_PORTS } else { KEPT_PORTS };
        Bar::Within(match self.trouble {
            Trouble::Death(Death::Ended(_)) => GOODBYE,
            Trouble::Fault(Fault::NewPublicIpUntold(_)) => longest + LOOK_UP,
            Trouble::Fault(_) | Trouble::Death(Death::Killed(_)) => longest,
        })
    }

    /// Returns the side whose wall clock must be able to jump.
    pub(crate) fn clock(&self) -> Option<Side> {
        match self.trouble {
            Trouble::Fault(Fault::ClockJumps(side, _)) => Some(side),
            Trouble::Fault(_) | Trouble::Death(_) => None,
        }
    }

    /// Returns the row's trials.
    pub(crate) fn cases(self) -> Vec<Case> {
        let loads: &[Load] = if self.is_tried_idle { &[Load::Busy, Load::Idle] } else { &[Load::Busy] };
        let with = |load: &Load| {
            self.pairs.iter().map(move |pair| Case { row: self, pair: *pair, load: *load }).collect()
        };
        loads.iter().flat_map(|load| -> Vec<Case> { with(load) }).collect()
    }
}

/// Lists all rows, in the order in which they are shown.
pub(crate) fn rows() -> Vec<Row> {
    [boxes(), addresses(), roads(), machines()].concat()
}

fn boxes() -> Vec<Row> {
    vec![
        Row::fault("reboot-both", "both routers reboot", Fault::Reboots(BOTH)).idle_too(),
        Row::fault("reboot-serve", "the serve side's router reboots", Fault::Reboots(SERVE)),
        Row::fault("reboot-open", "the open side's router reboots", Fault::Reboots(OPEN)),
        Row::fault("power-cut", "the open side's router is off for 60 s", Fault::PowerCut(Side::B))
            .lasts(60)
            .idle_too(),
        Row::fault(
            "to-random",
            "the open side's NAT begins to pick ports at random",
            Fault::Becomes(Side::B, "random"),
        )
        .between(&[["home", "home"], ["carrier", "home"]]),
        Row::fault(
            "to-restricted",
            "the open side's NAT gets a wider filter",
            Fault::Becomes(Side::B, "restricted"),
        ),
        Row::fault("to-home", "the open side's NAT begins to keep ports", Fault::Becomes(Side::B, "home"))
            .between(&[["home", "random"], ["home", "cone"]]),
        Row::fault(
            "reboot-refusing",
            "both routers reboot, and refuse for a peer that lives",
            Fault::Reboots(BOTH),
        )
        .between(&[["spoilt", "random"], ["reject", "random+reject"]])
        .uncut(),
        Row::fault("forgets", "both routers forget every flow each 10 s, for 60 s", Fault::Forgets(BOTH))
            .between(&[["spoilt", "random"]])
            .lasts(60)
            .uncut(),
        Row::fault(
            "to-spoilt-random",
            "the NATs begin to accept for themselves, and to pick ports at random",
            Fault::BothBecome(["spoilt", "random"]),
        )
        .between(&[["home", "home"]])
        .uncut(),
        Row::fault(
            "to-random-refusing",
            "the open side's NAT begins to pick ports at random; both refuse",
            Fault::Becomes(Side::B, "random"),
        )
        .between(&[["reject", "home+reject"]])
        .uncut(),
    ]
}

fn addresses() -> Vec<Row> {
    vec![
        Row::fault(
            "new-ip-dns",
            "the open side gets another public IP; DNS knows",
            Fault::NewPublicIp(Side::B),
        )
        .named(Side::B)
        .idle_too(),
        Row::fault(
            "late-name",
            "the open side gets another public IP; DNS knows 3 s later",
            Fault::NewPublicIpUntold(Side::B),
        )
        .between(REFUSING)
        .named(Side::B)
        .lasts(3)
        .uncut(),
        Row::fault(
            "late-name-serve",
            "the serve side gets another public IP; DNS knows 3 s later",
            Fault::NewPublicIpUntold(Side::A),
        )
        .between(REFUSING_OPEN)
        .named(Side::A)
        .lasts(3)
        .uncut(),
        Row::fault(
            "later-name",
            "the open side gets another public IP; DNS knows 20 s later",
            Fault::NewPublicIpUntold(Side::B),
        )
        .between(&[["reject", "home"], ["spoilt", "random"]])
        .named(Side::B)
        .lasts(20)
        .uncut(),
        Row::fault(
            "name-10s",
            "the open side gets another public IP; DNS knows 10 s later",
            Fault::NewPublicIpUntold(Side::B),
        )
        .named(Side::B)
        .lasts(10),
        Row::fault(
            "name-45s",
            "the open side gets another public IP; DNS knows 45 s later",
            Fault::NewPublicIpUntold(Side::B),
        )
        .named(Side::B)
        .lasts(45),
        Row::fault(
            "name-10s-serve",
            "the serve side gets another public IP; DNS knows 10 s later",
            Fault::NewPublicIpUntold(Side::A),
        )
        .between(&[["home", "random"]])
        .named(Side::A)
        .lasts(10),
        Row::fault(
            "new-ip",
            "the open side gets another public IP; the serve side knows the old one",
            Fault::NewPublicIp(Side::B),
        )
        .between(REACHABLE)
        .idle_too(),
        Row::fault("lease-open", "the open side's host gets another address", Fault::NewLease(Side::B))
            .idle_too(),
        Row::fault("lease-serve", "the serve side's host gets another address", Fault::NewLease(Side::A)),
        Row::fault(
            "interface",
            "the open side's host moves to another interface",
            Fault::NewInterface(Side::B),
        ),
        Row::fault(
            "roams",
            "the open side's host has no network for 3 s, then another one",
            Fault::Roams(Side::B),
        )
        .between(&[["home", "home"], ["reject", "home"], ["reject", "random"], ["spoilt", "random"]])
        .lasts(3)
        .uncut(),
        Row::fault("no-route", "the open side's host has no default route for 20 s", Fault::NoRoute(Side::B))
            .lasts(20),
        Row::fault("unplugged", "the serve side's interface is down for 20 s", Fault::Unplugged(Side::A))
            .lasts(20),
    ]
}

fn roads() -> Vec<Row> {
    let link = |spec| Fault::Link(spec);
    let usual = usual_link();
    let slow = |seconds| link(LinkSpec { delay: Duration::from_secs(seconds), ..usual });
    vec![
        Row::fault("silence", "nothing arrives for 90 s", link(LinkSpec::silent())).lasts(90).idle_too(),
        Row::fault("loss", "30 % is lost for 60 s", link(LinkSpec { loss: 0.3, ..usual })).lasts(60),
        Row::fault("delay-1s", "1 s each way for 30 s", slow(1)).lasts(30),
        Row::fault("delay-2s", "2 s each way for 30 s", slow(2)).lasts(30),
        Row::fault("mtu", "packets over 1,280 bytes vanish for 60 s", link(LinkSpec { mtu: 1280, ..usual }))
            .lasts(60),
        Row::fault("forgery", "forged ICMP errors for 20 s, 200 a second and forger", Fault::Forgery)
            .lasts(20),
    ]
}

fn machines() -> Vec<Row> {
    vec![
        Row::fault("stop-serve", "the serve side's program is stopped for 60 s", Fault::Stopped(Side::A))
            .lasts(60),
        Row::fault("stop-open", "the open side's program is stopped for 60 s", Fault::Stopped(Side::B))
            .lasts(60)
            .idle_too(),
        Row::fault(
            "clock-ahead",
            "the serve side's clock jumps ahead by 6 h",
            Fault::ClockJumps(Side::A, "+6h"),
        ),
        Row::fault(
            "clock-back",
            "the open side's clock jumps back by 6 h",
            Fault::ClockJumps(Side::B, "-6h"),
        ),
        Row::death(
            "killed-serve",
            "the serve side is killed and runs again 5 s later",
            Death::Killed(Side::A),
        ),
        Row::death("killed-open", "the open side is killed and runs again 5 s later", Death::Killed(Side::B)),
        Row::death("ended-serve", "the serve side ends politely", Death::Ended(Side::A)),
        Row::death("ended-open", "the open side ends politely", Death::Ended(Side::B)),
    ]
}
