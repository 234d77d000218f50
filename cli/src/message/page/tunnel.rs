//! What happens to a tunnel, or in place of one.

use super::*;

fn one_way(
    peer_hears: bool,
    own_port_moved: Option<(u16, u16)>,
    peer_port_moved: Option<(u16, u16)>,
) -> NoPathCause {
    NoPathCause::OneWay { from: peer(), peer_hears, own_port_moved, peer_port_moved }
}

fn connected() -> Connected {
    Connected {
        pair: Pair { socket: SocketId::MAIN, remote: peer() },
        method: Method::Base,
        rtt: Duration::from_millis(24),
        took: Duration::from_millis(300),
        observed: None,
        instances: Instances::default(),
    }
}

fn missing(service: &str, offered: &[&str]) -> Event {
    let offered = Services::new(offered.iter().copied()).into();
    Event::ServiceMissing { listener: local(), service: service.into(), offered }
}

fn failed(reply: Reply) -> Event {
    Event::ServiceFailed { service: "22".into(), reply }
}

fn ended(task: &'static str) -> String {
    Message::PartEnded(TaskEnd { task, has_panicked: false }).to_string()
}

/// "There is no path yet".
pub(super) const NO_PATH: Section = Section {
    title: "There is no path yet",
    about: "Each of these comes with `Still trying` behind it while the search goes on, behind `no tunnel after \
         30 s, giving up: ` when `--wait` is over, and in the report of `pinhole check`. Programs find the \
         name in brackets in `cause`. `pinhole check PEER`, on both sides, says which of the two routers does \
         what.",
    entries: &[
        Entry {
            says: || no_path([NoPathCause::Silent]),
            why: "Nothing came back. Most often the other side does not run yet, or names the wrong address.",
            action: "Check on both sides: does pinhole run, is PEER the *other* side's public address now, is the \
                 UDP port the same, does a local firewall (`nft list ruleset`, `ufw status`) let UDP through?",
        },
        Entry {
            says: || no_path([NoPathCause::Refused]),
            why: "Something at that address answers that nobody listens at the port: the wrong machine (this \
                 side's own router, for example), or pinhole does not run there. Some routers answer so for \
                 themselves.",
            action: "As above. If all is right there, forward the UDP port on its router.",
        },
        Entry {
            says: || no_path([NoPathCause::Vanished]),
            why: "It worked, and then nothing more came.",
            action: "Is the other machine on, and online? If its address has changed, give a name that follows it \
                 as PEER, or start again with the new address.",
        },
        Entry {
            says: || no_path([NoPathCause::Moved]),
            why: "This machine has gone to another network, or its provider has given it another address. The \
                 other side knows only the former one.",
            action: "Give the other side the new public address, or a name that follows it.",
        },
        Entry {
            says: || {
                no_path(
                    [NotPublic::Private, NotPublic::Carrier, NotPublic::Link, NotPublic::Reserved]
                        .map(|why| NoPathCause::NotPublic { ip: router(), why }),
                )
            },
            why: "Such an address means a machine of the network that one is in, and this machine has no route \
                 there but the one to the internet.",
            action: "Find the other side's public address, [as the README says](../../README.md#use). Where a VPN \
                 leads there without a route of its own, this line can be ignored.",
        },
        Entry {
            says: || no_path([NoPathCause::Unmet]),
            why: "All methods have been tried more than once.",
            action: "As for `silent`. If both sides run and name each other rightly, forward the UDP port on \
                 either router.",
        },
        Entry {
            says: || {
                no_path([
                    one_way(false, None, Some((5555, 61_000))),
                    one_way(false, None, None),
                    one_way(true, Some((5555, 61_000)), None),
                    one_way(true, None, None),
                ])
            },
            why: "Packets come through one way, or both ways but over no common pair of ports: a strict \
                 firewall, or a router with unpredictable ports.",
            action: "Forward the UDP port on the router of either side to its machine. One side is enough.",
        },
        Entry {
            says: || no_path([NoPathCause::OwnSideBlocks { router: router() }]),
            why: "This network lets no UDP out, as in some offices and hotels; or the other side is simply \
                 silent.",
            action: "First see that the other side runs. Then use another network, a phone's for example, or ask \
                 whoever runs this one.",
        },
        Entry {
            says: || {
                all([no_path([NoPathCause::Prohibited { by: router() }]), messages([Kind::RouterForbids])])
            },
            why: "A router on the way says that a rule forbids the packets.",
            action: "Allow outgoing UDP there if it is yours, or use another network.",
        },
        Entry {
            says: || {
                all([
                    no_path([NoPathCause::Unreachable { by: router() }]),
                    messages([Kind::RouterKnowsNoWay]),
                ])
            },
            why: "A router on the way knows no way to that address: a wrong PEER, a private address, or a line \
                 that is down.",
            action: "Check PEER. If it is right, that side is offline.",
        },
        Entry {
            says: || no_path([NoPathCause::SendRefused]),
            why: "This machine's own firewall or routes refuse the packets; a VPN often does.",
            action: "`ip route get PEER` shows which way they would go; look at the local firewall's rules for \
                 outgoing UDP.",
        },
        Entry {
            says: || texts([texts::gave_up(30 * SECOND, None)]),
            why: "The time of `--wait` is over. Nothing is known of why: another instance of this side has had \
                 the tunnel, for example.",
            action: "Without `--wait` it tries for ever.",
        },
    ],
};

/// "The other side is there, but".
pub(super) const THERE: Section = Section {
    title: "The other side is there, but",
    about: "",
    entries: &[
        Entry {
            says: || troubles([Trouble::WrongKey { from: peer() }]),
            why: "The two sides have different keys. Or a stranger sends packets that look like probes: then \
                 the reason why there is no path is told beside this.",
            action: "Compare `pinhole key show` on both sides, and `pinhole key save` the right one. A side that \
                 has typed its key, or has it from `PINHOLE_KEY`, starts again with the words that the other \
                 side shows.",
        },
        Entry {
            says: || troubles([Trouble::OtherVersion { from: peer(), version: 3 }]),
            why: "The other side runs another release, with another protocol.",
            action: "Install the same release on both sides.",
        },
        Entry {
            says: || {
                troubles([Role::Serve, Role::Open].map(|role| Trouble::OldScript { from: peer(), role }))
            },
            why: "The other side still runs the script that pinhole replaces. (Anybody can send such a packet \
                 in the peer's name, so it changes nothing but this line.)",
            action: "Start pinhole there. If the script must stay, use [`pinhole classic`](../classic.md) here.",
        },
        Entry {
            says: || troubles([Role::Serve, Role::Open].map(|role| Trouble::SameRole { role })),
            why: "Both were started with the same letter.",
            action: "`-c` where the service is, `-l` on the other side.",
        },
        Entry {
            says: || troubles([Trouble::OwnEcho { from: peer() }]),
            why: "PEER is the address of this side's own router.",
            action: "Give the other side's. Two machines behind one router name each other's local addresses.",
        },
        Entry {
            says: || troubles([true, false].map(|checks| Trouble::OtherVerb { from: peer(), checks })),
            why: "A tunnel and a check do not answer each other.",
            action: "Run the same on both sides. To check beside a tunnel, use another port on both sides.",
        },
        Entry {
            says: || events([Event::HandshakeFailed { why: HandshakeError::Late }]),
            why: "Packets pass, but the handshake did not end in time: a very lossy path, a machine that is \
                 overloaded, or different releases.",
            action: "It tries again by itself. If it repeats, compare `pinhole --version` on both sides.",
        },
        Entry {
            says: || troubles([Trouble::Clock { apart: 9 * SECOND }]),
            why: "One of the clocks is wrong. Two of the methods for difficult routers need both right within \
                 5 s.",
            action: "`timedatectl set-ntp true`, or whatever keeps the clock right on your system.",
        },
        Entry {
            says: || events([Event::Displaced]),
            why: "Two programs on the same side use one key; the newer one has the tunnel.",
            action: "End one of them. One that waits takes over when the other one ends.",
        },
    ],
};

/// "While a tunnel stands".
pub(super) const TUNNEL: Section = Section {
    title: "While a tunnel stands",
    about: "",
    entries: &[
        Entry {
            says: || {
                events([
                    Event::Punched(connected()),
                    Event::TunnelUp { remote: peer() },
                    Event::PortReaches { listener: local(), service: "22".into() },
                ])
            },
            why: "All is well: the way is found; the encrypted tunnel stands.",
            action: "Nothing. Connect to the local port of the side that opened one.",
        },
        Entry {
            says: || events([missing("2222", &["22", "web"]), missing("2222", &[])]),
            why: "The other side has told what it offers, and this local port is for something else. `-l 2222` \
                 means the service of that name or, if just one is offered, that one.",
            action: "Name the service behind the local port, as in the sentence; or offer it there.",
        },
        Entry {
            says: || {
                events(
                    [
                        Some(Loss::Silent(3 * SECOND)),
                        Some(Loss::Moved),
                        None,
                        Some(Loss::Rerouted),
                        Some(Loss::Blocked),
                        Some(Loss::Aged),
                    ]
                    .map(|loss| Event::PathLost { loss }),
                )
            },
            why: "No packets come through any more, or an address has changed; or the network ends paths of a \
                 certain age, and this one is renewed before. Where a path carries probes and nothing of the tunnel, \
                 somebody on the way lets one pass and not the other, or packets of 1,200 bytes do not fit any more. \
                 Connections wait, by default for an hour (`--patience`).",
            action: "Nothing, if it comes back. If it does not, the program says why as above.",
        },
        Entry {
            says: || {
                events([
                    Event::PathBack { connected: connected(), after: 4 * SECOND },
                    Event::PathChanged(connected()),
                    Event::PeerRestarted,
                ])
            },
            why: "It works again, or better than before. After a restart of the peer's program old connections \
                 are gone.",
            action: "Nothing.",
        },
        Entry {
            says: || events([Event::PeerLeft, Event::PeerGone]),
            why: "The other program has ended; connections were reset.",
            action: "Start it again there. This side waits.",
        },
        Entry {
            says: || events(TunnelEnd::VARIANTS.iter().map(|end| Event::TunnelLost(*end))),
            why: "There was no path for longer than `--patience`, or one side knows the tunnel no more. \
                 Connections were reset. The search goes on.",
            action: "Nothing; programs that used the tunnel must connect again. A longer `--patience` on both \
                 sides keeps connections longer.",
        },
        Entry {
            says: || events([false, true].map(|ok| Event::Resolved { host: "home.example".into(), ok })),
            why: "The name server does not answer, or has lost the name. The last known address is tried \
                 meanwhile.",
            action: "If it stays so, look at the name (`getent hosts NAME`) and at this machine's name server.",
        },
        Entry {
            says: || {
                events([
                    failed(Reply::Refused),
                    failed(Reply::Unresolved),
                    failed(Reply::Unreachable),
                    Event::ServiceBack { service: "22".into() },
                ])
            },
            why: "The tunnel works; the service behind it does not, or does again. Said on both sides.",
            action: "On the serve side: does it run, at the host and port that were named? Try `nc -vz HOST PORT` \
                 there.",
        },
        Entry {
            says: || events([failed(Reply::NoSuchService)]),
            why: "The open side asks for a name that the serve side does not offer.",
            action: "Compare the SPECs: `pinhole open 2222:NAME` needs `pinhole serve NAME=…`, or a port of that \
                 number.",
        },
        Entry {
            says: || {
                events([
                    failed(Reply::Unavailable),
                    Event::ConnectFailed { service: "22".into(), why: NONE_LEFT.into() },
                    Event::AcceptFailed { listener: local(), why: NONE_LEFT.into() },
                ])
            },
            why: "A side is out of descriptors or of other means. Connections that stand go on.",
            action: "Raise the limit of open files for pinhole; the unit in [service.md](../service.md) has it at \
                 65,536.",
        },
        Entry {
            says: || {
                events([true, false].map(|too_many| Event::ConnectionRefused { listener: local(), too_many }))
            },
            why: "Local programs connected while there was no tunnel; they are held for a minute, a bounded \
                 number of them.",
            action: "Bring the tunnel up first; see why it is not there above.",
        },
        Entry {
            says: || messages([Kind::ReRead, Kind::KeyChanged]),
            why: "SIGHUP or `systemctl reload`: the key and the peer's name were read again.",
            action: "Nothing.",
        },
        Entry {
            says: || texts([texts::reread(Some(&message(Kind::KeyFileIsOpen).to_string()), &[]).to_string()]),
            why: "What is in the key's file now is of no use, so the former key stays. The reason stands in \
                 brackets.",
            action: "Mend the file, and reload once more.",
        },
        Entry {
            says: || messages([Kind::MoreLikeThat, Kind::LinesLost]),
            why: "A log gets sixty lines of a kind in an hour, and what reads stderr or stdout must keep up. \
                 The tunnel is not affected.",
            action: "Nothing; or look why the reader stands still.",
        },
        Entry {
            says: || messages([Kind::Leaving, Kind::Interrupted]),
            why: "You, or the service manager, have ended it.",
            action: "Nothing.",
        },
    ],
};

/// "Faults of pinhole itself".
pub(super) const FAULTS: Section = Section {
    title: "Faults of pinhole itself",
    about: "",
    entries: &[Entry {
        says: || {
            all([
                messages([Kind::PartEnded]),
                texts(["local port", "offer"].map(ended)),
                messages([Kind::OwnFault]),
            ])
        },
        why: "A part of the program has failed; that should not happen. A service is started again.",
        action: "Please report the lines before it, and how it came about.",
    }],
};
