//! What every system can do: nothing here asks for more than the standard library and tokio have.
//!
//! What is lost by that is said at each item.

use std::{
    io,
    net::{IpAddr, UdpSocket},
};

use tokio::net::TcpStream;

use crate::check::{Clock, Gateway};

/// Changes of this machine's network, which nobody reports: they are noticed by what they do to the path, some seconds later.
#[derive(Debug)]
pub(crate) struct Network;

impl Network {
    /// Watches nothing.
    pub(crate) fn watch() -> Self {
        Self
    }

    /// Waits for ever.
    pub(crate) async fn changed(&mut self) {
        std::future::pending().await
    }
}

/// Whether no socket of this machine has that UDP port: never certain here. The end of a peer on this very machine
/// that said no goodbye is noticed when its next run proves itself, or when patience ends.
pub(crate) fn is_closed(_port: u16, _own: u16) -> bool {
    false
}

/// What the system says of its clock: nothing. A check cannot tell whether something keeps it right.
pub(crate) fn clock() -> Clock {
    Clock::Unknown
}

/// Names and addresses of interfaces: none. A check shows the address that it sends from alone.
pub(crate) fn addresses() -> Vec<(String, IpAddr)> {
    Vec::new()
}

/// The default gateway: not known. A check does not show it.
pub(crate) fn gateway() -> Option<Gateway> {
    None
}

/// Whether a network of this machine leads to an address: not known. A search that does not succeed says less.
pub(crate) fn leads_to(_ip: IpAddr) -> Option<bool> {
    None
}

/// The largest packet without fragments: not known. A tunnel finds it out by trying (RFC 8899), up to that of Ethernet.
pub(crate) fn mtu(_connected: &UdpSocket) -> Option<u32> {
    None
}

/// Leaves TCP within this machine as it is.
pub(crate) fn pace_nothing(_tcp: &TcpStream) -> io::Result<()> {
    Ok(())
}
