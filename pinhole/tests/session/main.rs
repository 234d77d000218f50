//! Whole sessions through random faults, in virtual time.
#![cfg(target_os = "linux")]

mod bulk;
mod idle;
mod keys;
mod moves;
mod random;
mod sleep;
mod slow;
