//! The program as its user meets it: what is typed, what is said, and how it ends. Loopback only, no privileges.
//!
//! stdout is the product, stderr is talk; each refusal is a sentence that names the way out; the exit status is
//! 0 for done, 1 for no path, 2 for wrong use or something that cannot be had.

#![cfg(target_os = "linux")] // all of 127.0.0.0/8 is this machine's without being asked for

mod check;
#[cfg(feature = "classic")]
mod classic;
mod config;
mod demo;
mod faults;
mod first_use;
mod grammar;
mod hostile;
mod independent;
mod keys;
mod loopback;
mod manual;
mod offered;
mod peer_cache;
mod pipe;
mod ports;
#[expect(dead_code, reason = "the laboratory's tests use more of it")]
mod program;
mod refusals;
#[path = "../../benches/rig"]
mod rig {
    #[expect(dead_code, reason = "the benches use more of it")]
    pub(crate) mod program;
}
mod search;
mod service;
mod status;
mod tunnels;
mod waiting;
