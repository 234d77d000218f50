//! One machine whose peer the tests play.

use super::{super::*, wire::OPEN_ADDRESS};
use crate::probe::{PROBE_BYTES, Probe};

/// One side alone, and a clock; the tests play its peer.
pub(super) struct Lone {
    pub(super) puncher: Puncher,
    pub(super) seal: ProbeSeal,
    pub(super) now: Now,
    pub(super) deadline: Option<Instant>,
    pub(super) open: Vec<SocketId>,
    pub(super) sent: Vec<Transmit>,
    pub(super) sequence: u64,
    pub(super) wakeups: usize,
}

impl Lone {
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    pub(super) fn start(limits: Limits, unix: Duration) -> Self {
        let key = crate::key::of_test("key");
        let seal = ProbeSeal::new(&key);
        let config = Config::new(Role::Serve, seal.clone(), Schedule::new(&key), [1; 32], 5555);
        let puncher = Puncher::new(Config { limits, ..config });
        let now = Now { instant: Instant::now() + Duration::from_secs(1000), unix };
        let (deadline, open, sent) = (None, Vec::new(), Vec::new());
        let mut lone = Self { puncher, seal, now, deadline, open, sent, sequence: 0, wakeups: 0 };
        lone.puncher.set_peer(&[OPEN_ADDRESS], now);
        lone.puncher.search(now);
        lone.drain();
        lone
    }

    pub(super) fn drain(&mut self) {
        loop {
            match self.puncher.poll_output() {
                Output::Transmit(transmit) => {
                    let socket = transmit.pair.socket;
                    let is_open = socket == SocketId::MAIN || self.open.contains(&socket);
                    assert!(is_open, "a datagram leaves by a closed socket: {:?}", transmit.pair);
                    self.sent.push(transmit);
                }
                Output::Open { socket, .. } => self.open.push(socket),
                Output::Close(socket) => self.open.retain(|s| *s != socket),
                Output::Event(_) => {}
                Output::Timeout(at) => return self.deadline = at,
            }
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while let Some(at) = self.deadline.filter(|at| *at <= until) {
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            self.puncher.handle_timeout(self.now);
            self.drain();
            self.wakeups += 1;
        }
        self.now = self.now.after(until - self.now.instant);
    }

    pub(super) fn receive(&mut self, pair: Pair, kind: Kind, token: u64) {
        let sealed = self.sealed(kind, token);
        self.puncher.handle_datagram(pair, &sealed, self.now);
        self.drain();
    }

    /// Seals the peer's next word.
    pub(super) fn sealed(&mut self, kind: Kind, token: u64) -> [u8; PROBE_BYTES] {
        let probe = Probe {
            kind,
            role: Role::Open,
            nominate: false,
            heard: true,
            direct: false,
            tunnel: false,
            epoch: 1,
            instance: 1,
            sequence: self.sequence,
            unix_ms: self.now.unix_ms(),
            token,
            observed: None,
        };
        self.sequence += 1;
        self.seal.seal(&probe, [9; 24])
    }
}
