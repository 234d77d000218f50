//! The model and the kernel give the same answers to the same questions.
//!
//! Side A stands behind the NAT in question, side B is an open host, and a stranger looks on. Each question is
//! asked of the model first; the kernel is then given ample time for what the model says will arrive, and a
//! short time to show what should not.
//!
//! Where both differ from an ideal NAT, they do so equally (see the docs of the kernel's rules): the opening of
//! a full cone lives for the stream timer after the last outgoing packet. Not asked, because there is one inside
//! host: what two of them with one port get (nftables maps them by destination even where the mapping is
//! endpoint-independent); and how many flows a packet to the own public address leaves, which the kernel counts
//! for the box itself.

#![cfg(target_os = "linux")]

mod questions;
mod worlds;

use std::time::Duration;

use natlab::{BoxSpec, LabSpec, NatSpec, Translation, UdpTimers, Unsolicited, lab_or_skip};
use pinhole_proto::nat::{Filtering, Mapping, PortAssignment};

use crate::questions::{OPENING_QUESTIONS, QUESTIONS, Question, TIMER_QUESTIONS};
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
fn no_preset_is_left_out() {
    let names: Vec<String> = NatSpec::presets().iter().map(NatSpec::to_string).collect();
    assert_eq!(names, ["open", "firewall", "cone", "home", "carrier"], "each has a test above");
}

#[test]
fn a_home_nat_that_accepts_is_the_same_in_both() {
    let accepting = BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Accept);
    compare("a_home_nat_that_accepts_is_the_same_in_both", &one("accepting", accepting));
}

#[test]
fn a_home_nat_that_rejects_is_the_same_in_both() {
    let rejecting = BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Reject);
    compare("a_home_nat_that_rejects_is_the_same_in_both", &one("rejecting", rejecting));
}

#[test]
fn sequential_ports_with_a_stride_are_the_same_in_both() {
    let sequential = Translation { ports: PortAssignment::Sequential { stride: 7 }, ..Translation::LINUX };
    compare("sequential_ports_with_a_stride_are_the_same_in_both", &one("strided", BoxSpec::nat(sequential)));
}

#[test]
fn random_ports_are_the_same_in_both() {
    let random = Translation { ports: PortAssignment::Random, ..Translation::LINUX };
    compare("random_ports_are_the_same_in_both", &one("random", BoxSpec::nat(random)));
}

#[test]
fn random_ports_of_a_nat_that_accepts_are_the_same_in_both() {
    let random = Translation { ports: PortAssignment::Random, ..Translation::LINUX };
    let accepting = BoxSpec::nat(random).with_input(Unsolicited::Accept);
    compare("random_ports_of_a_nat_that_accepts_are_the_same_in_both", &one("random-accepting", accepting));
}

#[test]
fn sequential_ports_are_the_same_in_both() {
    let sequential = Translation { ports: PortAssignment::Sequential { stride: 1 }, ..Translation::LINUX };
    compare("sequential_ports_are_the_same_in_both", &one("sequential", BoxSpec::nat(sequential)));
}

#[test]
fn an_address_dependent_filter_is_the_same_in_both() {
    let filtering = Filtering::AddressDependent;
    let nat = Translation { mapping: Mapping::EndpointIndependent, filtering, ..Translation::LINUX };
    compare("an_address_dependent_filter_is_the_same_in_both", &one("by-address", BoxSpec::nat(nat)));
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
        compare_in(&preset("home"), QUESTIONS, LabSpec::with_changeable_link);
    }
}

#[test]
fn flows_live_equally_long_in_both() {
    let hasty = one("hasty", BoxSpec::nat(Translation::LINUX).with_timers(HASTY));
    compare_by("flows_live_equally_long_in_both", &hasty, TIMER_QUESTIONS);
}

#[test]
fn openings_live_equally_long_in_both() {
    let hasty = one("hasty", BoxSpec::nat(Translation::FULL_CONE).with_timers(HASTY));
    compare_by("openings_live_equally_long_in_both", &hasty, OPENING_QUESTIONS);
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
    compare_by(test_name, spec, QUESTIONS);
}

fn compare_by(test_name: &str, spec: &NatSpec, questions: &[Question]) {
    if lab_or_skip(test_name) {
        compare_in(spec, questions, |lab| lab);
    }
}

fn compare_in(spec: &NatSpec, questions: &[Question], with: fn(LabSpec) -> LabSpec) {
    let sides = [spec.clone(), preset("open")];
    let [a, b] = sides.clone();
    let mut kernel = KernelWorld::new(with(LabSpec::new(a, b)));
    for (question, ask) in questions {
        let mut model = ModelWorld::new(&sides);
        let foreseen = ask(&mut model);
        kernel.begin(model.arrivals());
        let seen = ask(&mut kernel);
        assert_eq!(foreseen, seen, "model (left) and kernel (right) behind {spec}: {question}?");
    }
}
