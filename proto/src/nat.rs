//! What NATs do, in the words of RFC 4787.
//!
//! A NAT is described by three independent behaviours: which outside address a flow gets ([`Mapping`]), who
//! may send back through it ([`Filtering`]), and which outside port is picked ([`PortAssignment`]). The popular
//! names "cone" and "symmetric" each fix more than one of them and are avoided.

/// Decides when two flows from one inside address share one outside address (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mapping {
    /// One outside address for an inside address, whatever the destination.
    EndpointIndependent,
    /// One outside address for each destination IP.
    AddressDependent,
    /// One outside address for each destination IP and port.
    AddressAndPortDependent,
}

/// Decides which outside senders may use a mapping to reach the inside (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filtering {
    /// Anybody who knows the outside address.
    EndpointIndependent,
    /// Only IPs that the inside has sent to.
    AddressDependent,
    /// Only the exact addresses that the inside has sent to.
    AddressAndPortDependent,
}

/// Decides which outside port a new mapping gets (RFC 4787 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortAssignment {
    /// The inside port where it is free for that destination, else a random one.
    Preserving,
    /// The last one used plus a stride.
    Sequential {
        /// Distance between two allocations in a row, in ports.
        stride: u16,
    },
    /// Any port of the range, at random.
    Random,
}
