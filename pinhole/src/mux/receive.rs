//! The receive queues of one peer: probe-like datagrams and ICMP errors, from the sockets to its driver, bounded.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use pinhole_proto::{
    Role,
    probe::{Class, MAX_PROBE_BYTES, ProbeSeal, classify},
    puncher::{Icmp, IcmpKind, Pair},
};
use tokio::sync::mpsc;

use super::filter::{Filter, Strays};

/// Most probe-like datagrams that wait for the driver: probes that open, and a few others. More are dropped.
const PROBE_QUEUE: usize = 1024;

/// Most ICMP errors that wait for the driver: half a second of the puncher's fastest sending.
const ICMP_QUEUE: usize = 256;

/// Most survey probes that wait to be counted: those of a whole round.
const SURVEY_QUEUE: usize = 1024;

/// A survey probe, and where it arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SurveyArrival {
    pub(crate) pair: Pair,
    /// The check to which it belongs: a number that its open side has drawn.
    pub(crate) instance: u64,
    pub(crate) token: u64,
}

/// The queue of survey probes while a check listens.
#[derive(Debug)]
struct SurveyQueue {
    seal: ProbeSeal,
    /// The role of the side that sends them.
    peer: Role,
    probes: mpsc::Sender<SurveyArrival>,
}

/// A probe-like datagram and where it arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) pair: Pair,
    bytes: Short,
}

impl Arrival {
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

/// An ICMP error about a datagram of ours.
#[derive(Debug, Clone)]
pub(crate) struct IcmpArrival {
    pub(crate) pair: Pair,
    pub(crate) kind: IcmpKind,
    pub(crate) offender: IpAddr,
    pub(crate) quoted: Short,
}

impl IcmpArrival {
    pub(crate) fn icmp(&self) -> Icmp<'_> {
        let Self { pair, kind, offender, quoted } = self;
        Icmp { pair: *pair, kind: *kind, offender: *offender, quoted: quoted.as_slice() }
    }

    /// Returns what is quoted of the datagram.
    pub(super) fn quoted(&self) -> &[u8] {
        self.quoted.as_slice()
    }
}

/// At most [`MAX_PROBE_BYTES`] bytes, in place.
#[derive(Debug, Clone)]
pub(crate) struct Short {
    length: usize,
    bytes: [u8; MAX_PROBE_BYTES],
}

impl Short {
    /// Copies as much as there is room for.
    pub(super) fn of(whole: &[u8]) -> Self {
        let length = whole.len().min(MAX_PROBE_BYTES);
        let mut bytes = [0; MAX_PROBE_BYTES];
        bytes[..length].copy_from_slice(&whole[..length]);
        Self { length, bytes }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The driver's ends of one peer's receive queues.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) probes: mpsc::Receiver<Arrival>,
    pub(crate) icmp: mpsc::Receiver<IcmpArrival>,
}

/// Counts of what arrived for an endpoint and was not let through.
#[derive(Debug, Default)]
pub struct MuxCounters {
    /// QUIC datagrams from addresses that no proof has opened, or without the mark of a holder of the key.
    pub strangers: AtomicU64,
    /// Datagrams that are neither QUIC nor a probe, or look like a probe and do not open.
    pub noise: AtomicU64,
    /// Probes and ICMP errors dropped because too many waited.
    pub overflow: AtomicU64,
}

impl MuxCounters {
    pub(super) fn count_stranger(&self) {
        count(&self.strangers);
    }

    pub(super) fn count_noise(&self) {
        count(&self.noise);
    }
}

/// The sockets' ends of one peer's receive queues.
#[derive(Debug)]
pub(super) struct ReceiveQueues {
    probes: mpsc::Sender<Arrival>,
    icmp: mpsc::Sender<IcmpArrival>,
    counters: Arc<MuxCounters>,
    survey: OnceLock<SurveyQueue>,
    filter: Arc<Filter>,
    strays: Mutex<Strays>,
}

impl ReceiveQueues {
    pub(super) fn new(filter: Arc<Filter>, counters: Arc<MuxCounters>) -> (Self, Arrivals) {
        let (probes, probe_arrivals) = mpsc::channel(PROBE_QUEUE);
        let (icmp, icmp_arrivals) = mpsc::channel(ICMP_QUEUE);
        let (survey, strays) = Default::default();
        let queues = Self { probes, icmp, counters, survey, filter, strays };
        (queues, Arrivals { probes: probe_arrivals, icmp: icmp_arrivals })
    }

    /// Passes on a datagram of this peer's own socket that QUIC must not see: to the driver if it
    /// looks like a probe, else counts it.
    pub(super) fn pass_on(&self, pair: Pair, datagram: &[u8]) {
        match classify(datagram) {
            Class::Probe if self.takes_survey_probe(pair, datagram) => {}
            Class::Probe if self.filter.has_sealed(datagram) => self.push_probe(pair, datagram),
            Class::Probe | Class::OldScript => self.take_stray(pair, datagram),
            Class::Quic => self.counters.count_stranger(),
            Class::Other => self.counters.count_noise(),
        }
    }

    /// Takes a datagram that nobody has sealed with the key, if one more may pass.
    fn take_stray(&self, pair: Pair, datagram: &[u8]) {
        if self.strays.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.push_probe(pair, datagram);
        } else {
            self.counters.count_noise();
        }
    }

    /// Takes a datagram that opens.
    pub(super) fn push_probe(&self, pair: Pair, datagram: &[u8]) {
        self.push(&self.probes, Arrival { pair, bytes: Short::of(datagram) });
    }

    /// Queues survey probes of the peer for the check from now on. Once in a life.
    pub(super) fn receive_survey(&self, seal: ProbeSeal, peer: Role) -> mpsc::Receiver<SurveyArrival> {
        let (probes, arrivals) = mpsc::channel(SURVEY_QUEUE);
        let _listened_before = self.survey.set(SurveyQueue { seal, peer, probes });
        arrivals
    }

    /// Takes a survey probe of the peer, if a check listens.
    pub(super) fn takes_survey_probe(&self, pair: Pair, datagram: &[u8]) -> bool {
        let Some(SurveyQueue { seal, peer, probes }) = self.survey.get() else { return false };
        let opened = seal.open(datagram).ok().filter(|probe| probe.role == *peer);
        let Some(probe) = opened else { return false };
        self.push(probes, SurveyArrival { pair, instance: probe.instance, token: probe.token });
        true
    }

    /// Takes an ICMP error for the driver.
    pub(super) fn push_icmp(&self, icmp: IcmpArrival) {
        self.push(&self.icmp, icmp);
    }

    fn push<T>(&self, queue: &mpsc::Sender<T>, item: T) {
        if queue.try_send(item).is_err() {
            count(&self.counters.overflow);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
