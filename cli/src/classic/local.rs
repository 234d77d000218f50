//! The local TCP side: a client that may have to wait, or the service.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use pinhole::{
    bind::{BindError, Protocol},
    forward::{OpenSpec, ServeSpec, Target},
};
use pinhole_classic::Classic;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// Clients that wait to be looked at; those of a browser come by the dozen.
const BACKLOG: u32 = 64;

/// Time that a service may take to accept.
const CONNECT: Duration = Duration::from_secs(10);

/// Time that a local program may take to read the last bytes of a session.
const LAST_BYTES: Duration = Duration::from_secs(60);

/// Opens the local port: on loopback, unless told otherwise.
pub(super) fn listen(spec: &OpenSpec) -> Result<TcpListener, BindError> {
    let ip = spec.bind.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
    let address = SocketAddr::new(ip, spec.port);
    let listener = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listener().map_err(|source| BindError::new(Protocol::Tcp, address, source))
}

/// Connects to the service.
pub(super) async fn connect(spec: ServeSpec) -> io::Result<TcpStream> {
    let Target::Tcp { host, port } = spec.target else { return Err(io::ErrorKind::Unsupported.into()) };
    let host = host.as_deref().unwrap_or("localhost");
    tokio::time::timeout(CONNECT, TcpStream::connect((host, port)))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Waits for the next client; for ever where none can come.
pub(super) async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(tcp, _)| tcp),
        None => std::future::pending().await,
    }
}

/// Waits until a connection can be read or written, or is broken; for ever where there is none.
pub(super) async fn ready(connection: Option<&Connection>, reads: bool) -> io::Result<()> {
    match connection {
        Some(connection) => connection.ready(reads).await,
        None => std::future::pending().await,
    }
}

/// One TCP connection with what is on its way in both directions. Dropped, it is reset: a cut connection must not look
/// like a finished one.
pub(super) struct Connection {
    tcp: TcpStream,
    /// Read, and not sent yet.
    read: Vec<u8>,
    has_eof: bool,
    /// Received, and written up to there.
    piece: Vec<u8>,
    written: usize,
}

impl Connection {
    pub(super) fn new(tcp: TcpStream) -> Self {
        for error in [tcp.set_nodelay(true), tcp.set_zero_linger()].into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "TCP option refused");
        }
        Self { tcp, read: Vec::new(), has_eof: false, piece: Vec::new(), written: 0 }
    }

    /// Moves bytes between this and the peer; returns whether there were any.
    pub(super) fn shuttle(&mut self, machine: &mut Classic) -> io::Result<bool> {
        let now = Instant::now();
        self.write()?;
        if !self.is_writing()
            && let Some(piece) = machine.poll_data(now)
        {
            (self.piece, self.written) = (piece, 0);
            return Ok(true);
        }
        let Some(room) = machine.wanted() else { return Ok(false) };
        self.read(room)?;
        let rest = self.read.split_off(room.min(self.read.len()));
        let data = std::mem::replace(&mut self.read, rest);
        if !data.is_empty() {
            machine.send(&data, now);
        } else if self.is_finished() {
            machine.finish(now);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads as much as is there, up to that.
    pub(super) fn read(&mut self, room: usize) -> io::Result<()> {
        while self.read.len() < room && !self.has_eof {
            let start = self.read.len();
            self.read.resize(room, 0);
            let got = self.tcp.try_read(&mut self.read[start..]);
            self.read.truncate(start + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(0) => self.has_eof = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns whether nothing more will be read.
    pub(super) fn is_finished(&self) -> bool {
        self.has_eof && self.read.is_empty()
    }

    /// Returns whether there is room for more in front of the peer.
    pub(super) fn wants_more(&self, room: usize) -> bool {
        !self.has_eof && self.read.len() < room
    }

    /// Writes what came from the peer, as far as the system takes it at once.
    fn write(&mut self) -> io::Result<()> {
        while self.is_writing() {
            match self.tcp.try_write(&self.piece[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_writing(&self) -> bool {
        self.written < self.piece.len()
    }

    /// Waits until it can be read or written, or is broken.
    async fn ready(&self, reads: bool) -> io::Result<()> {
        let mut interest = Interest::ERROR;
        if reads {
            interest |= Interest::READABLE;
        }
        if self.is_writing() {
            interest |= Interest::WRITABLE;
        }
        let ready = self.tcp.ready(interest).await?;
        match self.tcp.take_error()? {
            Some(error) => Err(error),
            None if ready.is_error() => Err(io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        }
    }

    /// Writes the last bytes and ends the connection properly, in the background.
    pub(super) fn finish(mut self, rest: Vec<Vec<u8>>) {
        tokio::spawn(async move {
            let last = async {
                self.tcp.write_all(&self.piece[self.written..]).await?;
                for piece in rest {
                    self.tcp.write_all(&piece).await?;
                }
                socket2::SockRef::from(&self.tcp).set_linger(None)?;
                self.tcp.shutdown().await
            };
            if let Ok(Err(error)) = tokio::time::timeout(LAST_BYTES, last).await {
                tracing::debug!(%error, "the last bytes were not taken");
            }
        });
    }
}
