//! What a running endpoint does, for whoever asks: a [`Snapshot`].
//!
//! 1. Every event is noted as it is told (`book`).
//! 2. Forwards count connections and bytes (`meter`).
//! 3. While connections are open, a task takes a sample each second, for graphs (`rates`). At rest nothing runs.
//! 4. [`Status::snapshot`] puts it all together, with what QUIC and path liveness know at that moment.
//!
//! Nothing of it is waited for by anything that carries bytes, and a [`Status`] keeps nothing of its endpoint alive.

mod book;
mod compose;
mod ledger;
mod meter;
mod rates;
pub mod snapshot;

pub use self::{
    book::{HISTORY, TROUBLES},
    compose::Status,
    rates::{RATE_SECONDS, RING_SECONDS},
    snapshot::Snapshot,
};
pub(crate) use self::{
    ledger::Ledger,
    meter::{Carried, Meter},
};
