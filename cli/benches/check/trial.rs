//! One check between two NATs of the kernel.

use std::{process::Command, time::Duration};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side};
use pinhole::proto::survey::{Agreement, Seen};
use serde_json::Value;

use crate::program::{KEY, Program, text};

/// One-way delay of the link.
const DELAY: Duration = Duration::from_millis(20);

/// How one pair went.
pub(crate) enum Cell {
    /// Nothing can connect the two.
    NoPath,
    /// How far what was said of each side is right.
    Judged([(Agreement, Seen); 2]),
    /// The two did not meet, or something else went wrong.
    Failed(String),
}

impl Cell {
    pub(crate) fn in_words(&self) -> String {
        match self {
            Cell::NoPath => "no path".into(),
            Cell::Judged(sides) => {
                let side = |(agreement, seen): &(Agreement, Seen)| match agreement {
                    Agreement::Whole => "whole".to_owned(),
                    Agreement::Partial => format!("in part {seen:?}"),
                    Agreement::None => format!("WRONG {seen:?}"),
                };
                format!("{}, {}", side(&sides[0]), side(&sides[1]))
            }
            Cell::Failed(why) => format!("failed: {why}"),
        }
    }
}

/// Lets the two sides check; A serves, B opens.
pub(crate) fn run(serve: &NatSpec, open: &NatSpec, show: bool) -> Result<Cell, String> {
    let spec = LabSpec::new(serve.clone(), open.clone()).with_link(LinkSpec::delayed(DELAY));
    let lab = Lab::build(spec).map_err(|error| error.to_string())?;
    let ends = Side::BOTH.map(|side| start(&lab, side, show));
    let [serves, opens] = ends.map(|end| end.and_then(finish));
    let (serves, opens) = (serves?, opens?);
    if show {
        println!("=== {serve} (serve) × {open} (open)\n--- serve\n{serves}\n--- open\n{opens}");
        return Ok(Cell::Failed("shown, not judged".into()));
    }
    let [by_serve, by_open] = [seen(&serves)?, seen(&opens)?];
    if by_serve[0] != by_open[1] || by_serve[1] != by_open[0] {
        return Err("the two reports differ".into());
    }
    let judged = |seen: Seen, truth: &NatSpec| (seen.agreement(truth.access()), seen);
    Ok(Cell::Judged([judged(by_serve[0], serve), judged(by_open[0], open)]))
}

fn start(lab: &Lab, side: Side, show: bool) -> Result<Program, String> {
    let peer = lab.side(side.other()).public_ip().to_string();
    let mut command: Command = lab.host(side).command(env!("CARGO_BIN_EXE_pinhole"));
    command.args(["check", &peer, "--wait", "60", "--as", ["serve", "open"][side.index()]]);
    if !show {
        command.args(["--transfer", "0", "--json"]);
    }
    command.env("PINHOLE_KEY", KEY).env("HOME", "/nonexistent");
    Program::start(command)
}

/// Waits for the end, which `--wait` and the check's own bounds bring in any case.
fn finish(mut program: Program) -> Result<String, String> {
    program.ends().map(text)
}

/// Reads what a report says of its own side and of the peer's.
fn seen(report: &str) -> Result<[Seen; 2], String> {
    let line = report.lines().rfind(|line| line.starts_with('{'));
    let value: Value =
        line.and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| report.to_owned())?;
    let side = |name: &str| {
        serde_json::from_value(value["pair"]["nats"][name].clone()).map_err(|_| value["sentence"].to_string())
    };
    Ok([side("own")?, side("peer")?])
}
