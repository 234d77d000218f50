//! The status of a running endpoint, for who asks: a [`Snapshot`].
//!
//! 1. Every event is recorded as it is reported (`history`).
//! 2. Forwards count connections and bytes (`meter`).
//! 3. While connections are open, a task takes a sample each second, for graphs (`rates`). At rest nothing runs.
//! 4. [`Status::snapshot`] puts it all together, with what QUIC and path liveness know at that moment.
//!
//! Nothing of it is waited for by anything that carries bytes, and a [`Status`] keeps nothing of its endpoint alive.

mod compose;
mod history;
mod meter;
mod rates;
mod recorder;
pub mod snapshot;

pub use self::{
    compose::Status,
    history::{HISTORY, TROUBLES},
    rates::{RATE_SECONDS, RING_SECONDS},
    snapshot::Snapshot,
};
pub(crate) use self::{
    meter::{Carried, Meter},
    recorder::Recorder,
};
