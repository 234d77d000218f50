//! STUN: what a server sees of our NAT (RFC 5780 §4.3, §4.4). The server is a third party: it is asked only when the
//! user names it, learns our public address, and that something here looks at its NAT.
//!
//! 1. *Mapping*: from the main port to the server's first address, to its second IP, to its second IP and port. Where
//!    the outside address changes, the mapping depends on that.
//! 2. *Filtering*: from a new port to its first address alone; the answer is to come from the second one, or from the
//!    second port. Whether it arrives tells whom the filter lets in.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use pinhole_proto::nat::{Filtering, Mapping, Reach};
use stun_types::message::TransactionId;
use tokio::{
    net::{UdpSocket, lookup_host},
    time::{Instant, timeout_at},
};

mod message;

use self::message::{Answer, CHANGE_IP, CHANGE_PORT, answer, request};
use crate::endpoint::source_toward;

/// Port of STUN servers (RFC 8489 §8).
const PORT: u16 = 3478;

/// Requests for one answer, and the time for each: three of RFC 8489's seven.
const TRIES: u32 = 3;
const ANSWER: Duration = Duration::from_millis(500);

/// Longest answer that is looked at, bytes.
const MAX_ANSWER_BYTES: usize = 548;

/// The mapping of this side as a STUN server has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StunSeen {
    /// The server's address.
    pub server: SocketAddr,
    /// The address that was asked from, as this machine knows it.
    pub inside: SocketAddr,
    /// The same as the server sees it.
    pub outside: SocketAddr,
    /// When two flows share an outside address; `None` where the server has just one address.
    pub mapping: Option<Mapping>,
    /// Who may send back; `None` where the server has just one address.
    pub filtering: Option<Filtering>,
}

/// The reason why a STUN server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum StunError {
    /// No such name, or no IPv4 address.
    #[error("the STUN server's name {0:?} does not resolve to an IPv4 address")]
    Unresolved(String),
    /// No answer.
    #[error("the STUN server {0} does not answer")]
    Silent(SocketAddr),
    /// A socket cannot be had.
    #[error("no socket for STUN: {0}")]
    Socket(#[from] io::Error),
}

/// Asks a STUN server what it sees, from the main port. The host may have a port behind a colon.
///
/// # Errors
///
/// When the server cannot be found or does not answer.
pub async fn ask_stun(main: SocketAddr, host: &str) -> Result<StunSeen, StunError> {
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:{PORT}") };
    let unresolved = || StunError::Unresolved(host.to_owned());
    let mut found = lookup_host(with_port).await.map_err(|_| unresolved())?;
    let server = found.find(SocketAddr::is_ipv4).ok_or_else(unresolved)?;
    let socket = UdpSocket::bind(main).await?;
    let first = ask(&socket, server, 0).await?.ok_or(StunError::Silent(server))?;
    let inside = SocketAddr::new(own_ip(main.ip(), server), socket.local_addr()?.port());
    // A server must not send us anywhere: its other address is of the kind that its first one is.
    let is_likely = |other: &SocketAddr| {
        other.is_ipv4()
            && other.port() != 0
            && Reach::of(other.ip()) == Reach::of(server.ip())
            && other.ip() != server.ip()
    };
    let mut seen = StunSeen { server, inside, outside: first.mapped, mapping: None, filtering: None };
    if let Some(other) = first.other.filter(is_likely) {
        seen.mapping = mapping(&socket, server, other, first.mapped).await?;
        seen.filtering = Some(filtering(main.ip(), server).await?);
    }
    Ok(seen)
}

fn own_ip(bind: IpAddr, server: SocketAddr) -> IpAddr {
    if bind.is_unspecified() { source_toward(server).unwrap_or(bind) } else { bind }
}

async fn mapping(
    socket: &UdpSocket,
    server: SocketAddr,
    other: SocketAddr,
    first: SocketAddr,
) -> io::Result<Option<Mapping>> {
    let Some(second) = ask(socket, SocketAddr::new(other.ip(), server.port()), 0).await? else {
        return Ok(None);
    };
    if second.mapped == first {
        return Ok(Some(Mapping::EndpointIndependent));
    }
    let third = ask(socket, other, 0).await?;
    Ok(third.map(|third| {
        if third.mapped == second.mapped {
            Mapping::AddressDependent
        } else {
            Mapping::AddressAndPortDependent
        }
    }))
}

/// From a socket that has sent to the server's first address alone.
async fn filtering(bind: IpAddr, server: SocketAddr) -> io::Result<Filtering> {
    let socket = UdpSocket::bind((bind, 0)).await?;
    ask(&socket, server, 0).await?;
    if ask(&socket, server, CHANGE_IP | CHANGE_PORT).await?.is_some() {
        return Ok(Filtering::EndpointIndependent);
    }
    Ok(match ask(&socket, server, CHANGE_PORT).await? {
        Some(_) => Filtering::AddressDependent,
        None => Filtering::AddressAndPortDependent,
    })
}

/// Asks once more where nothing comes; `None` at the end of all tries.
async fn ask(socket: &UdpSocket, to: SocketAddr, change: u8) -> io::Result<Option<Answer>> {
    for _ in 0..TRIES {
        let transaction = TransactionId::generate();
        socket.send_to(&request(transaction, change), to).await?;
        let until = Instant::now() + ANSWER;
        let mut buffer = [0; MAX_ANSWER_BYTES];
        // ICMP errors about former requests come as errors of reading, and say nothing here.
        while let Ok(read) = timeout_at(until, socket.recv_from(&mut buffer)).await {
            let answer = read.ok().and_then(|(length, _)| answer(&buffer[..length], transaction));
            if answer.is_some() {
                return Ok(answer);
            }
        }
    }
    Ok(None)
}
