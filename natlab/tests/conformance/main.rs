//! The model and the kernel give the same answers to the same questions.
//!
//! Side A stands behind the NAT in question, side B is an open host, and a stranger looks on. Each question is
//! asked of the model first; the kernel is then given ample time for what the model says will arrive, and a
//! short time to show what should not.
//!
//! Where both differ from an ideal NAT, they do so equally (see the docs of the kernel's rules): the opening of
//! a full cone lives for the stream timer after the last outgoing packet. Not asked, because there is one inside
//! host: what two of them with one port get (nftables maps them by destination even where the mapping is
//! endpoint-independent); whether an expectation outlives the flow of its request (the kernel keeps it until its
//! collector finds that flow, up to a minute later); and how many flows a packet to the own public address leaves,
//! which the kernel counts for the box itself.

#![cfg(target_os = "linux")]

mod errors;
mod questions;
mod worlds;

use std::time::Duration;

use natlab::kernel::supports;
use natlab::{BoxSpec, LabSpec, NatSpec, Refusal, Translation, UdpTimers, Unsolicited, lab_or_skip};
use pinhole_proto::nat::PortAssignment;

use crate::questions::{
    BLOCK_QUESTIONS, ERROR_QUESTIONS, LIMIT_QUESTIONS, OPENING_QUESTIONS, PORT_QUESTIONS, QUESTIONS,
    Question, TIMER_QUESTIONS,
};
use crate::worlds::{KernelWorld, ModelWorld};

#[test]
fn an_open_host_is_the_same_in_both() {
    compare("an_open_host_is_the_same_in_both", &preset("open"));
}

#[test]
fn a_firewall_is_the_same_in_both() {
    compare("a_firewall_is_the_same_in_both", &preset("firewall"));
}

#[test]
fn a_full_cone_is_the_same_in_both() {
    compare("a_full_cone_is_the_same_in_both", &preset("cone"));
}

#[test]
fn a_home_nat_is_the_same_in_both() {
    compare("a_home_nat_is_the_same_in_both", &preset("home"));
}

#[test]
fn a_carriers_customer_is_the_same_in_both() {
    compare("a_carriers_customer_is_the_same_in_both", &preset("carrier"));
}

#[test]
fn an_address_dependent_filter_is_the_same_in_both() {
    compare("an_address_dependent_filter_is_the_same_in_both", &preset("restricted"));
}

#[test]
fn a_home_nat_that_rejects_is_the_same_in_both() {
    compare("a_home_nat_that_rejects_is_the_same_in_both", &preset("reject"));
}

#[test]
fn a_home_nat_that_accepts_is_the_same_in_both() {
    compare("a_home_nat_that_accepts_is_the_same_in_both", &preset("spoilt"));
}

#[test]
fn sequential_ports_are_the_same_in_both() {
    compare("sequential_ports_are_the_same_in_both", &preset("sequential"));
}

#[test]
fn random_ports_are_the_same_in_both() {
    compare("random_ports_are_the_same_in_both", &preset("random"));
}

#[test]
fn random_ports_at_the_carrier_are_the_same_in_both() {
    compare("random_ports_at_the_carrier_are_the_same_in_both", &preset("carrier-random"));
}

#[test]
fn a_network_without_udp_is_the_same_in_both() {
    compare("a_network_without_udp_is_the_same_in_both", &preset("blocked"));
}

#[test]
fn a_block_of_ports_is_the_same_in_both() {
    // Chance may draw a port of so few twice, or two neighbours: not asked.
    compare_by("a_block_of_ports_is_the_same_in_both", &preset("block"), &[QUESTIONS, BLOCK_QUESTIONS]);
}

#[test]
fn no_preset_that_the_kernel_can_realise_is_left_out() {
    let presets = NatSpec::presets();
    let (realised, refused): (Vec<&NatSpec>, Vec<&NatSpec>) =
        presets.iter().partition(|spec| supports(spec).is_ok());
    let tested_above = [
        "open",
        "firewall",
        "cone",
        "restricted",
        "home",
        "reject",
        "spoilt",
        "carrier",
        "sequential",
        "block",
        "random",
        "carrier-random",
        "blocked",
    ];
    assert_eq!(realised.iter().map(|spec| spec.name()).collect::<Vec<_>>(), tested_above);
    assert_eq!(
        refused.iter().map(|spec| spec.name()).collect::<Vec<_>>(),
        ["cone-random", "restricted-random"]
    );
}

#[test]
fn a_network_that_says_it_passes_no_udp_is_the_same_in_both() {
    let told = one("told", BoxSpec::blocked(Refusal::Told));
    compare("a_network_that_says_it_passes_no_udp_is_the_same_in_both", &told);
}

#[test]
fn a_limit_of_mappings_is_the_same_in_both() {
    let limited = one("limited", BoxSpec::nat(Translation::LINUX).with_max_mappings(2));
    compare_by("a_limit_of_mappings_is_the_same_in_both", &limited, &[LIMIT_QUESTIONS]);
}

#[test]
fn sequential_ports_with_a_stride_are_the_same_in_both() {
    let sequential = Translation { ports: PortAssignment::Sequential { stride: 7 }, ..Translation::LINUX };
    compare("sequential_ports_with_a_stride_are_the_same_in_both", &one("strided", BoxSpec::nat(sequential)));
}

#[test]
fn random_ports_of_a_nat_that_accepts_are_the_same_in_both() {
    let random = Translation { ports: PortAssignment::Random, ..Translation::LINUX };
    let accepting = BoxSpec::nat(random).with_input(Unsolicited::Accept);
    compare("random_ports_of_a_nat_that_accepts_are_the_same_in_both", &one("random-accepting", accepting));
}

#[test]
fn a_hairpin_is_the_same_in_both() {
    let nat = BoxSpec::nat(Translation { hairpin: true, ..Translation::FULL_CONE });
    compare("a_hairpin_is_the_same_in_both", &one("hairpin", nat));
}

#[test]
fn a_firewall_behind_an_accepting_nat_is_the_same_in_both() {
    let nat = BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Accept);
    let chain = NatSpec::new("firewalled", vec![BoxSpec::firewall(), nat]);
    compare("a_firewall_behind_an_accepting_nat_is_the_same_in_both", &chain);
}

#[test]
fn a_full_cone_at_the_carrier_is_the_same_in_both() {
    let boxes = vec![BoxSpec::nat(Translation::LINUX), BoxSpec::nat(Translation::FULL_CONE)];
    compare("a_full_cone_at_the_carrier_is_the_same_in_both", &NatSpec::new("carrier-cone", boxes));
}

#[test]
fn a_user_space_link_changes_no_answer() {
    if lab_or_skip("a_user_space_link_changes_no_answer") {
        compare_in(&preset("home"), &[ERROR_QUESTIONS, QUESTIONS], LabSpec::with_changeable_link);
    }
}

#[test]
fn flows_live_equally_long_in_both() {
    let hasty = one("hasty", BoxSpec::nat(Translation::LINUX).with_timers(HASTY));
    compare_by("flows_live_equally_long_in_both", &hasty, &[TIMER_QUESTIONS]);
}

#[test]
fn openings_live_equally_long_in_both() {
    let hasty = one("hasty", BoxSpec::nat(Translation::FULL_CONE).with_timers(HASTY));
    compare_by("openings_live_equally_long_in_both", &hasty, &[OPENING_QUESTIONS]);
}

/// Timers that a test can wait for.
const HASTY: UdpTimers = UdpTimers { unreplied: Duration::from_secs(1), stream: Duration::from_secs(3) };

fn preset(name: &str) -> NatSpec {
    NatSpec::preset(name).expect("a preset")
}

fn one(name: &str, nat_box: BoxSpec) -> NatSpec {
    NatSpec::new(name, vec![nat_box])
}

fn compare(test_name: &str, spec: &NatSpec) {
    compare_by(test_name, spec, &[ERROR_QUESTIONS, QUESTIONS, PORT_QUESTIONS]);
}

fn compare_by(test_name: &str, spec: &NatSpec, questions: &[&[Question]]) {
    if lab_or_skip(test_name) {
        compare_in(spec, questions, |lab| lab);
    }
}

fn compare_in(spec: &NatSpec, questions: &[&[Question]], with: fn(LabSpec) -> LabSpec) {
    let sides = [spec.clone(), preset("open")];
    let [a, b] = sides.clone();
    let mut kernel = KernelWorld::new(with(LabSpec::new(a, b)));
    for (question, ask) in questions.iter().copied().flatten() {
        let mut model = ModelWorld::new(&sides);
        let foreseen = ask(&mut model);
        kernel.begin(model.arrivals());
        let seen = ask(&mut kernel);
        assert_eq!(foreseen, seen, "model (left) and kernel (right) behind {spec}: {question}?");
    }
}
