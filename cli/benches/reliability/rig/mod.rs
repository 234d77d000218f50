//! One connection through a tunnel, and what happens to it when the network, the clock or a program fails.
//!
//! The life of a trial ([`trial`]): a laboratory with the program on both hosts ([`stage`], [`program`]), one TCP
//! connection through the tunnel on which both ends talk all the time, or rest ([`talk`]), the fault ([`fault`]), its end,
//! and the wait until bytes flow again. All trials there are stand in [`rows`]. A program that dies is another matter
//! ([`death`]).

pub(crate) mod clock;
pub(crate) mod crew;
pub(crate) mod death;
pub(crate) mod fault;
pub(crate) mod pattern;
#[expect(dead_code, reason = "other benches use more of it")]
#[path = "../../rig/program.rs"]
pub(crate) mod program;
pub(crate) mod rows;
pub(crate) mod stage;
pub(crate) mod talk;
pub(crate) mod trial;
