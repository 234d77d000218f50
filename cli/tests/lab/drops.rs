//! Networks that pass probes and drop some of the tunnel's packets, and routers that answer for themselves.

use std::time::Duration;

use natlab::{BoxSpec, LabSpec, NatSpec, Side, Translation, spec::Unsolicited};
use pinhole::proto::nat::PortAssignment;

use crate::{
    ground::{Ground, between},
    page::{WEB_PORT, Web, fetch_page},
};

#[test]
fn a_network_that_drops_what_is_marked_carries_a_tunnel() {
    carries_in_spite_of("a_network_that_drops_what_is_marked_carries_a_tunnel", "ip ecn != not-ect");
}

/// A router of this kernel sees in one packet what left in one call. Real ones do not, but devices lose it as well.
#[test]
fn a_network_that_drops_what_leaves_in_one_call_carries_a_tunnel() {
    carries_in_spite_of("a_network_that_drops_what_leaves_in_one_call_carries_a_tunnel", "ip length > 1500");
}

/// Chance decides, and no seed rules this kernel's ports. The first 20 s leave out 3 in 100 (docs/nat.md has the shares), the
/// first window of UTC after them fewer than 1 in 200: as long as two windows is what a test can rely on.
const BY_CHANCE: Duration = Duration::from_secs(2 * 360);

#[test]
fn a_random_nat_is_met_where_both_routers_answer_for_themselves() {
    let test = "a_random_nat_is_met_where_both_routers_answer_for_themselves";
    let random = Translation::LINUX.with_ports(PortAssignment::Random);
    for input in [Unsolicited::Reject, Unsolicited::Accept] {
        let [a, b] = [Translation::LINUX, random]
            .map(|ports| NatSpec::new("answering", vec![BoxSpec::nat(ports).with_input(input)]));
        let Some(ground) = Ground::or_skip(test, LabSpec::new(a, b)) else { return };
        let _web = Web::start(&ground);
        let _both = ground.connect_within(BY_CHANCE, WEB_PORT);
        fetch_page(&ground);
    }
}

/// Has a router between the two sides drop what matches, and a page come through.
fn carries_in_spite_of(test: &str, dropped: &str) {
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let rules = format!(
        "add table ip drops; add chain ip drops way {{ type filter hook forward priority 0; }}; \
         add rule ip drops way {dropped} drop"
    );
    let router = ground.lab.side(Side::A).internet();
    let loaded = router.command("nft").arg(rules).status().expect("nft runs");
    assert!(loaded.success(), "the rule is loaded");
    let _web = Web::start(&ground);
    let _both = ground.connect(WEB_PORT);
    fetch_page(&ground);
}
