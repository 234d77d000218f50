//! The candidates: addresses at which the peer may be, who has named them, and in which order they are tried.
//!
//! Every method of a search asks the one [`Candidates`]. The pair of the main ports is tested with all of them at the
//! same time; what costs a mapping or a probe for each address (slots, reserve pair, attempts, hop discovery) takes the
//! best one, or the candidates in turn. Addresses come and go at any time, also while a search goes on.
//!
//! Where a probe came from is no candidate by that (RFC 8445 §7.3.1.3 would have it so): that one pair is tested
//! (`checks`). A peer that gets in from an IP which nobody has named needs no attempt toward it, and somebody on the
//! way could aim one at others.
//!
//! The order is that of [`Rank`]: what a name has given since the path was lost, where the path was, where the peer was heard,
//! what can be reached from far away, who has named it.

use std::{
    cmp::Reverse,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{Puncher, SearchMode, State, checks::Source, numbers::Origin};
use crate::{Now, nat::Reach};

/// Addresses that a peer's name may resolve to and that are tried at the same time.
pub const MAX_PEER_ADDRESSES: usize = 8;

/// Most candidates that the user has not named.
const MAX_OTHERS: usize = 8;

/// Time after the loss of a path in which a name is expected to give another address: most that are updated by the machine
/// they stand for do so within this time (a client that asks each minute, and a TTL of 30 s).
const NAME_FOLLOWS: Duration = Duration::from_secs(90);

/// A change of the peer's name begins a search for a tunnel's path anew at most once in this time; otherwise the search
/// goes on with the new addresses.
const RECONNECT_AGAIN: Duration = Duration::from_secs(30);

/// A change of the peer's name makes a search eager again at most once in this time.
const EAGER_AGAIN: Duration = Duration::from_secs(600);

/// An address at which the peer's main socket may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The address, as it is reached from here.
    pub address: SocketAddr,
    /// Who has named it.
    pub kind: CandidateKind,
}

/// The source of a candidate, by who has named it; the most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CandidateKind {
    /// The user, as an IP: it never changes.
    Named,
    /// The user, by a name that resolves to it: another address may follow.
    Resolved,
    /// The peer, within the tunnel.
    Told,
}

impl CandidateKind {
    /// Whether the user answers for the address.
    fn is_named(self) -> bool {
        match self {
            Self::Named | Self::Resolved => true,
            Self::Told => false,
        }
    }
}

/// All candidates, the best first.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Entry>,
    /// The peer's IP on the path in use, or last in use.
    path: Option<IpAddr>,
    /// The peer's IP when it was last heard in this search.
    heard: Option<IpAddr>,
    /// When the path fell silent for which is searched.
    lost_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    candidate: Candidate,
    added: Instant,
}

/// The place of a candidate in the order: the smaller, the better, by the first field that differs.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Not named since the path was lost.
    is_old: bool,
    is_off_path: bool,
    is_unheard: bool,
    reach: Reverse<Reach>,
    kind: CandidateKind,
    address: SocketAddr,
}

impl Candidates {
    /// Replaces what the user has named; beyond [`MAX_PEER_ADDRESSES`] nothing is taken. Returns whether that changes anything.
    pub(super) fn set_named(&mut self, addresses: &[SocketAddr], kind: CandidateKind, now: Instant) -> bool {
        let wanted: Vec<SocketAddr> =
            addresses.iter().take(MAX_PEER_ADDRESSES).copied().map(canonical).collect();
        let before = self.named();
        self.list
            .retain(|entry| !entry.candidate.kind.is_named() || wanted.contains(&entry.candidate.address));
        wanted.iter().for_each(|address| self.insert(Candidate { address: *address, kind }, now));
        self.sort();
        before != self.named()
    }

    /// Adds a candidate if there is room for it. Returns whether it is a new one.
    pub(super) fn add(&mut self, candidate: Candidate, now: Instant) -> bool {
        let candidate = Candidate { address: canonical(candidate.address), ..candidate };
        let is_new = !self.has(candidate.address);
        let is_named = candidate.kind.is_named();
        let count = self.list.iter().filter(|entry| entry.candidate.kind.is_named() == is_named).count();
        if is_new && count >= if is_named { MAX_PEER_ADDRESSES } else { MAX_OTHERS } {
            return false;
        }
        self.insert(candidate, now);
        self.sort();
        is_new
    }

    /// Removes a candidate. Returns whether there was one.
    pub(super) fn remove(&mut self, address: SocketAddr) -> bool {
        let (before, address) = (self.list.len(), canonical(address));
        self.list.retain(|entry| entry.candidate.address != address);
        self.list.len() < before
    }

    /// Records that the peer was heard from that IP.
    pub(super) fn handle_heard(&mut self, from: IpAddr) {
        if self.heard.replace(from) != Some(from) {
            self.sort();
        }
    }

    /// Records that a path leads to that IP.
    pub(super) fn handle_path(&mut self, to: IpAddr) {
        (self.path, self.lost_at) = (Some(to), None);
        self.sort();
    }

    /// Records that the path is lost for which a search begins, and when it was last alive.
    pub(super) fn handle_loss(&mut self, alive_at: Instant) {
        self.lost_at.get_or_insert(alive_at);
        self.sort();
    }

    /// Records that another search begins; `keeps_tunnel` if it is for the path of a tunnel.
    pub(super) fn handle_search(&mut self, keeps_tunnel: bool) {
        self.heard = None;
        self.lost_at = self.lost_at.filter(|_| keeps_tunnel);
        self.sort();
    }

    /// Returns all addresses, the best first.
    pub(super) fn all(&self) -> impl Iterator<Item = SocketAddr> + Clone {
        self.list.iter().map(|entry| entry.candidate.address)
    }

    /// Returns the addresses that may be behind a NAT, the best first. Before an IPv6 address there is a firewall at most,
    /// and the pair of the main ports is all that is needed.
    pub(super) fn translated(&self) -> impl Iterator<Item = SocketAddr> + Clone {
        self.all().filter(SocketAddr::is_ipv4)
    }

    /// Returns that one of [`Self::translated`] whose turn it is by the caller's own count.
    pub(super) fn turn(&self, turn: u64) -> Option<SocketAddr> {
        let count = u64::try_from(self.translated().count()).ok().filter(|count| *count > 0)?;
        self.translated().nth(usize::try_from(turn % count).unwrap_or(0))
    }

    pub(super) fn first(&self) -> Option<SocketAddr> {
        self.all().next()
    }

    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.all().any(|known| known == address)
    }

    /// Returns the best candidate with that IP.
    pub(super) fn main_of(&self, ip: IpAddr) -> Option<SocketAddr> {
        self.all().find(|address| address.ip() == ip)
    }

    /// Whether the user has named that IP.
    pub(super) fn has_named_ip(&self, ip: IpAddr) -> bool {
        self.list.iter().any(|entry| entry.candidate.kind.is_named() && entry.candidate.address.ip() == ip)
    }

    /// Returns the port of the peer's main socket as the user has named it.
    pub(super) fn main_port(&self) -> Option<u16> {
        let mut named = self.list.iter().filter(|entry| entry.candidate.kind.is_named());
        named.next().map(|entry| entry.candidate.address.port())
    }

    /// Says how an address relates to those that the user has named.
    pub(super) fn origin(&self, from: SocketAddr) -> Origin {
        let mut named = self.list.iter().map(|entry| entry.candidate).filter(|c| c.kind.is_named());
        if named.any(|candidate| candidate.address == from) {
            return Origin::Named;
        }
        if self.has_named_ip(from.ip()) { Origin::NamedIp } else { Origin::Elsewhere }
    }

    /// Whether another address of the peer may soon be known: its name gives the same as when the path was lost, which
    /// was not long ago.
    pub(super) fn awaits_name(&self, now: Instant) -> bool {
        let mut resolved =
            self.list.iter().filter(|e| e.candidate.kind == CandidateKind::Resolved).peekable();
        let Some(lost_at) = self.lost_at.filter(|at| now < *at + NAME_FOLLOWS) else { return false };
        resolved.peek().is_some() && resolved.all(|entry| entry.added < lost_at)
    }

    fn named(&self) -> Vec<SocketAddr> {
        let named = self.list.iter().map(|entry| entry.candidate).filter(|c| c.kind.is_named());
        let mut named: Vec<SocketAddr> = named.map(|candidate| candidate.address).collect();
        named.sort_unstable();
        named
    }

    /// Adds a candidate, or trusts a known one more.
    fn insert(&mut self, candidate: Candidate, now: Instant) {
        match self.list.iter_mut().find(|entry| entry.candidate.address == candidate.address) {
            Some(entry) if candidate.kind.is_named() => entry.candidate.kind = candidate.kind,
            Some(entry) => entry.candidate.kind = entry.candidate.kind.min(candidate.kind),
            None => self.list.push(Entry { candidate, added: now }),
        }
    }

    fn sort(&mut self) {
        let (path, heard, lost_at) = (self.path, self.heard, self.lost_at);
        self.list.sort_by_key(|Entry { candidate: Candidate { address, kind }, added }| Rank {
            is_old: lost_at.is_none_or(|lost_at| *added < lost_at),
            is_off_path: path != Some(address.ip()),
            is_unheard: heard != Some(address.ip()),
            reach: Reverse(Reach::of(address.ip())),
            kind: *kind,
            address: *address,
        });
    }
}

/// Returns an IPv4 address in the form of its own family, however it was written.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

impl Puncher {
    /// Sets the addresses at which the user says that the peer is: an IP, which never changes. Those beyond
    /// [`MAX_PEER_ADDRESSES`] are not used. Takes the place of what [`Self::set_resolved`] has set.
    pub fn set_peer(&mut self, addresses: &[SocketAddr], now: Now) {
        self.set_named(addresses, CandidateKind::Named, now);
    }

    /// Sets the addresses to which the name resolves now by which the user knows the peer. As [`Self::set_peer`], but a search
    /// for a tunnel's path keeps a part of its mappings for the address that the name may give next.
    pub fn set_resolved(&mut self, addresses: &[SocketAddr], now: Now) {
        self.set_named(addresses, CandidateKind::Resolved, now);
    }

    /// Adds an address at which the peer may be, if there is room for it. A search tries it from now on.
    pub fn add_candidate(&mut self, candidate: Candidate, now: Now) {
        if self.context.candidates.add(candidate, now.instant) {
            self.join_candidates(now);
        }
    }

    /// Removes an address at which the peer is not any more, whoever has named it.
    pub fn remove_candidate(&mut self, address: SocketAddr, now: Now) {
        if self.context.candidates.remove(address) {
            self.join_candidates(now);
        }
    }

    fn set_named(&mut self, addresses: &[SocketAddr], kind: CandidateKind, now: Now) {
        if !self.context.candidates.set_named(addresses, kind, now.instant) {
            return;
        }
        let Some(mode) = self.mode_after_change(now.instant) else { return self.join_candidates(now) };
        self.renamed_at = Some(now.instant);
        self.forget_removed();
        self.enter_search(now, now.instant, mode, "the peer's addresses have changed");
    }

    /// Says how a search is to begin anew whose peer has other addresses; `None` if none goes on, or it need not.
    fn mode_after_change(&self, now: Instant) -> Option<SearchMode> {
        let State::Searching(search) = &self.state else { return None };
        let is_over = |at: Option<Instant>, time| at.is_none_or(|at| now >= at + time);
        match search.mode() {
            SearchMode::Reconnect | SearchMode::Refresh => {
                is_over(self.renamed_at, RECONNECT_AGAIN).then_some(SearchMode::Reconnect)
            }
            // It has the rest of its time for the new addresses.
            SearchMode::Initial | SearchMode::Background if search.is_eager(now) => None,
            // A name that changes all the time must not keep the search eager for ever.
            SearchMode::Initial | SearchMode::Background if is_over(self.eager_at, EAGER_AGAIN) => {
                Some(SearchMode::Initial)
            }
            SearchMode::Initial | SearchMode::Background => Some(SearchMode::Background),
        }
    }

    /// Lets a search that goes on use the candidates that there are now, and no others.
    fn join_candidates(&mut self, now: Now) {
        self.forget_removed();
        if matches!(self.state, State::Searching(_)) {
            self.add_configured(now.instant, now.instant);
            self.handle_timeout(now);
        }
    }

    /// Ends the tests of addresses that are no candidates any more.
    fn forget_removed(&mut self) {
        let candidates = &self.context.candidates;
        self.checks.retain(|c| c.source == Source::PeerReflexive || candidates.has(c.pair.remote));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: &str = "10.0.0.9:5555";
    const FAR: &str = "203.0.113.9:5555";
    const NEW: &str = "203.0.113.77:5555";

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    fn begin() -> Instant {
        Instant::now() + Duration::from_secs(1000)
    }

    fn resolved(addresses: &[&str], now: Instant) -> Candidates {
        let mut candidates = Candidates::default();
        let addresses: Vec<SocketAddr> = addresses.iter().map(|text| address(text)).collect();
        assert!(candidates.set_named(&addresses, CandidateKind::Resolved, now));
        candidates
    }

    #[test]
    fn public_addresses_come_before_private_ones_and_where_the_path_was_before_both() {
        let now = begin();
        let mut candidates = resolved(&[NEAR, FAR], now);
        assert_eq!(candidates.first(), Some(address(FAR)));
        candidates.handle_heard(address(NEAR).ip());
        assert_eq!(candidates.first(), Some(address(NEAR)));
        candidates.handle_path(address(FAR).ip());
        assert_eq!(candidates.all().collect::<Vec<_>>(), [FAR, NEAR].map(address));
    }

    #[test]
    fn what_a_name_gives_after_the_loss_comes_first_and_is_awaited_for_a_while() {
        let now = begin();
        let mut candidates = resolved(&[FAR], now);
        candidates.handle_path(address(FAR).ip());
        assert!(!candidates.awaits_name(now));
        let lost = now + Duration::from_secs(60);
        candidates.handle_loss(lost);
        assert!(candidates.awaits_name(lost) && !candidates.awaits_name(lost + NAME_FOLLOWS));
        candidates.set_named(&[FAR, NEW].map(address), CandidateKind::Resolved, lost);
        assert_eq!(candidates.first(), Some(address(NEW)));
        assert!(!candidates.awaits_name(lost));
    }

    #[test]
    fn an_ip_that_the_user_has_typed_is_not_awaited_to_change() {
        let (now, mut candidates) = (begin(), Candidates::default());
        candidates.set_named(&[address(FAR)], CandidateKind::Named, now);
        candidates.handle_loss(now + Duration::from_secs(60));
        assert!(!candidates.awaits_name(now + Duration::from_secs(60)));
    }

    #[test]
    fn the_list_is_bounded_and_has_room_for_what_the_user_names() {
        let (now, mut candidates) = (begin(), Candidates::default());
        for last in 1..=100 {
            let address = SocketAddr::from(([203, 0, 113, last], 5555));
            candidates.add(Candidate { address, kind: CandidateKind::Told }, now);
        }
        assert_eq!(candidates.all().count(), MAX_OTHERS);
        assert!(candidates.set_named(&[address("198.51.100.4:5555")], CandidateKind::Named, now));
        assert!(candidates.has(address("198.51.100.4:5555")));
        assert!(candidates.remove(address("198.51.100.4:5555")) && !candidates.remove(address(NEAR)));
    }

    #[test]
    fn an_ipv6_address_is_tested_and_takes_no_turn_of_what_is_for_nats() {
        let now = begin();
        let candidates = resolved(&["[2001:db8::9]:5555", FAR, "[::ffff:203.0.113.77]:5555"], now);
        assert_eq!(candidates.all().count(), 3);
        let turns: Vec<SocketAddr> = (0..4).filter_map(|turn| candidates.turn(turn)).collect();
        assert_eq!(turns, [FAR, NEW, FAR, NEW].map(address));
        assert_eq!(resolved(&["[2001:db8::9]:5555"], now).turn(0), None);
    }
}
