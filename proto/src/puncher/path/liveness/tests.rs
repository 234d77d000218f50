//! Paths of a virtual clock that live, die, sleep and carry a tunnel.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// The liveness of a path, its clock, and what it did.
struct Watch {
    liveness: PathLiveness,
    keepalive: Keepalive,
    began: Instant,
    now: Instant,
    traffic: Traffic,
    tokens: u64,
    /// Tests, counted from the beginning.
    tests: Vec<Duration>,
    dead_at: Option<Duration>,
    /// Whether the budget has room for a test.
    has_room: bool,
}

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "a starting point for the virtual clock")]
    fn new(rtt: Duration) -> Self {
        let began = Instant::now();
        Self {
            liveness: PathLiveness::new(Role::Open, rtt, Traffic::default(), began),
            keepalive: Keepalive::default(),
            began,
            now: began,
            traffic: Traffic::default(),
            tokens: 0,
            tests: Vec::new(),
            dead_at: None,
            has_room: true,
        }
    }

    /// Runs; acks arrive after `rtt` if there is one.
    fn run_for(&mut self, time: Duration, rtt: Option<Duration>) {
        let until = self.now + time;
        let mut acks: VecDeque<(Instant, u64)> = VecDeque::new();
        while self.dead_at.is_none() {
            let ack_at = acks.front().map(|(at, _)| *at);
            let next = ack_at.map_or(self.liveness.deadline(), |at| at.min(self.liveness.deadline()));
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if ack_at == Some(next)
                && let Some((_, token)) = acks.pop_front()
            {
                if let Some((_, Some(silence))) = self.liveness.handle_ack(token, &self.keepalive, self.now) {
                    self.keepalive.handle_answer(silence, self.now);
                }
                continue;
            }
            self.liveness.handle_traffic(self.traffic, &self.keepalive, self.now);
            match self.liveness.poll(&self.keepalive, self.now) {
                Action::None => {}
                Action::Test if !self.has_room => self.liveness.handle_refused(self.now),
                Action::Test => {
                    self.tokens += 1;
                    self.tests.push(self.now - self.began);
                    acks.extend(rtt.map(|rtt| (self.now + rtt, self.tokens)));
                    self.liveness.handle_sent(self.tokens, &self.keepalive, self.now);
                }
                Action::Dead { .. } => self.dead_at = Some(self.now - self.began),
            }
        }
        self.now = until.max(self.now);
    }

    fn send(&mut self) {
        self.traffic.sent += 1;
        self.liveness.handle_traffic(self.traffic, &self.keepalive, self.now);
    }
}

#[test]
fn a_dead_path_is_noticed_within_two_seconds_while_data_waits() {
    for rtt in [1, 40, 300].map(|ms| ms * MS) {
        let mut watch = Watch::new(rtt);
        watch.run_for(Duration::from_secs(100), Some(rtt));
        let (sent_at, tests) = (watch.now - watch.began, watch.tests.len());
        watch.send();
        watch.run_for(Duration::from_secs(30), None);
        let noticed = watch.dead_at.expect("noticed") - sent_at;
        assert!(noticed <= Duration::from_secs(2) || noticed <= rtt * 14, "{rtt:?}: {noticed:?}");
        assert!(watch.tests.len() - tests >= TESTS as usize, "{:?}", watch.tests);
    }
}

#[test]
fn tests_that_could_not_leave_do_not_end_a_path() {
    let mut watch = Watch::new(40 * MS);
    watch.run_for(Duration::from_secs(60), Some(40 * MS));
    watch.has_room = false;
    watch.send();
    watch.run_for(Duration::from_secs(60), Some(40 * MS));
    watch.has_room = true;
    watch.run_for(Duration::from_secs(60), Some(40 * MS));
    assert_eq!(watch.dead_at, None);
}

#[test]
fn a_transfer_that_is_cut_is_noticed_by_the_side_that_only_receives() {
    let mut watch = Watch::new(40 * MS);
    for _ in 0..10 {
        watch.traffic.received += 1;
        watch.run_for(100 * MS, None);
    }
    let cut = watch.now - watch.began;
    watch.run_for(Duration::from_secs(30), None);
    let noticed = watch.dead_at.expect("noticed") - cut;
    assert!(noticed <= Duration::from_secs(3), "{noticed:?}");
}

#[test]
fn tests_become_rare_while_nothing_moves() {
    let mut watch = Watch::new(40 * MS);
    watch.run_for(Duration::from_secs(60), Some(40 * MS));
    let whole: Vec<u64> = watch.tests.iter().map(Duration::as_secs).collect();
    assert_eq!(whole, [1, 2, 3, 4, 7, 10, 16, 24, 36, 51]);
    watch.tests.clear();
    watch.run_for(Duration::from_secs(24 * 3600), Some(40 * MS));
    let last_hour = watch.tests.iter().filter(|at| **at > Duration::from_secs(23 * 3600)).count();
    assert!((60..=62).contains(&last_hour), "{last_hour} in the last hour");
    assert_eq!(watch.dead_at, None);
}

#[test]
fn a_word_that_crosses_the_first_one_after_a_rest_does_not_end_the_rest_that_the_peer_sees() {
    let mut watch = Watch::new(40 * MS);
    watch.run_for(Duration::from_secs(60), Some(40 * MS));
    let calm = watch.liveness.calm;
    watch.send();
    watch.now += 10 * MS;
    watch.liveness.handle_heard(&watch.keepalive, watch.now);
    assert_eq!(watch.liveness.calm, calm);
    let cut = watch.now - watch.began;
    watch.run_for(Duration::from_secs(30), None);
    assert!(watch.dead_at.expect("noticed") - cut <= Duration::from_secs(2), "{:?}", watch.dead_at);
}

#[test]
fn whoever_has_slept_asks_before_it_judges() {
    let mut watch = Watch::new(40 * MS);
    watch.send();
    watch.now += Duration::from_secs(600);
    let tests = watch.tests.len();
    assert_eq!(watch.liveness.poll(&watch.keepalive, watch.now), Action::Test);
    watch.run_for(Duration::from_secs(1), Some(40 * MS));
    assert!(watch.dead_at.is_none() && watch.tests.len() >= tests);
}

#[test]
fn an_answer_that_was_read_after_a_sleep_is_no_measure_of_a_round_trip_and_no_sign_of_life() {
    let mut watch = Watch::new(40 * MS);
    watch.send();
    watch.run_for(400 * MS, None);
    let token = watch.tokens;
    assert!(token > 0);
    watch.now += Duration::from_secs(90);
    assert!(watch.liveness.handle_ack(token, &watch.keepalive, watch.now).is_none());
    let awake = watch.now - watch.began;
    watch.send();
    watch.run_for(Duration::from_secs(30), None);
    let noticed = watch.dead_at.expect("noticed") - awake;
    assert!(noticed <= Duration::from_secs(4), "{noticed:?}");
}

#[test]
fn a_busy_path_is_not_tested() {
    let mut watch = Watch::new(40 * MS);
    for _ in 0..1000 {
        watch.traffic.sent += 5;
        watch.traffic.received += 5;
        watch.run_for(50 * MS, None);
    }
    assert!(watch.tests.is_empty() && watch.dead_at.is_none());
}
