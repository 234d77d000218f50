//! A simulation of whole sessions: two programs without their tasks and sockets, in a virtual network and time.
//!
//! Each host runs the program's own session, its routes over sockets of the virtual network, and the QUIC state machine
//! with the program's own settings. One stream in each direction carries bytes that are checked one by one. What must
//! always hold is held after every event (`judge`); what happens comes from a seed (`plan`, `op`).

#![allow(missing_docs, reason = "it serves tests alone; the names of faults and counters say what they are")]

mod app;
mod host;
mod judge;
mod mux;
mod op;
mod plan;
mod program;
pub mod quic;
mod weather;
mod world;

pub use self::{
    judge::Promise,
    op::{Op, Sides},
    plan::{Outcome, Plan},
    world::{Setting, World},
};
