//! A simulation of whole sessions: two programs without their tasks and sockets, in a virtual network and time.
//!
//! Each host runs the program's own session, its routes over sockets of the virtual network, and the QUIC state machine
//! with the program's own settings. One stream in each direction carries bytes that are checked one by one. What must
//! always hold is held after every event ([`world`]); what happens comes from a seed ([`plan`], [`op`]).

mod app;
mod host;
mod hub;
mod op;
mod plan;
mod program;
mod quic;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "what the program has public, or uses itself")]
mod tunnel;
mod weather;
mod world;

pub(crate) use self::{
    op::{Op, Sides},
    plan::{Outcome, Plan},
    world::{Promise, Setting, World},
};
