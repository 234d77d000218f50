//! Which probes each side writes, round after round, and what their arrival means.

mod side;

use std::net::SocketAddr;

use self::side::Side;
use super::{
    Heard, Lifetime, MappingSeen, Orders, Report, Round, Seen, Socket, Stand, SurveyProbe, lifetime, samples,
};

/// The sockets of each purpose, by number.
const STRAYS: [u16; 2] = [1, 2];
const PRESERVATION: [u16; 4] = [3, 4, 5, 6];
const TARGETS: [u16; 2] = [7, 8];
/// Those that open a filter for one half of the peer's samples each. Not the tunnel's: where a router has once moved a
/// port of ours, Linux moves that port's later flows in the same way.
const SAMPLERS: [u16; 2] = [9, 10];
const FIRST_SAMPLE: u16 = 11;

/// Sockets opened at the beginning.
const AT_FIRST: u16 = 10;

/// Sockets whose outside ports are looked at where all of them are seen.
const ALL_SEEN: u16 = 24;

/// Sockets whose outside ports are looked at where only some are seen: one half at first, and the other half in a second
/// round that looks closer. A router that takes probes for its own remembers those of the first half.
const SOME_SEEN: u16 = 56;
const HALF: u16 = SOME_SEEN / 2;

/// Ports that are opened for each half.
const NEAR: usize = 168;
const NEARER: usize = 72;

/// How often probes are sent, so that loss decides nothing; probes that only open a NAT; and those that count loss.
const REPEATS: u16 = 5;
const LOW_REPEATS: u16 = 2;
const COUNTED: u16 = super::MAX_REPEATS;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Filtering,
    PreservationLow,
    Preservation,
    TargetsLow,
    Targets,
    SamplesOpen,
    SamplesLow,
    Samples,
    CloserLow,
    Closer,
    Loss,
    Done,
}

/// Plans a survey and judges it; see the module's text.
#[derive(Debug)]
pub struct Survey {
    sides: [Side; 2],
    stage: Stage,
    number: u32,
    /// What each side was told to do last.
    orders: [Orders; 2],
}

impl Survey {
    /// Makes a survey of two sides, each of which may make that many mappings.
    #[must_use]
    pub fn new(stands: [Stand; 2], mappings: [u16; 2]) -> Self {
        let side = |index: usize| Side::new(stands[index], mappings[index].into());
        Self { sides: [side(0), side(1)], stage: Stage::Open, number: 0, orders: Default::default() }
    }

    /// Returns what both sides are to do next; `None` when nothing is left. Rounds with nothing to do are left out.
    pub fn next_round(&mut self) -> Option<Round> {
        while self.stage != Stage::Done {
            let orders = [0, 1].map(|index| self.orders_of(index));
            let is_empty = orders.iter().all(|orders| orders.open == 0 && orders.probes.is_empty());
            if !is_empty {
                self.number += 1;
                self.orders = orders.clone();
                return Some(Round { number: self.number, orders });
            }
            self.stage = self.stage.next();
        }
        None
    }

    /// Takes what both sides tell of the round.
    pub fn handle_reports(&mut self, reports: [Report; 2]) {
        let [first, second] = reports;
        for (index, report) in [first, second].into_iter().enumerate() {
            let room = usize::from(super::MAX_SOCKETS).saturating_sub(self.sides[index].ports.len());
            self.sides[index].ports.extend(report.ports.into_iter().take(room));
            for heard in report.heard {
                self.handle_heard(index, heard);
            }
        }
        match self.stage {
            Stage::Targets => (0..2).for_each(|index| self.judge_silence(index)),
            Stage::Samples | Stage::Closer => (0..2).for_each(|index| self.judge_samples(index)),
            Stage::Open
            | Stage::Filtering
            | Stage::PreservationLow
            | Stage::Preservation
            | Stage::TargetsLow
            | Stage::SamplesOpen
            | Stage::SamplesLow
            | Stage::CloserLow
            | Stage::Loss
            | Stage::Done => {}
        }
        self.stage = self.stage.next();
    }

    /// Goes on with how long both NATs keep a mapping without traffic, in about that many seconds.
    #[must_use]
    pub fn lifetime(&self, seconds: u16) -> Lifetime {
        let side = |index: usize| {
            let side = &self.sides[index];
            let opened = u16::try_from(side.ports.len()).unwrap_or(u16::MAX);
            lifetime::Side::new(side.stand, side.keeps(), opened)
        };
        Lifetime::new([side(0), side(1)], self.number, seconds)
    }

    /// Returns what was seen of both sides.
    #[must_use]
    pub fn seen(&self) -> [Seen; 2] {
        [0, 1].map(|index| self.sides[index].seen())
    }

    /// Which of how many parts is under way, to show progress.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        (self.stage as u32, Stage::Done as u32)
    }

    fn orders_of(&self, index: usize) -> Orders {
        let (own, peer) = (&self.sides[index], &self.sides[1 - index]);
        let to_pair = |from: u16, is_low| SurveyProbe { from: Socket(from), to: peer.stand.outside, is_low };
        let (probes, repeats) = match self.stage {
            Stage::Open => return Orders { open: AT_FIRST, ..Orders::default() },
            Stage::SamplesOpen if self.sampling(index) != Sampling::No => {
                return Orders { open: SOME_SEEN, ..Orders::default() };
            }
            Stage::Filtering => {
                let strays = [Socket::PAIR.0].into_iter().chain(STRAYS);
                (strays.map(|from| to_pair(from, false)).collect(), REPEATS)
            }
            Stage::PreservationLow => {
                let own = PRESERVATION.map(|from| to_pair(from, true));
                let opening = PRESERVATION.iter().filter_map(|socket| peer.inside_port(*socket));
                let opening = opening.map(|port| own_pair(peer.at(port), true));
                (own.into_iter().chain(opening).collect(), LOW_REPEATS)
            }
            Stage::Preservation => (PRESERVATION.map(|from| to_pair(from, false)).to_vec(), REPEATS),
            Stage::TargetsLow if own.keeps() => {
                (TARGETS.map(|from| to_pair(from, true)).to_vec(), LOW_REPEATS)
            }
            Stage::Targets => {
                (self.targets(index).into_iter().map(|(to, _)| own_pair(to, false)).collect(), REPEATS)
            }
            Stage::SamplesLow => (self.samples_low(index), LOW_REPEATS),
            Stage::Samples => (self.samples_full(index), REPEATS - 2),
            Stage::CloserLow => (self.closer_low(index), LOW_REPEATS),
            Stage::Closer if self.sampling(index) == Sampling::Near => {
                (self.half(index, 1, false), REPEATS - 2)
            }
            Stage::Loss => (vec![to_pair(Socket::PAIR.0, false)], COUNTED),
            Stage::SamplesOpen | Stage::TargetsLow | Stage::Closer | Stage::Done => (Vec::new(), 1),
        };
        Orders { open: 0, probes, repeats }
    }

    /// Where this side's tunnel socket writes to find out whether it comes from one outside port; and at which of the
    /// peer's sockets that arrives.
    fn targets(&self, index: usize) -> Vec<(SocketAddr, u16)> {
        let (own, peer) = (&self.sides[index], &self.sides[1 - index]);
        if peer.keeps() {
            return TARGETS
                .iter()
                .filter_map(|socket| Some((peer.at(peer.inside_port(*socket)?), *socket)))
                .collect();
        }
        own.strays.into_iter().flatten().zip(STRAYS).collect()
    }

    /// How this side's new sockets can be seen by the peer.
    fn sampling(&self, index: usize) -> Sampling {
        let (own, peer) = (&self.sides[index], &self.sides[1 - index]);
        if own.keeps() {
            Sampling::No
        } else if peer.admits() == Some(true) {
            Sampling::All
        } else if peer.keeps() && peer.mappings >= NEAR + NEARER + usize::from(AT_FIRST) + PRESERVATION.len()
        {
            Sampling::Near
        } else {
            Sampling::No
        }
    }

    fn samples_low(&self, index: usize) -> Vec<SurveyProbe> {
        let peer = &self.sides[1 - index];
        let mut probes = Vec::new();
        if self.sampling(index) == Sampling::Near {
            probes.extend(self.half(index, 0, true));
            probes.extend(self.half(index, 1, true));
        }
        if self.sampling(1 - index) == Sampling::Near {
            let near = samples::near(peer.stand.outside.port(), HALF, NEAR);
            probes.extend(near.into_iter().map(|port| peer.opening(SAMPLERS[0], port)));
        }
        probes
    }

    fn samples_full(&self, index: usize) -> Vec<SurveyProbe> {
        let to = self.sides[1 - index].stand.outside;
        match self.sampling(index) {
            Sampling::No => Vec::new(),
            Sampling::Near => self.half(index, 0, false),
            Sampling::All => {
                let sockets = self.sides[index].sample_sockets(ALL_SEEN);
                sockets.map(|from| SurveyProbe { from: Socket(from), to, is_low: false }).collect()
            }
        }
    }

    /// One half of the samples, each to its own socket of the peer.
    fn half(&self, index: usize, half: usize, is_low: bool) -> Vec<SurveyProbe> {
        let (own, peer) = (&self.sides[index], &self.sides[1 - index]);
        let Some(port) = peer.inside_port(SAMPLERS[half]) else { return Vec::new() };
        let sockets = own.sample_sockets(SOME_SEEN).skip(usize::from(HALF) * half).take(HALF.into());
        sockets.map(|from| SurveyProbe { from: Socket(from), to: peer.at(port), is_low }).collect()
    }

    /// Opens this side's filter for more of the peer's ports.
    fn closer_low(&self, index: usize) -> Vec<SurveyProbe> {
        let peer = &self.sides[1 - index];
        if self.sampling(1 - index) != Sampling::Near {
            return Vec::new();
        }
        let sockets: Vec<u16> = peer.sample_sockets(SOME_SEEN).skip(HALF.into()).collect();
        let ports = samples::predicted(&peer.samples, peer.stand.outside.port(), &sockets, NEARER);
        ports.into_iter().map(|port| peer.opening(SAMPLERS[1], port)).collect()
    }

    /// Takes what one side heard of the other's probes.
    fn handle_heard(&mut self, listener: usize, heard: Heard) {
        let speaker = 1 - listener;
        let Some(probe) = self.orders[speaker].probes.get(usize::from(heard.probe)).copied() else {
            return;
        };
        if heard.from.port() == 0 {
            return; // nobody sends from there
        }
        let outside = self.sides[speaker].stand.outside;
        match self.stage {
            Stage::Filtering if heard.at == Socket::PAIR => {
                let stray = STRAYS.iter().position(|socket| *socket == probe.from.0);
                match stray {
                    // From another IP of a NAT that has several it cannot be answered.
                    Some(_) if heard.from.ip() != outside.ip() => {}
                    Some(stray) => self.sides[listener].strays[stray] = Some(heard.from),
                    None => self.sides[listener].is_heard |= probe.from == Socket::PAIR,
                }
            }
            Stage::Preservation if heard.at == Socket::PAIR => {
                self.sides[speaker].note_port(probe.from, heard.from);
            }
            Stage::Targets => {
                let asked = self.orders[speaker].probes.len();
                self.sides[speaker].note_target(heard.probe, heard.from, asked);
            }
            Stage::Samples | Stage::Closer => {
                self.sides[speaker].note_sample(probe.from, heard.from);
            }
            Stage::Loss => self.sides[speaker].arrived = Some(heard.count.min(COUNTED)),
            Stage::Open
            | Stage::Filtering
            | Stage::PreservationLow
            | Stage::Preservation
            | Stage::TargetsLow
            | Stage::SamplesOpen
            | Stage::SamplesLow
            | Stage::CloserLow
            | Stage::Done => {}
        }
    }

    /// Where probes to further ports did not arrive though the peer's filter was open for the one outside port, they
    /// came from others.
    fn judge_silence(&mut self, index: usize) {
        let was_asked = !self.orders[index].probes.is_empty();
        let peer_is_exact = self.sides[1 - index].admits() == Some(false);
        let side = &mut self.sides[index];
        if was_asked && peer_is_exact && side.mapping == MappingSeen::Unknown && !side.keeps() {
            side.mapping = MappingSeen::ByPort;
        }
    }

    fn judge_samples(&mut self, index: usize) {
        let sampling = self.sampling(index);
        let side = &mut self.sides[index];
        side.ports_seen = match sampling {
            Sampling::No => None,
            Sampling::All => Some(samples::of_all(&side.samples)),
            Sampling::Near => Some(samples::of_near(&side.samples, side.stand.outside.port())),
        };
    }
}

/// How the outside ports of a side's new sockets can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sampling {
    /// Not at all, or there is no need to.
    No,
    /// All of them: the peer lets in any port.
    All,
    /// Those for which the peer has opened its filter.
    Near,
}

impl Stage {
    fn next(self) -> Self {
        match self {
            Self::Open => Self::Filtering,
            Self::Filtering => Self::PreservationLow,
            Self::PreservationLow => Self::Preservation,
            Self::Preservation => Self::TargetsLow,
            Self::TargetsLow => Self::Targets,
            Self::Targets => Self::SamplesOpen,
            Self::SamplesOpen => Self::SamplesLow,
            Self::SamplesLow => Self::Samples,
            Self::Samples => Self::CloserLow,
            Self::CloserLow => Self::Closer,
            Self::Closer => Self::Loss,
            Self::Loss | Self::Done => Self::Done,
        }
    }
}

fn own_pair(to: SocketAddr, is_low: bool) -> SurveyProbe {
    SurveyProbe { from: Socket::PAIR, to, is_low }
}
