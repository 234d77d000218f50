"""pinhole's keys, datagrams and stream heads, written from docs/protocol.md and from nothing else.

It shares no line and no library with the Rust program, so what both agree on is what the document says. Numbers in
comments are sections of that document. For tests: it is neither fast nor safe against timing.
"""

import hashlib
import hmac
import ipaddress
import struct
import time
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

VERSION = 2
SERVE, OPEN = 0, 1
PROBE, ACK, BYE, DISPLACED = 1, 2, 3, 4
NOMINATE, HEARD, DIRECT, TUNNEL = 1, 2, 4, 8
FLAGS = {"nominate": NOMINATE, "heard": HEARD, "direct": DIRECT, "tunnel": TUNNEL}
PROBE_BYTES = 101

# §1
SALT = b"pinhole key stretching, version 2"
MEMORY_KIB, PASSES = 47104, 3


def canonical(text):
    """The one spelling of a phrase: words joined by single hyphens, each character in lower case by itself."""
    words = text.replace("-", " ").replace("_", " ").split()
    return "".join(character.lower() for character in "-".join(words))


def expand(prk, info, length):
    """HKDF-Expand with SHA-256 (RFC 5869 §2.3)."""
    out, block = b"", b""
    for n in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([n]), "sha256")
        out += block
    return out[:length]


class Key:
    """The stretched secret and all that is derived from it."""

    def __init__(self, secret):
        self.secret = secret

    @classmethod
    def stretch(cls, phrase):
        """Argon2id over the canonical spelling."""
        kdf = Argon2id(salt=SALT, length=32, iterations=PASSES, lanes=1, memory_cost=MEMORY_KIB)
        return cls(kdf.derive(canonical(phrase).encode()))

    def derive(self, label):
        return expand(self.secret, b"pinhole v2 " + label.encode(), 32)

    def for_check(self):
        """The key of checks (§17)."""
        return Key(self.derive("check"))

    def identity(self, role):
        """The Ed25519 key that a role shows in TLS."""
        return Ed25519PrivateKey.from_private_bytes(self.derive(f"identity {role_name(role)}"))


def role_name(role):
    return "open" if role == OPEN else "serve"


def check_index(words):
    """Which word of the list must follow these six (§1)."""
    text = b"pinhole v2 check word" + canonical(words).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % 7776


# §3


def subkey(key, nonce):
    """HChaCha20 (draft-irtf-cfrg-xchacha §2.2): the state after 20 rounds, of which ChaCha20 shows the sum with the
    state before them."""
    stream = Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(bytes(64))
    words = struct.unpack("<16I", stream)
    before = struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<12I", key + nonce)
    after = [(words[n] - before[n]) % 2**32 for n in (0, 1, 2, 3, 12, 13, 14, 15)]
    return struct.pack("<8I", *after)


def xchacha(key, nonce):
    return ChaCha20Poly1305(subkey(key, nonce[:16])), bytes(4) + nonce[16:]


@dataclass
class Probe:
    """The opened content of a probe. `observed` is (ip, port) or None."""

    kind: int
    role: int
    flags: int = 0
    epoch: int = 0
    instance: int = 0
    sequence: int = 0
    unix_ms: int = 0
    token: int = 0
    observed: tuple = None

    def encode(self):
        head = struct.pack(">BBBBIQQQQ", self.kind, self.role, self.flags, 0, self.epoch, self.instance,
                           self.sequence, self.unix_ms, self.token)
        if self.observed is None:
            return head + bytes(20)
        ip = ipaddress.ip_address(self.observed[0])
        return head + struct.pack(">BBH16s", ip.version, 0, self.observed[1], ip.packed) if ip.version == 6 \
            else head + struct.pack(">BBH4s12x", 4, 0, self.observed[1], ip.packed)

    @classmethod
    def decode(cls, body):
        kind, role, flags, _, epoch, instance, sequence, unix_ms, token = struct.unpack(">BBBBIQQQQ", body[:40])
        family, _, port = struct.unpack(">BBH", body[40:44])
        size = {4: 4, 6: 16}.get(family)
        observed = (str(ipaddress.ip_address(body[44:44 + size])), port) if size else None
        if kind not in (1, 2, 3, 4) or role not in (0, 1):
            return None
        return cls(kind, role, flags, epoch, instance, sequence, unix_ms, token, observed)


class Seal:
    """Seals and opens probes; with the label `letter seal`, survey probes (§17)."""

    def __init__(self, key, label="probe seal"):
        self.key, self.nonces, self.marks = key.derive(label), key.derive("nonce"), key.derive("connection id")[:16]

    def nonce(self, drawn, body):
        start = hmac.digest(self.nonces, drawn + body, "sha256")[:20]
        return start + struct.pack("<Q", siphash(self.marks, start))[:4]

    def seal(self, probe, drawn):
        """`drawn` are 24 random bytes."""
        return self.seal_with(probe, self.nonce(drawn, probe.encode()))

    def seal_with(self, probe, nonce, more=b""):
        """With `more` at the end of the body, as a later version may have it."""
        first = bytes([0x80 | VERSION])
        aead, short = xchacha(self.key, nonce)
        return first + nonce + aead.encrypt(short, probe.encode() + more, first)

    def open(self, datagram):
        """The probe, or None."""
        if not (PROBE_BYTES <= len(datagram) <= 256 and datagram[0] >> 6 == 0b10):
            return None
        aead, short = xchacha(self.key, datagram[1:25])
        try:
            return Probe.decode(aead.decrypt(short, datagram[25:], datagram[:1]))
        except InvalidTag:
            return None


def survey_probe(role, round_number, place, instance=0):
    """A survey probe (§17), not sealed yet."""
    return Probe(PROBE, role, instance=instance, token=round_number << 16 | place)


# §8, §9, §16


class Schedule:
    """Ports that both sides know without talking."""

    def __init__(self, key):
        self.secret = key.derive("slot schedule")

    def slot(self, number, serve_port, open_port):
        """The serve side's port and the open side's."""
        drawn = expand(self.secret, b"slot" + struct.pack(">QHH", number, serve_port, open_port), 4)
        serve, opened = struct.unpack(">HH", drawn)
        return 16384 + serve % 8192, 16384 + opened % 8192

    def reserve(self, serve_epoch, open_epoch, serve_port, open_port):
        """The ports that are kept for when the path is lost."""
        info = b"spare" + struct.pack(">IIHH", serve_epoch, open_epoch, serve_port, open_port)
        serve, opened = struct.unpack(">HH", expand(self.secret, info, 4))
        return 12288 + serve % 4096, 12288 + opened % 4096

    def fan(self, epoch, role, port):
        """Own ports of a fan in order, and where the sweep starts."""
        seed = expand(self.secret, b"fan " + role_name(role).encode() + struct.pack(">QH", epoch, port), 32)
        stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), None).encryptor()
        ports = []
        while len(ports) < 720:
            port = 24576 + (int.from_bytes(stream.update(bytes(8)), "little") >> 48) % 8192
            if port not in ports:
                ports.append(port)
        return ports, int.from_bytes(stream.update(bytes(4)), "little")


def sweep(start, count):
    """The first ports of a sweep that nobody has aims for."""
    return [1024 + (start + n * 39871 % 64512) % 64512 for n in range(count)]


# §13


def siphash(key, message):
    """SipHash-2-4 (Aumasson and Bernstein, 2012), the number."""
    mask = 2**64 - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(n, by):
        return (n << by | n >> (64 - by)) & mask

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask
            v[2] = (v[2] + v[3]) & mask
            v[1], v[3] = rotate(v[1], 13) ^ v[0], rotate(v[3], 16) ^ v[2]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[1]) & mask
            v[0] = (v[0] + v[3]) & mask
            v[1], v[3] = rotate(v[1], 17) ^ v[2], rotate(v[3], 21) ^ v[0]
            v[2] = rotate(v[2], 32)

    last = message[len(message) // 8 * 8:]
    for (word,) in struct.iter_unpack("<Q", message[:len(message) // 8 * 8] + last.ljust(7, b"\0")
                                      + bytes([len(message) % 256])):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class ConnectionIds:
    """Makes and knows connection IDs: four random bytes and their mark."""

    def __init__(self, key):
        self.key = key.derive("connection id")[:16]

    def mark(self, random):
        return random + struct.pack("<Q", siphash(self.key, random))[:4]

    def is_marked(self, connection_id):
        return len(connection_id) == 8 and self.mark(connection_id[:4]) == connection_id


def initial_id(key, instances, connection_id):
    """What stands in the place of the client's first destination connection ID in RFC 9001 §5.2. `instances` are the
    serve side's and the open side's."""
    return expand(key.derive("quic initial"), struct.pack(">QQ", *instances) + connection_id, 20)


# §14

CHECK_REQUEST = b"\x02\0"
REPLIES = {"connected": 0, "no such service": 1, "refused": 2, "unreachable": 3, "unavailable": 4,
           "connected in pieces": 5, "unresolved": 6}


def request(service, any_service=False, blocks=False):
    name = service.encode()
    return bytes([any_service | blocks << 2, len(name)]) + name


# §13, the control stream


def hello(version, features, offered, names):
    """The first message of a control stream."""
    body = struct.pack(">BHQHH", 1, version, features, offered, len(names))
    for name in names:
        body += bytes([len(name.encode())]) + name.encode()
    return struct.pack(">H", len(body)) + body


def first_hello(received):
    """(version, features, offered, names) of a control stream's first message, or None if more must arrive."""
    if len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
        return None
    kind, version, features, offered, listed = struct.unpack(">BHQHH", received[2:17])
    if kind != 1:
        raise ValueError("a control stream begins with a Hello")
    names, rest = [], received[17:]
    for _ in range(listed):
        names.append(rest[1:1 + rest[0]].decode())
        rest = rest[1 + rest[0]:]
    return version, features, offered, names


# §14, blocks


def plain_head(length):
    if length < 1 << 6:
        return bytes([length])
    if length < 1 << 14:
        return struct.pack(">H", length | 0x4000)
    return (length | 0x800000).to_bytes(3, "big")


def plain_blocks(data):
    """The bytes of some blocks, none of which is packed."""
    out = b""
    while data:
        size = (data[0] >> 6) + 1
        if size == 4:
            raise ValueError("a packed block")
        length = int.from_bytes(data[:size], "big") & (1 << 8 * size - 2) - 1
        out, data = out + data[size:size + length], data[size + length:]
    return out


def packed_head(length, unpacked):
    return (length | 0xC00000).to_bytes(3, "big") + unpacked.to_bytes(3, "big")


def now_ms():
    return time.time_ns() // 1_000_000
