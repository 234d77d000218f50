//! What the other verbs say.

use super::*;

/// "`pinhole pipe`".
pub(super) const PIPE: Section = Section {
    title: "`pinhole pipe`",
    about: "It says `pinhole: ` before each sentence, since it speaks on the stderr of ssh; also what is under \
         \"There is no path yet\".",
    entries: &[
        Entry {
            says: || messages([Kind::NoService]),
            why: "The first word must be a port, or a service that the peer names.",
            action: "As in `ssh -o ProxyCommand=\"pinhole pipe 22 PEER\"`.",
        },
        Entry {
            says: || messages([Kind::PipeWaits]),
            why: "The tunnel is not up yet; the pipe waits for it.",
            action: "Nothing, for that long. Then it says why there is none.",
        },
        Entry {
            says: || messages([Kind::Cut, Kind::TunnelsOwnerEnded]),
            why: "The tunnel, or the service, has ended in the middle of the connection.",
            action: "Connect again.",
        },
        Entry {
            says: || messages([Kind::StdinIsUnreadable]),
            why: "What `pinhole pipe` was to send is a folder, or on a disk that fails. The service must not \
                 take what it has got so far for all.",
            action: "Look after the file, and send it again.",
        },
        Entry {
            says: || {
                messages([
                    Kind::CannotCarry,
                    Kind::NoBackground,
                    Kind::BackgroundEnded,
                    Kind::NewTunnelIsSilent,
                ])
            },
            why: "The pipe needs a tunnel in the background, or a connection within this machine, and the \
                 system did not give it.",
            action: "What the tunnel itself said stands before it. The reason behind the colon says the rest.",
        },
        Entry {
            says: || messages([Kind::PipeFindsPortTaken]),
            why: "Another pinhole has the UDP port, with another peer or key, or of another user.",
            action: "End that one, or give the pipe another port on both sides: `--port 5556`.",
        },
        Entry {
            says: || messages([Kind::UnfoundByPipes]),
            why: "A warning: pipes cannot ask this tunnel, and start one of their own.",
            action: "Make the folder usable, as for `pinhole status`.",
        },
    ],
};

/// "`pinhole status`".
pub(super) const STATUS: Section = Section {
    title: "`pinhole status`",
    about: "",
    entries: &[
        Entry {
            says: || messages([Kind::NoneRuns, Kind::OthersRun]),
            why: "None runs that this user may ask.",
            action: "As root it sees those of all users.",
        },
        Entry {
            says: || messages([Kind::DoesNotAnswer, Kind::UserDoesNotAnswer]),
            why: "That instance hangs, or is stopped (Ctrl-Z), or is of another release. Of another user's, \
                 which root alone asks, no name is said: that user has chosen it.",
            action: "Look at the process whose number the name begins with; of another user's, at that user's \
                 processes.",
        },
        Entry {
            says: || messages([Kind::NoTerminal, Kind::CannotDraw, Kind::NoLiveView]),
            why: "The live view needs a terminal, and a build that has it.",
            action: "`pinhole status`, or `pinhole status --json` in scripts.",
        },
    ],
};

/// "`pinhole check`".
pub(super) const CHECK: Section = Section {
    title: "`pinhole check`",
    about: "",
    entries: &[
        Entry {
            says: || {
                messages([
                    Kind::NoKeyForCheck,
                    Kind::WaitingForCheck,
                    Kind::Surveying,
                    Kind::WatchingMappings,
                ])
            },
            why: "What it does, and what it still needs.",
            action: "Run the printed command on the other side, with the same key.",
        },
        Entry {
            says: || messages([Kind::NoNetwork]),
            why: "There is no default route for IPv4.",
            action: "Connect the machine to a network; `ip route` should show a `default` line.",
        },
        Entry {
            says: || messages([Kind::PortTaken, Kind::PortRefused]),
            why: "The check needs the UDP port that a tunnel would have.",
            action: "As the sentence says. Whatever it names must be the same on both sides.",
        },
        Entry {
            says: || {
                all([
                    texts(check::stun_sentences()),
                    messages([
                        Kind::BehindNat,
                        Kind::BehindCarrier,
                        Kind::BehindTwoRouters,
                        Kind::PublicAddress,
                    ]),
                ])
            },
            why: "The answer of a look at this side alone: nothing here stands in the way. What stands behind \
                 it says what is still unknown, or what a STUN server saw.",
            action: "Check with the other side, if a tunnel does not come up.",
        },
        Entry {
            says: || messages([Kind::TunnelWorks]),
            why: "Both sides were checked, and a tunnel works. `by trying many ports` means that one router \
                 gives unpredictable ports.",
            action: "Nothing; what could be better is listed below the sentence.",
        },
        Entry {
            says: || messages([Kind::Unpredictable]),
            why: "That router picks a new port for each destination (\"symmetric NAT\").",
            action: "As it says; [nat.md](../nat.md) explains.",
        },
        Entry {
            says: || messages([Kind::PacketsLost, Kind::SlowedDown, Kind::SmallPath]),
            why: "The line loses packets, slows UDP down, or carries small ones only. A tunnel works all the \
                 same.",
            action: "Compare with another network, or a cable in place of Wi-Fi. What a provider does to UDP it \
                 alone can change.",
        },
        Entry {
            says: || messages([Kind::ClockNotKept, Kind::ClockOff, Kind::ClocksApart]),
            why: "Two of the methods for difficult routers need both clocks right within 5 s.",
            action: "Let something keep the clock right: `timedatectl set-ntp true`, chrony, ntpd.",
        },
        Entry {
            says: || messages([Kind::FewDescriptors]),
            why: "A search for an unpredictable router opens up to 256 sockets.",
            action: "Raise the hard limit for this user, in `/etc/security/limits.conf` or the service's \
                 `LimitNOFILE=`.",
        },
        Entry {
            says: || texts([None, Some(&NoPathCause::Silent)].map(|why| check::apart(120 * SECOND, why))),
            why: "No check answered within `--wait`. Behind a colon stands what this side has found out, as \
                 under \"There is no path yet\".",
            action: "Start both within that time, or give a longer `--wait`.",
        },
        Entry {
            says: || {
                checks([
                    CheckError::Socket(NONE_LEFT.into()),
                    CheckError::Nonsense,
                    CheckError::Broken,
                    CheckError::Silent,
                    CheckError::OtherVersion,
                    CheckError::Refused,
                    CheckError::Entropy,
                    CheckError::Ended(TunnelEnd::Broken),
                ])
            },
            why: "The path was lost in the middle of it, or the two are of different releases.",
            action: "Run it once more. If it repeats, compare `pinhole --version` on both sides.",
        },
        Entry {
            says: || messages([Kind::SameSide]),
            why: "One of the two must play the serve side.",
            action: "Add `--as serve` on one of them.",
        },
        Entry {
            says: || messages([Kind::CannotTrace]),
            why: "The first look at the routers needs a UDP socket, and the system gives none.",
            action: "The reason behind the colon says why.",
        },
        Entry {
            says: || {
                stun([
                    StunError::Socket(io::ErrorKind::AddrInUse.into()),
                    StunError::Silent(([198, 51, 100, 7], 3478).into()),
                    StunError::Unresolved("stun.example".into()),
                ])
            },
            why: "The server cannot be found, does not speak STUN, or UDP is blocked.",
            action: "Try another server, or leave `--stun` out: it is not needed.",
        },
    ],
};

/// "`pinhole completions` and `pinhole man`".
pub(super) const MANUAL: Section = Section {
    title: "`pinhole completions` and `pinhole man`",
    about: "",
    entries: &[Entry {
        says: || messages([Kind::CannotDescribe, Kind::CannotWrite]),
        why: "The folder that was named cannot be written, or is out of room.",
        action: "The reason behind the colon says which. Name a folder of your own, as in `pinhole man \
                 --help`.",
    }],
};

/// "`pinhole demo`".
pub(super) const DEMO: Section = Section {
    title: "`pinhole demo`",
    about: "",
    entries: &[
        Entry {
            says: || messages([Kind::DemoTakesRoot]),
            why: "Two NATs are built in this kernel for the demo, and removed at its end.",
            action: "Run it as root; without `--nat` nobody needs to be.",
        },
        Entry {
            says: || messages([Kind::CannotMeet]),
            why: "It is said beforehand, so that the end does not look like a fault.",
            action: "Pick another pair; `home,random` meets.",
        },
        Entry {
            says: || messages([Kind::TwoNats, Kind::NoLaboratory]),
            why: "`--nat` needs root, `nft`, `ip` and two names of NATs.",
            action: "`pinhole demo --nat x,y` lists the names; without `--nat` it needs nothing.",
        },
        Entry {
            says: || messages([Kind::NoFreePort, Kind::NoSecondLoopback]),
            why: "The demo puts its two ends at 127.0.0.1 and 127.0.0.2.",
            action: "As it says; on Linux both addresses are there.",
        },
        Entry {
            says: || messages([Kind::NoHole, Kind::DemoBroke]),
            why: "The two NATs cannot be connected (two with unpredictable ports), or the machine was too \
                 busy.",
            action: "[nat.md](../nat.md) says which pairs can be. Otherwise run it again, and report it if it \
                 repeats.",
        },
    ],
};
