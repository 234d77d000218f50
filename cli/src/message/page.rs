//! docs/reference/messages.md: everything that is said, with its cause and its cure.
//!
//! A message stands here once, in an [`Entry`] of one of the [`SECTIONS`], as it reads with names, addresses and numbers
//! for example. Tests tell which messages have no entry.

mod key;
mod kinds;
mod tunnel;
mod typed;
mod verbs;

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
        puncher::{
            Connected, Loss, Method, NoPathCause, NoPathCauseKind, Pair, SocketId, Trouble, TroubleKind,
        },
        stream::Reply,
    },
    status::snapshot::Side,
    tunnel::{HandshakeError, TunnelEnd},
};
use strum::{IntoEnumIterator, VariantArray};

use self::kinds::message;
use super::{Kind, Message};
use crate::{
    check, classic,
    reference::{self, wrapped},
    texts,
    tunnel::advise,
};

const INTRODUCTION: &str = "\
# Messages

Everything that pinhole says to its user, with the cause and the cure. Look for a part of the sentence without its
addresses, names and numbers: those are examples here. The page is made from the code, by
`PINHOLE_WRITE=1 cargo test --bin pinhole reference`.

What the program says goes to stderr. `error: ` before a sentence means that it ends with status 2; a reason of the
system's may follow behind a colon. For programs there is `--json`, and [events.md](events.md); what `pinhole check` and
`pinhole status` print as a report is in [check.md](../check.md) and [status.md](../status.md). A wrong option or a missing
argument is answered by a sentence that names it, and `--help` explains.
";

/// The page, in its order.
const SECTIONS: [&Section; 15] = [
    &typed::TYPED,
    &typed::WHO,
    &key::KEY,
    &typed::PORTS,
    &typed::START,
    &tunnel::NO_PATH,
    &tunnel::THERE,
    &tunnel::TUNNEL,
    &tunnel::FAULTS,
    &verbs::PIPE,
    &verbs::STATUS,
    &verbs::CHECK,
    &verbs::MANUAL,
    &verbs::DEMO,
    &classic::page::CLASSIC,
];

/// A heading of the page, and what stands below it.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// What is true of all of them.
    pub(crate) about: &'static str,
    pub(crate) entries: &'static [Entry],
}

/// Messages with the same cause and the same cure.
pub(crate) struct Entry {
    pub(crate) says: fn() -> Vec<Said>,
    pub(crate) why: &'static str,
    pub(crate) action: &'static str,
}

/// A message for example.
pub(crate) enum Said {
    Message(Kind),
    Event(Event),
    NoPath(NoPathCause),
    Start(StartError),
    /// A key as it was typed, and whether the sentence is for who has typed it alone.
    Key(String, bool),
    Check(CheckError),
    Stun(StunError),
    Text(String),
}

impl Said {
    fn line(self) -> String {
        match self {
            Self::Message(kind) => message(kind).to_string(),
            Self::Event(event) => texts::describe(&event).expect("an event that is told"),
            Self::NoPath(diagnosis) => texts::no_path(&diagnosis),
            Self::Start(error) => advise(error).to_string(),
            Self::Key(typed, for_own_eyes) => bad_key([&*typed], for_own_eyes).to_string(),
            Self::Check(error) => check::broken(&error),
            Self::Stun(error) => format!("{}: {error}", Message::Stun),
            Self::Text(text) => text,
        }
    }
}

impl Entry {
    /// Returns the lines, each once.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in (self.says)().into_iter().map(Said::line) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// Names the cause for programs, where it has a name.
    fn cause(&self) -> Option<&'static str> {
        (self.says)()
            .iter()
            .find_map(|said| if let Said::NoPath(why) = said { Some(why.name()) } else { None })
    }

    fn text(&self) -> String {
        let cause = self.cause().map_or_else(String::new, |cause| format!("(`{cause}`) "));
        let why = wrapped(&format!("*Why.* {cause}{}", self.why));
        let action = wrapped(&format!("*Do.* {}", self.action));
        format!("\n```text\n{}\n```\n\n{why}\n\n{action}\n", self.lines().join("\n"))
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in SECTIONS {
        page += &format!("\n## {}\n", section.title);
        if !section.about.is_empty() {
            page += &format!("\n{}\n", wrapped(section.about));
        }
        page.extend(section.entries.iter().map(Entry::text));
    }
    page
}

fn all<const N: usize>(groups: [Vec<Said>; N]) -> Vec<Said> {
    groups.into_iter().flatten().collect()
}

fn messages(kinds: impl IntoIterator<Item = Kind>) -> Vec<Said> {
    kinds.into_iter().map(Said::Message).collect()
}

fn events(events: impl IntoIterator<Item = Event>) -> Vec<Said> {
    events.into_iter().map(Said::Event).collect()
}

fn troubles(troubles: impl IntoIterator<Item = Trouble>) -> Vec<Said> {
    events(troubles.into_iter().map(Event::Trouble))
}

fn no_path(diagnoses: impl IntoIterator<Item = NoPathCause>) -> Vec<Said> {
    diagnoses.into_iter().map(Said::NoPath).collect()
}

fn starts(errors: impl IntoIterator<Item = StartError>) -> Vec<Said> {
    errors.into_iter().map(Said::Start).collect()
}

fn binds(errors: impl IntoIterator<Item = BindError>) -> Vec<Said> {
    starts(errors.into_iter().map(StartError::Bind))
}

fn peers(errors: impl IntoIterator<Item = PeerError>) -> Vec<Said> {
    starts(errors.into_iter().map(StartError::Peer))
}

/// What is said of keys, in a log and on the user's own terminal.
fn keys<'a>(typed: impl IntoIterator<Item = &'a str>) -> Vec<Said> {
    typed.into_iter().flat_map(|key| [false, true].map(|eyes| Said::Key(key.to_owned(), eyes))).collect()
}

fn checks(errors: impl IntoIterator<Item = CheckError>) -> Vec<Said> {
    errors.into_iter().map(Said::Check).collect()
}

fn stun(errors: impl IntoIterator<Item = StunError>) -> Vec<Said> {
    errors.into_iter().map(Said::Stun).collect()
}

pub(crate) fn texts(texts: impl IntoIterator<Item = String>) -> Vec<Said> {
    texts.into_iter().map(Said::Text).collect()
}

const SECOND: Duration = Duration::from_secs(1);

/// What is said of the file of peers.
const NAMES: &str = "/home/me/.config/pinhole/config.toml names home, office; did you mean \"home\"?";

/// The system's words where descriptors have run out.
const NONE_LEFT: &str = "Too many open files (os error 24)";

fn peers_file() -> std::path::PathBuf {
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

/// A key as it was typed, and what is said of it.
fn bad_key<'a>(typed: impl IntoIterator<Item = &'a str>, for_own_eyes: bool) -> Message {
    let typed: Vec<&str> = typed.into_iter().collect();
    texts::bad_key(typed.join(" ").parse::<Phrase>().expect_err("wrong"), for_own_eyes)
}

#[test]
fn the_reference_of_messages_is_what_the_program_says() {
    reference::hold("messages.md", &page());
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    SECTIONS.into_iter().flat_map(|section| section.entries)
}

fn said() -> impl Iterator<Item = Said> {
    entries().flat_map(|entry| (entry.says)())
}

#[test]
fn each_message_is_in_the_reference_once() {
    let mut lines = BTreeSet::new();
    for line in entries().flat_map(Entry::lines) {
        assert!(lines.insert(line.clone()), "twice on the page: {line}");
    }
    // It stands before each reason of `Said::Stun`.
    let kinds = Kind::iter().filter(|kind| *kind != Kind::Stun);
    let missing: Vec<Kind> = kinds.filter(|kind| !lines.contains(&message(*kind).to_string())).collect();
    assert!(missing.is_empty(), "without an entry: {missing:?}");
}

#[test]
fn each_event_is_in_the_reference() {
    let told: Vec<Event> =
        said().filter_map(|said| if let Said::Event(event) = said { Some(event) } else { None }).collect();
    let names: BTreeSet<&str> = told.iter().map(Event::name).collect();
    let silent = ["heard", "peer_services"];
    let all = crate::report::event_names();
    let missing: Vec<&String> = all
        .iter()
        .filter(|name| !names.contains(name.as_str()) && !silent.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "without an entry: {missing:?}");

    let troubles =
        told.iter().filter_map(|event| if let Event::Trouble(why) = event { Some(why.into()) } else { None });
    let troubles: Vec<TroubleKind> = troubles.collect();
    // Its sentences are those of the diagnoses.
    let told_apart = TroubleKind::VARIANTS.iter().filter(|kind| **kind != TroubleKind::NoPath);
    assert!(told_apart.clone().all(|kind| troubles.contains(kind)), "{troubles:?}");
    let diagnoses =
        said().filter_map(|said| if let Said::NoPath(why) = said { Some((&why).into()) } else { None });
    let diagnoses: Vec<NoPathCauseKind> = diagnoses.collect();
    assert!(NoPathCauseKind::VARIANTS.iter().all(|kind| diagnoses.contains(kind)), "{diagnoses:?}");
    let replies: Vec<Reply> = told
        .iter()
        .filter_map(|event| if let Event::ServiceFailed { reply, .. } = event { Some(*reply) } else { None })
        .collect();
    let failures = Reply::VARIANTS.iter().filter(|reply| reply.to_string() != Reply::Connected.to_string());
    assert!(failures.clone().all(|reply| replies.contains(reply)), "{replies:?}");
}

/// Whoever adds one of these variants comes here, and adds an entry.
#[test]
fn what_is_said_of_the_library_s_errors_goes_through_all_of_them() {
    let bind = |error: BindError| match error {
        BindError::InUse { .. }
        | BindError::Permission { .. }
        | BindError::NotLocal { .. }
        | BindError::Other { .. } => {}
        _ => {}
    };
    let peer = |error: PeerError| match error {
        PeerError::Unresolved(_)
        | PeerError::PortInName(_)
        | PeerError::OnlyIpv6(_)
        | PeerError::NoMachine(_)
        | PeerError::OwnAddress(_) => {}
        _ => {}
    };
    for said in said() {
        match said {
            Said::Start(error) => match error {
                StartError::Bind(error) => bind(error),
                StartError::Peer(error) => peer(error),
                StartError::Tls(_) | StartError::Entropy | StartError::Quic(_) => {}
                // Not said: the program has one peer, and closes its endpoint last.
                StartError::TooManyPeers | StartError::KeyTaken | StartError::Closed => {}
                _ => {}
            },
            Said::Key(typed, _) => match typed.parse::<Phrase>().expect_err("wrong") {
                PhraseError::Empty
                | PhraseError::TooLong
                | PhraseError::NotText
                | PhraseError::Foreign
                | PhraseError::Unknown(_)
                | PhraseError::Count { .. }
                | PhraseError::Swapped { .. }
                | PhraseError::Check(_)
                | PhraseError::Weak(_) => {}
            },
            Said::Check(error) => match error {
                CheckError::Ended(_)
                | CheckError::Broken
                | CheckError::Silent
                | CheckError::Refused
                | CheckError::OtherVersion
                | CheckError::Nonsense
                | CheckError::Entropy
                | CheckError::Socket(_) => {}
                _ => {}
            },
            Said::Stun(error) => match error {
                StunError::Unresolved(_) | StunError::Silent(_) | StunError::Socket(_) => {}
            },
            Said::NoPath(NoPathCause::NotPublic { why, .. }) => match why {
                NotPublic::Private | NotPublic::Carrier | NotPublic::Link | NotPublic::Reserved => {}
            },
            Said::Event(Event::PathLost { loss }) => match loss {
                None | Some(Loss::Silent(_) | Loss::Aged | Loss::Rerouted | Loss::Moved | Loss::Blocked) => {}
            },
            Said::NoPath(_) | Said::Event(_) | Said::Message(_) | Said::Text(_) => {}
        }
    }
}

#[test]
fn a_message_is_one_line_without_doubled_marks() {
    for line in entries().flat_map(Entry::lines) {
        assert!(!line.contains('\n') && line.trim() == line, "{line:?}");
        assert!(!["?.", "..", ". .", "!", " ,"].iter().any(|slip| line.contains(slip)), "{line}");
    }
    let asked = texts::describe(&Event::Trouble(Trouble::NoPath(Default::default()))).expect("a line");
    assert!(asked.ends_with("Does a firewall block UDP? Still trying"), "{asked}");
}
