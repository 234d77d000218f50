//! How fast it is, beside its peers: `cargo bench --bench speed` (root, iproute2, ethtool, OpenSSH, socat).
//!
//! Everything runs in two network namespaces of the laboratory ([`ground`]): a service on one host, a client on the
//! other, both this program in another role ([`role`]), and between them in turn the kernel's TCP, the ceiling program,
//! ssh, dumbpipe and pinhole ([`peers`]). Each part of the report ([`sections`]) measures all peers round by round, A B C
//! A B C, so that whatever else the machine does hits all alike; figures are medians, and ratios are taken within one
//! run. With `--write` all of it goes into docs/benchmarks.md ([`document`]).
//!
//! `cargo test --bench speed` checks the rules of the report ([`rules`]).

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bars;
mod congestion;
mod document;
mod figures;
mod ground;
#[path = "../matrix/machine.rs"]
#[expect(dead_code, reason = "`matrix` names nftables too")]
mod machine;
#[path = "../matrix/marks.rs"]
mod marks;
mod measure;
mod options;
mod peers;
mod plot;
#[expect(dead_code, reason = "other benches use more of it")]
#[path = "../rig/program.rs"]
mod program;
mod role;
mod rules;
mod running;
mod sections;
mod table;

use std::process::ExitCode;

use clap::Parser;
use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(role) = &options.role {
        return role::play(role);
    }
    if !options.bench {
        rules::check();
        println!("the report's rules hold; `cargo bench --bench speed` measures");
        return ExitCode::SUCCESS;
    }
    if let Err(missing) = natlab::available() {
        println!("SKIPPED: {missing}");
        return ExitCode::SUCCESS;
    }
    // The programs inherit it.
    role::crowd::raise_descriptors();
    match sections::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("speed: {why}");
            ExitCode::FAILURE
        }
    }
}
