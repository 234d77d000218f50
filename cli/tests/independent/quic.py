"""QUIC version 1 as a tunnel uses it (docs/protocol.md §13; RFC 9000, 9001): one connection, either role, no socket.

Enough for a handshake and a few streams over a path that loses little: no congestion control, no flow control of our
own sending, and whatever is not acknowledged is sent again when the caller says so.
"""

import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import tls
import wire

INITIAL_SALT = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
LONG_TYPE = {tls.INITIAL: 0, tls.HANDSHAKE: 2}
DATAGRAM_BYTES = 1200


def varint(n):
    for size, bits in ((1, 0), (2, 1), (4, 2), (8, 3)):
        if n < 1 << (8 * size - 2):
            return (n | bits << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(n)


class Reader(tls.Reader):
    def varint(self):
        size = 1 << (self.data[0] >> 6)
        return self.number(size) & (1 << (8 * size - 2)) - 1


class Keys:
    """Packet protection of one direction at one level (RFC 9001 §5), AES-128-GCM."""

    def __init__(self, secret):
        self.aead = AESGCM(tls.expand_label(secret, b"quic key", b"", 16))
        self.iv = tls.expand_label(secret, b"quic iv", b"", 12)
        self.hp = tls.expand_label(secret, b"quic hp", b"", 16)

    def nonce(self, number):
        return (int.from_bytes(self.iv, "big") ^ number).to_bytes(12, "big")

    def mask(self, sample):
        return Cipher(algorithms.AES(self.hp), modes.ECB()).encryptor().update(sample)[:5]

    def protect(self, head, number, payload):
        """`head` ends before the packet number, which has four bytes."""
        number_bytes = struct.pack(">I", number)
        sealed = self.aead.encrypt(self.nonce(number), payload, head + number_bytes)
        mask = self.mask(sealed[:16])
        first = head[0] ^ mask[0] & (0x0F if head[0] & 0x80 else 0x1F)
        return bytes([first]) + head[1:] + bytes(a ^ b for a, b in zip(number_bytes, mask[1:])) + sealed

    def open(self, packet, at, largest):
        """The first byte, the packet number and the frames of a packet whose number begins at `at`; or None."""
        mask = self.mask(packet[at + 4:at + 20])
        first = packet[0] ^ mask[0] & (0x0F if packet[0] & 0x80 else 0x1F)
        size = (first & 3) + 1
        number_bytes = bytes(a ^ b for a, b in zip(packet[at:at + size], mask[1:]))
        number = full_number(int.from_bytes(number_bytes, "big"), 8 * size, largest)
        head = bytes([first]) + packet[1:at] + number_bytes
        try:
            return first, number, self.aead.decrypt(self.nonce(number), packet[at + size:], head)
        except InvalidTag:
            return None


def full_number(truncated, bits, largest):
    """RFC 9000 §A.3."""
    window = 1 << bits
    number = (largest + 1) & ~(window - 1) | truncated
    if number <= largest + 1 - window // 2:
        return number + window
    return number - window if number > largest + 1 + window // 2 and number >= window else number


def initial_keys(covered_id):
    """The client's keys and the server's (RFC 9001 §5.2). In a tunnel the connection ID is a covered one
    (`wire.initial_id`)."""
    secret = hmac.digest(INITIAL_SALT, covered_id, "sha256")
    return [Keys(tls.expand_label(secret, who, b"", 32)) for who in (b"client in", b"server in")]


def initial_packet(keys, destination, source, number, frames, padded_to=DATAGRAM_BYTES):
    """A whole datagram with one Initial packet."""
    head = b"\xc3" + struct.pack(">I", 1) + tls.vector(destination, 1) + tls.vector(source, 1) + b"\0"
    frames = frames.ljust(padded_to - len(head) - 2 - 4 - 16, b"\0")
    return keys.protect(head + struct.pack(">H", 4 + len(frames) + 16 | 0x4000), number, frames)


class Space:
    """What is numbered at one level."""

    def __init__(self):
        self.next, self.heard, self.must_ack = 0, set(), False
        self.unacked = {}
        self.crypto_sent = self.crypto_read = 0
        self.crypto = {}

    def ack_frame(self):
        ranges, numbers = [], sorted(self.heard, reverse=True)
        for number in numbers:
            if ranges and number == ranges[-1][0] - 1:
                ranges[-1][0] = number
            else:
                ranges.append([number, number])
        ranges = ranges[:20]
        frame = b"\x02" + varint(ranges[0][1]) + varint(0) + varint(len(ranges) - 1)
        frame += varint(ranges[0][1] - ranges[0][0])
        for (after, _), (low, high) in zip(ranges, ranges[1:]):
            frame += varint(after - high - 2) + varint(high - low)
        return frame


class Stream:
    """What has arrived of one stream."""

    def __init__(self):
        self.pieces, self.received, self.is_finished, self.size = {}, b"", False, None

    def add(self, offset, data, is_last):
        self.pieces[offset] = max(self.pieces.get(offset, b""), data, key=len)
        if is_last:
            self.size = offset + len(data)
        for at in sorted(self.pieces):
            if at <= len(self.received):
                self.received += self.pieces[at][len(self.received) - at:]
        self.is_finished = self.size == len(self.received)


class Connection:
    """One connection. `instances` are the serve side's and the open side's. `out` has the datagrams to send; `closed`
    is the peer's close: (whether it is the application's, code)."""

    def __init__(self, key, role, instances):
        self.key, self.is_client, self.ids = key, role == wire.OPEN, wire.ConnectionIds(key)
        self.instances = instances
        self.own_id = self.ids.mark(os.urandom(4))
        self.peers_id = self.ids.mark(os.urandom(4)) if self.is_client else None
        self.first_id, self.keys, self.tls, self.role = self.peers_id, {}, None, role
        self.spaces = [Space(), Space(), Space()]
        self.streams, self.sent_bytes, self.out = {}, {}, []
        self.closed, self.is_confirmed, self.unmarked, self.unopened = None, False, 0, 0
        if self.is_client:
            self.start()

    def start(self):
        client, server = initial_keys(wire.initial_id(self.key, self.instances, self.first_id))
        self.keys[tls.INITIAL] = (client, server) if self.is_client else (server, client)
        parameters = [(4, varint(1 << 20)), (5, varint(1 << 18)), (6, varint(1 << 18)), (7, varint(1 << 18)),
                      (8, varint(0 if self.is_client else 16)), (9, varint(1)), (15, self.own_id)]
        if not self.is_client:
            parameters.append((0, self.first_id))
        encoded = b"".join(varint(kind) + varint(len(value)) + value for kind, value in parameters)
        self.tls = tls.Tls(self.key, self.role, encoded)
        self.flush()

    # Receiving

    def receive(self, datagram):
        """Takes a datagram with one or more packets; what does not open is left out."""
        while datagram:
            packet, datagram, level, at = self.split(datagram)
            if packet is None:
                return
            space = self.spaces[level]
            if level not in self.keys:
                continue
            opened = self.keys[level][1].open(packet, at, max(space.heard, default=-1))
            if opened is None:
                self.unopened += 1
                continue
            if opened[1] in space.heard:
                continue
            if self.frames(level, Reader(opened[2])):
                space.must_ack = True
            space.heard.add(opened[1])
        self.flush()

    def split(self, datagram):
        nothing = None, b"", None, None
        reader = Reader(datagram)
        first = reader.number(1)
        if not first & 0x80:
            self.note(datagram[1:9])
            return datagram, b"", tls.APPLICATION, 9
        level = {kind: level for level, kind in LONG_TYPE.items()}.get(first >> 4 & 3)
        if reader.number(4) != 1 or level is None:
            return nothing
        destination, source = reader.vector(1), reader.vector(1)
        self.note(destination, source)
        if level == tls.INITIAL:
            reader.take(reader.varint())
            if self.first_id is None:
                self.first_id, self.peers_id = destination, source
                self.start()
            if self.is_client:
                self.peers_id = source
        length = reader.varint()
        end = len(datagram) - len(reader.data) + length
        return datagram[:end], datagram[end:], level, end - length

    def note(self, *connection_ids):
        self.unmarked += sum(not self.ids.is_marked(connection_id) for connection_id in connection_ids)

    def frames(self, level, reader):
        """Whether any of them wants an acknowledgement."""
        space, wants = self.spaces[level], False
        while reader.data:
            kind = reader.varint()
            wants |= kind not in (0, 2, 3, 0x1C, 0x1D)
            if kind in (2, 3):
                self.on_ack(space, reader, kind)
            elif kind == 6:
                offset = reader.varint()
                space.crypto[offset] = reader.take(reader.varint())
                self.on_crypto(level)
            elif 8 <= kind <= 15:
                number = reader.varint()
                offset = reader.varint() if kind & 4 else 0
                data = reader.take(reader.varint()) if kind & 2 else reader.take(len(reader.data))
                self.streams.setdefault(number, Stream()).add(offset, data, bool(kind & 1))
            elif kind == 0x18:
                reader.varint(), reader.varint()
                self.note(reader.vector(1))
                reader.take(16)
            elif kind in (0x1C, 0x1D):
                self.closed = kind == 0x1D, reader.varint()
                if kind == 0x1C:
                    reader.varint()
                reader.take(reader.varint())
            elif kind == 0x1A:
                self.transmit(level, b"\x1b" + reader.take(8), False)
            elif kind == 0x1E:
                self.is_confirmed = True
            else:
                # How many varints follow: PADDING and PING, RESET_STREAM, STOP_SENDING, limits, RETIRE_CONNECTION_ID.
                fields = {0: 0, 1: 0, 4: 3, 5: 2, 0x10: 1, 0x11: 2, 0x12: 1, 0x13: 1, 0x14: 1, 0x15: 2, 0x16: 1,
                          0x17: 1, 0x19: 1}
                for _ in range(fields[kind]):
                    reader.varint()
        return wants

    def on_ack(self, space, reader, kind):
        high, _, count, first = (reader.varint() for _ in range(4))
        ranges = [(high - first, high)]
        for _ in range(count):
            high = ranges[-1][0] - reader.varint() - 2
            ranges.append((high - reader.varint(), high))
        if kind == 3:
            for _ in range(3):
                reader.varint()
        for low, high in ranges:
            for number in [n for n in space.unacked if low <= n <= high]:
                del space.unacked[number]

    def on_crypto(self, level):
        space = self.spaces[level]
        for offset in sorted(space.crypto):
            data = space.crypto[offset]
            if offset <= space.crypto_read < offset + len(data):
                new = data[space.crypto_read - offset:]
                space.crypto_read += len(new)
                self.tls.receive(level, new)
                for made, (own, theirs) in self.tls.secrets.items():
                    self.keys.setdefault(made, (Keys(own), Keys(theirs)))
        if self.tls.is_done and not self.is_client and not self.is_confirmed:
            self.is_confirmed = True
            self.transmit(tls.APPLICATION, b"\x1e")

    # Sending

    def write(self, number, data, is_last=False):
        """Sends bytes on a stream."""
        offset = self.sent_bytes.get(number, 0)
        self.sent_bytes[number] = offset + len(data)
        for at in range(0, max(len(data), 1), 1000):
            part = data[at:at + 1000]
            ends = is_last and at + len(part) == len(data)
            self.transmit(tls.APPLICATION, bytes([0x0E | ends]) + varint(number) + varint(offset + at)
                          + varint(len(part)) + part)

    def close(self, code):
        """Says that the connection ends, with a code of the application."""
        self.transmit(tls.APPLICATION, b"\x1d" + varint(code) + b"\0", False)

    def send_again(self):
        """Sends what nobody has acknowledged."""
        for level, space in enumerate(self.spaces):
            for frame in [space.unacked.pop(number) for number in list(space.unacked)]:
                self.transmit(level, frame)

    def flush(self):
        for level, data in self.tls.out if self.tls else []:
            space = self.spaces[level]
            for at in range(0, len(data), 1000):
                part = data[at:at + 1000]
                self.transmit(level, b"\x06" + varint(space.crypto_sent) + varint(len(part)) + part)
                space.crypto_sent += len(part)
        if self.tls:
            self.tls.out.clear()
        for level, space in enumerate(self.spaces):
            if space.must_ack and level in self.keys:
                self.transmit(level, b"", False)

    def transmit(self, level, frames, is_kept=True):
        space = self.spaces[level]
        number, space.next = space.next, space.next + 1
        if is_kept:
            space.unacked[number] = frames
        if space.heard:
            frames = space.ack_frame() + frames
            space.must_ack = False
        own = self.keys[level][0]
        if level == tls.INITIAL:
            self.out.append(initial_packet(own, self.peers_id, self.own_id, number, frames))
        elif level == tls.HANDSHAKE:
            head = b"\xe3" + struct.pack(">I", 1) + tls.vector(self.peers_id, 1) + tls.vector(self.own_id, 1)
            frames = frames.ljust(4, b"\0")
            self.out.append(own.protect(head + struct.pack(">H", 4 + len(frames) + 16 | 0x4000), number, frames))
        else:
            self.out.append(own.protect(b"\x43" + self.peers_id, number, frames.ljust(4, b"\0")))
