//! The ceiling: what an encrypted tunnel can at most reach on this machine.
//!
//! One TCP connection at a time becomes sealed datagrams and TCP again. A batch of reads into the datagrams' places, one
//! seal in place for each datagram (AES-128-GCM), one `sendmsg` with segmentation offload (GSO); the other end reads a
//! coalesced batch (GRO), opens each in place, and writes all of it at once. One thread for each direction, no copy, and
//! none of what a tunnel is for: no handshake (the key is a constant and keeps nothing secret), no acknowledgement, no repetition, no congestion
//! control, no second stream. What gets lost stays lost; the sender waits for a word of what has arrived only so that it
//! does not bury the receiver.
//!
//! ```text
//! datagram: counter (8 bytes) | sealed payload | tag (16 bytes);  an empty payload is the end of the stream
//! word:     counter (8 bytes) of the last datagram that has arrived
//! ```

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::SockRef;

/// UDP port of both ends.
const PORT: u16 = 5999;

/// A full datagram within an MTU of 1500.
const DATAGRAM_BYTES: usize = 1472;
const COUNTER_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const PAYLOAD_BYTES: usize = DATAGRAM_BYTES - COUNTER_BYTES - TAG_BYTES;

/// Datagrams of one `sendmsg`: as many as an IP packet's length can name.
const BATCH: usize = 44;

/// Received bytes that are worth a write.
const ENOUGH_BYTES: usize = 32 << 10;

/// Datagrams under way, at most; half of what the receiver's buffer takes.
const WINDOW: u64 = 1024;

/// Datagrams after which the receiver gives its word.
const WORD_EVERY: u64 = 176;

/// Time after which a word, or all that it was waited for, counts as lost.
const LOST: Duration = Duration::from_millis(20);

const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// The counter's upper bits are the connection's number.
const NUMBER_SHIFT: u32 = 48;

/// How often the end of a stream is said, in case that one is lost because the other end has not caught up.
const FAREWELLS: usize = 20;
const BETWEEN_FAREWELLS: Duration = Duration::from_millis(10);

/// The end that listens: each connection is carried in turn.
pub(super) fn near(at: SocketAddr, own: Ipv4Addr, far: Ipv4Addr) -> io::Result<()> {
    let udp = open(own, far)?;
    let listener = TcpListener::bind(at)?;
    println!("ready");
    for (number, tcp) in listener.incoming().enumerate() {
        Line::new(&udp, number as u16).carry(&tcp?)?;
    }
    Ok(())
}

/// The end that connects to the service, as soon as something arrives.
pub(super) fn far(own: Ipv4Addr, near: Ipv4Addr, service: SocketAddr) -> io::Result<()> {
    let udp = open(own, near)?;
    println!("ready");
    let mut last = None;
    loop {
        let mut head = [0; COUNTER_BYTES];
        udp.peek(&mut head)?;
        let number = number(u64::from_le_bytes(head));
        if last.replace(number) == Some(number) {
            udp.recv(&mut head)?;
            continue;
        }
        Line::new(&udp, number).carry(&TcpStream::connect(service)?)?;
    }
}

fn open(own: Ipv4Addr, other: Ipv4Addr) -> io::Result<UdpSocket> {
    let udp = UdpSocket::bind((own, PORT))?;
    udp.connect((other, PORT))?;
    let buffers = SockRef::from(&udp);
    buffers.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    buffers.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    setsockopt(&udp, sockopt::UdpGroSegment, &true)?;
    Ok(udp)
}

/// One connection on its way.
struct Line<'a> {
    udp: &'a UdpSocket,
    number: u16,
    key: LessSafeKey,
    /// The counter of the other end's last word.
    arrived: Mutex<u64>,
    word: Condvar,
}

impl Line<'_> {
    fn new(udp: &UdpSocket, number: u16) -> Line<'_> {
        let arrived = Mutex::new(first_counter(number));
        Line { udp, number, key: key(), arrived, word: Condvar::new() }
    }

    /// Carries both directions until both have ended.
    fn carry(&self, tcp: &TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        thread::scope(|scope| {
            let sealing = scope.spawn(|| self.seal(tcp));
            // An end of the connection may leave before the other; the client's figures tell.
            let _cut_off = self.unseal(tcp);
            let _cut_off = sealing.join().expect("it does not panic");
        });
        Ok(())
    }

    /// TCP to datagrams.
    fn seal(&self, mut tcp: &TcpStream) -> io::Result<()> {
        let mut batch = vec![0; BATCH * DATAGRAM_BYTES];
        let mut counter = first_counter(self.number);
        loop {
            let count = read_payloads(&mut tcp, &mut batch).unwrap_or_default();
            if count == 0 {
                break;
            }
            let bytes = seal_datagrams(&self.key, &mut counter, &mut batch, count);
            self.await_room(counter);
            send(self.udp, &batch[..bytes])?;
        }
        for _ in 0..FAREWELLS {
            let bytes = seal_datagrams(&self.key, &mut counter, &mut batch, 0);
            send(self.udp, &batch[..bytes])?;
            thread::sleep(BETWEEN_FAREWELLS);
        }
        Ok(())
    }

    /// Waits until the datagrams up to that one may be under way.
    fn await_room(&self, counter: u64) {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |arrived: &mut u64| counter.saturating_sub(*arrived) > WINDOW;
        let waited = self.word.wait_timeout_while(arrived, LOST, is_full);
        let (mut arrived, result) = waited.unwrap_or_else(PoisonError::into_inner);
        if result.timed_out() {
            *arrived = counter;
        }
    }

    fn handle_word(&self, counter: u64) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        *arrived = (*arrived).max(counter);
        self.word.notify_one();
    }

    /// Datagrams to TCP.
    fn unseal(&self, mut tcp: &TcpStream) -> io::Result<()> {
        let mut batch = vec![0; ENOUGH_BYTES + usize::from(u16::MAX)];
        let mut told = first_counter(self.number);
        loop {
            let mut payloads = Vec::with_capacity(BATCH);
            let (mut last, mut is_over) = (told, false);
            for datagram in receive(self.udp, &mut batch)? {
                match (counter(datagram), datagram.len()) {
                    (Some(word), COUNTER_BYTES) => self.handle_word(word),
                    (Some(counter), _) => {
                        let Some(payload) = self.unseal_datagram(counter, datagram) else { continue };
                        (last, is_over) = (counter, payload.is_empty());
                        payloads.push(IoSlice::new(payload));
                    }
                    (None, _) => {}
                }
            }
            if last >= told + WORD_EVERY {
                self.udp.send(&last.to_le_bytes())?;
                told = last;
            }
            // The client may have left; what still comes for it is thrown away.
            let _cut_off = write_all(&mut tcp, &mut payloads);
            if is_over {
                return tcp.shutdown(Shutdown::Write);
            }
        }
    }

    fn unseal_datagram<'a>(&self, counter: u64, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let sealed = &mut datagram[COUNTER_BYTES..];
        if number(counter) != self.number {
            return None;
        }
        self.key.open_in_place(nonce(counter), Aad::empty(), sealed).ok().map(|payload| &*payload)
    }
}

fn first_counter(number: u16) -> u64 {
    u64::from(number) << NUMBER_SHIFT
}

fn counter(datagram: &[u8]) -> Option<u64> {
    datagram.first_chunk().copied().map(u64::from_le_bytes)
}

fn number(counter: u64) -> u16 {
    (counter >> NUMBER_SHIFT) as u16
}

fn read_payloads(tcp: &mut &TcpStream, batch: &mut [u8]) -> io::Result<usize> {
    let payloads = batch
        .chunks_exact_mut(DATAGRAM_BYTES)
        .map(|datagram| IoSliceMut::new(&mut datagram[COUNTER_BYTES..COUNTER_BYTES + PAYLOAD_BYTES]));
    tcp.read_vectored(&mut payloads.collect::<Vec<_>>())
}

/// Seals so many bytes of payload, none as one empty datagram; returns the bytes of all datagrams.
fn seal_datagrams(key: &LessSafeKey, counter: &mut u64, batch: &mut [u8], payload_bytes: usize) -> usize {
    let mut left = payload_bytes;
    let mut total = 0;
    for datagram in batch.chunks_exact_mut(DATAGRAM_BYTES) {
        let bytes = left.min(PAYLOAD_BYTES);
        let (head, rest) = datagram.split_at_mut(COUNTER_BYTES);
        let (payload, tag_place) = rest.split_at_mut(bytes);
        head.copy_from_slice(&counter.to_le_bytes());
        let tag = key.seal_in_place_separate_tag(nonce(*counter), Aad::empty(), payload);
        tag_place[..TAG_BYTES].copy_from_slice(tag.expect("a datagram is short").as_ref());
        *counter += 1;
        total += COUNTER_BYTES + bytes + TAG_BYTES;
        left -= bytes;
        if left == 0 {
            break;
        }
    }
    total
}

fn send(udp: &UdpSocket, datagrams: &[u8]) -> io::Result<()> {
    let segment = DATAGRAM_BYTES as u16;
    let offload = [ControlMessage::UdpGsoSegments(&segment)];
    let offload = if datagrams.len() > DATAGRAM_BYTES { &offload[..] } else { &[] };
    sendmsg::<()>(udp.as_raw_fd(), &[IoSlice::new(datagrams)], offload, MsgFlags::empty(), None)?;
    Ok(())
}

/// Waits for datagrams, and takes what else is there until it is enough for one write.
fn receive<'a>(udp: &UdpSocket, batch: &'a mut [u8]) -> io::Result<Vec<&'a mut [u8]>> {
    let mut datagrams = Vec::with_capacity(BATCH);
    let (mut rest, mut total) = (batch, 0);
    while total < ENOUGH_BYTES {
        let flags = if total == 0 { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        let (bytes, segment) = match receive_coalesced(udp, rest, flags) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && total > 0 => break,
            received => received?,
        };
        let (taken, after) = rest.split_at_mut(bytes);
        datagrams.extend(taken.chunks_mut(segment));
        (rest, total) = (after, total + bytes);
    }
    Ok(datagrams)
}

/// Returns the bytes that came and the size of each datagram but the last.
fn receive_coalesced(udp: &UdpSocket, space: &mut [u8], flags: MsgFlags) -> io::Result<(usize, usize)> {
    let mut controls = nix::cmsg_space!(i32);
    let mut slices = [IoSliceMut::new(space)];
    let message = recvmsg::<SockaddrIn>(udp.as_raw_fd(), &mut slices, Some(&mut controls), flags)?;
    let segment = message.cmsgs()?.find_map(|control| {
        let ControlMessageOwned::UdpGroSegments(bytes) = control else { return None };
        usize::try_from(bytes).ok()
    });
    Ok((message.bytes, segment.unwrap_or(message.bytes).max(1)))
}

fn write_all(tcp: &mut &TcpStream, payloads: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut rest = payloads;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match tcp.write_vectored(rest)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => IoSlice::advance_slices(&mut rest, count),
        }
    }
    Ok(())
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("sixteen bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Checks that whatever is sealed can be opened, and nothing that was changed.
pub(super) fn check() {
    let mut batch = vec![7; BATCH * DATAGRAM_BYTES];
    let (key, mut counter) = (key(), first_counter(3));
    for (payload_bytes, datagrams) in [(0, 1), (1, 1), (PAYLOAD_BYTES, 1), (BATCH * PAYLOAD_BYTES, BATCH)] {
        let bytes = seal_datagrams(&key, &mut counter, &mut batch, payload_bytes);
        assert_eq!(bytes, payload_bytes + datagrams * (COUNTER_BYTES + TAG_BYTES));
    }
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    let line = Line::new(&udp, 3);
    let datagram = &mut batch[..DATAGRAM_BYTES];
    let counter = self::counter(datagram).expect("it has a head");
    let mut changed = datagram.to_vec();
    changed[DATAGRAM_BYTES - 1] ^= 1;
    assert_eq!(line.unseal_datagram(counter, datagram).map(<[u8]>::len), Some(PAYLOAD_BYTES));
    assert_eq!(line.unseal_datagram(counter, &mut changed), None);
}
