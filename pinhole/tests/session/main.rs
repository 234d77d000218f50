//! Whole sessions through random faults, in virtual time.
#![cfg(target_os = "linux")]

mod bulk;
mod idle;
mod keys;
mod moves;
mod random;
#[allow(dead_code, unused_imports, reason = "the benchmark uses the rest")]
mod sim;
mod sleep;
mod slow;
