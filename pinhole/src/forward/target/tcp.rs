//! A TCP service.

use std::{
    io::{Error, ErrorKind, Result},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::TcpStream;

use super::Unresolved;

/// Connects to a port, of this machine without a host.
pub(super) async fn connect(host: Option<&str>, port: u16) -> Result<TcpStream> {
    let Some(host) = host else {
        return match TcpStream::connect(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).await {
            // Some services listen on ::1 alone.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let second = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
                TcpStream::connect(second).await.map_err(|_| error)
            }
            result => result,
        };
    };
    let found = tokio::net::lookup_host((host, port)).await;
    let mut failure = Error::new(ErrorKind::NotFound, Unresolved);
    for address in found.into_iter().flatten() {
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
