//! Where a side is between two TCP connections, and what it has to ask meanwhile.

use std::time::{Duration, Instant};

use pinhole_proto::Role;

/// Time between two questions of a serve side that waits for a client of the peer: the script keeps them until it has
/// one, and then complains about each of them to its user.
const ASK_SELDOM: Duration = Duration::from_secs(10);

/// Time between the first two questions where somebody waits for the answer; it doubles.
const ASK_SOON: Duration = Duration::from_millis(250);

/// Longest time between two questions where somebody waits.
const ASK_AT_LEAST: Duration = Duration::from_secs(5);

/// Least time between two questions that an arrival makes urgent.
const ASK_APART: Duration = Duration::from_millis(250);

/// Least time between two goodbyes: more than a round trip, so that none of them ends the peer's next run.
const GOODBYE_APART: Duration = Duration::from_secs(1);

/// Goodbyes without effect after which the user is told.
const GOODBYES_IN_VAIN: u32 = 4;

/// Silence after which nobody is there who could hold a former session.
pub(super) const GONE: Duration = Duration::from_secs(12);

/// Pause after a session before the first question: answers to earlier ones, late or doubled, say nothing about what the
/// peer expects now.
const SETTLE: Duration = Duration::from_millis(200);

/// Time between an answer that may be to an old question and the next one.
const CONFIRM: Duration = Duration::from_millis(500);

/// Pause after a service could not be reached.
const RELUCTANCE: Duration = Duration::from_secs(1);

/// Time between two words that are out of step, so that they are no echo of each other.
const DOUBT_APART: Duration = Duration::from_millis(200);

/// So many of them in a row mean that the peer has been started again.
const DOUBTS: u32 = 3;

#[derive(Debug)]
pub(super) enum State {
    /// Nothing to carry. The serve side asks whether the peer has a client.
    Idle { asker: Option<Asker> },
    /// Open side: a client waits for the peer to be ready.
    Opening(Asker),
    /// Serve side: the peer is ready, the service not yet.
    Connecting,
    /// Bytes flow.
    Active(Session),
    /// A session is over here, and perhaps not there.
    Closing { asker: Asker, until: Instant },
}

impl State {
    pub(super) fn idle(role: Role, now: Instant) -> Self {
        let asker = match role {
            Role::Serve => Some(Asker { pause: ASK_SELDOM, most: ASK_SELDOM, ..Asker::new(now) }),
            Role::Open => None,
        };
        Self::Idle { asker }
    }

    /// Once what is still under way from the session has arrived, the peer is asked.
    pub(super) fn closing(now: Instant) -> Self {
        Self::Closing { asker: Asker::new(now + SETTLE), until: now + GONE }
    }

    /// The same, after a service that could not be reached.
    pub(super) fn reluctant(now: Instant) -> Self {
        Self::Closing { asker: Asker::new(now + RELUCTANCE), until: now + GONE }
    }

    pub(super) fn asker(&mut self) -> Option<&mut Asker> {
        match self {
            Self::Idle { asker } => asker.as_mut(),
            Self::Opening(asker) | Self::Closing { asker, .. } => Some(asker),
            Self::Connecting | Self::Active(_) => None,
        }
    }

    /// Returns until when there are no heartbeats, so that the peer's former session ends.
    pub(super) fn quiet_until(&self) -> Option<Instant> {
        match self {
            Self::Idle { asker } => asker.as_ref().and_then(Asker::busy_until),
            Self::Opening(asker) => asker.busy_until(),
            Self::Closing { until, .. } => Some(*until),
            Self::Connecting | Self::Active(_) => None,
        }
    }

    /// When a question is due, or the state over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Idle { asker } => asker.as_ref().map(|asker| asker.next_at),
            Self::Opening(asker) => Some(asker.next_at),
            Self::Closing { asker, until } => Some(asker.next_at.min(*until)),
            Self::Active(session) => session.ask_at,
            Self::Connecting => None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Opening(_) => "opening",
            Self::Connecting => "connecting",
            Self::Active(_) => "active",
            Self::Closing { .. } => "closing",
        }
    }
}

/// Asks what the peer expects.
#[derive(Debug)]
pub(super) struct Asker {
    next_at: Instant,
    pause: Duration,
    most: Duration,
    asked_at: Option<Instant>,
    /// When the peer was last heard to hold a former session.
    busy_at: Option<Instant>,
    /// When the peer has said that it is ready, and was to be asked again.
    doubted_at: Option<Instant>,
    goodbye_at: Option<Instant>,
    goodbyes: u32,
}

impl Asker {
    /// Asks at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_at: now,
            pause: ASK_SOON,
            most: ASK_AT_LEAST,
            asked_at: None,
            busy_at: None,
            doubted_at: None,
            goodbye_at: None,
            goodbyes: 0,
        }
    }

    /// Returns whether a question is due, and if so, whether it is the first one.
    pub(super) fn ask(&mut self, now: Instant) -> Option<bool> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now + self.pause;
        self.pause = (self.pause * 2).min(self.most);
        Some(self.asked_at.replace(now).is_none())
    }

    /// The peer is heard for the first time: what was asked before has not arrived.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.next_at = now;
    }

    /// Returns whether an answer can be one to this.
    pub(super) fn has_asked(&self) -> bool {
        self.asked_at.is_some()
    }

    /// The peer says that it is ready, and has perhaps said so long ago: a script that had not read its socket for a
    /// while answers everything in it at once. Returns whether this is the answer to a question that was put after such
    /// a first answer.
    pub(super) fn is_confirmed(&mut self, now: Instant) -> bool {
        let doubted_at = *self.doubted_at.get_or_insert(now);
        if self.asked_at.is_some_and(|asked_at| asked_at >= doubted_at + CONFIRM) {
            return true;
        }
        self.next_at = self.next_at.max(doubted_at + CONFIRM).min(now + CONFIRM);
        false
    }

    /// Something has arrived that makes the answer interesting.
    pub(super) fn hurry(&mut self, now: Instant) {
        let soonest = self.asked_at.map_or(now, |asked_at| asked_at + ASK_APART);
        self.next_at = self.next_at.min(soonest.max(now));
    }

    /// The peer holds a former session. Returns whether to say goodbye now, and whether to tell the user.
    pub(super) fn handle_busy(&mut self, now: Instant) -> (bool, bool) {
        self.busy_at = Some(now);
        if self.goodbye_at.is_some_and(|at| now < at + GOODBYE_APART) {
            return (false, false);
        }
        self.goodbye_at = Some(now);
        self.goodbyes = self.goodbyes.saturating_add(1);
        (true, self.goodbyes == GOODBYES_IN_VAIN)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy_at.is_some()
    }

    fn busy_until(&self) -> Option<Instant> {
        self.busy_at.map(|at| at + GONE)
    }
}

/// One TCP connection carried.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) began: Instant,
    /// Whether the local TCP connection sends nothing more.
    pub(super) is_finished: bool,
    /// Whether another client waits for the end.
    pub(super) is_hurried: bool,
    /// When a finished one is over.
    pub(super) lingers_until: Option<Instant>,
    /// When to ask whether the peer is still the run that we know.
    pub(super) ask_at: Option<Instant>,
    doubts: u32,
    doubted_at: Option<Instant>,
    /// When the peer has last proven to be the run that we know.
    trusted_at: Option<Instant>,
    /// When a first piece came again, and the peer was asked for it.
    copy_at: Option<Instant>,
    /// How often a piece came that is older than the last one, and when.
    olds: u32,
    old_at: Option<Instant>,
}

/// Time between two old pieces that are no copies of each other: a little less than the script's second.
const OLD_APART: Duration = Duration::from_millis(800);

/// So many of them mean that the peer has been started again.
const OLDS: u32 = 4;

/// How long a client that has finished sending may wait for what comes. The format cannot say that it has; but most
/// that finish sending have gone, and the next one waits.
const LINGER: Duration = Duration::from_secs(5);

/// The same for a service, which has hardly ever to be told anything more then, while the peer's client waits for the
/// end; and where another client waits.
const LINGER_SHORT: Duration = Duration::from_secs(1);

impl Session {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            is_finished: false,
            is_hurried: false,
            lingers_until: None,
            ask_at: None,
            doubts: 0,
            doubted_at: None,
            trusted_at: None,
            copy_at: None,
            olds: 0,
            old_at: None,
        }
    }

    /// Something has passed: if the local TCP connection has finished sending, it is waited for so long from now on.
    pub(super) fn linger(&mut self, role: Role, now: Instant) {
        if self.is_finished {
            let is_short = role == Role::Serve || self.is_hurried;
            self.lingers_until = Some(now + if is_short { LINGER_SHORT } else { LINGER });
        }
    }

    /// The peer is the run that we know.
    pub(super) fn trust(&mut self, now: Instant) {
        (self.doubts, self.ask_at, self.trusted_at) = (0, None, Some(now));
    }

    /// A piece came that is older than the last one. Returns whether it must be another run: what is only under way for
    /// long does not come again and again.
    pub(super) fn is_other_run(&mut self, now: Instant) -> bool {
        if self.old_at.is_none_or(|at| now >= at + OLD_APART) {
            self.old_at = Some(now);
            self.olds += 1;
        }
        self.olds >= OLDS
    }

    /// A first piece came again. Returns whether it is a copy for sure: the peer has proven itself since it was asked.
    pub(super) fn is_copy(&mut self, now: Instant) -> bool {
        let is_copy = self.copy_at.is_some_and(|asked_at| self.trusted_at > Some(asked_at));
        self.copy_at = (!is_copy).then_some(now);
        is_copy
    }

    /// A word of the peer is out of step. Returns whether it must be another run.
    pub(super) fn doubt(&mut self, now: Instant) -> bool {
        if self.doubted_at.is_some_and(|at| now < at + DOUBT_APART) {
            return false;
        }
        self.doubted_at = Some(now);
        self.doubts += 1;
        self.ask_at = Some(now + ASK_SOON);
        self.doubts >= DOUBTS
    }
}
