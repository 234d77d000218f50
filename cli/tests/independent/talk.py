#!/usr/bin/env python3
"""Talks to a running pinhole as its peer, or as a stranger. Says what has happened, a line each.

Usage: talk.py SCENE OWN_IP PEER_IP [PORT]     with the phrase in PINHOLE_KEY
"""

import os
import socket
import sys

import peer
import quic
import tls
import wire

WORD = b"through another implementation\n"


def talk_open(key, own, remote):
    """The open side: asks the service that is offered for an echo, and leaves."""
    us = peer.Peer(key, wire.OPEN, own, remote)
    connect(us)
    us.quic.write(0, wire.request("any", any_service=True) + WORD, is_last=True)
    us.run_until(lambda: 0 in us.quic.streams and us.quic.streams[0].is_finished, "the whole answer")
    say("reply", us.quic.streams[0].received[0])
    say("echo", us.quic.streams[0].received[1:].decode().strip())
    leave(us)


def talk_serve(key, own, remote):
    """The serve side: answers one request with what it brought, until the other side leaves."""
    us = peer.Peer(key, wire.SERVE, own, remote)
    connect(us, ["web"])
    us.run_until(lambda: 0 in us.quic.streams and us.quic.streams[0].is_finished, "a whole request")
    received = us.quic.streams[0].received
    flags, length = received[0], received[1]
    say("request", received[2:2 + length].decode(), "flags", flags)
    asked = received[2 + length:]
    if flags & 4:
        asked = wire.plain_blocks(asked)
    us.quic.write(0, bytes([wire.REPLIES["connected"]]) + asked, is_last=True)
    say("answered", asked.decode().strip())
    us.run_until(lambda: us.is_left and us.quic.closed is not None, "both goodbyes")
    say("peer left", us.quic.closed)


def talk_goodbye(key, own, remote):
    """A peer that leaves as soon as the pair is nominated."""
    us = peer.Peer(key, wire.OPEN, own, remote)
    us.run_until(lambda: us.is_nominated, "a nomination")
    us.leave()
    say("left")


def talk_strangers(key, own, remote):
    """What must stay without an answer, each followed by what must get one: so silence is no matter of patience."""
    us = peer.Peer(key, wire.OPEN, own, remote)
    stranger = wire.Key(os.urandom(32))
    expect_answers(us, key, [probe(wire.Seal(stranger)) for _ in range(50)] + [probe(us.seal)], "another key")
    expect_answers(us, key, [probe(us.seal, age_ms=20_000), probe(us.seal)], "a probe of 20 s ago")
    fresh = probe(us.seal)
    expect_answers(us, key, [fresh, fresh, probe(us.seal)], "the same probe again", answers=2)
    bent = bytearray(probe(us.seal))
    bent[60] ^= 1
    expect_answers(us, key, [bytes(bent), probe(us.seal)], "a bent probe")
    expect_answers(us, key, [probe(us.seal, kind=9), probe(us.seal)], "an unknown kind")
    expect_answers(us, key, [probe(us.seal, role=wire.SERVE), probe(us.seal)], "its own role")
    expect_answers(us, key, [probe(us.seal, more=bytes(156)), probe(us.seal)], "a probe of 257 bytes")
    expect_answers(us, key, [public_initial(), probe(us.seal)], "QUIC of a stranger")
    expect_answers(us, key, [probe(us.seal, flags=0xF0, more=bytes(155))], None)
    say("answered a later version's probe of 256 bytes")


def talk_forged(key, own, remote):
    """What somebody without the key has made, from the peer's own address: probes before a pair is found, and QUIC's
    first packets before a handshake."""
    us = peer.Peer(key, wire.OPEN, own, remote)
    seal = wire.Seal(wire.Key(os.urandom(32)))
    for _ in range(50):
        us.socket.sendto(probe(seal), remote)
    us.run_until(lambda: us.is_nominated, "a nomination")
    for connection_id in (b"unmarked", us.quic.ids.mark(os.urandom(4))):
        for _ in range(200):
            us.socket.sendto(public_initial(connection_id), remote)
    us.run_until(lambda: us.quic.is_confirmed, "a handshake")
    say("handshake")
    say("unopened", us.unopened + us.quic.unopened)
    leave(us)


def hello(us, stream):
    return wire.first_hello(us.quic.streams[stream].received) if stream in us.quic.streams else None


def connect(us, offered=()):
    us.run_until(lambda: us.is_nominated, "a nomination")
    say("nominated")
    say("observed", *us.observed)
    us.run_until(lambda: us.quic.is_confirmed, "a handshake")
    say("handshake")
    control, peers = (2, 3) if us.role == wire.OPEN else (3, 2)
    us.quic.write(control, wire.hello(wire.VERSION, 0, len(offered), offered))
    us.run_until(lambda: hello(us, peers) is not None, "a Hello")
    version, _, _, names = hello(us, peers)
    say("hello", version, *names)
    say("unmarked", us.quic.unmarked)


def leave(us):
    us.quic.close(1)
    us.flush()
    us.leave()
    say("left")


def probe(seal, kind=wire.PROBE, role=wire.OPEN, flags=0, age_ms=0, more=b""):
    """A probe of a run of its own."""
    instance, token = (int.from_bytes(os.urandom(8), "big") for _ in range(2))
    word = wire.Probe(kind, role, flags, 1, instance, 0, wire.now_ms() - age_ms, token)
    return seal.seal_with(word, seal.nonce(os.urandom(24), word.encode() + more), more)


def public_initial(connection_id=b"unmarked"):
    """An Initial with a PING under the keys that RFC 9001 gives to everybody."""
    client, _ = quic.initial_keys(connection_id)
    return quic.initial_packet(client, connection_id, b"anything", 0, b"\1")


def expect_answers(us, key, datagrams, what, answers=1):
    """Sends these, the last of which must be acked, and looks at all that comes until then."""
    seal = wire.Seal(key)
    last = seal.open(datagrams[-1])
    for datagram in datagrams:
        us.socket.sendto(datagram, us.remote)
    us.socket.settimeout(peer.PATIENCE)
    acked = []
    while last.token not in acked:
        answer = us.socket.recvfrom(65536)[0]
        word = seal.open(answer)
        if word is None or len(answer) != wire.PROBE_BYTES:
            raise peer.GaveUp(f"{what}: something came that is no word of the peer")
        if word.kind == wire.ACK:
            acked.append(word.token)
    if len(acked) != answers:
        raise peer.GaveUp(f"{what}: {len(acked)} acks and not {answers}")
    if what is not None:
        say("no answer to", what)


def say(*words):
    print(*words, flush=True)


def main():
    scene, own, remote = sys.argv[1:4]
    port = int(sys.argv[4]) if len(sys.argv) > 4 else 5555
    key = wire.Key.stretch(os.environ["PINHOLE_KEY"])
    scenes = {name[5:]: made for name, made in globals().items() if name.startswith("talk_")}
    try:
        scenes[scene](key, (own, port), (remote, port))
    except (peer.GaveUp, tls.Alert, socket.timeout) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
