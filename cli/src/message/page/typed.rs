//! A start that fails, but for the key; and one that does not.

use std::net::Ipv6Addr;

use super::*;

fn not_served(spec: &str) -> String {
    spec.parse::<ServeSpec>().expect_err("wrong").to_string()
}

fn not_opened(spec: &str) -> String {
    spec.parse::<OpenSpec>().expect_err("wrong").to_string()
}

fn bind(protocol: Protocol, address: SocketAddr, kind: io::ErrorKind) -> BindError {
    BindError::new(protocol, address, kind.into())
}

fn in_use(protocol: Protocol, address: SocketAddr) -> BindError {
    bind(protocol, address, io::ErrorKind::AddrInUse)
}

/// "It does not start: what was typed".
pub(super) const TYPED: Section = Section {
    title: "It does not start: what was typed",
    about: "",
    entries: &[
        Entry {
            says: || messages([Kind::WhatToDo, Kind::WhichSide]),
            why: "`pinhole` alone, or a port without `-c` or `-l`.",
            action: "`-c` where the service is, `-l` on the other machine, each with the port and the public \
                 address of the other side.",
        },
        Entry {
            says: || messages([Kind::OneTooMany]),
            why: "The short form takes three words: TCP port, PEER, UDP port.",
            action: "Leave out the extra one. More than one service: `pinhole serve` and `pinhole open`.",
        },
        Entry {
            says: || {
                all([
                    texts([
                        not_served("70000"),
                        not_served("my web=80"),
                        not_served(":80"),
                        not_served("a:b:80"),
                        not_opened("home:2222:22"),
                        not_opened("1:2:3:4"),
                        pinhole::forward::DuplicateService("22".into()).to_string(),
                    ]),
                    messages([Kind::SameLocalPort]),
                ])
            },
            why: "A SPEC that cannot be read, or two that cannot be told apart.",
            action: "`pinhole serve --help` and `pinhole open --help` have the forms; the README has examples.",
        },
        Entry {
            says: || {
                messages([
                    Kind::NoSeconds,
                    Kind::NoUdpPort,
                    Kind::NoStatusAddress,
                    Kind::NoIpv4,
                    Kind::NotWithin,
                ])
            },
            why: "The value of an option cannot be read.",
            action: "Give a value like the one in the sentence.",
        },
        Entry {
            says: || {
                all([
                    peers([
                        PeerError::PortInName("home.example:5555".into()),
                        PeerError::OnlyIpv6("home.example".into()),
                        PeerError::NoMachine([0, 0, 0, 0].into()),
                        PeerError::OwnAddress(([127, 0, 0, 1], 5555).into()),
                    ]),
                    messages([Kind::PeerIsOwn, Kind::ExampleAddress]),
                ])
            },
            why: "PEER must be the address, or a name, of the other machine as the internet sees it, and IPv4.",
            action: "On the other machine, open a web page that answers \"what is my IP\", and give that address \
                 here. Its router's own page shows another one where the provider has a NAT of its own. To \
                 try both ends on one machine: `pinhole demo`.",
        },
        Entry {
            says: || {
                all([
                    peers([PeerError::Unresolved("home.example".into())]),
                    messages([Kind::NameDoesNotResolve]),
                ])
            },
            why: "The name server does not know the name, or does not answer.",
            action: "Check the spelling; try `getent hosts NAME`; or give the address itself.",
        },
        Entry {
            says: || messages([Kind::PublicPage]),
            why: "The page has no password.",
            action: "Use a port alone, and look at it through ssh; or add `--status-public` if everybody who \
                 reaches the address may see it.",
        },
        Entry {
            says: || messages([Kind::NoSuchCommand]),
            why: "The first word is neither an option nor a command.",
            action: "Pick one of those that the sentence lists.",
        },
        Entry {
            says: || {
                messages([
                    Kind::NoSuchOption,
                    Kind::NoShortPort,
                    Kind::NoVerbose,
                    Kind::NotSsh,
                    Kind::PeerOfShortForm,
                    Kind::PortOfShortForm,
                    Kind::GluedPort,
                    Kind::OptionBeforeCommand,
                    Kind::TwoSides,
                ])
            },
            why: "An option that is not there, or in another place. The short form (`-c`, `-l`) has the old \
                 script's grammar: its words have places and no names.",
            action: "Use the form in the sentence.",
        },
    ],
};

/// "It does not start: who is meant".
pub(super) const WHO: Section = Section {
    title: "It does not start: who is meant",
    about: "[config.md](../config.md) describes the file of named peers.",
    entries: &[
        Entry {
            says: || messages([Kind::UnknownPeer, Kind::NoSuchPeer, Kind::NoSpecForHost, Kind::NoPeer]),
            why: "A word that is no address is a name of the file, or of a machine; this one is neither. What \
                 the file names stands behind it.",
            action: "Use one of those names, or an address; or add a section to the file.",
        },
        Entry {
            says: || messages([Kind::TwoPeers]),
            why: "Two of the words look like a peer.",
            action: "Write what is to be forwarded with a port in it, as in `2222:22` or `web=8080`.",
        },
        Entry {
            says: || messages([Kind::NoSpec, Kind::NoSpecInSection]),
            why: "Neither the command line nor the file says what is to be forwarded.",
            action: "Type a SPEC, or add one to the section.",
        },
        Entry {
            says: || messages([Kind::NoKeyOfItsOwn]),
            why: "A key for that peer alone needs a file of its own.",
            action: "As the sentence says.",
        },
        Entry {
            says: || messages([Kind::CannotReadPeers, Kind::PeersAreFolder, Kind::PeersTooLong]),
            why: "The file of peers cannot be read.",
            action: "The reason behind the colon says why. `PINHOLE_CONFIG=` (empty) leaves the file out.",
        },
        Entry {
            says: || messages([Kind::PeersOfAnother, Kind::PeersAreOpen]),
            why: "Who can write to the file decides where this user connects.",
            action: "Run the command in the sentence, or make the file your own.",
        },
        Entry {
            says: || messages([Kind::InPeers, Kind::NotAPeersName]),
            why: "A mistake in the file, with its line.",
            action: "Mend that line; [config.md](../config.md) lists what may stand there.",
        },
    ],
};

/// "It does not start: ports and the system".
pub(super) const PORTS: Section = Section {
    title: "It does not start: ports and the system",
    about: "",
    entries: &[
        Entry {
            says: || {
                all([
                    binds([in_use(Protocol::Udp, ([0, 0, 0, 0], 5555).into())]),
                    messages([Kind::PortOfPinhole]),
                    binds([
                        in_use(Protocol::Tcp, local()),
                        in_use(Protocol::Tcp, (Ipv6Addr::LOCALHOST, 2222).into()),
                    ]),
                ])
            },
            why: "Another program has the port, often another pinhole: `pinhole status` tells.",
            action: "End that one, or name another port. A UDP port must be the same on both sides.",
        },
        Entry {
            says: || {
                binds([
                    bind(Protocol::Tcp, ([127, 0, 0, 1], 80).into(), io::ErrorKind::PermissionDenied),
                    bind(Protocol::Udp, ([0, 0, 0, 0], 555).into(), io::ErrorKind::PermissionDenied),
                ])
            },
            why: "Ports below 1024 belong to root.",
            action: "Use the port that the sentence names. A service may be given the right: \
                 [service.md](../service.md).",
        },
        Entry {
            says: || binds([bind(Protocol::Udp, peer(), io::ErrorKind::AddrNotAvailable)]),
            why: "`--bind`, or the address before a local port, is not one of this machine's.",
            action: "`ip address` lists those that it has. Without `--bind` it uses all.",
        },
        Entry {
            says: || {
                all([
                    binds([BindError::new(Protocol::Udp, peer(), eio())]),
                    messages([Kind::CannotBind, Kind::NoAddress, Kind::SocketFailed]),
                    starts([StartError::Quic(eio()), StartError::Tls("a reason".into())]),
                    messages([Kind::NoRuntime, Kind::NoSignals]),
                ])
            },
            why: "The system does not give what every program gets: it is out of memory, threads or files, or \
                 a sandbox forbids it.",
            action: "The reason behind the colon says which. Look at the limits (`ulimit -a`), and at what a \
                 container or service manager forbids.",
        },
        Entry {
            says: || messages([Kind::SmallBuffers]),
            why: "A warning. Bursts of a fast link do not fit into small buffers and get lost; below some 100 \
                 Mbit/s nothing is felt.",
            action: "As root, run the command in the sentence; in `/etc/sysctl.d` it survives a restart.",
        },
    ],
};

/// "At the start".
pub(super) const START: Section = Section {
    title: "At the start",
    about: "",
    entries: &[
        Entry {
            says: || messages([Kind::KeyMade, Kind::OnTheOtherMachine]),
            why: "The first `pinhole -c` on this machine has made the key.",
            action: "Run the printed command on the other machine, with this side's public address. Whoever sees \
                 the words can connect.",
        },
        Entry {
            says: || {
                all([
                    messages([Kind::UsingTypedKey]),
                    texts([Message::UsingKey("as typed".into()).to_string()]),
                    messages([Kind::UsingKey]),
                    texts([Message::UsingKey("from the command line".into()).to_string()]),
                    messages([Kind::UsingKeyFile, Kind::KeyIsStrong, Kind::KeyIsOwn, Kind::KeyKept]),
                ])
            },
            why: "It says which of the possible keys is used, or where it is now.",
            action: "Nothing, if it is the one that you meant.",
        },
        Entry {
            says: || messages([Kind::Listening, Kind::ListeningFor, Kind::StatusPage]),
            why: "The local port is open. It accepts connections before the other side is there, and holds \
                 them for a minute.",
            action: "Point your program at that address.",
        },
        Entry {
            says: || messages([Kind::Unseen, Kind::NoFolder, Kind::CannotUse, Kind::FolderIsOpen]),
            why: "A warning: the local socket for `pinhole status` cannot be had. The tunnel is not affected.",
            action: "If you want the status, make the folder named there usable (mode 700, owned by you); or use \
                 `--status PORT`.",
        },
        Entry {
            says: || events([Event::Searching { peer: "home.example:5555".into(), addresses: vec![peer()] }]),
            why: "The search for the other side is on.",
            action: "Start the other side, with *this* side's public address as PEER. After 10 s without a word \
                 from it the program says more.",
        },
    ],
};
