//! One message of each kind.

use super::*;

/// One of each of the program's own.
pub(super) fn message(kind: Kind) -> Message {
    let (key, socket) = (|| "/home/me/.config/pinhole/key".into(), || "/run/user/1000/pinhole/7.sock".into());
    match kind {
        Kind::OneTooMany => {
            let form = "pinhole -c|-l TCP_PORT PEER [UDP_PORT]";
            Message::OneTooMany { extra: "5".into(), form }
        }
        Kind::WhatToDo => Message::WhatToDo,
        Kind::NoSuchCommand => {
            let meant = " Did you mean `pinhole serve`?".into();
            Message::NoSuchCommand { word: "sever".into(), commands: "serve, open, key".into(), meant }
        }
        Kind::TwoSides => Message::TwoSides,
        Kind::OptionBeforeCommand => {
            Message::OptionBeforeCommand { option: "--json".into(), command: "serve".into() }
        }
        Kind::PortOfShortForm => Message::PortOfShortForm,
        Kind::PeerOfShortForm => Message::PeerOfShortForm,
        Kind::NoShortPort => Message::NoShortPort,
        Kind::NoVerbose => Message::NoVerbose,
        Kind::NotSsh => Message::NotSsh { option: "-L".into() },
        Kind::GluedPort => Message::GluedPort { word: "-c22".into(), side: "-c".into(), port: "22".into() },
        Kind::NoSuchOption => Message::NoSuchOption {
            option: "--jsn".into(),
            meant: ": did you mean --json?".into(),
            help: "pinhole --help".into(),
        },
        Kind::SameLocalPort => Message::SameLocalPort(2222),
        Kind::PeerIsOwn => {
            Message::PeerIsOwn(PeerError::OwnAddress(([127, 0, 0, 1], 5555).into()).to_string())
        }
        Kind::PortOfPinhole => texts::port_of_pinhole(
            "UDP port 5555 is in use on 0.0.0.0".into(),
            7,
            "connected to 203.0.113.9:5555 for 1 min 5 s, RTT 20 ms; 1 connection".into(),
            Side::Open,
            5555,
        ),
        Kind::ExampleAddress => Message::ExampleAddress(peer().ip()),
        Kind::CannotMeet => Message::CannotMeet(Cause::BothUnpredictable),
        Kind::DemoTakesRoot => Message::DemoTakesRoot("home,carrier".into()),
        Kind::WhichSide => Message::WhichSide,
        Kind::PublicPage => Message::PublicPage(([192, 168, 1, 2], 8555).into()),
        Kind::NoSeconds => Message::NoSeconds,
        Kind::NoUdpPort => Message::NoUdpPort,
        Kind::NoStatusAddress => Message::NoStatusAddress,
        Kind::NoIpv4 => Message::NoIpv4("localhost".into()),
        Kind::NotWithin => Message::NotWithin { least: 20, most: 2000 },
        Kind::UnknownPeer => {
            Message::UnknownPeer { why: message(Kind::NameDoesNotResolve).to_string(), names: NAMES.into() }
        }
        Kind::TwoPeers => Message::TwoPeers { first: "home".into(), second: "office".into() },
        Kind::NoPeer => Message::NoPeer { names: NAMES.into() },
        Kind::NoSuchPeer => Message::NoSuchPeer { name: "homme".into(), names: NAMES.into() },
        Kind::NoSpec => Message::NoSpec { peer: "203.0.113.9".into() },
        Kind::NoSpecForHost => Message::NoSpecForHost { host: "homme".into(), names: NAMES.into() },
        Kind::NoSpecInSection => Message::NoSpecInSection { name: "home".into(), file: peers_file() },
        Kind::NoKeyOfItsOwn => Message::NoKeyOfItsOwn { name: "home".into(), file: peers_file() },
        Kind::CannotReadPeers => Message::CannotReadPeers(peers_file()),
        Kind::PeersAreFolder => Message::PeersAreFolder("/home/me/.config".into()),
        Kind::PeersOfAnother => Message::PeersOfAnother(peers_file()),
        Kind::PeersAreOpen => Message::PeersAreOpen {
            path: peers_file(),
            mode: 0o666,
            quoted: peers_file().display().to_string(),
        },
        Kind::PeersTooLong => Message::PeersTooLong { path: peers_file(), kib: 1024 },
        Kind::InPeers => Message::InPeers {
            place: "/home/me/.config/pinhole/config.toml:3:".into(),
            why: "there is no `patiense`: did you mean `patience`?".into(),
        },
        Kind::NotAPeersName => Message::NotAPeersName {
            place: "/home/me/.config/pinhole/config.toml:1:".into(),
            name: "22".into(),
        },
        Kind::NoKeyFile => Message::NoKeyFile("/home/me/home.key".into()),
        Kind::KeyWouldNotBeKept => Message::KeyWouldNotBeKept,
        Kind::KeyIsShown => Message::KeyIsShown,
        Kind::NothingToDrawOn => Message::NothingToDrawOn,
        Kind::KeyTooLongToDraw => Message::KeyTooLongToDraw,
        Kind::NoService => Message::NoService("a b".into()),
        Kind::UnfoundByPipes => Message::UnfoundByPipes(Message::NoFolder.to_string()),
        Kind::PipeWaits => Message::PipeWaits { peer: "home.example".into(), seconds: 60.0 },
        Kind::Cut => Message::Cut,
        Kind::TunnelsOwnerEnded => Message::TunnelsOwnerEnded,
        Kind::StdinIsUnreadable => Message::StdinIsUnreadable(eio().to_string()),
        Kind::CannotCarry => Message::CannotCarry,
        Kind::NoBackground => Message::NoBackground,
        Kind::BackgroundEnded => Message::BackgroundEnded("exit status: 2".into()),
        Kind::NewTunnelIsSilent => Message::NewTunnelIsSilent,
        Kind::PipeFindsPortTaken => Message::PipeFindsPortTaken("UDP port 5555 is in use on 0.0.0.0".into()),
        Kind::NoKey => Message::NoKey,
        Kind::NoKeyYet => Message::NoKeyYet,
        Kind::KeyVariableIsNoText => Message::KeyVariableIsNoText,
        Kind::KeyVariableIsUseless => Message::KeyVariableIsUseless,
        Kind::WeakKey => texts::bad_key(Phrase::own("secret").expect_err("anybody guesses it"), true),
        Kind::MistypedKey => {
            bad_key("moonlight spotter shush theft relocate vending affix".split(' ').rev(), false)
        }
        Kind::KeyOfSixWords => bad_key(["zoom"; 6], false),
        Kind::ForeignKey => bad_key(["hunter2"], false),
        Kind::NoKeyAtAll => bad_key([""], false),
        Kind::NoRandomNumbers => Message::NoRandomNumbers(getrandom::Error::UNSUPPORTED),
        Kind::CannotLookFor => Message::CannotLookFor(key()),
        Kind::CannotMakeFolder => Message::CannotMakeFolder("/home/me/.config/pinhole".into()),
        Kind::KeyIsThere => Message::KeyIsThere(key()),
        Kind::CannotKeepKey => Message::CannotKeepKey(key()),
        Kind::CannotAskForKey => Message::CannotAskForKey,
        Kind::CannotReadStdin => Message::CannotReadStdin,
        Kind::NoHome => Message::NoHome,
        Kind::CannotReadKeyFile => Message::CannotReadKeyFile(key()),
        Kind::KeyFileIsOpen => {
            Message::KeyFileIsOpen { path: key(), mode: 0o644, quoted: "/home/me/.config/pinhole/key".into() }
        }
        Kind::KeyFileIsFolder => Message::KeyFileIsFolder("/home/me".into()),
        Kind::KeyFileIsNoText => Message::KeyFileIsNoText(key()),
        Kind::KeyFileIsUseless => Message::KeyFileIsUseless(key()),
        Kind::KeyKept => Message::KeyKept(key()),
        Kind::KeyIsOwn => Message::KeyIsOwn("from PINHOLE_KEY".into()),
        Kind::UsingTypedKey => Message::UsingTypedKey("as typed".into()),
        Kind::KeyFileOfAnother => Message::KeyFileOfAnother(key()),
        Kind::KeyIsStrong => Message::KeyIsStrong("from PINHOLE_KEY".into()),
        Kind::UsingKey => Message::UsingKey("from PINHOLE_KEY".into()),
        Kind::UsingKeyFile => Message::UsingKeyFile(key()),
        Kind::KeyMade => Message::KeyMade(key()),
        Kind::OnTheOtherMachine => Message::OnTheOtherMachine,
        Kind::NoRuntime => Message::NoRuntime,
        Kind::NoSignals => Message::NoSignals,
        Kind::NoAddress => Message::NoAddress("UDP socket"),
        Kind::CannotBind => texts::explain_bind(&BindError::new(Protocol::Udp, peer(), eio())),
        Kind::NameDoesNotResolve => {
            Message::NameDoesNotResolve(PeerError::Unresolved("home.example".into()).to_string())
        }
        Kind::Listening => Message::Listening(local()),
        Kind::ListeningFor => Message::ListeningFor { address: local(), service: "22".into() },
        Kind::StatusPage => Message::StatusPage(([127, 0, 0, 1], 8555).into()),
        Kind::Unseen => Message::Unseen(Message::NoFolder.to_string()),
        Kind::SmallBuffers => {
            texts::small_buffers(BufferSizes { receive: 212_992, send: 212_992 }, 8_388_608)
        }
        Kind::KeyChanged => Message::KeyChanged,
        Kind::ReRead => texts::reread(None, &[peer()]),
        Kind::PartEnded => Message::PartEnded(TaskEnd { task: "driver", has_panicked: true }),
        Kind::SocketFailed => Message::SocketFailed,
        Kind::OwnFault => {
            Message::OwnFault { place: " at src/main.rs:1:1".into(), why: "no reason given".into() }
        }
        Kind::MoreLikeThat => Message::MoreLikeThat { held: 57, last: "tunnel up".into() },
        Kind::LinesLost => Message::LinesLost(12),
        Kind::Leaving => Message::Leaving,
        Kind::DoesNotAnswer => Message::DoesNotAnswer(socket()),
        Kind::UserDoesNotAnswer => Message::UserDoesNotAnswer(1000),
        Kind::NoneRuns => Message::NoneRuns,
        Kind::OthersRun => Message::OthersRun,
        Kind::NoTerminal => Message::NoTerminal,
        Kind::NoLiveView => Message::NoLiveView,
        Kind::CannotDraw => Message::CannotDraw,
        Kind::NoFolder => Message::NoFolder,
        Kind::CannotUse => Message::CannotUse(socket()),
        Kind::FolderIsOpen => Message::FolderIsOpen("/run/user/1000/pinhole".into()),
        Kind::NoKeyForCheck => Message::NoKeyForCheck,
        Kind::WaitingForCheck => Message::WaitingForCheck { seconds: 120.0, peer: "203.0.113.9".into() },
        Kind::Surveying => Message::Surveying,
        Kind::WatchingMappings => Message::WatchingMappings(180),
        Kind::CannotTrace => Message::CannotTrace,
        Kind::NoNetwork => Message::NoNetwork,
        Kind::PortTaken => Message::PortTaken(5555),
        Kind::PortRefused => Message::PortRefused("no permission for UDP port 555".into()),
        Kind::BehindCarrier => Message::BehindCarrier(check::ONLY_A_PEER),
        Kind::BehindTwoRouters => Message::BehindTwoRouters(check::ONLY_A_PEER),
        Kind::PublicAddress => Message::PublicAddress(check::FIREWALL),
        Kind::BehindNat => Message::BehindNat(check::ONLY_A_PEER),
        Kind::ClockNotKept => Message::ClockNotKept,
        Kind::ClockOff => Message::ClockOff(texts::span(8 * SECOND)),
        Kind::FewDescriptors => Message::FewDescriptors(64),
        Kind::RouterForbids => Message::RouterForbids(router()),
        Kind::RouterKnowsNoWay => Message::RouterKnowsNoWay(router()),
        Kind::TunnelWorks => {
            let how = "at ports that both sides know";
            Message::TunnelWorks { seconds: 0.3, how, rtt: "24 ms".into(), slowed: "" }
        }
        Kind::Unpredictable => Message::Unpredictable("this side's"),
        Kind::PacketsLost => Message::PacketsLost { lost: 20, from: "this side" },
        Kind::SlowedDown => Message::SlowedDown { first: "32 Mbit/s".into(), last: "3.2 Mbit/s".into() },
        Kind::ClocksApart => Message::ClocksApart(texts::span(9 * SECOND)),
        Kind::SmallPath => Message::SmallPath,
        Kind::Stun => Message::Stun,
        Kind::SameSide => Message::SameSide(Role::Open),
        Kind::CannotDescribe => Message::CannotDescribe("page"),
        Kind::CannotWrite => Message::CannotWrite("/home/me/man/pinhole.1".into()),
        Kind::NoHole => {
            Message::NoHole { seconds: 30, stage: "two ends on loopback, 127.0.0.1 and 127.0.0.2".into() }
        }
        Kind::Interrupted => Message::Interrupted,
        Kind::TwoNats => Message::TwoNats,
        Kind::NoLaboratory => Message::NoLaboratory,
        Kind::NoFreePort => Message::NoFreePort,
        Kind::NoSecondLoopback => Message::NoSecondLoopback,
        Kind::DemoBroke => Message::demo("an echo got lost"),
    }
}
