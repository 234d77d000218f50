//! A laboratory of NATs: one description, two realisations.
//!
//! A [`NatSpec`] describes one side's chain of boxes from the host to the internet. It can be realised
//!
//! - as a [`model`]: an in-process network with a virtual clock and a seed, for thousands of runs a second;
//! - as a [`Lab`]: real Linux network namespaces with nftables, for real programs and real sockets.
//!
//! `tests/conformance/` makes the same observations in both and demands equal answers; what a realisation
//! cannot do as an ideal NAT would is said where it is built ([`mod@kernel`] for nftables).
//!
//! Between the two sides lies a link. Its delay, jitter, loss, reordering, duplication and rate are one
//! [`LinkSpec`], applied by one machine ([`Way`]) in both realisations.

pub mod addresses;
pub mod chance;
#[cfg(target_os = "linux")]
pub mod kernel;
pub mod link;
pub mod model;
pub mod punch;
pub mod spec;

pub use addresses::{STRANGER_IPS, public_ip};
#[cfg(target_os = "linux")]
pub use kernel::{Lab, LabError, LabSpec, available, lab_or_skip, skip, sweep_leftovers};
pub use link::{LinkSpec, Way, WayStats};
pub use model::{Arrival, Delivery, IcmpError, IcmpKind, Network, Place};
pub use spec::{
    BoxKind, BoxSpec, NatSpec, Refusal, Side, Translation, UdpTimers, UnknownPreset, Unsolicited,
};
