"""TLS 1.3 as a tunnel uses it (docs/protocol.md §13; RFC 8446, 7250, 9001): both roles, messages without records.

One key exchange (X25519MLKEM768), one cipher suite (TLS_AES_128_GCM_SHA256), raw Ed25519 keys on both sides, each
pinned to the one that follows from the shared key.
"""

import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import wire

ALPN = b"pinhole/2"
SUITE = b"\x13\x01"
GROUP = 0x11EC  # X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): ML-KEM's part first
ED25519 = 0x0807
INITIAL, HANDSHAKE, APPLICATION = 0, 1, 2
CLIENT_HELLO, SERVER_HELLO, EXTENSIONS, CERTIFICATE, REQUEST, VERIFY, FINISHED = 1, 2, 8, 11, 13, 15, 20


class Alert(Exception):
    """The other side breaks the rules, or is not the one that it must be."""


def digest(data):
    return hashlib.sha256(data).digest()


def expand_label(secret, label, context, length):
    label = b"tls13 " + label
    info = struct.pack(">HB", length, len(label)) + label + bytes([len(context)]) + context
    return wire.expand(secret, info, length)


def vector(data, size):
    return len(data).to_bytes(size, "big") + data


def message(kind, body):
    return bytes([kind]) + vector(body, 3)


def extensions(pairs):
    return vector(b"".join(struct.pack(">H", kind) + vector(body, 2) for kind, body in pairs), 2)


class Reader:
    """Takes fields off the front of some bytes."""

    def __init__(self, data):
        self.data = data

    def take(self, count):
        if len(self.data) < count:
            raise Alert("too short")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def vector(self, size):
        return self.take(self.number(size))

    def extensions(self):
        found, rest = {}, Reader(self.vector(2))
        while rest.data:
            kind = rest.number(2)
            found[kind] = rest.vector(2)
        return found


class Exchange:
    """X25519MLKEM768, from either end."""

    def __init__(self):
        self.curve = X25519PrivateKey.generate()

    def offer(self):
        self.kem = MLKEM768PrivateKey.generate()
        return self.kem.public_key().public_bytes_raw() + self.curve.public_key().public_bytes_raw()

    def accept(self, share):
        """The answer to an offer, and the shared secret."""
        secret, sealed = MLKEM768PublicKey.from_public_bytes(share[:1184]).encapsulate()
        answer = sealed + self.curve.public_key().public_bytes_raw()
        return answer, secret + self.curve.exchange(X25519PublicKey.from_public_bytes(share[1184:]))

    def finish(self, share):
        secret = self.kem.decapsulate(share[:1088])
        return secret + self.curve.exchange(X25519PublicKey.from_public_bytes(share[1088:]))


class Tls:
    """One handshake. The open side is the client.

    `out` collects what is to be sent, by level; `secrets` gets, by level, those of what we send and of what we receive.
    """

    def __init__(self, key, role, parameters):
        self.is_client = role == wire.OPEN
        self.own = key.identity(role)
        self.pinned = key.identity(1 - role).public_key()
        self.parameters, self.peers_parameters = parameters, None
        self.exchange, self.transcript = Exchange(), b""
        self.out, self.secrets, self.is_done = [], {}, False
        self.pending = {INITIAL: b"", HANDSHAKE: b"", APPLICATION: b""}
        self.expected = [SERVER_HELLO, EXTENSIONS, REQUEST, CERTIFICATE, VERIFY, FINISHED] if self.is_client \
            else [CLIENT_HELLO, CERTIFICATE, VERIFY, FINISHED]
        if self.is_client:
            self.send(INITIAL, CLIENT_HELLO, self.client_hello())

    def receive(self, level, data):
        """Takes handshake bytes in order."""
        self.pending[level] += data
        while len(self.pending[level]) >= 4:
            reader = Reader(self.pending[level])
            kind, length = reader.number(1), reader.number(3)
            if len(reader.data) < length:
                return
            body = reader.take(length)
            self.pending[level] = reader.data
            if not self.expected or kind != self.expected.pop(0):
                raise Alert(f"unexpected message {kind}")
            self.handle(kind, body)

    def handle(self, kind, body):
        before = self.transcript
        self.transcript += message(kind, body)
        if kind == CLIENT_HELLO:
            self.on_client_hello(Reader(body))
        elif kind == SERVER_HELLO:
            self.on_server_hello(Reader(body))
        elif kind == EXTENSIONS:
            self.take_extensions(Reader(body).extensions())
        elif kind == REQUEST:
            if Reader(body).vector(1) != b"":
                raise Alert("a certificate request of the handshake has no context")
        elif kind == CERTIFICATE:
            self.check_certificate(Reader(body))
        elif kind == VERIFY:
            self.check_signature(Reader(body), before)
        elif kind == FINISHED:
            if not hmac.compare_digest(body, self.finished(self.secrets[HANDSHAKE][1], before)):
                raise Alert("finished by somebody else")
            self.conclude()

    def send(self, level, kind, body):
        self.transcript += message(kind, body)
        self.out.append((level, message(kind, body)))

    # Hellos

    def client_hello(self):
        share = struct.pack(">H", GROUP) + vector(self.exchange.offer(), 2)
        return b"\x03\x03" + os.urandom(32) + b"\0" + vector(SUITE, 2) + b"\x01\0" + extensions([
            (43, b"\x02\x03\x04"),
            (10, vector(struct.pack(">H", GROUP), 2)),
            (13, vector(struct.pack(">H", ED25519), 2)),
            (51, vector(share, 2)),
            (19, b"\x01\x02"),
            (20, b"\x01\x02"),
            *self.for_quic(),
        ])

    def for_quic(self):
        return [(16, vector(vector(ALPN, 1), 2)), (57, self.parameters)]

    def take_extensions(self, found):
        if found.get(16) != vector(vector(ALPN, 1), 2):
            raise Alert("another protocol in the tunnel")
        if found.get(19) not in (b"\x02", b"\x01\x02") or found.get(20) not in (b"\x02", b"\x01\x02"):
            raise Alert("raw public keys are not agreed on")
        self.peers_parameters = found[57]

    def on_client_hello(self, reader):
        reader.take(34)
        session, suites, _ = reader.vector(1), reader.vector(2), reader.vector(1)
        found = reader.extensions()
        if SUITE not in [suites[n:n + 2] for n in range(0, len(suites), 2)]:
            raise Alert("no suite in common")
        if 0 in found or 41 in found or 42 in found:
            raise Alert("a tunnel has no name, no resumption and no early data")
        shares = Reader(found[51])
        shares = Reader(shares.vector(2))
        if shares.number(2) != GROUP:
            raise Alert("another key exchange")
        answer, secret = self.exchange.accept(shares.vector(2))
        self.take_extensions(found)
        share = struct.pack(">H", GROUP) + vector(answer, 2)
        self.send(INITIAL, SERVER_HELLO, b"\x03\x03" + os.urandom(32) + vector(session, 1) + SUITE + b"\0"
                  + extensions([(43, b"\x03\x04"), (51, share)]))
        self.start_handshake(secret)
        self.send(HANDSHAKE, EXTENSIONS, extensions([(19, b"\x02"), (20, b"\x02"), *self.for_quic()]))
        self.send(HANDSHAKE, REQUEST, b"\0" + extensions([(13, vector(struct.pack(">H", ED25519), 2))]))
        self.authenticate()
        self.start_application()

    def on_server_hello(self, reader):
        reader.take(34)
        reader.vector(1)
        if reader.take(2) != SUITE:
            raise Alert("another suite")
        reader.take(1)
        found = reader.extensions()
        share = Reader(found[51])
        if found[43] != b"\x03\x04" or share.number(2) != GROUP:
            raise Alert("another version or key exchange")
        self.start_handshake(self.exchange.finish(share.vector(2)))

    # Who it is

    def authenticate(self):
        public = self.own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.send(HANDSHAKE, CERTIFICATE, b"\0" + vector(vector(public, 3) + b"\0\0", 3))
        signed = self.own.sign(self.to_sign(self.is_client, self.transcript))
        self.send(HANDSHAKE, VERIFY, struct.pack(">H", ED25519) + vector(signed, 2))
        self.send(HANDSHAKE, FINISHED, self.finished(self.secrets[HANDSHAKE][0], self.transcript))

    def check_certificate(self, reader):
        reader.vector(1)
        entries = Reader(reader.vector(3))
        pinned = self.pinned.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if entries.vector(3) != pinned:
            raise Alert("another identity")

    def check_signature(self, reader, transcript):
        if reader.number(2) != ED25519:
            raise Alert("another signature scheme")
        self.pinned.verify(reader.vector(2), self.to_sign(not self.is_client, transcript))

    @staticmethod
    def to_sign(by_client, transcript):
        who = b"client" if by_client else b"server"
        return b" " * 64 + b"TLS 1.3, " + who + b" CertificateVerify\0" + digest(transcript)

    @staticmethod
    def finished(secret, transcript):
        return hmac.digest(expand_label(secret, b"finished", b"", 32), digest(transcript), "sha256")

    # The key schedule (RFC 8446 §7.1)

    def start_handshake(self, shared):
        early = hmac.digest(bytes(32), bytes(32), "sha256")
        handshake = hmac.digest(expand_label(early, b"derived", digest(b""), 32), shared, "sha256")
        self.master = hmac.digest(expand_label(handshake, b"derived", digest(b""), 32), bytes(32), "sha256")
        self.install(HANDSHAKE, handshake, b"hs")

    def start_application(self):
        self.install(APPLICATION, self.master, b"ap")

    def install(self, level, secret, name):
        both = [expand_label(secret, who + name + b" traffic", digest(self.transcript), 32) for who in (b"c ", b"s ")]
        self.secrets[level] = both if self.is_client else both[::-1]

    def conclude(self):
        if self.is_client:
            self.start_application()
            self.authenticate()
        self.is_done = True
