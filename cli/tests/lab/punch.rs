//! The whole engine through real NATs: each kind against those that are hardest for it, in both orders and with
//! different starts, and nobody asks too much of a router.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side, kernel};
use pinhole::proto::nat::{Verdict, punchable};

use crate::{
    ground::{Ground, between, note},
    program::{KEY, Run, isolate},
};

/// Time from the later start by which a pair that can be connected is.
const DEADLINE: Duration = Duration::from_secs(20);

/// A birthday needs luck: so many pairs of a hundred may take a second round, 300 s later.
const UNLUCKY_PERCENT: usize = 3;

/// Flows of one NAT that the program may cause.
const MAX_FLOWS: usize = 1536;

/// Pairs that are tried at the same time: they mostly wait.
const AT_ONCE: usize = 3;

/// How often flows are counted.
const LOOK: Duration = Duration::from_millis(100);

/// Those that everybody is tried against.
const AGAINST: [&str; 3] = ["home", "spoilt", "random"];

#[test]
fn every_pair_that_can_be_connected_is() {
    let Some(_ground) = Ground::or_skip("every_pair_that_can_be_connected_is", between("open", "open"))
    else {
        return;
    };
    let cells = cells();
    let next = AtomicUsize::new(0);
    let tried: Vec<Tried> = thread::scope(|scope| {
        let work = || {
            std::iter::from_fn(|| cells.get(next.fetch_add(1, Ordering::Relaxed)))
                .map(try_cell)
                .collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a pair is tried")).collect()
    });
    for one in &tried {
        note(&one.what);
        assert!(one.flows <= MAX_FLOWS, "too many flows: {}", one.what);
        assert!(one.connected || one.verdict == Verdict::ByChance, "not connected: {}", one.what);
    }
    let by_chance = tried.iter().filter(|one| one.verdict == Verdict::ByChance);
    let unlucky = by_chance.clone().filter(|one| !one.connected).count();
    assert!(unlucky * 100 <= by_chance.count() * UNLUCKY_PERCENT + 100, "{unlucky} had no luck");
}

#[test]
fn a_side_whose_router_lets_no_udp_out_says_so_and_the_other_one_what_may_be() {
    let test = "a_side_whose_router_lets_no_udp_out_says_so_and_the_other_one_what_may_be";
    let Some(ground) = Ground::or_skip(test, between("blocked", "home")) else { return };
    let [blocked, other] = gave_up(&ground);
    assert!(blocked.contains("answers, but nothing behind it does"), "{blocked}");
    assert!(other.contains("a firewall on its side blocks UDP"), "{other}");
}

#[test]
fn two_unpredictable_nats_are_told_what_helps() {
    let test = "two_unpredictable_nats_are_told_what_helps";
    let Some(ground) = Ground::or_skip(test, between("random", "random")) else { return };
    for said in gave_up(&ground) {
        assert!(said.contains("both routers give each connection an unpredictable port"), "{said}");
        assert!(said.contains("forward the UDP port"), "{said}");
    }
}

/// How long two sides try: five rounds of a search take 22 s on an idle machine.
const TRIES: Duration = Duration::from_secs(34);

/// Lets both sides try for a while and returns what they say at the end.
fn gave_up(ground: &Ground) -> [String; 2] {
    let tries = |mut command: std::process::Command| {
        command.args(["--wait", &TRIES.as_secs().to_string(), "--json"]);
        Run::start(command)
    };
    let runs = [tries(ground.serve(9)), tries(ground.open())];
    runs.map(|run| {
        let ended = run.ends_within(TRIES + Duration::from_secs(20));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stdout.contains(r#""event":"gave_up""#), "{}", ended.stdout);
        ended.stderr
    })
}

struct Cell {
    sides: [NatSpec; 2],
    starts: [Duration; 2],
}

struct Tried {
    what: String,
    verdict: Verdict,
    connected: bool,
    flows: usize,
}

/// All pairs of two presets, one of which is in [`AGAINST`], that can be connected.
fn cells() -> Vec<Cell> {
    let presets = NatSpec::presets().into_iter().filter(|spec| kernel::supports(spec).is_ok());
    let presets: Vec<NatSpec> = presets.collect();
    let mut cells = Vec::new();
    for a in &presets {
        for b in &presets {
            let is_tried = AGAINST.contains(&a.name()) || AGAINST.contains(&b.name());
            if is_tried && !matches!(punchable(a.access(), b.access()), Verdict::No(_)) {
                let late = Duration::from_millis([0, 1500, 7000][cells.len() % 3]);
                let starts =
                    if cells.len() % 2 == 0 { [Duration::ZERO, late] } else { [late, Duration::ZERO] };
                cells.push(Cell { sides: [a.clone(), b.clone()], starts });
            }
        }
    }
    cells
}

fn try_cell(cell: &Cell) -> Tried {
    let [a, b] = &cell.sides;
    let link = LinkSpec::delayed(Duration::from_millis(20));
    let lab =
        Lab::build(LabSpec::new(a.clone(), b.clone()).with_link(link)).expect("the laboratory is built");
    let began = Instant::now();
    let mut runs: [Option<Run>; 2] = [None, None];
    let mut flows = 0;
    let end = cell.starts[0].max(cell.starts[1]) + DEADLINE;
    let mut punched = [None, None];
    while began.elapsed() < end && punched.iter().any(Option::is_none) {
        for side in Side::BOTH {
            let index = side.index();
            if runs[index].is_none() && began.elapsed() >= cell.starts[index] {
                runs[index] = Some(Run::start(program(&lab, side)));
            }
            if punched[index].is_none() {
                let line = runs[index].as_mut().and_then(|run| run.has_printed(r#""event":"punched""#));
                punched[index] = line.map(|line| (began.elapsed(), line));
            }
        }
        flows = flows.max(most_flows(&lab));
        thread::sleep(LOOK);
    }
    flows = flows.max(most_flows(&lab));
    let connected = punched.iter().all(Option::is_some);
    let later = cell.starts[0].max(cell.starts[1]);
    let after = punched.iter().flatten().map(|(at, _)| at.saturating_sub(later)).max().unwrap_or_default();
    let how = punched[1].as_ref().map_or("", |(_, line)| line.as_str());
    let how = how.split(r#""method":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("-");
    let what = format!(
        "{a} × {b}, starts {:.1} and {:.1} s: connected {connected} after {:.1} s by {how}, {flows} flows",
        cell.starts[0].as_secs_f64(),
        cell.starts[1].as_secs_f64(),
        after.as_secs_f64()
    );
    Tried { what, verdict: punchable(a.access(), b.access()), connected, flows }
}

fn program(lab: &Lab, side: Side) -> std::process::Command {
    let peer = lab.side(side.other()).public_ip().to_string();
    let option = [["-c", "9"], ["-l", "2222"]][side.index()];
    let mut command = lab.host(side).command(env!("CARGO_BIN_EXE_pinhole"));
    isolate(&mut command);
    command.args(option).args([&peer, "--json"]).env("PINHOLE_KEY", KEY);
    command
}

fn most_flows(lab: &Lab) -> usize {
    let boxes = Side::BOTH.into_iter().flat_map(|side| lab.side(side).boxes());
    boxes.map(|nat| nat.conntrack_count().expect("flows are counted")).max().unwrap_or(0)
}
