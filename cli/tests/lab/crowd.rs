//! A thousand connections at once over a bad road.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use natlab::{LinkSpec, Side};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::ground::{Ground, LOCAL_PORT, between, note};

/// TCP port of the echo service on host A.
const ECHO_PORT: u16 = 7000;

const CONNECTIONS: usize = 1000;

/// Written or compared at a time, bytes.
const BLOCK: usize = 16 << 10;

/// A service that expects a crowd lets more than the usual 128 connections wait to be accepted.
const BACKLOG: i32 = 4096;

/// Most blocks of a connection, in each direction: 1 MiB.
const MOST_BLOCKS: usize = 64;

const PATIENCE: Duration = Duration::from_secs(180);

/// What one end of the tunnel may hold at its peak: 1,000 streams with a few blocks each, and the send window.
const MOST_MEMORY_KIB: u64 = 512 << 10;

#[test]
fn a_thousand_connections_at_once_each_get_their_own_bytes_back_over_a_bad_road() {
    a_crowd_converses("a_thousand_connections_at_once_each_get_their_own_bytes_back_over_a_bad_road", 1);
}

#[test]
fn a_thousand_connections_at_once_carry_a_mebibyte_each_way() {
    a_crowd_converses("a_thousand_connections_at_once_carry_a_mebibyte_each_way", MOST_BLOCKS);
}

fn a_crowd_converses(test: &str, blocks: usize) {
    let road = LinkSpec {
        delay: Duration::from_millis(5),
        loss: 0.01,
        reorder: 0.01,
        duplicate: 0.01,
        ..LinkSpec::default()
    };
    let Some(ground) = Ground::or_skip(test, between("home", "home").with_link(road)) else { return };
    allow_descriptors();
    start_echo(ground.listen(Side::A, ECHO_PORT));
    let (serve, open) = ground.connect(ECHO_PORT);

    let begun = Instant::now();
    let right = ground.lab.host(Side::B).enter(|| crowd(blocks)).expect("entered");
    let took = begun.elapsed();

    let peaks = [&serve, &open].map(|run| run.peak_kib());
    note(&format!(
        "{right} of {CONNECTIONS} connections right in {:.1} s ({:.0} Mbit/s each way), peak memory {} and {} MiB",
        took.as_secs_f64(),
        (right * blocks * BLOCK) as f64 * 8.0 / 1e6 / took.as_secs_f64(),
        peaks[0] >> 10,
        peaks[1] >> 10
    ));
    assert!(peaks.iter().all(|peak| *peak < MOST_MEMORY_KIB), "{peaks:?} KiB");
    for ended in [open.interrupt(), serve.interrupt()] {
        assert_eq!(right, CONNECTIONS, "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("tunnel up").count(), 1, "{}", ended.stderr);
    }
}

/// Returns how many connections got every byte back in time.
fn crowd(blocks: usize) -> usize {
    on_one_thread(async {
        let bytes = Arc::new(Bytes::new());
        let mut connections = JoinSet::new();
        for number in 0..CONNECTIONS {
            connections.spawn(tokio::time::timeout(PATIENCE, converse(number, blocks, bytes.clone())));
        }
        let mut right = 0;
        while let Some(done) = connections.join_next().await {
            match done.expect("no panic") {
                Ok(Ok(())) => right += 1,
                Ok(Err(error)) => note(&format!("a connection failed: {error}")),
                Err(_) => note("a connection took too long"),
            }
        }
        right
    })
}

/// Sends this connection's bytes, and checks each that comes back.
async fn converse(number: usize, blocks: usize, bytes: Arc<Bytes>) -> io::Result<()> {
    let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, LOCAL_PORT)).await?;
    let (mut reader, mut writer) = tcp.split();
    let sending = async {
        for block in 0..blocks {
            writer.write_all(bytes.block(number, block)).await?;
        }
        writer.shutdown().await
    };
    let checking = async {
        let mut got = vec![0; BLOCK];
        for block in 0..blocks {
            reader.read_exact(&mut got).await?;
            if got != bytes.block(number, block) {
                return Err(io::Error::other(format!("connection {number} differs in block {block}")));
            }
        }
        match reader.read(&mut got).await? {
            0 => Ok(()),
            _ => Err(io::Error::other(format!("connection {number} got too much"))),
        }
    };
    tokio::try_join!(sending, checking)?;
    Ok(())
}

/// Random bytes, of which each block of each connection is a stretch that begins where no other one does.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new() -> Self {
        let length = (CONNECTIONS * MOST_BLOCKS + BLOCK) as u64;
        Self(
            (0..length)
                .map(|at| (at.wrapping_mul(at | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
                .collect(),
        )
    }

    fn block(&self, connection: usize, block: usize) -> &[u8] {
        &self.0[connection * MOST_BLOCKS + block..][..BLOCK]
    }
}

/// Sends back whatever comes, on a thread of its own, until the test process ends.
fn start_echo(listener: TcpListener) {
    listener.set_nonblocking(true).expect("settable");
    socket2::SockRef::from(&listener).listen(BACKLOG).expect("already listening");
    thread::spawn(move || {
        on_one_thread(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((mut tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = tcp.split();
                    let _reset = tokio::io::copy(&mut reader, &mut writer).await;
                    writer.shutdown().await
                });
            }
        });
    });
}

fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// Both ends of a thousand connections are in this process; the usual limit is 1,024 descriptors.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("up to the maximum is allowed");
}
