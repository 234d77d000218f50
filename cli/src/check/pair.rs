//! What is said of both sides and the path between them.

use pinhole::{
    Role,
    proto::{
        nat::{Access, Verdict, punchable},
        puncher::Connected,
        survey::{FilteringSeen, LifetimeSeen, MappingSeen, Outcome, PortsSeen, Seen, Transfer, index},
    },
};
use serde_json::{Value, json};

use super::{
    super::{message::Message, texts},
    layout::line,
};

/// More loss than this is worth a word, of a hundred letters.
const LOSS: u16 = 3;

/// Clocks further apart than this make two methods useless, ms.
const CLOCK_MS: u64 = 5000;

/// QUIC's smallest datagram (RFC 9000 §14): the path passes no larger one.
const SMALLEST_DATAGRAM: u16 = 1200;

/// The result of a check of both sides, as one of them sees it.
pub(super) struct Pair<'a> {
    pub(super) role: Role,
    pub(super) outcome: &'a Outcome,
    pub(super) connected: Connected,
    /// Whether it was looked for how long mappings are kept.
    pub(super) has_watched: bool,
}

impl Pair<'_> {
    pub(super) fn sentence(&self) -> Message {
        let seconds = self.connected.took.as_secs_f64();
        let figures = &self.outcome.figures;
        let rtt = texts::rtt(std::time::Duration::from_micros(figures.rtt_min_us.into()));
        let how = match punchable(self.own().access(), self.peer().access()) {
            Verdict::Direct => "at ports that both sides know",
            Verdict::ByChance | Verdict::No(_) => {
                "by trying many ports, which takes seconds and now and then fails"
            }
        };
        let slowed = if self.throttled().is_some() { "; but UDP is slowed down after a burst" } else { "" };
        Message::TunnelWorks { seconds, how, rtt, slowed }
    }

    pub(super) fn advice(&self) -> Vec<Message> {
        let mut advice = Vec::new();
        for (whose, seen) in [("this side's", self.own()), ("the peer's", self.peer())] {
            if is_unpredictable(seen) {
                advice.push(Message::Unpredictable(whose));
            }
            let lost = seen.arrived.map_or(0, |arrived| 100_u16.saturating_sub(arrived));
            if lost > LOSS {
                advice.push(Message::PacketsLost { lost, from: whose.trim_end_matches("'s") });
            }
        }
        if let Some((first, last)) = self.throttled() {
            advice.push(Message::SlowedDown { first: rate(first), last: rate(last) });
        }
        let apart = self.ahead_ms().unsigned_abs();
        if apart > CLOCK_MS {
            let apart = texts::span(std::time::Duration::from_millis(apart));
            advice.push(Message::ClocksApart(apart));
        }
        if self.outcome.figures.datagram_bytes == SMALLEST_DATAGRAM {
            advice.push(Message::SmallPath);
        }
        advice
    }

    pub(super) fn own_lines(&self) -> Vec<(String, String)> {
        self.lines(self.role)
    }

    pub(super) fn peer_lines(&self) -> Vec<(String, String)> {
        self.lines(self.role.other())
    }

    fn lines(&self, of: Role) -> Vec<(String, String)> {
        let mut lines = lines(&self.outcome.seen[index(of)]);
        if self.has_watched {
            let is_free = self.outcome.seen[index(of)].access() == Access::Open;
            lines.push(line("idle mapping", lifetime(self.lifetime(of), is_free)));
        }
        lines
    }

    fn lifetime(&self, of: Role) -> Option<LifetimeSeen> {
        self.outcome.lifetimes[index(of)]
    }

    pub(super) fn path_lines(&self) -> Vec<(String, String)> {
        let figures = &self.outcome.figures;
        let ms = |us: u32| texts::rtt(std::time::Duration::from_micros(us.into()));
        let arrived = |seen: &Seen| seen.arrived.map_or_else(|| "?".into(), |arrived| arrived.to_string());
        let mut lines = vec![
            line(
                "found",
                format!("by the method {}, {}", self.connected.method.name(), self.connected.pair.remote),
            ),
            line(
                "round trip",
                format!("{} at best, {} median", ms(figures.rtt_min_us), ms(figures.rtt_median_us)),
            ),
            line(
                "arrived",
                format!(
                    "{} of 100 packets sent, {} of 100 received",
                    arrived(self.own()),
                    arrived(self.peer())
                ),
            ),
            line("datagrams", format!("up to {} bytes", figures.datagram_bytes)),
        ];
        let [sent, received] = self.transfers();
        if sent.bytes > 0 || received.bytes > 0 {
            let shown =
                |transfer: &Transfer| transfer.rate().map_or_else(|| "too short to tell".into(), rate);
            lines.push(line("transfer", format!("{} sent, {} received", shown(sent), shown(received))));
        }
        lines.push(line("clocks", self.clocks()));
        lines
    }

    pub(super) fn json(&self) -> Value {
        let figures = &self.outcome.figures;
        let verdict = match punchable(self.own().access(), self.peer().access()) {
            Verdict::Direct => "direct",
            Verdict::ByChance => "by_chance",
            Verdict::No(_) => "by_luck",
        };
        let [sent, received] = self.transfers();
        json!({
            "verdict": verdict,
            "nats": { "own": self.own(), "peer": self.peer() },
            "mapping_lifetime": { "own": self.lifetime(self.role), "peer": self.lifetime(self.role.other()) },
            "path": {
                "method": self.connected.method.name(),
                "remote": self.connected.pair.remote.to_string(),
                "took_ms": u64::try_from(self.connected.took.as_millis()).unwrap_or(u64::MAX),
                "rtt_min_us": figures.rtt_min_us,
                "rtt_median_us": figures.rtt_median_us,
                "datagram_bytes": figures.datagram_bytes,
                "peer_clock_ahead_ms": self.ahead_ms(),
                "sent_bits_per_second": sent.rate(),
                "received_bits_per_second": received.rate(),
                "throttled": self.throttled().is_some(),
            },
        })
    }

    fn own(&self) -> &Seen {
        &self.outcome.seen[index(self.role)]
    }

    fn peer(&self) -> &Seen {
        &self.outcome.seen[index(self.role.other())]
    }

    /// What this side sent and received.
    fn transfers(&self) -> [&Transfer; 2] {
        [self.role, self.role.other()].map(|from| &self.outcome.figures.transfers[index(from)])
    }

    fn throttled(&self) -> Option<(f64, f64)> {
        self.transfers().into_iter().find_map(Transfer::throttled)
    }

    fn ahead_ms(&self) -> i64 {
        let ahead = self.outcome.figures.serve_ahead_ms;
        match self.role {
            Role::Serve => ahead.saturating_neg(),
            Role::Open => ahead,
        }
    }

    /// Half a round trip at least is not known of how far the clocks are apart.
    fn clocks(&self) -> String {
        let (ahead, unknown) = (self.ahead_ms(), u64::from(self.outcome.figures.rtt_min_us / 2000).max(1));
        match ahead {
            _ if ahead.unsigned_abs() <= unknown => format!("the same within {unknown} ms"),
            0.. => format!("the peer's is {ahead} ms ahead"),
            _ => format!("the peer's is {} ms behind", ahead.unsigned_abs()),
        }
    }
}

fn is_unpredictable(seen: &Seen) -> bool {
    !seen.access().is_predictable() && !seen.access().admits_any_port()
}

fn lines(seen: &Seen) -> Vec<(String, String)> {
    let nat = if seen.is_translated() {
        format!("yes: {} inside is {} outside", seen.inside, seen.outside)
    } else {
        format!("none: {} inside and outside", seen.inside.ip())
    };
    let mut lines = vec![line("NAT", nat)];
    if seen.is_translated() || !matches!(seen.access(), Access::Open | Access::Firewall) {
        lines.push(line("mapping", mapping(seen)));
    }
    lines.push(line("filtering", filtering(seen)));
    lines.push(line("ports", ports(seen)));
    lines
}

fn mapping(seen: &Seen) -> &'static str {
    match (seen.mapping, seen.ports) {
        (MappingSeen::NotByPort | MappingSeen::Unknown, PortsSeen::Preserving) => {
            "one outside port for all of the peer's ports, since ports are kept"
        }
        (MappingSeen::NotByPort, _) => {
            "endpoint-independent, or address-dependent: one peer address cannot tell which"
        }
        (MappingSeen::ByPort, _) => "address-and-port-dependent",
        (MappingSeen::Unknown, _) => "could not be found out with this peer",
    }
}

fn filtering(seen: &Seen) -> &'static str {
    match (seen.filtering, seen.is_translated()) {
        (FilteringSeen::AnyPort, true) => {
            "endpoint-independent, or address-dependent: any port of the peer gets in, and one peer address cannot tell more"
        }
        (FilteringSeen::AnyPort, false) => "none that the peer has met: any of its ports gets in",
        (FilteringSeen::ExactPort, true) => {
            "address-and-port-dependent: only addresses that were sent to get in"
        }
        (FilteringSeen::ExactPort, false) => {
            "a firewall, address-and-port-dependent: only addresses that were sent to get in"
        }
        (FilteringSeen::Unknown, _) => "could not be found out: no packet arrived",
    }
}

fn ports(seen: &Seen) -> String {
    let samples = seen.samples;
    match seen.ports {
        PortsSeen::Preserving if samples == 0 => "preserving, as far as the tunnel's own port tells".into(),
        PortsSeen::Preserving => format!("preserving ({samples} new sockets)"),
        PortsSeen::Sequential { stride } => format!("sequential, stride {stride} ({samples} new sockets)"),
        PortsSeen::Block { span } => {
            format!("at random from a block: within {span} ports ({samples} new sockets)")
        }
        PortsSeen::Random if samples == 0 => {
            "random, or from a block of more than a thousand: no new socket came near the tunnel's port"
                .into()
        }
        PortsSeen::Random => {
            format!("random, or from a block of more than a thousand ({samples} new sockets)")
        }
        PortsSeen::Moved => {
            "not kept for the tunnel; how they are picked could not be found out with this peer".into()
        }
    }
}

fn lifetime(seen: Option<LifetimeSeen>, is_free: bool) -> String {
    match seen {
        None if is_free => "there is no NAT or firewall that could forget".into(),
        None => "how long it is kept could not be found out with this peer".into(),
        Some(LifetimeSeen { kept_s, gone_s: None }) if is_free => {
            format!("nothing was forgotten in {kept_s} s: there is no NAT or firewall to be seen")
        }
        Some(LifetimeSeen { kept_s, gone_s: None }) => format!("kept for more than {kept_s} s"),
        Some(LifetimeSeen { kept_s: 0, gone_s: Some(gone) }) => format!("kept for less than {gone} s"),
        Some(LifetimeSeen { kept_s, gone_s: Some(gone) }) => {
            format!("kept for between {kept_s} and {gone} s")
        }
    }
}

fn rate(bits: f64) -> String {
    match bits {
        bits if bits >= 1e7 => format!("{:.0} Mbit/s", bits / 1e6),
        bits if bits >= 1e5 => format!("{:.1} Mbit/s", bits / 1e6),
        bits => format!("{:.0} kbit/s", bits / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinhole::proto::{
        key::Instances,
        puncher::{self, Method, SocketId},
        survey::Figures,
    };

    use super::*;

    fn seen(outside: u16, filtering: FilteringSeen, ports: PortsSeen) -> Seen {
        Seen {
            inside: ([192, 168, 4, 2], 5555).into(),
            outside: ([198, 51, 100, 4], outside).into(),
            mapping: MappingSeen::ByPort,
            filtering,
            ports,
            samples: 4,
            arrived: Some(100),
        }
    }

    fn connected() -> Connected {
        Connected {
            pair: puncher::Pair { socket: SocketId::MAIN, remote: ([203, 0, 113, 9], 5555).into() },
            method: Method::Base,
            rtt: Duration::from_millis(40),
            took: Duration::from_millis(200),
            observed: None,
            instances: Instances::default(),
        }
    }

    #[test]
    fn what_would_help_is_told_to_the_side_that_can_do_it() {
        let home = seen(5555, FilteringSeen::ExactPort, PortsSeen::Preserving);
        let random = seen(41_234, FilteringSeen::ExactPort, PortsSeen::Random);
        let figures = Figures { serve_ahead_ms: 9000, datagram_bytes: 1452, ..Figures::default() };
        let outcome =
            Outcome { seen: [Seen { arrived: Some(80), ..home }, random], figures, lifetimes: [None; 2] };
        let pair = |role| Pair { role, outcome: &outcome, connected: connected(), has_watched: false };
        let advice = |role| pair(role).advice().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(advice(Role::Open)[0].starts_with("this side's NAT"), "{:?}", advice(Role::Open));
        let advice = advice(Role::Serve);
        assert!(advice.iter().any(|line| line.starts_with("the peer's NAT")));
        assert!(
            advice.iter().any(|line| line.starts_with("20 of 100 packets from this side get lost")),
            "{advice:?}"
        );
        assert!(advice.iter().any(|line| line.contains("clocks are 9 s apart")));
        assert_eq!((pair(Role::Open).ahead_ms(), pair(Role::Serve).ahead_ms()), (9000, -9000));
        assert!(pair(Role::Open).sentence().to_string().contains("by trying many ports"));
    }

    #[test]
    fn a_peer_whose_clock_makes_no_sense_is_told_of_all_the_same() {
        let home = seen(5555, FilteringSeen::ExactPort, PortsSeen::Preserving);
        let figures = Figures { serve_ahead_ms: i64::MIN, ..Figures::default() };
        let outcome = Outcome { seen: [home, home], figures, lifetimes: [None; 2] };
        for (role, part) in [(Role::Open, "behind"), (Role::Serve, "ahead")] {
            let pair = Pair { role, outcome: &outcome, connected: connected(), has_watched: false };
            assert!(pair.clocks().ends_with(part), "{}", pair.clocks());
            assert!(pair.advice().iter().any(|line| line.to_string().contains("clocks are")));
        }
    }

    #[test]
    fn a_side_without_a_nat_is_described_by_its_firewall_alone() {
        let public = Seen {
            inside: ([198, 51, 100, 4], 5555).into(),
            ..seen(5555, FilteringSeen::ExactPort, PortsSeen::Preserving)
        };
        let names: Vec<String> = lines(&public).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["NAT", "filtering", "ports"]);
        assert!(filtering(&public).contains("firewall"));
    }

    #[test]
    fn a_lifetime_is_told_as_what_was_seen_and_no_more() {
        let told = |kept_s, gone_s| lifetime(Some(LifetimeSeen { kept_s, gone_s }), false);
        assert_eq!(told(28, Some(43)), "kept for between 28 and 43 s");
        assert_eq!(told(0, Some(14)), "kept for less than 14 s");
        assert_eq!(told(178, None), "kept for more than 178 s");
        assert!(lifetime(None, false).contains("could not be found out"));
    }
}
