//! This machine itself does not let datagrams out for a while.

use std::{
    thread,
    time::{Duration, Instant},
};

use natlab::Side;

use crate::{
    ground::{Ground, between},
    page::{WEB_PORT, Web, fetch_page},
    program::PATIENCE,
};

/// Datagrams that are refused before the way is open again.
const REFUSED: u64 = 5;

/// How often is looked how many there are.
const LOOK: Duration = Duration::from_millis(10);

#[test]
fn an_own_firewall_that_refuses_for_a_while_costs_time_and_no_tunnel() {
    let test = "an_own_firewall_that_refuses_for_a_while_costs_time_and_no_tunnel";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    // A drop on the way out is EPERM for whoever sends.
    let refuse = "nft 'add table ip refusal; add chain ip refusal out { type filter hook output priority 0; }; \
                  add rule ip refusal out udp dport 5555 counter drop'";
    let count = |ground: &Ground| number_behind(&shell(ground, "nft list table ip refusal"), "packets");
    outlives(&ground, refuse, count, "nft delete table ip refusal");
}

#[test]
fn a_way_that_is_gone_for_a_while_costs_time_and_no_tunnel() {
    let test = "a_way_that_is_gone_for_a_while_costs_time_and_no_tunnel";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let peer = ground.lab.side(Side::A).public_ip();
    // ENETUNREACH for whoever sends; the kernel counts that as OutNoRoutes.
    let count = |ground: &Ground| {
        let snmp = shell(ground, "grep ^Ip: /proc/net/snmp");
        let (names, numbers) = snmp.split_once('\n').expect("two lines");
        let mut both = names.split_whitespace().zip(numbers.split_whitespace());
        both.find(|(name, _)| *name == "OutNoRoutes").and_then(|(_, n)| n.parse().ok()).expect("a number")
    };
    let [refuse, allow] = ["add", "del"].map(|verb| format!("ip route {verb} throw {peer}/32"));
    outlives(&ground, &refuse, count, &allow);
}

/// A page that is asked for while nothing can leave host B comes when it can, through the same tunnel.
fn outlives(ground: &Ground, refuse: &str, count: impl Fn(&Ground) -> u64, allow: &str) {
    let _web = Web::start(ground);
    let (serve, open) = ground.connect(WEB_PORT);
    fetch_page(ground);
    shell(ground, refuse);
    let before = count(ground);
    thread::scope(|scope| {
        let fetching = scope.spawn(|| fetch_page(ground));
        let until = Instant::now() + PATIENCE;
        while count(ground) < before + REFUSED {
            assert!(Instant::now() < until, "nothing is refused");
            thread::sleep(LOOK);
        }
        assert!(!fetching.is_finished(), "nothing came through");
        shell(ground, allow);
    });
    for run in [open, serve] {
        let ended = run.interrupt();
        assert_eq!(ended.stderr.matches("tunnel up").count(), 1, "{}", ended.stderr);
        assert!(!ended.stderr.contains("lost"), "{}", ended.stderr);
    }
}

/// Has a shell of host B do something; returns what it prints.
fn shell(ground: &Ground, script: &str) -> String {
    let output = ground.lab.host(Side::B).command("sh").args(["-c", script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Returns the number behind a word.
fn number_behind(text: &str, word: &str) -> u64 {
    let mut words = text.split_whitespace().skip_while(|other| *other != word);
    words.nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
