"""The other end of a tunnel, on one UDP socket: punches a pair, carries QUIC over it, and leaves with a bye.

The base method of docs/protocol.md §6 only, toward one address; sequence numbers count once (§4).
"""

import os
import select
import socket
import time

import quic
import wire

PATIENCE = 30.0
PACE = 0.05


class GaveUp(Exception):
    """What must happen did not happen in time."""


class Peer:
    """One run: an instance with its socket."""

    def __init__(self, key, role, own, remote):
        self.key, self.role, self.remote = key, role, remote
        self.seal = wire.Seal(key)
        self.instance, self.sequence = int.from_bytes(os.urandom(8), "big"), 0
        self.tokens, self.numbers, self.peers_instance = {}, set(), None
        self.observed = None
        self.heard = self.is_proven = self.is_nominated = self.is_left = False
        self.quic, self.unopened = None, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(own)

    # Words

    def say(self, kind, token=0, flags=0, observed=None):
        """Seals a word and sends it to the peer."""
        self.socket.sendto(self.word(kind, token, flags, observed), self.remote)

    def word(self, kind, token=0, flags=0, observed=None):
        flags |= wire.HEARD if self.heard else 0
        probe = wire.Probe(kind, self.role, flags, 1, self.instance, self.sequence, wire.now_ms(), token, observed)
        self.sequence += 1
        return self.seal.seal(probe, os.urandom(24))

    def test(self, flags=0):
        token = int.from_bytes(os.urandom(8), "big")
        self.tokens[token] = time.monotonic()
        heard_from = self.remote if self.heard else None
        self.say(wire.PROBE, token, flags, self.observed if flags & wire.NOMINATE else heard_from)

    def leave(self):
        """Says three byes."""
        for _ in range(3):
            self.say(wire.BYE, observed=self.remote)

    # What comes

    def handle(self, datagram, source):
        """Takes a datagram. Only the peer's own address is listened to."""
        if source != self.remote or not datagram:
            return
        if datagram[0] & 0x40:
            if self.is_nominated and self.quic is not None:
                self.quic.receive(datagram)
            return
        probe = self.seal.open(datagram)
        self.unopened += probe is None
        if probe is None or probe.role == self.role or (probe.instance, probe.sequence) in self.numbers:
            return
        self.numbers.add((probe.instance, probe.sequence))
        self.heard = True
        if probe.kind == wire.PROBE:
            self.on_probe(probe)
        elif probe.kind == wire.ACK and probe.token in self.tokens:
            self.on_ack(probe)
        elif probe.kind == wire.BYE and probe.instance == self.peers_instance:
            self.is_left = True

    def on_probe(self, probe):
        is_chosen = probe.flags & wire.NOMINATE and probe.observed == self.remote
        takes = is_chosen and self.role == wire.SERVE and self.is_proven
        if takes and not self.is_nominated:
            self.nominate()
        self.say(wire.ACK, probe.token, wire.NOMINATE if takes else 0, self.remote)
        if not self.is_proven:
            self.test()

    def on_ack(self, probe):
        self.is_proven, self.peers_instance, self.observed = True, probe.instance, probe.observed
        if probe.flags & wire.NOMINATE and self.role == wire.OPEN and not self.is_nominated:
            self.nominate()

    def nominate(self):
        """Takes the pair: QUIC may begin."""
        self.is_nominated = True
        instances = (self.peers_instance, self.instance)
        self.quic = quic.Connection(self.key, self.role, instances if self.role == wire.OPEN else instances[::-1])

    # Time

    def run_until(self, condition, what):
        """Sends and receives until that holds."""
        until, test_at = time.monotonic() + PATIENCE, time.monotonic()
        again_at = test_at + 0.3
        while not condition():
            now = time.monotonic()
            if now >= until:
                raise GaveUp(what)
            if not self.is_nominated and now >= test_at:
                self.test(wire.NOMINATE if self.is_proven and self.role == wire.OPEN else 0)
                test_at = now + PACE
            if self.quic is not None and now >= again_at:
                self.quic.send_again()
                again_at = now + 0.3
            self.flush()
            if select.select([self.socket], [], [], PACE / 2)[0]:
                self.handle(*self.socket.recvfrom(65536))
        self.flush()

    def flush(self):
        if self.quic is not None:
            for datagram in self.quic.out:
                self.socket.sendto(datagram, self.remote)
            self.quic.out.clear()
