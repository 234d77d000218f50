//! Random lives: whatever happens, a program gets a beginning of what the other one sent in that session, in order.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    link::{Faults, Link, pattern},
    script::Script,
};
use pinhole_proto::Role;

use crate::{Event, wire};

#[derive(Debug, Clone, Copy)]
enum Op {
    /// The local programs send so many bytes.
    Send(u16, u16),
    Wait(u16),
    Faults {
        lose: u32,
        twice: u32,
        late: u32,
        short: bool,
    },
    Read(bool, bool),
    /// The script is started again, and has a TCP connection.
    Restart,
    /// Our local TCP connection ends; the next one follows.
    Close,
    Finish,
    /// A datagram of the peer that nobody can expect.
    Stray(u8, u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u16..20_000, 0u16..20_000).prop_map(|(ours, theirs)| Op::Send(ours, theirs)),
        6 => (0u16..5000).prop_map(Op::Wait),
        2 => (0u32..40, 0u32..40, 0u32..40, any::<bool>())
            .prop_map(|(lose, twice, late, short)| Op::Faults { lose, twice, late, short }),
        2 => any::<(bool, bool)>().prop_map(|(ours, theirs)| Op::Read(ours, theirs)),
        1 => Just(Op::Restart),
        1 => Just(Op::Close),
        1 => Just(Op::Finish),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(kind, number)| Op::Stray(kind, number)),
    ]
}

/// A link, and what each program has sent since its TCP connection began.
struct Life {
    link: Link,
    ours_sent: Vec<u8>,
    /// Of each run of the script.
    theirs_sent: Vec<Vec<u8>>,
    began: usize,
    salt: u64,
}

impl Life {
    fn new(role: Role, seed: u64) -> Self {
        let mut link = Link::new(role, 2000, seed);
        link.connect();
        Self { link, ours_sent: Vec::new(), theirs_sent: vec![Vec::new()], began: 0, salt: 0 }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Send(ours, theirs) => {
                self.salt += 2;
                if self.is_active() && !self.link.ours.has_eof {
                    let bytes = pattern(self.salt, usize::from(ours));
                    self.ours_sent.extend(&bytes);
                    self.link.ours.to_send.extend(bytes);
                }
                let bytes = pattern(self.salt + 1, usize::from(theirs));
                self.theirs_sent.last_mut().expect("a run").extend(&bytes);
                self.link.script.to_send.extend(bytes);
            }
            Op::Wait(ms) => self.run(Duration::from_millis(u64::from(ms))),
            Op::Faults { lose, twice, late, short } => {
                let longest = if short { 1472 } else { 0 };
                self.link.faults = Faults { lose, spoil: 0, twice, late, longest };
            }
            Op::Read(ours, theirs) => (self.link.ours.reads, self.link.script.reads) = (ours, theirs),
            Op::Restart => self.restart(),
            Op::Close => self.link.ours.machine.close(self.link.now),
            Op::Finish => self.link.ours.has_eof = self.is_active(),
            Op::Stray(kind, number) => {
                let mut stray = wire::nack(number);
                stray[0] = kind;
                // An ack of what is under way cannot be told from a true one.
                if kind != b'A' && kind != b'N' {
                    self.link.ours.machine.handle_datagram(super::link::THEIRS, &stray, self.link.now);
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.link.now + time;
        while self.link.now < until {
            self.link.run_for(Duration::from_millis(20).min(until - self.link.now));
            self.check();
            if self.link.script.exit.is_some() {
                self.restart();
            }
            if !self.is_active() {
                self.link.ours.machine.open(self.link.now);
            }
        }
    }

    /// A program takes a while to start. One that did not could get the acks of its former run.
    fn restart(&mut self) {
        self.link.script.exit.get_or_insert(0);
        self.link.run_for(Duration::from_millis(100));
        self.link.script = Script::new(self.link.script.role, 2000, self.link.now);
        self.link.script.accept();
        self.theirs_sent.push(Vec::new());
    }

    fn is_active(&self) -> bool {
        self.link.ours.count(&Event::Began) > self.link.ours.ends().len()
    }

    fn check(&mut self) {
        let began = self.link.ours.count(&Event::Began);
        let is_prefix = |got: &[u8], sent: &[u8]| sent.starts_with(got);
        let got = &self.link.ours.got;
        assert!(self.theirs_sent.iter().any(|sent| is_prefix(got, sent)), "{} bytes of nothing", got.len());
        let has_ended = self.link.ours.ends().len() == began;
        if began > self.began {
            self.began = began;
            self.ours_sent.clear();
        }
        let got = &self.link.script.got;
        assert!(
            got.is_empty() || has_ended || is_prefix(got, &self.ours_sent),
            "{} bytes of nothing",
            got.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn what_arrives_is_a_beginning_of_what_was_sent(ops in prop::collection::vec(op(), 1..40), seed: u64, serves: bool) {
        let mut life = Life::new(if serves { Role::Serve } else { Role::Open }, seed);
        for op in ops {
            life.apply(op);
            life.check();
        }
        // And when all is well again, bytes pass.
        life.link.faults = Faults::default();
        life.apply(Op::Read(true, true));
        life.run(Duration::from_secs(400));
        life.apply(Op::Close);
        life.run(Duration::from_secs(30));
        life.restart();
        life.run(Duration::from_secs(60));
        prop_assert!(life.is_active());
        life.apply(Op::Send(5000, 5000));
        life.run(Duration::from_secs(20));
        prop_assert_eq!(life.link.script.got.len(), 5000);
        prop_assert_eq!(life.link.ours.got.len(), 5000);
    }
}
