//! How long each NAT keeps a UDP mapping that nobody uses.
//!
//! A few fresh sockets of each side, one for each silence to be tried, exchange probes with the socket of the other
//! side's tunnel, twice within more than two seconds: many NATs keep a flow longer once they have seen it answered for
//! a while, as that of a tunnel is. Then nothing passes until the other side writes to the first of them after the
//! first silence, to the second after the second, and so on. So all of it takes as long as the longest silence.
//!
//! What arrives has found its mapping alive, and one that was written to is not asked again. Where nothing arrives, the
//! NAT of the side that was written to has forgotten. Nothing else can be the cause: the writer sends from the socket
//! that its tunnel keeps awake, to whom it has heard, and what goes out opens its own NAT if need be; and a probe
//! along the tunnel's own pair goes beside each, without whose arrival silence says nothing.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Heard, Orders, Report, Round, Socket, Stand, SurveyProbe};

/// Silences that may be tried, seconds: somewhat below the round numbers at which NATs forget.
pub const SILENCES: [u16; MAX_SILENCES] = [14, 28, 43, 58, 88, 118, 148, 178, 238, 298];

/// Sockets that one side opens at most to try them.
const MAX_SILENCES: usize = 10;

/// Mappings that one side makes at most: its fresh sockets', and to those of the other side.
pub const LIFETIME_MAPPINGS: u16 = 2 * MAX_SILENCES as u16;

/// Shortest and longest time that it may be told to take, seconds.
pub const LEAST_LIFETIME: u16 = 15;
/// See [`LEAST_LIFETIME`].
pub const MOST_LIFETIME: u16 = 300;

/// Time between the two exchanges: longer than the two seconds after which Linux takes a flow for a stream.
const APART: Duration = Duration::from_millis(2500);

/// How often probes are sent, so that loss decides nothing.
const REPEATS: u16 = 4;
const LOW_REPEATS: u16 = 2;

/// How long a NAT keeps a mapping without traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifetimeSeen {
    /// It did after this silence, seconds; 0 if after none that was tried.
    pub kept_s: u16,
    /// It did not after this one, seconds; `None` if it always did.
    pub gone_s: Option<u16>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Low,
    First,
    FirstAnswer,
    Second,
    SecondAnswer,
    /// The silence of that number is over.
    Probe(usize),
    Done,
}

/// A round, and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Since when it is counted.
    pub since: Since,
    /// How long after that.
    pub after: Duration,
    /// What both sides do then.
    pub round: Round,
}

/// From when a [`Due`] is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The round before has been reported.
    Last,
    /// The last round that was not a probe was carried out: from then on the mappings are left alone.
    Quiet,
}

/// What is known of one side.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) stand: Stand,
    /// Whether its outside ports are the inside ones.
    pub(super) keeps: bool,
    /// Sockets that it has opened before.
    pub(super) opened: u16,
    /// The local ports of those for the silences.
    ports: Vec<u16>,
    /// Where the peer has heard them from, by silence.
    outside: BTreeMap<usize, SocketAddr>,
    /// Those that have heard the peer's second answer.
    answered: [bool; MAX_SILENCES],
    /// Those that were written to: whether anything arrived; `None` where it says nothing.
    arrived: [Option<bool>; MAX_SILENCES],
}

/// Plans it and judges it; see the module's text.
#[derive(Debug)]
pub struct Lifetime {
    sides: [Side; 2],
    silences: Vec<u16>,
    stage: Stage,
    number: u32,
    orders: [Orders; 2],
}

impl Lifetime {
    pub(super) fn new(sides: [Side; 2], number: u32, seconds: u16) -> Self {
        let silences = SILENCES.into_iter().filter(|silence| *silence <= seconds).collect();
        Self { sides, silences, stage: Stage::Open, number, orders: Default::default() }
    }

    /// Returns what both sides are to do next, and when; `None` when nothing is left.
    pub fn next_round(&mut self) -> Option<Due> {
        while self.stage != Stage::Done {
            let orders = [0, 1].map(|index| self.orders_of(index));
            if orders.iter().any(|orders| orders.open > 0 || !orders.probes.is_empty()) {
                self.number += 1;
                self.orders = orders.clone();
                let (since, after) = match self.stage {
                    Stage::Second => (Since::Last, APART),
                    Stage::Probe(silence) => {
                        (Since::Quiet, Duration::from_secs(self.silences[silence].into()))
                    }
                    Stage::Open
                    | Stage::Low
                    | Stage::First
                    | Stage::FirstAnswer
                    | Stage::SecondAnswer
                    | Stage::Done => (Since::Last, Duration::ZERO),
                };
                return Some(Due { since, after, round: Round { number: self.number, orders } });
            }
            self.stage = self.next_stage();
        }
        None
    }

    /// Takes what both sides tell of the round.
    pub fn handle_reports(&mut self, reports: [Report; 2]) {
        let [first, second] = reports;
        for (index, report) in [first, second].into_iter().enumerate() {
            let room = self.silences.len().saturating_sub(self.sides[index].ports.len());
            self.sides[index].ports.extend(report.ports.into_iter().take(room));
            self.handle_heard(index, &report.heard);
        }
        self.stage = self.next_stage();
    }

    /// Returns what was found out about each side; `None` where its fresh sockets could not talk to the peer.
    #[must_use]
    pub fn seen(&self) -> [Option<LifetimeSeen>; 2] {
        [0, 1].map(|index| {
            let tried = || self.silences.iter().zip(self.sides[index].arrived);
            let kept =
                tried().filter(|(_, arrived)| *arrived == Some(true)).map(|(silence, _)| *silence).max();
            let kept_s = kept.unwrap_or(0);
            let gone = tried().filter(|(silence, arrived)| *arrived == Some(false) && **silence > kept_s);
            let gone_s = gone.map(|(silence, _)| *silence).min();
            (kept.is_some() || gone_s.is_some()).then_some(LifetimeSeen { kept_s, gone_s })
        })
    }

    fn orders_of(&self, index: usize) -> Orders {
        let (own, peer) = (&self.sides[index], &self.sides[1 - index]);
        let fresh = || (0..self.silences.len()).map(|silence| own.socket(silence));
        let to_pair = |from, is_low| SurveyProbe { from, to: peer.stand.outside, is_low };
        let from_pair = |to, is_low| SurveyProbe { from: Socket::PAIR, to, is_low };
        let (probes, repeats) = match self.stage {
            Stage::Open => {
                let open = u16::try_from(self.silences.len()).unwrap_or(u16::MAX);
                return Orders { open, ..Orders::default() };
            }
            // Each side opens both NATs from within first: no router takes a probe for its own, and a filter that
            // wants the exact port finds it where ports are kept.
            Stage::Low => {
                let opening = peer.ports.iter().filter(|port| peer.keeps && **port != 0);
                let opening = opening.map(|port| from_pair(peer.at(*port), true));
                (fresh().map(|from| to_pair(from, true)).chain(opening).collect(), LOW_REPEATS)
            }
            Stage::First | Stage::Second => (fresh().map(|from| to_pair(from, false)).collect(), REPEATS),
            Stage::FirstAnswer | Stage::SecondAnswer => {
                (peer.outside.values().map(|to| from_pair(*to, false)).collect::<Vec<_>>(), REPEATS)
            }
            Stage::Probe(silence) => {
                let asked = peer.outside.get(&silence).filter(|_| peer.answered[silence]);
                let asked = asked.map(|to| from_pair(*to, false));
                let control = asked.map(|_| to_pair(Socket::PAIR, false));
                (asked.into_iter().chain(control).collect(), REPEATS)
            }
            Stage::Done => (Vec::new(), 1),
        };
        Orders { open: 0, probes, repeats }
    }

    /// Takes what one side heard of the other's probes.
    fn handle_heard(&mut self, listener: usize, heard: &[Heard]) {
        let speaker = 1 - listener;
        let spoken = self.orders[speaker].probes.clone();
        let of = |heard: &Heard| spoken.get(usize::from(heard.probe)).copied();
        let tried = self.silences.len();
        let silence_of =
            |side: &Side, socket: Socket| side.silence_of(socket).filter(|silence| *silence < tried);
        match self.stage {
            Stage::First | Stage::Second => {
                for (heard, probe) in heard.iter().filter_map(|heard| Some((heard, of(heard)?))) {
                    let outside = self.sides[speaker].stand.outside;
                    let is_usable = heard.from.ip() == outside.ip() && heard.from.port() != 0;
                    if let Some(silence) = silence_of(&self.sides[speaker], probe.from)
                        && heard.at == Socket::PAIR
                        && is_usable
                    {
                        self.sides[speaker].outside.insert(silence, heard.from);
                    }
                }
            }
            Stage::SecondAnswer => {
                let own = &mut self.sides[listener];
                for heard in heard {
                    if let Some(silence) = silence_of(own, heard.at) {
                        own.answered[silence] = true;
                    }
                }
            }
            Stage::Probe(silence) => {
                let own = &self.sides[listener];
                let has_come = heard.iter().any(|heard| heard.at == own.socket(silence));
                let is_awake = heard.iter().any(|heard| heard.at == Socket::PAIR);
                let was_asked = !spoken.is_empty();
                if was_asked && (has_come || is_awake) {
                    self.sides[listener].arrived[silence] = Some(has_come);
                }
            }
            Stage::Open | Stage::Low | Stage::FirstAnswer | Stage::Done => {}
        }
    }

    fn next_stage(&self) -> Stage {
        match self.stage {
            Stage::Open => Stage::Low,
            Stage::Low => Stage::First,
            Stage::First => Stage::FirstAnswer,
            Stage::FirstAnswer => Stage::Second,
            Stage::Second => Stage::SecondAnswer,
            Stage::SecondAnswer => Stage::Probe(0),
            Stage::Probe(silence) if silence + 1 < self.silences.len() => Stage::Probe(silence + 1),
            Stage::Probe(_) | Stage::Done => Stage::Done,
        }
    }
}

impl Side {
    pub(super) fn new(stand: Stand, keeps: bool, opened: u16) -> Self {
        Self {
            stand,
            keeps,
            opened,
            ports: Vec::new(),
            outside: BTreeMap::new(),
            answered: [false; MAX_SILENCES],
            arrived: [None; MAX_SILENCES],
        }
    }

    /// Names the socket for that silence.
    fn socket(&self, silence: usize) -> Socket {
        Socket(self.opened.saturating_add(1).saturating_add(u16::try_from(silence).unwrap_or(u16::MAX)))
    }

    /// Returns the silence that a socket is for, counted from the first of these sockets.
    fn silence_of(&self, socket: Socket) -> Option<usize> {
        socket.0.checked_sub(self.opened)?.checked_sub(1).map(usize::from)
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.stand.outside.ip(), port)
    }
}
