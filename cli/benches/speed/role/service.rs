//! The service at the end of every tunnel.
//!
//! Whoever wants the whole machine gets a thread; the many that want little share one.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{
    crowd,
    text::tell,
    wire::{REQUEST_BYTES, Tally, Wish, give, material},
};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// One write of each of many streams.
const SHARE_BYTES: usize = 64 << 10;

static MATERIAL: LazyLock<Arc<[u8]>> = LazyLock::new(|| material().into());

/// Answers whoever connects until the process ends.
pub(super) fn serve(at: SocketAddr) -> io::Result<()> {
    crowd::raise_descriptors();
    crowd::block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        let listener = socket.listen(BACKLOG)?;
        println!("ready");
        loop {
            let (tcp, _from) = listener.accept().await?;
            tokio::spawn(async {
                // A client that ends early is none of the service's business; the client's figures tell.
                let _cut_off = answer(tcp).await;
            });
        }
    })
}

async fn answer(mut tcp: TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut request = [0; REQUEST_BYTES];
    tcp.read_exact(&mut request).await?;
    match Wish::from_bytes(request).ok_or(io::ErrorKind::InvalidData)? {
        Wish::Echo => on_a_thread(tcp, echo),
        Wish::Take { skip } => on_a_thread(tcp, move |mut tcp| {
            let tally = Tally::take(tcp, skip, None)?;
            tally.write(tcp)?;
            tcp.shutdown(Shutdown::Write)?;
            tcp.read(&mut [0]).map(drop)
        }),
        Wish::Give { time } => on_a_thread(tcp, move |mut tcp| {
            give(tcp, time)?;
            // Whoever leaves first must not cut off what is still under way.
            tcp.read(&mut [0]).map(drop)
        }),
        Wish::Tell { text, time } => on_a_thread(tcp, move |mut tcp| {
            tell(tcp, text, time)?;
            tcp.read(&mut [0]).map(drop)
        }),
        Wish::Reply { bytes } => reply(tcp, bytes).await,
        Wish::Wait { time } => wait(tcp, time).await,
    }
}

fn on_a_thread(
    tcp: TcpStream,
    work: impl FnOnce(&std::net::TcpStream) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let tcp = tcp.into_std()?;
    tcp.set_nonblocking(false)?;
    thread::Builder::new().spawn(move || work(&tcp)).map(drop)
}

fn echo(mut tcp: &std::net::TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = tcp.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        tcp.write_all(&buffer[..count])?;
    }
}

async fn reply(mut tcp: TcpStream, bytes: u64) -> io::Result<()> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(MATERIAL.len());
    tcp.write_all(&MATERIAL[..bytes]).await?;
    tcp.shutdown().await?;
    tcp.read(&mut [0]).await.map(drop)
}

async fn wait(mut tcp: TcpStream, time: Duration) -> io::Result<()> {
    tcp.write_all(b"!").await?;
    if tcp.read(&mut [0]).await? == 0 {
        return Ok(());
    }
    let until = Instant::now() + time;
    let mut shares = MATERIAL.chunks(SHARE_BYTES).cycle();
    while Instant::now() < until {
        tcp.write_all(shares.next().unwrap_or_default()).await?;
    }
    tcp.shutdown().await?;
    tcp.read(&mut [0]).await.map(drop)
}
