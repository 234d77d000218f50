//! The program through real NATs of this kernel, with the clients and servers that people use.
//!
//! Needs root and nftables; skips loudly without. The tests take turns, because some measure times and one needs
//! the whole machine.

#![cfg(target_os = "linux")]

mod check;
#[cfg(feature = "classic")]
mod classic;
mod compress;
mod crowd;
mod drops;
mod first_use;
mod flow;
mod ground;
mod late;
mod page;
mod pairs;
mod pictures;
#[expect(dead_code, reason = "the tests of the command line use more of it")]
#[path = "../cli/program.rs"]
mod program;
mod punch;
mod refused;
mod returns;
#[path = "../../benches/reliability/rig/mod.rs"]
mod rig;
mod services;
mod ssh;
mod stranger;
mod survives;
mod vnc;
