#!/usr/bin/env python3
"""A second implementation of the old script's wire format (docs/classic.md), for tests and benchmarks.

    script.py -c|-l [-d] TCP_PORT PEER [UDP_PORT]

Written from the description of the format alone, and as naively as a short script is: a thread for each direction,
everything in memory, numbers compared without regard to their wrap, one TCP connection a run. The further options are
for tests: another address of its own, a smaller datagram, faults on the way out.
"""

import argparse
import hashlib
import os
import random
import socket
import struct
import sys
import threading
import time
import zlib

HEARTBEAT = b"HELOCLNT"
HEAD = struct.Struct(">cHH11s")
ACK = struct.Struct(">cH")
GAIN = 0.05  # less saved than this is not worth it
TRIES = 30
HEARTBEATS = 10


def parse():
    parser = argparse.ArgumentParser()
    side = parser.add_mutually_exclusive_group(required=True)
    side.add_argument("-c", dest="connects", action="store_true")
    side.add_argument("-l", dest="listens", action="store_true")
    parser.add_argument("-d", dest="debug", action="store_true")
    parser.add_argument("tcp_port", type=int)
    parser.add_argument("peer")
    parser.add_argument("udp_port", type=int, nargs="?", default=5555)
    parser.add_argument("--bind", default="0.0.0.0")
    parser.add_argument("--tcp-host", default="127.0.0.1")
    parser.add_argument("--max-data", type=int, default=40000)
    parser.add_argument("--lose", type=float, default=0, help="share of datagrams that do not leave")
    parser.add_argument("--spoil", type=float, default=0, help="share of datagrams with a wrong byte")
    parser.add_argument("--twice", type=float, default=0, help="share of datagrams that leave twice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resend", type=float, default=1.0, help="seconds before a datagram is sent again")
    return parser.parse_args()


class Script:
    def __init__(self, options):
        self.options = options
        self.peer = (socket.gethostbyname(options.peer), options.udp_port)
        self.chance = random.Random(options.seed)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((options.bind, options.udp_port))
        self.tcp = None
        self.unanswered = 0
        self.expected = 0
        self.answers = threading.Condition()
        self.answer = None
        self.original = self.packed = 0

    def run(self):
        threading.Thread(target=self.beat, daemon=True).start()
        where = (self.options.tcp_host, self.options.tcp_port)
        if self.options.listens:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(1)
            self.say(f"listening on {where[0]}:{where[1]}")
            self.tcp, _ = listener.accept()
        else:
            self.tcp = socket.create_connection(where)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.receive, daemon=True).start()
        self.send_all()

    def beat(self):
        while True:
            if self.unanswered >= HEARTBEATS:
                self.end(1, "the peer does not answer")
            self.unanswered += 1
            self.send(HEARTBEAT)
            time.sleep(random.uniform(20, 30))

    def send_all(self):
        number = 0
        while True:
            try:
                data = self.tcp.recv(self.options.max_data)
            except OSError:
                data = b""
            if not data:
                self.end(0, "the TCP connection has ended")
            self.send_until_acked(number, data)
            number = (number + 1) & 0xFFFF

    def send_until_acked(self, number, data):
        kind, body = b"U", zlib.compress(data)
        if len(body) < len(data) * (1 - GAIN):
            kind = b"C"
        else:
            body = data
        self.original += len(data)
        self.packed += len(body)
        datagram = HEAD.pack(kind, number, len(data), hashlib.md5(data).digest()[:11]) + body
        for _ in range(TRIES):
            with self.answers:
                self.answer = None
                self.send(datagram)
                self.answers.wait_for(lambda: self.answer is not None, timeout=self.options.resend)
                if self.answer == (b"A", number):
                    self.debug(f"acked {number}, ratio {self.packed / self.original:.3f}")
                    return
        self.end(1, "the peer does not acknowledge")

    def receive(self):
        while True:
            datagram, sender = self.udp.recvfrom(65536)
            if sender[0] != self.peer[0] or not datagram:
                continue
            kind = datagram[:1]
            if kind == b"H":
                self.unanswered = 0
            elif kind in (b"A", b"N") and len(datagram) == ACK.size:
                with self.answers:
                    self.answer = ACK.unpack(datagram)
                    self.answers.notify()
            elif kind in (b"U", b"C") and len(datagram) >= HEAD.size:
                self.take(datagram)
            else:
                self.end(1, "a datagram of an unknown type")

    def take(self, datagram):
        kind, number, length, digest = HEAD.unpack_from(datagram)
        if number == self.expected:
            data = self.unpack(kind, datagram[HEAD.size :])
            if len(data) == length and hashlib.md5(data).digest()[:11] == digest:
                self.deliver(data)
                self.expected = (self.expected + 1) & 0xFFFF
                self.send(ACK.pack(b"A", number))
                return
        elif number < self.expected:
            self.send(ACK.pack(b"A", number))
            return
        self.send(ACK.pack(b"N", self.expected))

    @staticmethod
    def unpack(kind, body):
        if kind == b"U":
            return body
        try:
            return zlib.decompress(body)
        except zlib.error:
            return b""

    def deliver(self, data):
        try:
            self.tcp.sendall(data)
        except OSError:
            self.end(0, "the TCP connection has ended")

    def send(self, datagram):
        if self.chance.random() < self.options.lose:
            return
        if self.chance.random() < self.options.spoil:
            at = self.chance.randrange(len(datagram))
            datagram = datagram[:at] + bytes([datagram[at] ^ 0x55]) + datagram[at + 1 :]
        for _ in range(2 if self.chance.random() < self.options.twice else 1):
            self.udp.sendto(datagram, self.peer)

    def say(self, line):
        print(line, file=sys.stderr, flush=True)

    def debug(self, line):
        if self.options.debug:
            self.say(line)

    def end(self, code, why):
        if self.tcp is not None:
            self.tcp.close()
        self.say(f"{why}; ratio {self.packed / max(self.original, 1):.3f}")
        os._exit(code)


Script(parse()).run()
