//! The routers next to us on the way to an address: datagrams that die at the first hop, the second, and so on.
//!
//! Each has a socket of its own, so that an error belongs to one TTL however little of the datagram it quotes. They
//! are of the kind that nobody answers ([`classify`](pinhole_proto::probe::classify) calls it noise), and no larger
//! than a probe. No privileges are needed (ip(7), `IP_RECVERR`). Systems without that queue see no router.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use pinhole_proto::{
    probe::PROBE_BYTES,
    puncher::{IcmpKind, SocketId},
};
use tokio::{io::Interest, task::JoinSet, time::timeout};

use super::link::Link;
use crate::bind::BindError;

/// Routers that are looked for. The own NATs are nearer than that, a carrier's among them.
pub const HOPS: u8 = 8;

/// Time between two TTLs: routers limit how often they report.
const GAP: Duration = Duration::from_millis(15);

/// Datagrams for each TTL, one after the other while none is answered, and the time for an answer.
const TRIES: u32 = 3;
const ANSWER: Duration = Duration::from_millis(300);

/// One hop on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The TTL of the datagram that ended there.
    pub ttl: u8,
    /// Who said so; `None` where nobody did.
    pub router: Option<IpAddr>,
    /// What it said; a router on the way says `TtlExceeded`.
    pub kind: Option<IcmpKind>,
}

/// Looks for the first routers on the way to an address, up to that address if it is so near.
///
/// # Errors
///
/// When a socket cannot be had.
pub async fn hops(bind: IpAddr, to: SocketAddr) -> Result<Vec<Hop>, BindError> {
    let mut looks = JoinSet::new();
    for ttl in 1..=HOPS {
        let socket = Link::bind_udp(SocketId(ttl.into()), SocketAddr::new(bind, 0))?;
        socket.subscribe_icmp(true);
        looks.spawn(look(socket, to, ttl));
    }
    let mut hops = looks.join_all().await;
    hops.sort_unstable_by_key(|hop| hop.ttl);
    let arrived = hops.iter().position(|hop| hop.router == Some(to.ip()));
    hops.truncate(arrived.map_or(hops.len(), |index| index + 1));
    let heard = hops.iter().rposition(|hop| hop.router.is_some());
    hops.truncate(heard.map_or(0, |index| index + 1));
    Ok(hops)
}

async fn look(link: Link, to: SocketAddr, ttl: u8) -> Hop {
    tokio::time::sleep(GAP * u32::from(ttl)).await;
    for _ in 0..TRIES {
        if let Err(error) = link.send_now(to, &[0; PROBE_BYTES], Some(ttl)) {
            tracing::debug!(%error, ttl, "not sent");
        }
        if let Ok(Ok((router, kind))) = timeout(ANSWER, icmp_error(&link)).await {
            return Hop { ttl, router: Some(router), kind: Some(kind) };
        }
    }
    Hop { ttl, router: None, kind: None }
}

async fn icmp_error(link: &Link) -> io::Result<(IpAddr, IcmpKind)> {
    loop {
        link.ready(Interest::ERROR).await?;
        match link.take_icmp() {
            Ok(Some(arrival)) => return Ok((arrival.offender, arrival.kind)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
