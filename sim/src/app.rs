//! What uses a tunnel: one stream, and in each direction bytes that only that tunnel can carry.

use natlab::{Side, chance::Chance};
use noq_proto::{Connection, Dir, ReadError, StreamId, WriteError};
use pinhole_proto::Role;

/// Names a tunnel; both sides derive it from the handshake.
pub(super) type TunnelId = u64;

/// What each side says at once: the serve side knows of a stream by its first bytes.
const GREETING: u64 = 16;

/// Bytes written at a time.
const PIECE: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct App {
    side: Side,
    role: Role,
    tunnel: TunnelId,
    stream: Option<StreamId>,
    /// What is to be said in this tunnel's life, what was, and what was heard.
    pub(super) queued: u64,
    pub(super) written: u64,
    pub(super) read: u64,
    /// What waits for a tunnel.
    waiting: u64,
    pub(super) fault: Option<String>,
}

impl App {
    pub(super) fn new(side: Side, role: Role) -> Self {
        Self { side, role, tunnel: 0, stream: None, queued: 0, written: 0, read: 0, waiting: 0, fault: None }
    }

    /// Begins anew, in another tunnel.
    pub(super) fn start(&mut self, tunnel: TunnelId) {
        self.tunnel = tunnel;
        self.stream = None;
        self.queued = GREETING + std::mem::take(&mut self.waiting);
        (self.written, self.read) = (0, 0);
    }

    /// Has more to say: in this tunnel, or in the next one.
    pub(super) fn say(&mut self, bytes: u64, has_tunnel: bool) {
        if has_tunnel { self.queued += bytes } else { self.waiting += bytes }
    }

    /// Writes and reads as much as possible; true if anything.
    pub(super) fn drive(&mut self, connection: &mut Connection) -> bool {
        if self.stream.is_none() {
            self.stream = match self.role {
                Role::Open => connection.streams().open(Dir::Bi),
                Role::Serve => connection.streams().accept(Dir::Bi),
            };
        }
        let Some(stream) = self.stream else { return false };
        let before = (self.written, self.read);
        self.write(stream, connection);
        self.read(stream, connection);
        before != (self.written, self.read)
    }

    fn write(&mut self, id: StreamId, connection: &mut Connection) {
        let mut stream = connection.send_stream(id);
        while self.written < self.queued {
            let length = usize::try_from(self.queued - self.written).unwrap_or(PIECE).min(PIECE);
            let piece: Vec<u8> = Pattern::new(self.tunnel, self.side, self.written).take(length).collect();
            match stream.write(&piece) {
                Ok(written) => self.written += written as u64,
                Err(WriteError::Blocked) => return,
                Err(error) => return self.fail(format!("cannot write: {error}")),
            }
        }
    }

    fn read(&mut self, id: StreamId, connection: &mut Connection) {
        let mut stream = connection.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(error) => return self.fail(format!("cannot read: {error}")),
        };
        let mut expected = Pattern::new(self.tunnel, self.side.other(), self.read);
        let fault = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    if chunk.offset != self.read || chunk.bytes.iter().any(|b| expected.next() != Some(*b)) {
                        break Some(format!("other bytes than were sent, at {}", self.read));
                    }
                    self.read += chunk.bytes.len() as u64;
                }
                Ok(None) => break Some("an end that nobody wrote".to_owned()),
                Err(ReadError::Blocked) => break None,
                Err(error) => break Some(format!("cannot read: {error}")),
            }
        };
        let _transmits_anyway = chunks.finalize();
        if let Some(what) = fault {
            self.fail(what);
        }
    }

    fn fail(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }
}

/// The bytes of one direction of one tunnel, from an offset on.
struct Pattern {
    key: u64,
    offset: u64,
    word: [u8; 8],
}

impl Pattern {
    fn new(tunnel: TunnelId, from: Side, offset: u64) -> Self {
        let key = Chance::new(tunnel ^ from.index() as u64).next_u64();
        Self { key, offset, word: word(key, offset / 8) }
    }
}

impl Iterator for Pattern {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let index = (self.offset % 8) as usize;
        if index == 0 {
            self.word = word(self.key, self.offset / 8);
        }
        self.offset += 1;
        Some(self.word[index])
    }
}

fn word(key: u64, number: u64) -> [u8; 8] {
    Chance::new(key.wrapping_add(number)).next_u64().to_le_bytes()
}
