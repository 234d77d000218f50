//! To which addresses of the peer a search goes, and when.

use std::collections::BTreeSet;

use super::{super::candidates::CandidateKind, lone::Lone, wire::*, *};

const NEW: &str = "203.0.113.77:5555";
const DEAD: &str = "192.0.2.9:5555";
const UNIX: Duration = Duration::from_secs(1_800_000_000);

impl Lone {
    /// Ports at that IP to which the main socket has sent since the last call.
    fn swept(&mut self, to: SocketAddr) -> usize {
        let sent = std::mem::take(&mut self.sent).into_iter().map(|transmit| transmit.pair);
        let sent = sent.filter(|pair| pair.socket == SocketId::MAIN && pair.remote.ip() == to.ip());
        sent.map(|pair| pair.remote.port()).collect::<BTreeSet<_>>().len()
    }

    fn set_peer(&mut self, addresses: &[&str]) {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|text| address(text)).collect();
        let now = self.now;
        self.puncher.set_peer(&addresses, now);
        self.drain();
    }
}

#[test]
fn a_name_that_changes_in_the_first_minute_leaves_the_search_eager() {
    let mut lone = Lone::start(Limits::DEFAULT, UNIX + Duration::from_secs(100));
    lone.run_for(Duration::from_millis(1500));
    lone.set_peer(&[NEW]);
    lone.sent.clear();
    lone.run_for(Duration::from_secs(5));
    assert!(lone.sent.iter().any(|t| t.pair.remote == address(NEW)));
    let to_old = lone.sent.iter().filter(|t| t.pair.remote.ip() == OPEN_ADDRESS.ip()).count();
    assert_eq!(to_old, 0, "to an address that is no candidate any more");
    assert!(lone.swept(address(NEW)) > 200);
}

#[test]
fn a_name_that_gives_another_address_at_once_is_swept_there_at_once() {
    let mut lone = Lone::start(Limits::DEFAULT, UNIX + Duration::from_secs(100));
    lone.set_peer(&[NEW]);
    lone.sent.clear();
    lone.run_for(Duration::from_secs(5));
    assert!(lone.swept(address(NEW)) > 900);
}

#[test]
fn a_dead_address_costs_no_more_than_one_attempt_s_part() {
    for minutes in 0..12 {
        let mut lone = Lone::start(Limits::DEFAULT, UNIX + Duration::from_secs(60 * minutes));
        lone.set_peer(&[DEAD, &OPEN_ADDRESS.to_string()]); // of two the smaller one is the first
        lone.sent.clear();
        lone.run_for(Duration::from_secs(26));
        assert!(lone.swept(OPEN_ADDRESS) > 300, "minute {minutes}");
    }
}

#[test]
fn an_address_of_another_network_waits_for_its_turn() {
    for minutes in 0..12 {
        let mut lone = Lone::start(Limits::DEFAULT, UNIX + Duration::from_secs(60 * minutes));
        lone.set_peer(&["10.0.0.9:5555", &OPEN_ADDRESS.to_string()]);
        lone.sent.clear();
        lone.run_for(Duration::from_secs(6));
        assert!(lone.swept(OPEN_ADDRESS) > 500, "minute {minutes}");
    }
}

/// What a side that waits has sent within an hour, fan and sweep together, and how many ports of the latter.
fn waited(lone: &mut Lone) -> (usize, usize) {
    lone.sent.clear();
    lone.run_for(Duration::from_secs(3600));
    (lone.sent.len(), lone.swept(OPEN_ADDRESS))
}

#[test]
fn an_hour_of_waiting_costs_what_the_documents_say() {
    let mut lone = Lone::start(Limits::DEFAULT, UNIX);
    let (first, _) = waited(&mut lone);
    assert!((38_000..=46_000).contains(&first), "{first} packets in the first hour");
    let (later, swept) = waited(&mut lone);
    assert!((16_000..=19_000).contains(&later), "{later} packets in the second hour");
    assert!(swept > 9_000, "{swept} ports");
    lone.run_for(Duration::from_secs(86_400));
    let (much_later, _) = waited(&mut lone);
    assert!(much_later.abs_diff(later) <= later / 50, "{later} and {much_later}");
}

#[test]
fn a_machine_that_slept_goes_on_waiting_without_a_burst() {
    let mut lone = Lone::start(Limits::DEFAULT, UNIX);
    lone.run_for(Duration::from_secs(4000));
    lone.now = lone.now.after(Duration::from_secs(8 * 3600));
    lone.sent.clear();
    lone.run_for(Duration::from_secs(10));
    assert!((20..120).contains(&lone.sent.len()), "{} packets", lone.sent.len());
}

#[test]
fn a_candidate_that_is_added_is_tested_and_one_that_is_removed_is_not() {
    let mut lone = Lone::start(Limits::DEFAULT, UNIX);
    let told = Candidate { address: address("[2001:db8::9]:5555"), kind: CandidateKind::Told };
    let now = lone.now;
    lone.puncher.add_candidate(told, now);
    lone.drain();
    let tests = |lone: &Lone| lone.sent.iter().filter(|t| t.pair.remote == told.address).count();
    lone.run_for(Duration::from_secs(60));
    assert!(tests(&lone) > 20);
    assert!(lone.sent.iter().all(|t| t.pair.remote == told.address || t.pair.remote.is_ipv4()));
    let now = lone.now;
    lone.puncher.remove_candidate(told.address, now);
    lone.drain();
    lone.sent.clear();
    lone.run_for(Duration::from_secs(60));
    assert_eq!(tests(&lone), 0);
}
