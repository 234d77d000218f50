//! Many connections at once, on one thread.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout, timeout_at},
};

use super::wire::{Tally, Wish};

/// Descriptors for ten thousand connections, each end twice in one process.
const DESCRIPTORS: u64 = 65_536;

/// Connections that are being made at the same time: a listener's queue is finite.
const AT_ONCE: usize = 64;

/// Bytes of the answer to one request.
const REPLY_BYTES: u64 = 1000;

/// Longest wait for a connection to be made, and for a silence within one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Buffer of each stream.
const SHARE_BYTES: usize = 64 << 10;

/// Asks for as many descriptors as a crowd needs, or as there may be.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted =
        Rlimit { current: Some(DESCRIPTORS), maximum: limit.maximum.map(|most| most.max(DESCRIPTORS)) };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        // Not allowed to have more than the bound: as many as that.
        let _as_before = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// Runs a future on a runtime of one thread.
pub(super) fn block_on<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Makes one connection after the other for so long, each with one request and its answer, so many of them at once.
///
/// Returns how many were answered, how many failed, the nanoseconds that all took, and the 50th and the 99th percentile of
/// the nanoseconds of one.
pub(super) fn requests(to: SocketAddr, time: Duration, at_once: usize) -> io::Result<[u64; 5]> {
    raise_descriptors();
    block_on(async {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..at_once {
            clients.spawn(async move {
                let (mut nanos, mut failed) = (Vec::new(), 0);
                while begun.elapsed() < time {
                    let start = Instant::now();
                    match timeout(PATIENCE, request(to)).await {
                        Ok(Ok(REPLY_BYTES)) => nanos.push(start.elapsed().as_nanos() as u64),
                        _no_answer => failed += 1,
                    }
                }
                (nanos, failed)
            });
        }
        let (mut nanos, mut failed) = (Vec::new(), 0);
        for (answered, not) in clients.join_all().await {
            nanos.extend(answered);
            failed += not;
        }
        let took = begun.elapsed().as_nanos() as u64;
        nanos.sort_unstable();
        let at = |percent: usize| {
            nanos.get(nanos.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
        };
        Ok([nanos.len() as u64, failed, took, at(50), at(99)])
    })
}

/// Returns the bytes of the answer.
async fn request(to: SocketAddr) -> io::Result<u64> {
    let mut tcp = TcpStream::connect(to).await?;
    tcp.set_nodelay(true)?;
    tcp.write_all(&Wish::Reply { bytes: REPLY_BYTES }.to_bytes()).await?;
    let mut total = 0;
    let mut buffer = [0; 4096];
    loop {
        match tcp.read(&mut buffer).await? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

/// Makes so many connections, says so, holds them for a while, and then receives from all of them for so long.
pub(super) fn streams(
    from: SocketAddr,
    count: usize,
    hold: Duration,
    time: Duration,
    skip: Duration,
) -> io::Result<Tally> {
    raise_descriptors();
    block_on(async {
        let begun = Instant::now();
        let streams = gather(from, count, time).await?;
        println!("{} {}", streams.len(), begun.elapsed().as_nanos());
        sleep(hold).await;
        if time.is_zero() {
            return Ok(Tally::default());
        }
        receive(streams, skip, time).await
    })
}

async fn gather(from: SocketAddr, count: usize, time: Duration) -> io::Result<Vec<TcpStream>> {
    let mut made = Vec::with_capacity(count);
    let mut making = JoinSet::new();
    while made.len() < count {
        while making.len() < AT_ONCE && made.len() + making.len() < count {
            making.spawn(timeout(PATIENCE, connect(from, time + PATIENCE)));
        }
        if let Some(joined) = making.join_next().await {
            made.push(joined.map_err(io::Error::other)???);
        }
    }
    Ok(made)
}

/// Makes a connection; it stands when the service has said its byte.
async fn connect(from: SocketAddr, time: Duration) -> io::Result<TcpStream> {
    let mut tcp = TcpStream::connect(from).await?;
    tcp.set_nodelay(true)?;
    tcp.write_all(&Wish::Wait { time }.to_bytes()).await?;
    tcp.read_exact(&mut [0]).await?;
    Ok(tcp)
}

/// Counts what comes from all streams between `skip` and `time`; what is under way then is cut off.
async fn receive(streams: Vec<TcpStream>, skip: Duration, time: Duration) -> io::Result<Tally> {
    let begun = Instant::now();
    let mut receiving = JoinSet::new();
    for mut tcp in streams {
        receiving.spawn(async move {
            tcp.write_all(b"!").await?;
            let (mut total, mut counted) = (0, 0);
            let mut buffer = vec![0; SHARE_BYTES];
            let until = tokio::time::Instant::from_std(begun + time);
            while let Ok(count) = timeout_at(until, tcp.read(&mut buffer)).await {
                let count = count? as u64;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                total += count;
                counted += if begun.elapsed() >= skip { count } else { 0 };
            }
            Ok::<_, io::Error>((total, counted))
        });
    }
    let mut tally = Tally { nanos: (time - skip).as_nanos() as u64, ..Tally::default() };
    while let Some(joined) = receiving.join_next().await {
        let (total, counted) = joined.map_err(io::Error::other)??;
        tally.total_bytes += total;
        tally.bytes += counted;
    }
    Ok(tally)
}
