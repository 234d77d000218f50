//! The rules of the report, checked by `cargo test --bench matrix`.

use natlab::NatSpec;
use pinhole_proto::puncher::Method;

use crate::{
    cell::{Cell, Half, Kind, Run},
    kernel, map, marks, model, table, verdict, wording, worlds,
};

/// Checks every rule.
///
/// # Panics
/// When one does not hold.
pub(crate) fn check() {
    a_cell_without_runs_is_shown_as_dashes();
    a_failed_run_counts_as_later_than_every_other();
    failures_never_disappear_by_rounding();
    promises_not_kept_are_told_with_their_seeds();
    a_document_keeps_what_stands_outside_the_marks();
    a_world_is_the_same_each_time_and_another_one_for_another_pair();
    results_come_in_order_whatever_the_threads_do();
    sent_datagrams_are_read_from_the_line_of_udp();
}

fn a_cell_without_runs_is_shown_as_dashes() {
    let half = half(&["home", "random", "blocked"], &[]);
    assert_eq!(table::short(&half.cells[0]), table::NONE);
    assert_eq!(table::Figures::of(&half.cells[0]).methods, table::NONE);
    assert_eq!(verdict::findings(&half), Vec::<String>::new());
    assert!(table::matrix(&half).lines().count() == 4 && table::markdown(&half).lines().count() == 5);
    assert!(table::details(&half).contains("| home | random | – | – |"));
    assert!(map::svg(&half).ends_with("</svg>\n"));
    let nothing = Half { presets: Vec::new(), cells: Vec::new(), ..half };
    assert!(map::svg(&nothing).ends_with("</svg>\n") && table::markdown(&nothing).lines().count() == 2);
}

fn a_failed_run_counts_as_later_than_every_other() {
    let cell = cell("home", "random", &[Some(2.0), None, Some(1.0), Some(3.0)]);
    assert_eq!((cell.seconds(0.5), cell.seconds(0.75), cell.seconds(0.95)), (Some(2.0), Some(3.0), None));
    assert_eq!(cell.success(), Some(0.75));
}

fn failures_never_disappear_by_rounding() {
    assert_eq!(wording::percent(0.9999, 0), "99 %");
    assert_eq!(wording::percent(0.0001, 0), "1 %");
    assert_eq!([wording::percent(1.0, 2), wording::percent(0.0, 0)], ["100 %", "0 %"]);
    assert_eq!(wording::percent(0.995, 2), "99.50 %");
}

fn promises_not_kept_are_told_with_their_seeds() {
    let told = |serve, open, seconds: &[Option<f64>]| {
        let cells = vec![cell(serve, open, seconds)];
        verdict::findings(&Half { cells, ..half(&[], &[]) }).join("\n")
    };
    assert!(told("home", "home", &[Some(0.1), None]).starts_with("! home × home: 1 of 2 runs connect"));
    assert!(told("home", "home", &[Some(0.1), None]).contains("--seed 1"));
    assert!(told("random", "blocked", &[None, Some(1.0)]).contains("none should; --seed 1"));
    assert!(told("random", "random", &[None, Some(1.0)]).starts_with("~ random × random: 1 of 2"));
    assert!(told("random", "random", &[Some(1.0); 3]).starts_with("! random × random: 3 of 3"));
    assert!(told("home", "random", &[None, None, None]).starts_with("! home × random"));
    assert_eq!(told("home", "random", &[Some(1.0); 40]), "");
    assert!(told("home", "random", &[Some(11.0); 40]).starts_with("~ home × random: p95 11.0 s"));
}

fn a_document_keeps_what_stands_outside_the_marks() {
    let text = "before\n<!-- x -->\nold\n<!-- /x -->\nafter\n";
    let new = marks::replaced(text, "x", "new\n");
    assert_eq!(new.as_deref(), Some("before\n<!-- x -->\nnew\n<!-- /x -->\nafter\n"));
    assert!(marks::replaced("nothing", "x", "new").is_none());
}

fn a_world_is_the_same_each_time_and_another_one_for_another_pair() {
    let [home, random] = ["home", "random"].map(preset);
    let world = |serve, open, seed| format!("{:?}", worlds::punch(serve, open, seed));
    assert_eq!(world(&home, &random, 3), world(&home, &random, 3));
    let delay = |serve, open| worlds::punch(serve, open, 3).link.delay;
    assert_ne!(delay(&home, &random), delay(&random, &home));
    let late = (0..8).map(|seed| worlds::punch(&home, &home, seed).starts.map(|start| start.as_secs_f64()));
    let mut late: Vec<f64> = late.map(|[serve, open]| serve - open).collect();
    late.sort_by(f64::total_cmp);
    assert_eq!(late, [-31.0, -7.0, -1.5, 0.0, 0.0, 1.5, 7.0, 31.0]);
}

fn results_come_in_order_whatever_the_threads_do() {
    let mut told = Vec::new();
    let results = model::in_order(50, 4, |index| index * 2, |done| told.push(done.len()));
    assert!(results.iter().copied().eq((0..50).map(|index| index * 2)));
    assert!(told.iter().copied().eq(1..=50));
}

fn sent_datagrams_are_read_from_the_line_of_udp() {
    let snmp = "Tcp: OutDatagrams\nTcp: 9\nUdp: InDatagrams NoPorts OutDatagrams\nUdp: 7 0 12\n";
    assert_eq!(kernel::sent_datagrams(snmp), Some(12));
    assert_eq!(kernel::sent_datagrams(""), None);
}

fn preset(name: &str) -> NatSpec {
    name.parse().expect("a preset")
}

fn half(names: &[&str], seconds: &[Option<f64>]) -> Half {
    let cells = names.iter().flat_map(|serve| names.iter().map(|open| cell(serve, open, seconds))).collect();
    let presets = names.iter().map(|name| preset(name)).collect();
    Half { kind: Kind::Model, setting: String::new(), presets, cells }
}

fn cell(serve: &str, open: &str, seconds: &[Option<f64>]) -> Cell {
    let run = |(seed, seconds): (u64, &Option<f64>)| Run {
        seed,
        seconds: *seconds,
        method: Some(Method::Base),
        packets: 10,
        packets_in_a_second: Some(5),
        flow_peak: 1,
    };
    Cell { serve: preset(serve), open: preset(open), runs: (0..).zip(seconds).map(run).collect() }
}
