//! What the program says of itself: every error of the command line, every note, as one list.
//!
//! Each message is a short sentence for the one who sits at this machine. It says what is the matter and, where
//! something can be done, what. docs/reference/messages.md has them all, with causes and cures: those are in `message/page`, which
//! makes the page. What happens to the tunnel is told by `texts.rs` from the library's events; the page has that, too.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use anyhow::Context;
use pinhole::{
    Role,
    endpoint::TaskEnd,
    proto::{key::WeakPhrase, nat::Cause, puncher::NoPathCause},
};

use super::texts;

/// A sentence of the program.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(
    all(test, feature = "classic"),
    derive(strum::EnumDiscriminants),
    strum_discriminants(name(Kind), derive(strum::EnumIter))
)]
pub(super) enum Message {
    // What was typed.
    #[error("'{extra}' is one argument too many: {form}")]
    OneTooMany { extra: String, form: &'static str },
    #[error(
        "say what to do: `pinhole -c TCP_PORT PEER` offers a service, `pinhole -l TCP_PORT PEER` reaches it, `pinhole --help` explains"
    )]
    WhatToDo,
    #[error("'{word}' is no command of pinhole: there are {commands}.{meant} `pinhole --help` explains")]
    NoSuchCommand { word: String, commands: String, meant: String },
    #[error(
        "a tunnel has one side here: -c offers a service, -l reaches the peer's. For both directions start two, on two UDP ports: `pinhole -c TCP_PORT PEER` and `pinhole -l TCP_PORT PEER 5556`"
    )]
    TwoSides,
    #[error("options stand behind the command: `pinhole {command} {option} …`")]
    OptionBeforeCommand { option: String, command: String },
    #[error(
        "--port is for `serve` and `open`. Here UDP_PORT stands behind PEER: `pinhole -c TCP_PORT PEER 6666`"
    )]
    PortOfShortForm,
    #[error("--peer is for `serve` and `open`. Here PEER stands behind TCP_PORT: `pinhole -c TCP_PORT PEER`")]
    PeerOfShortForm,
    #[error(
        "there is no -p: UDP_PORT stands behind PEER (`pinhole -l TCP_PORT PEER UDP_PORT`), or behind --port with `serve` and `open`"
    )]
    NoShortPort,
    #[error("there is no -v: -d shows what happens inside, --version (-V) the version")]
    NoVerbose,
    #[error(
        "there is no {option}: what ssh calls -L 2222:localhost:22 is `pinhole open 2222:22 --peer PEER`, with `pinhole serve 22 --peer PEER` on the other side"
    )]
    NotSsh { option: String },
    #[error("{word:?} is not understood: write a blank between, as in `pinhole {side} {port} PEER`")]
    GluedPort { word: String, side: String, port: String },
    #[error("there is no {option} here{meant} `{help}` lists what there is")]
    NoSuchOption { option: String, meant: String, help: String },
    #[error(
        "two of them open local port {0}: give each a port of its own, as in `pinhole open 2222:22 8080:80 --peer PEER`"
    )]
    SameLocalPort(u16),
    #[error(
        "say which side this is: -c offers TCP_PORT to the peer, -l opens TCP_PORT for the peer's service"
    )]
    WhichSide,
    #[error(
        "--status {0} is an address that other machines may reach, and the page asks nobody for a password: use 127.0.0.1:{port}, or add --status-public",
        port = .0.port()
    )]
    PublicPage(SocketAddr),
    #[error("a number of seconds is wanted, like 30 or 0.5")]
    NoSeconds,
    #[error("use a UDP port from 1 to 65535")]
    NoUdpPort,
    #[error("a port or IP:PORT is wanted, like 127.0.0.1:8555")]
    NoStatusAddress,

    #[error("{0:?} is not an IPv4 address of this machine")]
    NoIpv4(String),
    #[error("use a number from {least} to {most}")]
    NotWithin { least: u16, most: u16 },

    // Who is meant: the file of peers.
    #[error("{why}; {names}")]
    UnknownPeer { why: String, names: String },
    #[error(
        "{first:?} and {second:?} both name a peer: a tunnel has one. What is forwarded begins with a port, or has a ':' or '=' in it"
    )]
    TwoPeers { first: String, second: String },
    #[error("say who the peer is, with --peer PEER or by its name: {names}")]
    NoPeer { names: String },
    #[error("there is no peer {name:?}: {names}")]
    NoSuchPeer { name: String, names: String },
    #[error("name what is to be forwarded to {peer}, a <SPEC> like 2222:22: see --help")]
    NoSpec { peer: String },
    #[error("{host:?} is no named peer, and a host needs a <SPEC> like 2222:22 as well: {names}")]
    NoSpecForHost { host: String, names: String },
    #[error(
        "[peer.{name}] in {file} does not say what this side forwards: add `serve = [\"22\"]` or `open = [\"2222:22\"]` there, or type a <SPEC>"
    )]
    NoSpecInSection { name: String, file: PathBuf },
    #[error(
        "[peer.{name}] in {file} uses the key that all others use: add `key-file = \"{name}.key\"` there for one of its own, or leave the name out"
    )]
    NoKeyOfItsOwn { name: String, file: PathBuf },
    #[error("cannot read the file of peers {0}")]
    CannotReadPeers(PathBuf),
    #[error("{0} is a folder: --config takes a file")]
    PeersAreFolder(PathBuf),
    #[error(
        "{0} belongs to another user, who could have this one connect anywhere: make it your own, or root's"
    )]
    PeersOfAnother(PathBuf),
    #[error("others can write to {path} (mode {mode:03o}): run `chmod go-w '{quoted}'`")]
    PeersAreOpen { path: PathBuf, mode: u32, quoted: String },
    #[error("{path} is longer than {kib} KiB, which no list of peers is")]
    PeersTooLong { path: PathBuf, kib: u64 },
    #[error("{place} {why}")]
    InPeers { place: String, why: String },
    #[error(
        "{place} {name:?} cannot name a peer: use a letter first, then letters, digits, '.', '-' and '_'"
    )]
    NotAPeersName { place: String, name: String },

    // The key.
    #[error(
        "no key: give the one that the other side shows (`pinhole key show` there) with PINHOLE_KEY, --key-file, or `pinhole key save`"
    )]
    NoKey,
    #[error(
        "there is no key yet: `pinhole key new --save` makes one, `pinhole key save` keeps the other side's"
    )]
    NoKeyYet,
    #[error("PINHOLE_KEY is not UTF-8 text: give it the words that the other side shows")]
    KeyVariableIsNoText,
    #[error("PINHOLE_KEY has no usable key")]
    KeyVariableIsUseless,
    #[error("{0}. Make a good one with `pinhole key new`")]
    WeakKey(WeakPhrase),
    #[error("{0}. Type it again as `pinhole key show` prints it on the other side")]
    MistypedKey(String),
    #[error(
        "{0}: one is missing, or an older version of pinhole made this key. Make a new one for both sides then, with `pinhole key new`"
    )]
    KeyOfSixWords(String),
    #[error(
        "{0}. `pinhole key new` makes one; a phrase of your own needs --own-phrase (`pinhole key --help`)"
    )]
    ForeignKey(String),
    #[error("{0}")]
    NoKeyAtAll(String),
    #[error("the system gives no random numbers: {0}")]
    NoRandomNumbers(getrandom::Error),
    #[error("cannot look for {0}")]
    CannotLookFor(PathBuf),
    #[error("cannot make the folder {0}")]
    CannotMakeFolder(PathBuf),
    #[error("there is a key in {0} already: remove that file first if you want another")]
    KeyIsThere(PathBuf),
    #[error("cannot keep the key in {0}")]
    CannotKeepKey(PathBuf),
    #[error("cannot ask for the key: give it with PINHOLE_KEY or --key-file")]
    CannotAskForKey,
    #[error("cannot read the key from standard input")]
    CannotReadStdin,
    #[error("there is no home directory to keep the key in: use --key-file or PINHOLE_KEY")]
    NoHome,
    #[error(
        "there is no key file {0}: `pinhole key new --save --key-file {0}` makes one, `pinhole key save --key-file {0}` keeps the other side's"
    )]
    NoKeyFile(PathBuf),
    #[error("the key would be printed and not kept: add --save to keep it")]
    KeyWouldNotBeKept,
    #[error("whoever sees this, or a picture of it, has the key: clear the screen when it is scanned")]
    KeyIsShown,
    #[error("stdout is no terminal to draw on: these are the words")]
    NothingToDrawOn,
    #[error("the key is too long for a QR code that fits a terminal: show the words")]
    KeyTooLongToDraw,
    #[error("cannot read the key file {0}")]
    CannotReadKeyFile(PathBuf),
    #[error("others can read the key file {path} (mode {mode:03o}): run `chmod 600 '{quoted}'`")]
    KeyFileIsOpen { path: PathBuf, mode: u32, quoted: String },
    #[error("the key file {0} belongs to another user, who could change it: make it your own, or root's")]
    KeyFileOfAnother(PathBuf),
    #[error("{0} is a folder: --key-file takes a file")]
    KeyFileIsFolder(PathBuf),
    #[error("the key file {0} is not text")]
    KeyFileIsNoText(PathBuf),
    #[error("the key file {0} has no usable key")]
    KeyFileIsUseless(PathBuf),
    #[error("kept in {0}")]
    KeyKept(PathBuf),
    #[error("the key {0} is strong: pinhole has drawn it")]
    KeyIsStrong(String),
    #[error("the key {0} is a phrase of your own: `pinhole key --help` says what a guess costs")]
    KeyIsOwn(String),
    #[error("using the key {0}")]
    UsingKey(String),
    #[error("using the key {0}; `pinhole key save` keeps it for the next time")]
    UsingTypedKey(String),
    #[error("using the key in {0}; `pinhole key show` prints it for the other side")]
    UsingKeyFile(PathBuf),
    #[error("made a key and kept it in {0} (this is shown once)")]
    KeyMade(PathBuf),
    #[error(
        "on the other machine run, with this machine's public IP in place of THIS_IP ({}):",
        texts::find_public("here")
    )]
    OnTheOtherMachine,

    // The start.
    #[error("the system lets pinhole start no threads: look at its limits (`ulimit -a`)")]
    NoRuntime,
    #[error("cannot listen for signals")]
    NoSignals,
    #[error("the {0} has no address")]
    NoAddress(&'static str),
    #[error("{error}: {way_out}")]
    CannotBind { error: String, way_out: String },
    #[error("{0}: check the spelling and the network, or use the peer's public IP")]
    NameDoesNotResolve(String),
    #[error("{0}. To try both ends on one machine, run `pinhole demo`")]
    PeerIsOwn(String),
    #[error("{error}: process {pid} of pinhole has it, {what}. {way_out}")]
    PortOfPinhole { error: String, pid: u32, what: String, way_out: String },
    #[error(
        "{0} is an address for examples in documents (RFC 5737): is it really the public address of the other side?"
    )]
    ExampleAddress(IpAddr),
    #[error("listening on {0}")]
    Listening(SocketAddr),
    #[error("listening on {address} for the peer's service {service}")]
    ListeningFor { address: SocketAddr, service: String },
    #[error("status page at http://{0}/")]
    StatusPage(SocketAddr),
    #[error("`pinhole status` will not see this one: {0}")]
    Unseen(String),
    #[error(
        "the system allows UDP buffers of {kib} KiB only, which slows fast links down: `sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}` mends that"
    )]
    SmallBuffers { kib: usize, wanted: usize },

    // While it runs, and at the end.
    #[error("re-read: the key has changed; starting over with the new one")]
    KeyChanged,
    #[error("re-read: {key}, {peer}")]
    ReRead { key: String, peer: String },
    #[error("{0}, and pinhole is of no use without it: ending. Please report it")]
    PartEnded(TaskEnd),
    #[cfg(feature = "classic")]
    #[error("the UDP socket has failed")]
    SocketFailed,
    #[error("a fault of pinhole itself{place}: {why}. Please report it")]
    OwnFault { place: String, why: String },
    #[error("and {held} more like that, the last: {last}")]
    MoreLikeThat { held: u64, last: String },
    #[error("{0} lines lost: nobody read them")]
    LinesLost(u64),
    #[error("leaving")]
    Leaving,

    // `pinhole status`.
    #[error("{0} is there and does not answer")]
    DoesNotAnswer(PathBuf),
    #[error("an instance of user {0} is there and does not answer")]
    UserDoesNotAnswer(u32),
    #[error("no pinhole of this user runs here")]
    NoneRuns,
    #[error("there are services of other users, which root can see: sudo pinhole status")]
    OthersRun,
    #[cfg_attr(not(any(feature = "tui", test)), expect(dead_code, reason = "said by the live view alone"))]
    #[error("--watch draws on a terminal, and this is none: use `pinhole status`, or --json")]
    NoTerminal,
    #[cfg_attr(all(feature = "tui", not(test)), expect(dead_code, reason = "said without the feature alone"))]
    #[error("this pinhole was built without the live view (feature `tui`): use `pinhole status`, or --json")]
    NoLiveView,
    #[cfg_attr(not(any(feature = "tui", test)), expect(dead_code, reason = "said by the live view alone"))]
    #[error("the terminal cannot be drawn on")]
    CannotDraw,
    #[error("this system names no folder for its socket")]
    NoFolder,
    #[error("cannot use {0}")]
    CannotUse(PathBuf),
    #[error("{0} is not this user's alone: others can write to it")]
    FolderIsOpen(PathBuf),

    // `pinhole check`.
    #[error(
        "no key here, so the other side is left alone: give one with --key-file, PINHOLE_KEY or `pinhole key save`"
    )]
    NoKeyForCheck,
    #[error(
        "waiting {seconds} s for the other side at {peer}. There, with this side's public IP in place of THIS_IP ({}):",
        texts::find_public("here")
    )]
    WaitingForCheck { seconds: f64, peer: String },
    #[error("the other side is there: surveying both NATs, about a quarter of a minute")]
    Surveying,
    #[error("then looking for how long both NATs keep an idle mapping: {0} s, in which nothing else happens")]
    WatchingMappings(u16),
    #[error("cannot look at the way to the peer")]
    CannotTrace,
    #[error("This machine has no way out to an IPv4 network, and pinhole needs one.")]
    NoNetwork,
    #[error(
        "Another program on this machine has UDP port {0}; is a pinhole running? Ask that one, end it for the check, or check on another port: --port, on both sides."
    )]
    PortTaken(u16),
    #[error(
        "The check cannot begin: {0}. Name another port with --port, on both sides, or another address with --bind."
    )]
    PortRefused(String),
    #[error(
        "This machine is behind a carrier's NAT: forwarding a port at the router at home does not help. {0}"
    )]
    BehindCarrier(&'static str),
    #[error(
        "This machine is behind two routers with private addresses, perhaps two NATs: a port must be forwarded on both. {0}"
    )]
    BehindTwoRouters(&'static str),
    #[error("This machine has a public address: no NAT is in its way. {0}")]
    PublicAddress(&'static str),
    #[error("This machine is behind a NAT, and nothing on it stands in the way. {0}")]
    BehindNat(&'static str),
    #[error(
        "nothing keeps this machine's clock right: two of pinhole's methods need both clocks within 5 s; `timedatectl set-ntp true` mends that on many systems"
    )]
    ClockNotKept,
    #[error(
        "this machine's clock may be {0} off: two of pinhole's methods need both clocks within 5 s; look at what keeps it right (`timedatectl`)"
    )]
    ClockOff(String),
    #[error(
        "this program may have {0} files open at most, too few for a whole search: raise the limit (`ulimit -Hn`)"
    )]
    FewDescriptors(u64),
    #[error("{}", texts::no_path(&NoPathCause::Prohibited { by: *.0 }))]
    RouterForbids(IpAddr),
    #[error("{}", texts::no_path(&NoPathCause::Unreachable { by: *.0 }))]
    RouterKnowsNoWay(IpAddr),
    #[error(
        "A tunnel works between the two sides: they met after {seconds:.1} s {how}; round trip {rtt}{slowed}."
    )]
    TunnelWorks { seconds: f64, how: &'static str, rtt: String, slowed: &'static str },
    #[error(
        "{0} NAT gives each connection an unpredictable port: a tunnel comes up only with a side that keeps its ports or lets any port in. To be sure of one, forward the UDP port (5555 unless you named another) on that router, or switch port randomisation off there"
    )]
    Unpredictable(&'static str),
    #[error("{lost} of 100 packets from {from} get lost: look at that side's line, at its Wi-Fi for example")]
    PacketsLost { lost: u16, from: &'static str },
    #[error(
        "the transfer fell from {first} in its first second to {last} in its last: somebody on the way slows UDP down, and pinhole cannot help it"
    )]
    SlowedDown { first: String, last: String },
    #[error(
        "the two machines' clocks are {0} apart: two of pinhole's methods need them within 5 s; set them right"
    )]
    ClocksApart(String),
    #[error(
        "the path passes no datagram of more than 1,200 bytes: a tunnel works, and is slower than it could be"
    )]
    SmallPath,
    #[error("--stun")]
    Stun,
    #[error("Both sides check as the {role} side: one of the two must run with --as {other}.", other = .0.other(), role = .0)]
    SameSide(Role),

    // `pinhole pipe`.
    #[error(
        "{0:?} is no TCP port and cannot name a service: use what the peer offers, as in `pinhole pipe 22 PEER`"
    )]
    NoService(String),
    #[error("`pinhole pipe` will not find this one: {0}")]
    UnfoundByPipes(String),
    #[error("no tunnel to {peer} yet: waiting {seconds} s in all")]
    PipeWaits { peer: String, seconds: f64 },
    #[error("the connection was cut")]
    Cut,
    #[error("the pinhole that had the tunnel has ended")]
    TunnelsOwnerEnded,
    #[error("the connection was cut: stdin is not at its end and cannot be read: {0}")]
    StdinIsUnreadable(String),
    #[error("the connection cannot be carried within this machine")]
    CannotCarry,
    #[error("cannot start a tunnel in the background")]
    NoBackground,
    #[error("the tunnel in the background did not start ({0})")]
    BackgroundEnded(String),
    #[error("the tunnel that was started just now does not answer: `pinhole status` may say why")]
    NewTunnelIsSilent,
    #[error(
        "{0}. A pipe takes a tunnel that stands only if it is this user's, to the same peer and by the key that was named"
    )]
    PipeFindsPortTaken(String),

    // `pinhole completions` and `pinhole man`.
    #[error("the {0} cannot be made")]
    CannotDescribe(&'static str),
    #[error("cannot write {0}")]
    CannotWrite(PathBuf),

    // `pinhole demo`.
    #[error("no hole within {seconds} s between {stage}")]
    NoHole { seconds: u64, stage: String },
    #[error("interrupted")]
    Interrupted,
    #[error("this pair of NATs is not expected to meet: {0}. It is tried all the same")]
    CannotMeet(Cause),
    #[error("NATs in this kernel take root: run `sudo pinhole demo --nat {0}`")]
    DemoTakesRoot(String),
    #[error("--nat wants two names with a comma between them, like cone,home")]
    TwoNats,
    #[error("the laboratory cannot be built")]
    NoLaboratory,
    #[error("no port is free on 127.0.0.1 and 127.0.0.2")]
    NoFreePort,
    #[error("127.0.0.2 cannot be used: on macOS run `sudo ifconfig lo0 alias 127.0.0.2`")]
    NoSecondLoopback,
    #[error("the demo broke off: {0}")]
    DemoBroke(String),
}

/// Puts a message before whatever error there is.
pub(super) trait OrSay<T, E>: Context<T, E> + Sized {
    /// Says so where there is an error, or nothing.
    #[expect(clippy::disallowed_methods, reason = "the one place where a message becomes an error's context")]
    fn or_say(self, message: impl FnOnce() -> Message) -> anyhow::Result<T> {
        self.with_context(message)
    }
}

impl<T, E, C: Context<T, E>> OrSay<T, E> for C {}

impl Message {
    /// Names a part of the demo that has broken off.
    pub(super) fn demo(what: impl Into<String>) -> Self {
        Self::DemoBroke(what.into())
    }
}

// The page has the sentences of all features.
#[cfg(all(test, feature = "classic"))]
pub(super) mod page;
