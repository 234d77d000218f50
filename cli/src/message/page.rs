//! docs/reference/messages.md against what is said: each message, word for word, in both directions.
//!
//! Every enum is gone through by a match without a wildcard, so whoever adds a variant comes here. Addresses, names
//! and numbers are examples, the same here and there.

mod kinds;
mod search;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use pinhole::{
    Event, Role,
    bind::{BindError, Protocol},
    check::{CheckError, StunError},
    endpoint::{PeerError, StartError, TaskEnd},
    forward::{OpenSpec, ServeSpec},
    mux::BufferSizes,
    proto::{
        control::Services,
        key::{Instances, Phrase, PhraseError},
        nat::{Cause, NotPublic},
        puncher::{Connected, Loss, Method, NoPathCause, Pair, SocketId, Trouble},
        stream::Reply,
    },
    status::snapshot::Side,
    tunnel::{HandshakeError, TunnelEnd},
};
use strum::IntoEnumIterator;

use self::{
    kinds::message,
    search::{causes, troubles},
};
use super::{Kind, Message};
use crate::{check, classic, texts, tunnel};

const DOCUMENT: &str = include_str!("../../../docs/reference/messages.md");

const SECOND: Duration = Duration::from_secs(1);

/// What is said of the file of peers.
const NAMES: &str = "/home/me/.config/pinhole/config.toml names home, office; did you mean \"home\"?";

fn peers() -> std::path::PathBuf {
    "/home/me/.config/pinhole/config.toml".into()
}

fn peer() -> SocketAddr {
    ([203, 0, 113, 9], 5555).into()
}

fn router() -> IpAddr {
    [192, 168, 1, 1].into()
}

fn local() -> SocketAddr {
    ([127, 0, 0, 1], 2222).into()
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// What happens to a tunnel.
#[expect(clippy::wildcard_enum_match_arm, reason = "variants of a later version of the library")]
fn events() -> Vec<Event> {
    let pair = Pair { socket: SocketId::MAIN, remote: peer() };
    let rtt = Duration::from_millis(24);
    let connected = Connected {
        pair,
        method: Method::Base,
        rtt,
        took: Duration::from_millis(300),
        observed: None,
        instances: Instances::default(),
    };
    let service = || "22".to_owned();
    let missing = |service: &str, offered: &[&str]| Event::ServiceMissing {
        listener: local(),
        service: service.into(),
        offered: Services::new(offered.iter().copied()).into(),
    };
    let mut all = vec![
        Event::PeerServices(Services::new(["22"]).into()),
        Event::Searching { peer: "home.example:5555".into(), addresses: vec![peer()] },
        Event::Heard { from: peer() },
        Event::Punched(connected),
        Event::TunnelUp { remote: peer() },
        Event::PortReaches { listener: local(), service: service() },
        missing("2222", &["22", "web"]),
        missing("2222", &[]),
        Event::HandshakeFailed { why: HandshakeError::Late },
        Event::PathBack { connected, after: 4 * SECOND },
        Event::PathChanged(connected),
        Event::Displaced,
        Event::PeerGone,
        Event::PeerLeft,
        Event::PeerRestarted,
        Event::Resolved { host: "home.example".into(), ok: false },
        Event::Resolved { host: "home.example".into(), ok: true },
        Event::ConnectionRefused { listener: local(), too_many: true },
        Event::ConnectionRefused { listener: local(), too_many: false },
        Event::ServiceBack { service: service() },
        Event::ConnectFailed { service: service(), why: "Too many open files (os error 24)".into() },
        Event::AcceptFailed { listener: local(), why: "Too many open files (os error 24)".into() },
    ];
    let ends =
        [TunnelEnd::PeerLeft, TunnelEnd::Replaced, TunnelEnd::Closed, TunnelEnd::NoPath, TunnelEnd::Broken];
    all.extend(ends.map(Event::TunnelLost));
    let losses = [Loss::Silent(3 * SECOND), Loss::Aged, Loss::Rerouted, Loss::Moved, Loss::Blocked];
    all.extend(losses.map(Some).into_iter().chain([None]).map(|loss| Event::PathLost { loss }));
    let replies =
        [Reply::NoSuchService, Reply::Refused, Reply::Unreachable, Reply::Unavailable, Reply::Unresolved];
    all.extend(replies.map(|reply| Event::ServiceFailed { service: service(), reply }));
    all.extend(troubles().into_iter().map(Event::Trouble));
    // Whoever adds one of these adds it above.
    for event in &all {
        match event {
            Event::Searching { .. }
            | Event::Heard { .. }
            | Event::Punched(_)
            | Event::TunnelUp { .. }
            | Event::PeerServices(_)
            | Event::PortReaches { .. }
            | Event::ServiceMissing { .. }
            | Event::HandshakeFailed { .. }
            | Event::PathLost {
                loss: None | Some(Loss::Silent(_) | Loss::Aged | Loss::Rerouted | Loss::Moved | Loss::Blocked),
            }
            | Event::PathBack { .. }
            | Event::PathChanged(_)
            | Event::Displaced
            | Event::PeerGone
            | Event::TunnelLost(
                TunnelEnd::PeerLeft
                | TunnelEnd::Replaced
                | TunnelEnd::Closed
                | TunnelEnd::NoPath
                | TunnelEnd::Broken,
            )
            | Event::PeerLeft
            | Event::PeerRestarted
            | Event::Trouble(_)
            | Event::Resolved { .. }
            | Event::ConnectionRefused { .. }
            | Event::ServiceFailed {
                reply:
                    Reply::Connected
                    | Reply::ConnectedInBlocks
                    | Reply::NoSuchService
                    | Reply::Refused
                    | Reply::Unreachable
                    | Reply::Unavailable
                    | Reply::Unresolved,
                ..
            }
            | Event::ServiceBack { .. }
            | Event::ConnectFailed { .. }
            | Event::AcceptFailed { .. } => {}
            _ => {}
        }
    }
    all
}

/// Why a start fails that the endpoint knows of.
#[expect(clippy::wildcard_enum_match_arm, reason = "variants of a later version of the library")]
fn starts() -> Vec<StartError> {
    let bind = |protocol, address: SocketAddr, kind: io::ErrorKind| {
        StartError::Bind(BindError::new(protocol, address, kind.into()))
    };
    let low = ([127, 0, 0, 1], 80).into();
    let all = vec![
        bind(Protocol::Udp, ([0, 0, 0, 0], 5555).into(), io::ErrorKind::AddrInUse),
        bind(Protocol::Tcp, local(), io::ErrorKind::AddrInUse),
        bind(Protocol::Tcp, (std::net::Ipv6Addr::LOCALHOST, 2222).into(), io::ErrorKind::AddrInUse),
        bind(Protocol::Udp, ([0, 0, 0, 0], 555).into(), io::ErrorKind::PermissionDenied),
        bind(Protocol::Tcp, low, io::ErrorKind::PermissionDenied),
        bind(Protocol::Udp, peer(), io::ErrorKind::AddrNotAvailable),
        StartError::Bind(BindError::new(Protocol::Udp, peer(), eio())),
        StartError::Peer(PeerError::Unresolved("home.example".into())),
        StartError::Peer(PeerError::PortInName("home.example:5555".into())),
        StartError::Peer(PeerError::OnlyIpv6("home.example".into())),
        StartError::Peer(PeerError::NoMachine([0, 0, 0, 0].into())),
        StartError::Peer(PeerError::OwnAddress(([127, 0, 0, 1], 5555).into())),
        StartError::Tls("a reason".into()),
        StartError::Entropy,
        StartError::Quic(eio()),
    ];
    for start in &all {
        match start {
            StartError::Bind(
                BindError::InUse { .. }
                | BindError::Permission { .. }
                | BindError::NotLocal { .. }
                | BindError::Other { .. },
            )
            | StartError::Peer(
                PeerError::Unresolved(_)
                | PeerError::PortInName(_)
                | PeerError::OnlyIpv6(_)
                | PeerError::NoMachine(_)
                | PeerError::OwnAddress(_),
            )
            | StartError::Tls(_)
            | StartError::Entropy
            | StartError::Quic(_) => {}
            // The program has one peer, and closes its endpoint last.
            StartError::TooManyPeers | StartError::Closed => {}
            _ => {}
        }
    }
    all
}

/// What is wrong with what was typed, as the library sees it.
fn typed() -> Vec<String> {
    let serve = |text: &str| text.parse::<ServeSpec>().expect_err("wrong").to_string();
    let open = |text: &str| text.parse::<OpenSpec>().expect_err("wrong").to_string();
    let mut all = vec![
        serve("70000"),
        open("home:2222:22"),
        serve("my web=80"),
        serve(":80"),
        serve("a:b:80"),
        open("1:2:3:4"),
        pinhole::forward::DuplicateService("22".into()).to_string(),
    ];
    all.extend(keys().iter().map(Message::to_string));
    all
}

/// A key as it was typed, and what is said of it.
fn bad_key<'a>(typed: impl IntoIterator<Item = &'a str>, for_own_eyes: bool) -> Message {
    let typed: Vec<&str> = typed.into_iter().collect();
    texts::bad_key(typed.join(" ").parse::<Phrase>().expect_err("wrong"), for_own_eyes)
}

/// What is wrong with keys, in a log and on the user's own terminal.
fn keys() -> Vec<Message> {
    let wrong = [
        "",
        "\u{7}",
        &"x".repeat(600),
        "hunter2",
        "moonlight spoter shush theft relocate vending affix",
        "moonlight spoter shush thefft relocate vending",
        "moonlight spotter slush theft relocate vending affix",
        "moonlight spotter shush theft relocate vendor affix",
        "spotter moonlight shush theft relocate vending affix",
        "moonlight spotter shush theft relocate vending",
        "moonlight spotter shush theft relocate",
        "moonlight spotter shush shush theft relocate vending affix",
    ];
    for key in wrong {
        match key.parse::<Phrase>().expect_err("wrong") {
            PhraseError::Empty
            | PhraseError::TooLong
            | PhraseError::NotText
            | PhraseError::Foreign
            | PhraseError::Unknown(_)
            | PhraseError::Count { .. }
            | PhraseError::Swapped { .. }
            | PhraseError::Check(_)
            | PhraseError::Weak(_) => {}
        }
    }
    wrong.iter().flat_map(|key| [false, true].map(|eyes| bad_key([*key], eyes))).collect()
}

/// What comes between two checks.
fn checks() -> Vec<String> {
    let all = [
        CheckError::Ended(TunnelEnd::Broken),
        CheckError::Broken,
        CheckError::Silent,
        CheckError::Refused,
        CheckError::OtherVersion,
        CheckError::Nonsense,
        CheckError::Entropy,
        CheckError::Socket("Too many open files (os error 24)".into()),
    ];
    for error in &all {
        match error {
            CheckError::Ended(_)
            | CheckError::Broken
            | CheckError::Silent
            | CheckError::Refused
            | CheckError::OtherVersion
            | CheckError::Nonsense
            | CheckError::Entropy
            | CheckError::Socket(_) => {}
            _ => {}
        }
    }
    let stun = [
        StunError::Unresolved("stun.example".into()),
        StunError::Silent(([198, 51, 100, 7], 3478).into()),
        StunError::Socket(io::ErrorKind::AddrInUse.into()),
    ];
    for error in &stun {
        match error {
            StunError::Unresolved(_) | StunError::Silent(_) | StunError::Socket(_) => {}
        }
    }
    let stun = stun.iter().map(|error| format!("{}: {error}", Message::Stun));
    let wait = 120 * SECOND;
    let apart = [check::apart(wait, None), check::apart(wait, Some(&NoPathCause::Silent))];
    all.iter().map(check::broken).chain(stun).chain(apart).chain(check::stun_sentences()).collect()
}

/// All that is said.
fn said() -> BTreeSet<String> {
    let mut said: BTreeSet<String> =
        Kind::iter().filter(|kind| *kind != Kind::Stun).map(|kind| message(kind).to_string()).collect();
    said.extend(events().iter().filter_map(texts::describe));
    said.extend(causes().iter().map(texts::no_path));
    said.extend(starts().into_iter().map(|error| tunnel::advise(error).to_string()));
    said.extend([texts::gave_up(30 * SECOND, None)]);
    let useless = Message::KeyFileIsOpen {
        path: "/etc/pinhole/key".into(),
        mode: 0o644,
        quoted: "/etc/pinhole/key".into(),
    };
    said.insert(texts::reread(Some(&useless.to_string()), &[]).to_string());
    for task in ["offer", "local port"] {
        said.insert(Message::PartEnded(TaskEnd { task, has_panicked: false }).to_string());
    }
    let shown = ["from the command line", "as typed"];
    said.extend(shown.map(|origin| Message::UsingKey(origin.into()).to_string()));
    said.extend(typed().into_iter().chain(checks()).chain(classic::all_texts()));
    said
}

/// The lines of the document's blocks. Each block is followed by a cause and a cure.
fn documented() -> BTreeSet<String> {
    let mut lines = DOCUMENT.lines();
    let mut documented = BTreeSet::new();
    while lines.any(|line| line == "```text") {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let after: Vec<&str> = lines.clone().take_while(|line| !line.starts_with("```")).collect();
        for part in ["*Why.* ", "*Do.* "] {
            assert_eq!(
                after.iter().filter(|line| line.starts_with(part)).count(),
                1,
                "{part} after {block:?}"
            );
        }
        for line in block {
            assert!(documented.insert(line.to_owned()), "twice on the page: {line}");
        }
    }
    documented
}

#[test]
fn the_page_of_messages_and_the_program_say_the_same() {
    let (said, documented) = (said(), documented());
    let missing: Vec<&String> = said.difference(&documented).collect();
    let gone: Vec<&String> = documented.difference(&said).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in docs/reference/messages.md: {missing:#?}\nno longer said: {gone:#?}"
    );
}

#[test]
fn a_message_is_one_line_without_doubled_marks() {
    for line in said() {
        assert!(!line.contains('\n') && line.trim() == line, "{line:?}");
        assert!(!["?.", "..", ". .", "!", " ,"].iter().any(|slip| line.contains(slip)), "{line}");
    }
    let asked = texts::describe(&Event::Trouble(Trouble::NoPath(Default::default()))).expect("a line");
    assert!(asked.ends_with("Does a firewall block UDP? Still trying"), "{asked}");
}
