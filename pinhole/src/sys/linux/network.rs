//! Notices that something has changed in this machine's network: an interface, an address, a route.
//!
//! The kernel reports it (rtnetlink(7)); what has changed is not read, since the driver looks by itself. Where a sandbox
//! forbids such sockets, changes are noticed by what they do to the path.

use std::io;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, socket_with};
use tokio::net::UdpSocket;

/// Links, IPv4 addresses and IPv4 routes: `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV4_ROUTE` of rtnetlink(7).
const GROUPS: u32 = 0x1 | 0x10 | 0x40;

/// Messages read in a row before the runtime gets its turn.
const READS: usize = 64;

/// Waits for changes.
#[derive(Debug)]
pub(crate) struct Network {
    socket: Option<UdpSocket>,
}

impl Network {
    /// Begins to watch, if the system lets it.
    pub(crate) fn watch() -> Self {
        let opened =
            open().inspect_err(|error| tracing::debug!(%error, "changes of the network are not told"));
        Self { socket: opened.ok() }
    }

    /// Waits until something has changed; for ever where the kernel does not tell.
    pub(crate) async fn changed(&mut self) {
        if let Some(socket) = &self.socket {
            match read(socket).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "changes of the network are no longer told");
                    self.socket = None;
                }
            }
        }
        std::future::pending().await
    }
}

/// Opens a socket of the kernel's messages: one of datagrams like any other, as far as reading goes.
fn open() -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // The protocol's number is 0, NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    UdpSocket::from_std(socket.into())
}

/// Waits for messages and throws them away.
async fn read(socket: &UdpSocket) -> io::Result<()> {
    socket.readable().await?;
    // Longer messages are cut off.
    let mut message = [0; 64];
    for _ in 0..READS {
        match socket.try_recv(&mut message) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Messages were lost: there were some.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
