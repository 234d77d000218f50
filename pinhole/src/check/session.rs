//! A check of both sides over their tunnel: the open side controls, the serve side responds.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use pinhole_proto::{
    Key, Role,
    probe::ProbeSeal,
    puncher::Connected,
    survey::{
        Figures, Hello, Lifetime, LifetimeSeen, MAX_MAPPINGS, MOST_LIFETIME, Message, Outcome, Report, Round,
        Since, Stand, Survey, Transfer, index,
    },
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{CheckError, executor::Executor, messages::MessageStream};
use crate::{Peer, Tunnel, clock::now, endpoint::source_toward};

/// Time beyond a round trip for the last probes of a round.
const GRACE: Duration = Duration::from_millis(150);

/// Time between two messages while nothing is to be done: well below the time-out of `messages`.
const WORD_EACH: Duration = Duration::from_secs(15);

/// Number of round trips that are measured.
const PINGS: usize = 20;

/// Longest time of a transfer in each direction.
const TRANSFER: Duration = Duration::from_secs(4);

/// Time of a transfer whose bytes are counted together.
const QUARTER: Duration = Duration::from_millis(250);

/// Size in bytes of a chunk of filling.
const CHUNK: usize = 16 << 10;

/// The plan of a check of both sides.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The key that both sides share.
    pub key: Key,
    /// How many hops a datagram takes that opens our NAT and does not reach theirs.
    pub low_ttl: u8,
    /// Mappings that probes may make in our NAT.
    pub mappings: u16,
    /// Probes in a second, at most; ten of them are left to the path.
    pub packets_per_second: u16,
    /// Bytes of the transfer in each direction, at most; 0 for none. The smaller number of the two sides counts.
    pub transfer_bytes: u32,
    /// Mappings that may be made besides to find out how long they live.
    pub lifetime_mappings: u16,
    /// Time for that, seconds; 0 for none. The larger number of the two sides counts.
    pub lifetime_s: u16,
}

/// The part of a check that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// This part of the survey, of so many.
    Survey(u32, u32),
    /// How long mappings live: it takes about this many seconds.
    Lifetime(u16),
}

/// Checks both sides over a tunnel to a peer made for that ([`crate::endpoint::Purpose::Check`]). `connected` is
/// the path it runs over; `progress` is told what is under way.
///
/// # Errors
///
/// When the tunnel ends, or the other side is silent or does not keep to the protocol.
pub async fn both_sides(
    peer: &Peer,
    tunnel: &Tunnel,
    connected: Connected,
    plan: &Plan,
    mut progress: impl FnMut(Progress),
) -> Result<Outcome, CheckError> {
    let role = peer.role();
    let seal = ProbeSeal::of_survey(&plan.key.for_check());
    let mappings = plan.mappings.min(MAX_MAPPINGS);
    let executor = Executor::new(peer.shared_mux(), seal, role, connected.pair, plan);
    let own_ip = match peer.mux().local_address().ip() {
        ip if ip.is_unspecified() => source_toward(connected.pair.remote),
        ip => Some(ip),
    };
    let inside = executor.inside(own_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let hello = Hello {
        version: Hello::VERSION,
        stand: Stand { inside, outside: connected.pair.remote },
        mappings,
        transfer_bytes: plan.transfer_bytes,
        lifetime_s: plan.lifetime_s.min(MOST_LIFETIME),
        instance: draw()?,
    };
    let messages = match role {
        Role::Open => MessageStream::open(tunnel).await?,
        Role::Serve => MessageStream::accept(tunnel).await?,
    };
    let mut session = Session { messages, executor, own: hello, rtt: connected.rtt };
    session.messages.send(&Message::Hello(hello)).await?;
    let Message::Hello(peer) = session.messages.receive().await? else { return Err(CheckError::Nonsense) };
    if peer.version != Hello::VERSION {
        return Err(CheckError::OtherVersion);
    }
    session.executor.set_instance(match role {
        Role::Open => hello.instance,
        Role::Serve => peer.instance,
    });
    match role {
        Role::Open => session.control(peer, tunnel, progress).await,
        Role::Serve => {
            let seconds = session.lifetime_with(peer);
            if seconds > 0 {
                progress(Progress::Lifetime(seconds));
            }
            session.respond().await
        }
    }
}

/// Draws the number of a check.
fn draw() -> Result<u64, CheckError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| CheckError::Entropy)?;
    Ok(u64::from_be_bytes(bytes))
}

/// One side of a check.
struct Session {
    messages: MessageStream,
    executor: Executor,
    own: Hello,
    rtt: Duration,
}

impl Session {
    async fn control(
        mut self,
        peer: Hello,
        tunnel: &Tunnel,
        mut progress: impl FnMut(Progress),
    ) -> Result<Outcome, CheckError> {
        let mut figures = Figures::default();
        self.ping(&mut figures).await?;
        // Each side knows where it is, and sees where the other one seems to be.
        let stand = |inside: Hello, seen_by: Hello| Stand {
            inside: inside.stand.inside,
            outside: seen_by.stand.outside,
        };
        let stands = by_role(stand(peer, self.own), stand(self.own, peer));
        let mut survey = Survey::new(stands, by_role(peer.mappings, self.own.mappings));
        while let Some(round) = survey.next_round() {
            let (part, parts) = survey.progress();
            progress(Progress::Survey(part, parts));
            let reports = self.carry_out(round).await?;
            survey.handle_reports(reports);
        }
        let bytes = self.own.transfer_bytes.min(peer.transfer_bytes);
        if bytes > 0 {
            self.messages.send(&Message::Fill(bytes)).await?;
            figures.transfers[index(Role::Serve)] = self.take_filling(bytes).await?;
            self.fill(bytes).await?;
            let Message::Took(taken) = self.messages.receive().await? else {
                return Err(CheckError::Nonsense);
            };
            figures.transfers[index(Role::Open)] = taken;
        }
        figures.datagram_bytes = tunnel.datagram_bytes().unwrap_or(0);
        let seconds = self.lifetime_with(peer);
        let lifetimes = if seconds > 0 {
            progress(Progress::Lifetime(seconds));
            self.watch_mappings(survey.lifetime(seconds)).await?
        } else {
            [None; 2]
        };
        let outcome = Outcome { seen: survey.seen(), figures, lifetimes };
        self.messages.send(&Message::Outcome(Box::new(outcome.clone()))).await?;
        self.messages.finish().await;
        Ok(outcome)
    }

    /// Returns how long both are to look for how long mappings live, seconds.
    fn lifetime_with(&self, peer: Hello) -> u16 {
        self.own.lifetime_s.max(peer.lifetime_s).min(MOST_LIFETIME)
    }

    /// Has both sides carry out their orders, and returns what they heard.
    async fn carry_out(&mut self, round: Round) -> Result<[Report; 2], CheckError> {
        let [serve, open] = round.orders;
        self.messages.send(&Message::Round { number: round.number, orders: serve }).await?;
        let ports = self.executor.carry_out(round.number, &open).await?;
        self.expect_sent().await?;
        sleep(self.rtt + GRACE).await;
        self.messages.send(&Message::Ask).await?;
        let Message::Report(theirs) = self.messages.receive().await? else {
            return Err(CheckError::Nonsense);
        };
        Ok(by_role(theirs, self.executor.report(ports)))
    }

    /// Leaves mappings alone, and looks after which silence they are gone.
    async fn watch_mappings(
        &mut self,
        mut lifetime: Lifetime,
    ) -> Result<[Option<LifetimeSeen>; 2], CheckError> {
        let (mut last, mut quiet) = (Instant::now(), Instant::now());
        while let Some(due) = lifetime.next_round() {
            let since = match due.since {
                Since::Last => last,
                Since::Quiet => quiet,
            };
            self.wait_until(since + due.after).await?;
            let began = Instant::now();
            lifetime.handle_reports(self.carry_out(due.round).await?);
            last = Instant::now();
            if due.since == Since::Last {
                quiet = began;
            }
        }
        Ok(lifetime.seen())
    }

    /// Waits, with a word now and then so that the other side does not take this one for dead.
    async fn wait_until(&mut self, until: Instant) -> Result<(), CheckError> {
        while until.saturating_duration_since(Instant::now()) > WORD_EACH {
            sleep(WORD_EACH).await;
            self.messages.send(&Message::Ping).await?;
            let Message::Pong(_) = self.messages.receive().await? else { return Err(CheckError::Nonsense) };
        }
        sleep_until(until).await;
        Ok(())
    }

    /// Does what the other side asks until it tells the outcome: one transfer in each direction, and rounds within the
    /// totals of a check.
    async fn respond(mut self) -> Result<Outcome, CheckError> {
        let (mut may_send, mut may_take) = (true, true);
        let mut ports = Vec::new();
        loop {
            match self.messages.receive().await? {
                Message::Round { number, orders } => {
                    ports = self.executor.carry_out(number, &orders).await?;
                    self.messages.send(&Message::Sent).await?;
                }
                Message::Ask => {
                    let report: Report = self.executor.report(mem::take(&mut ports));
                    self.messages.send(&Message::Report(report)).await?;
                }
                Message::Ping => self.messages.send(&Message::Pong(unix_ms())).await?,
                Message::Fill(bytes) => {
                    demand(mem::take(&mut may_send))?;
                    self.fill(bytes.min(self.own.transfer_bytes)).await?;
                }
                Message::Filling(first) => {
                    demand(mem::take(&mut may_take))?;
                    let taken = self.take_filling_on(first, self.own.transfer_bytes).await?;
                    self.messages.send(&Message::Took(taken)).await?;
                }
                Message::Outcome(outcome) => {
                    self.messages.finish().await;
                    return Ok(*outcome);
                }
                Message::Hello(_)
                | Message::Sent
                | Message::Report(_)
                | Message::Pong(_)
                | Message::Filled
                | Message::Took(_) => return Err(CheckError::Nonsense),
            }
        }
    }

    async fn expect_sent(&mut self) -> Result<(), CheckError> {
        demand(self.messages.receive().await? == Message::Sent)
    }

    /// Measures round trips, and by the shortest of them how far the clocks are apart.
    async fn ping(&mut self, figures: &mut Figures) -> Result<(), CheckError> {
        let mut trips = Vec::new();
        for _ in 0..PINGS {
            let (began, at) = (Instant::now(), unix_ms());
            self.messages.send(&Message::Ping).await?;
            let Message::Pong(theirs) = self.messages.receive().await? else {
                return Err(CheckError::Nonsense);
            };
            let trip = began.elapsed();
            let halfway = at.saturating_add(u64::try_from(trip.as_millis() / 2).unwrap_or(0));
            trips.push((trip, i128::from(theirs) - i128::from(halfway)));
        }
        trips.sort_unstable();
        let us = |trip: Duration| u32::try_from(trip.as_micros()).unwrap_or(u32::MAX);
        let (shortest, ahead_ms) = trips[0];
        figures.rtt_min_us = us(shortest);
        figures.rtt_median_us = us(trips[PINGS / 2].0);
        figures.serve_ahead_ms = i64::try_from(ahead_ms).unwrap_or(i64::MAX);
        self.rtt = self.rtt.max(trips[PINGS / 2].0).min(Duration::from_secs(2));
        Ok(())
    }

    /// Sends filling, for as long as a transfer may take.
    async fn fill(&mut self, bytes: u32) -> Result<(), CheckError> {
        let chunk = Message::Filling(vec![0x5a; CHUNK]);
        let until = Instant::now() + TRANSFER;
        let mut left = usize::try_from(bytes).unwrap_or(0);
        while left > 0 && Instant::now() < until {
            self.messages.send(&chunk).await?;
            left = left.saturating_sub(CHUNK);
        }
        self.messages.send(&Message::Filled).await
    }

    async fn take_filling(&mut self, most_bytes: u32) -> Result<Transfer, CheckError> {
        let first = self.messages.receive().await?;
        if first == Message::Filled {
            return Ok(Transfer::default());
        }
        let Message::Filling(chunk) = first else { return Err(CheckError::Nonsense) };
        self.take_filling_on(chunk, most_bytes).await
    }

    /// Counts what follows the first chunk. All chunks are whole, and there are no more of them than `most_bytes` need.
    async fn take_filling_on(&mut self, first: Vec<u8>, most_bytes: u32) -> Result<Transfer, CheckError> {
        let began = Instant::now();
        let mut left = usize::try_from(most_bytes).unwrap_or(0).div_ceil(CHUNK);
        let mut admit = |chunk: &[u8]| {
            let is_due = left > 0 && chunk.len() == CHUNK;
            left = left.saturating_sub(1);
            demand(is_due)
        };
        admit(&first)?;
        let mut taken = Transfer::default();
        loop {
            let message = self.messages.receive().await?;
            if message == Message::Filled {
                return Ok(taken);
            }
            let Message::Filling(chunk) = message else { return Err(CheckError::Nonsense) };
            admit(&chunk)?;
            let since = began.elapsed();
            let quarter = usize::try_from(since.as_millis() / QUARTER.as_millis()).unwrap_or(MAX_QUARTERS);
            taken.quarters.resize(taken.quarters.len().max(quarter.min(MAX_QUARTERS) + 1), 0);
            let bytes = u32::try_from(chunk.len()).unwrap_or(0);
            if let Some(last) = taken.quarters.last_mut() {
                *last = last.saturating_add(bytes);
            }
            taken.bytes += u64::from(bytes);
            taken.us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        }
    }
}

/// A transfer that stands still for a while takes longer than its sender sends; what comes later is counted with the
/// last.
const MAX_QUARTERS: usize = 240;

/// Fails where the other side does not keep to the rules.
fn demand(is_kept: bool) -> Result<(), CheckError> {
    if is_kept { Ok(()) } else { Err(CheckError::Nonsense) }
}

fn by_role<T>(serve: T, open: T) -> [T; 2] {
    debug_assert!(index(Role::Serve) == 0 && index(Role::Open) == 1);
    [serve, open]
}

fn unix_ms() -> u64 {
    u64::try_from(now().unix.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the TTL that opens our own NATs and does not reach the peer's: as far as to the first router with a public
/// address, one more where this machine has one itself, or else one past the last that answered.
#[must_use]
pub fn low_ttl(source: Option<IpAddr>, hops: &[crate::mux::Hop], peer: SocketAddr) -> u8 {
    use pinhole_proto::nat::Reach;
    let is_public = |ip: IpAddr| Reach::of(ip) == Reach::Public;
    let heard = || hops.iter().filter_map(|hop| Some((hop.ttl, hop.router?)));
    let reaches = heard().find(|(_, router)| *router == peer.ip()).map_or(u8::MAX, |(ttl, _)| ttl - 1);
    let outside = heard().find(|(_, router)| is_public(*router) && *router != peer.ip());
    let first = u8::from(source.is_some_and(is_public));
    let wanted = match (outside, heard().next_back()) {
        (Some((ttl, _)), _) => ttl + if ttl == 1 { first } else { 0 },
        (None, Some((ttl, router))) if router != peer.ip() => ttl + 1,
        (None, _) => UNKNOWN_TTL,
    };
    wanted.min(reaches).max(1)
}

/// The low TTL where routers are silent.
const UNKNOWN_TTL: u8 = 3;

#[cfg(test)]
mod tests {
    use pinhole_proto::puncher::IcmpKind;

    use super::*;
    use crate::mux::Hop;

    #[test]
    fn a_low_ttl_passes_the_own_nats_and_ends_before_the_peer() {
        let peer = SocketAddr::from(([203, 0, 113, 9], 5555));
        let low = |source: &str, routers: &[&str]| {
            let hops = routers.iter().zip(1..).map(|(router, ttl)| Hop {
                ttl,
                router: router.parse().ok(),
                kind: Some(IcmpKind::TtlExceeded),
            });
            low_ttl(source.parse().ok(), &hops.collect::<Vec<_>>(), peer)
        };
        assert_eq!(low("192.168.1.2", &["192.168.1.1", "198.51.100.1"]), 2);
        assert_eq!(low("192.168.1.2", &["192.168.1.1", "100.64.0.1", "", "198.51.100.1"]), 4);
        assert_eq!(low("198.51.100.4", &["198.51.100.1", "192.0.2.1"]), 2);
        assert_eq!(low("192.168.1.2", &["192.168.1.1"]), 2);
        assert_eq!(low("192.168.1.2", &[]), 3);
        assert_eq!(low("198.51.100.4", &["198.51.100.1", "203.0.113.9"]), 1);
        assert_eq!(low("192.168.1.2", &["203.0.113.9"]), 1);
    }
}
