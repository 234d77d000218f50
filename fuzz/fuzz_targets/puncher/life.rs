//! What a life is made of. The bytes of an input mean what the derived `Arbitrary` reads from them: another variant or
//! field here shifts the meaning of the seeds. Make them anew with `make-seeds`, which reads this file.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use pinhole_proto::{
    Role,
    probe::Kind,
    puncher::{IcmpKind, LastSuccess, Limits, Method},
};

#[derive(Debug, Arbitrary)]
pub(crate) struct Life {
    pub(crate) role: AnyRole,
    pub(crate) limits: AnyLimits,
    pub(crate) last_success: Option<AnyLastSuccess>,
    pub(crate) local: Option<Host>,
    pub(crate) peer: Vec<Place>,
    pub(crate) ops: Vec<Op>,
}

/// One thing that happens.
#[derive(Debug, Arbitrary)]
pub(crate) enum Op {
    /// Time passes while nobody looks at the timer, ms.
    Wait(u16),
    /// The machine sleeps, s.
    Sleep(u16),
    /// The machine sleeps, h.
    SleepLong(u16),
    /// Time passes, ms, and the timer is served.
    Live(u16),
    /// The deadline comes.
    Due,
    /// The timer fires for nothing.
    Timeout,
    /// The wall clock is set.
    Set(Clock),
    SetPeer(Vec<Place>),
    SetLocal(Option<Host>),
    Traffic {
        sent: u8,
        received: u8,
    },
    Search,
    /// Searches again and again.
    Restart {
        times: u8,
        gap_ms: u8,
    },
    Leave,
    /// Bytes that no key has sealed.
    Noise {
        place: Place,
        first: u8,
        length: u16,
    },
    /// A sealed probe with any fields.
    Sealed(Place, Fields),
    /// What could be the answer to one of the last datagrams, over the same pair.
    Answer(Which, Fields),
    /// A datagram that was heard before, counted back, from somewhere.
    Recording(Place, u8),
    /// A datagram of its own comes back from somewhere.
    Echo(Place, Which),
    /// The network says something about one of the last datagrams.
    Icmp(Which, AnyIcmpKind, Offender, Quote),
    /// The network says something about a pair that may never have been used.
    StrayIcmp(Place, AnyIcmpKind, Offender, Quote),
    /// From now on no socket can be opened, or any.
    OpenFails(bool),
    /// A socket could not be opened: one that nothing came from, or any number.
    OpenFailed(u8),
    SendRefused,
}

/// A pair out of a few: the same ones should come again.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Place {
    pub(crate) socket: Socket,
    pub(crate) host: Host,
    pub(crate) port: u8,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Socket {
    Main,
    /// One of those that are open, counted back.
    Open(u8),
    /// Any number.
    Any(u8),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Host(u8);

/// One of the last sealed datagrams that were sent that way, counted back.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Which {
    pub(crate) way: Way,
    pub(crate) back: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Arbitrary)]
pub(crate) enum Way {
    /// By the main socket, to arrive.
    Main,
    /// By the main socket, not to arrive.
    Low,
    /// By another socket.
    Aside,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Fields {
    pub(crate) kind: AnyKind,
    pub(crate) role: AnyRole,
    pub(crate) nominate: bool,
    pub(crate) heard: bool,
    pub(crate) direct: bool,
    pub(crate) tunnel: bool,
    pub(crate) epoch: u32,
    pub(crate) instance: u8,
    /// None for the next number.
    pub(crate) sequence: Option<u64>,
    /// None for now.
    pub(crate) unix_ms: Option<u64>,
    /// Not used in an answer.
    pub(crate) token: u64,
    pub(crate) observed: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Clock {
    /// 1970.
    Zero,
    Ahead(Leap),
    Back(Leap),
    /// Ms since 1970.
    Any(u64),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Leap {
    Milliseconds(u16),
    Hours(u8),
    Years(u8),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Offender {
    /// The first of the peer's addresses.
    Peer,
    Inside(u8),
    Outside(u8),
    Host(Host),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Quote {
    /// The beginning of what it is about.
    True(u8),
    /// Of one of the last datagrams.
    Other(Which, u8),
    /// The same byte again and again.
    Filler(u8, u8),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum AnyRole {
    Serve,
    Open,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum AnyKind {
    Probe,
    Ack,
    Bye,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum AnyIcmpKind {
    TtlExceeded,
    PortUnreachable,
    Prohibited,
    Unreachable,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum AnyLimits {
    Default,
    Gentle,
    Least,
    /// Less than what is allowed.
    Nothing,
    /// The most that the command line allows.
    Most,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct AnyLastSuccess {
    method: AnyMethod,
    peer_port: u16,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum AnyMethod {
    Base,
    Slot,
    Fan,
    Sweep,
    Reserve,
}

impl Place {
    pub(crate) fn remote(self) -> SocketAddr {
        SocketAddr::new(self.host.into(), 1000 + u16::from(self.port))
    }
}

impl Clock {
    pub(crate) fn set(self, unix: Duration) -> Duration {
        match self {
            Self::Zero => Duration::ZERO,
            Self::Ahead(leap) => unix.saturating_add(leap.into()).min(Duration::from_millis(u64::MAX)),
            Self::Back(leap) => unix.saturating_sub(leap.into()),
            Self::Any(unix_ms) => Duration::from_millis(unix_ms),
        }
    }
}

impl Offender {
    pub(crate) fn ip(self, peer: &[SocketAddr]) -> IpAddr {
        match self {
            Self::Peer => peer.first().map_or(Host(0).into(), SocketAddr::ip),
            Self::Inside(last) => [192, 168, 0, last].into(),
            Self::Outside(last) => [203, 0, 113, last].into(),
            Self::Host(host) => host.into(),
        }
    }
}

impl From<Host> for IpAddr {
    fn from(Host(number): Host) -> Self {
        let last = number % 4;
        if number & 4 == 0 {
            [192, 0, 2, last].into()
        } else {
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into()
        }
    }
}

impl From<Leap> for Duration {
    fn from(leap: Leap) -> Self {
        match leap {
            Leap::Milliseconds(ms) => Self::from_millis(ms.into()),
            Leap::Hours(hours) => Self::from_hours(hours.into()),
            Leap::Years(years) => Self::from_hours(u64::from(years) * 365 * 24),
        }
    }
}

impl From<AnyRole> for Role {
    fn from(role: AnyRole) -> Self {
        match role {
            AnyRole::Serve => Self::Serve,
            AnyRole::Open => Self::Open,
        }
    }
}

impl From<AnyKind> for Kind {
    fn from(kind: AnyKind) -> Self {
        match kind {
            AnyKind::Probe => Self::Probe,
            AnyKind::Ack => Self::Ack,
            AnyKind::Bye => Self::Bye,
        }
    }
}

impl From<AnyIcmpKind> for IcmpKind {
    fn from(kind: AnyIcmpKind) -> Self {
        match kind {
            AnyIcmpKind::TtlExceeded => Self::TtlExceeded,
            AnyIcmpKind::PortUnreachable => Self::PortUnreachable,
            AnyIcmpKind::Prohibited => Self::Prohibited,
            AnyIcmpKind::Unreachable => Self::Unreachable,
        }
    }
}

impl From<AnyLimits> for Limits {
    fn from(limits: AnyLimits) -> Self {
        match limits {
            AnyLimits::Default => Self::DEFAULT,
            AnyLimits::Gentle => Self::GENTLE,
            AnyLimits::Least => Self::LEAST,
            AnyLimits::Nothing => Self { mappings: 0, packets_per_second: 0 },
            AnyLimits::Most => Self { mappings: 4096, packets_per_second: 2000 },
        }
    }
}

impl From<AnyLastSuccess> for LastSuccess {
    fn from(last_success: AnyLastSuccess) -> Self {
        let method = match last_success.method {
            AnyMethod::Base => Method::Base,
            AnyMethod::Slot => Method::Slot,
            AnyMethod::Fan => Method::Fan,
            AnyMethod::Sweep => Method::Sweep,
            AnyMethod::Reserve => Method::Reserve,
        };
        Self { method, peer_port: last_success.peer_port }
    }
}
