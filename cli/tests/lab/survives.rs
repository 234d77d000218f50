//! One connection through the tunnel, and all that goes wrong under it: it goes on, byte for byte.
//!
//! One trial of each kind of the benchmark `reliability`, all at once: they mostly wait.

use std::{
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use natlab::{Side, skip};

use crate::{
    ground::{Ground, between, note},
    rig::{
        clock, crew,
        death::Death,
        fault::Fault,
        rows::{Load, Trouble, rows},
        talk::{Pace, Talk},
        trial::{Case, Outcome},
    },
};

/// How many times the bar a stall may last on a busy machine, and the least that is allowed.
const SLACK: u32 = 2;
const LEAST: Duration = Duration::from_secs(10);

/// 100 kbit/s, because many talk at once, in packets as large as the road takes.
const PACE: Pace = Pace { chunk_bytes: 1400, every: Duration::from_millis(112) };

/// How often is looked whether bytes flow.
const LOOK: Duration = Duration::from_millis(20);

/// Trials at once.
const AT_ONCE: usize = 48;

#[test]
fn the_conversation_itself_notices_what_is_lost_added_or_cut() {
    let (client, service) = connected();
    let talk = Talk::start(&client, &service, PACE).expect("both ends can talk");
    let begun = Instant::now();
    while !talk.flows_since(begun, Duration::from_millis(300), Duration::from_secs(1)) {
        thread::sleep(LOOK);
    }
    assert_eq!(talk.finish(), Ok(()));

    let (client, service) = connected();
    let talk = Talk::start(&client, &service, PACE).expect("both ends can talk");
    (&client).write_all(b"nobody said this").expect("writable");
    let why = talk.finish().expect_err("bytes were added");
    assert!(why.starts_with("toward the service: byte"), "{why}");

    let (client, service) = connected();
    let talk = Talk::start(&client, &service, PACE).expect("both ends can talk");
    service.shutdown(Shutdown::Write).expect("open");
    while !talk.is_broken() {
        thread::sleep(LOOK);
    }
    assert!(talk.finish().is_err(), "one end was cut");
}

#[test]
fn a_connection_survives_what_happens_to_routers_addresses_roads_and_machines() {
    let test = "a_connection_survives_what_happens_to_routers_addresses_roads_and_machines";
    let Some(_ground) = Ground::or_skip(test, between("open", "open")) else { return };
    let cases = cases();
    let mut failed = Vec::new();
    crew::work(&cases, AT_ONCE, run, |index, outcome| {
        let case = &cases[index];
        let title = format!("{}, {:?}, {:?} ({})", case.row.name, case.pair, case.load, case.row.what);
        let (line, said) = match outcome {
            Err(why) => (format!("{title}: not done: {why}"), Vec::new()),
            Ok(outcome) => {
                let figures = format!(
                    "{title}: stall {:.1} s, {:.1} s from the fault",
                    outcome.stall.as_secs_f64(),
                    outcome.from_fault.as_secs_f64()
                );
                if is_well(case, &outcome) {
                    return note(&figures);
                }
                match outcome.continued {
                    Ok(()) => (figures, outcome.said),
                    Err(why) => (format!("{figures}: {why}"), outcome.said),
                }
            }
        };
        note(&format!("FAILED {line}"));
        failed.push(format!("{line}\n    {}", said.join("\n    ")));
    });
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Tries a case. Where a side gets a new address right after it was found by a sweep, there may be no room for another
/// sweep: the first one counts in the budget for five minutes. Such a case has a second try.
fn run(case: &Case) -> Result<Outcome, String> {
    let first = case.run(PACE);
    let may_lack_room =
        matches!(case.row.trouble, Trouble::Fault(Fault::NewPublicIp(_))) && case.pair.contains(&"random");
    if !may_lack_room || first.as_ref().is_ok_and(|outcome| is_well(case, outcome)) {
        return first;
    }
    note(&format!("once more: {}, {:?}", case.row.name, case.pair));
    case.run(PACE)
}

fn is_well(case: &Case, outcome: &Outcome) -> bool {
    case.is_met_by(outcome, SLACK, LEAST)
}

/// Every row once between two routers of the usual kind, or the first that it has; those that lose the path also with a
/// NAT that picks ports at random, and with one that refuses for it.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = rows().into_iter().flat_map(|row| row.cases()).filter(is_tried).collect();
    cases.sort_by_key(|case| std::cmp::Reverse(case.row.lasts));
    cases
}

fn is_tried(case: &Case) -> bool {
    let is_first = case.pair == case.row.pairs[0];
    let loses_path = matches!(
        case.row.trouble,
        Trouble::Fault(Fault::Reboots([Side::A, Side::B]) | Fault::NewPublicIp(_) | Fault::Link(_))
            | Trouble::Death(Death::Killed(Side::A))
    );
    let is_random = loses_path && case.pair == ["home", "random"] && case.load == Load::Busy;
    let is_refused = matches!(case.row.trouble, Trouble::Fault(Fault::NewPublicIpUntold(_)))
        && case.pair.contains(&"spoilt")
        && case.pair.contains(&"random");
    is_first && clock_can_jump(case) || is_random || is_refused
}

/// Whether the clock of the case can jump here; says so when it cannot.
fn clock_can_jump(case: &Case) -> bool {
    if case.row.clock().is_none() || clock::is_available() {
        return true;
    }
    skip(case.row.name, "there is no libfaketime; install the package faketime");
    false
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    (client, listener.accept().expect("one client").0)
}
