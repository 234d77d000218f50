#!/usr/bin/env python3
"""Checks docs/vectors.json against wire.py and quic.py. Names what differs; exit status 1 if anything does.

Usage: vectors.py FILE
"""

import json
import sys

import quic
import wire

KINDS = {"probe": wire.PROBE, "ack": wire.ACK, "bye": wire.BYE, "displaced": wire.DISPLACED}
ROLES = {"serve": wire.SERVE, "open": wire.OPEN}


def sections(vectors):
    """The checks by section of the file: each yields (what, expected, found)."""
    known = vectors["key"]
    key = wire.Key.stretch(known["typed"])
    return key, {
        "version": lambda: [("", vectors["version"], wire.VERSION)],
        "key": lambda: stretched(known, key),
        "check words": lambda: check_words(vectors["check words"]),
        "phrases": lambda: [(v["typed"], v["canonical"], wire.canonical(v["typed"])) for v in vectors["phrases"]],
        "derived": lambda: derived(vectors["derived"], key),
        "derived for checks": lambda: derived(vectors["derived for checks"], key.for_check()),
        "probes": lambda: probes(vectors["probes"], key),
        "letters": lambda: survey_probes(vectors["letters"], key.for_check()),
        "connection ids": lambda: connection_ids(vectors["connection ids"], wire.ConnectionIds(key)),
        "initial keys": lambda: initial_keys(vectors["initial keys"], key),
        "initial packet": lambda: initial_packet(vectors["initial packet"], key),
        "slots": lambda: slots(vectors["slots"], wire.Schedule(key)),
        "reserve ports": lambda: reserve_ports(vectors["reserve ports"], wire.Schedule(key)),
        "fans": lambda: fans(vectors["fans"], wire.Schedule(key)),
        "sweeps": lambda: [(v["start"], v["first"], wire.sweep(v["start"], 8)) for v in vectors["sweeps"]],
        "hellos": lambda: hellos(vectors["hellos"]),
        "requests": lambda: requests(vectors["requests"]),
        "replies": lambda: [("", vectors["replies"], wire.REPLIES)],
        "pieces": lambda: blocks(vectors["pieces"]),
    }


def stretched(known, key):
    yield "canonical", known["canonical"], wire.canonical(known["typed"])
    yield "salt", known["salt"], wire.SALT.decode()
    yield "costs", [known["memory KiB"], known["passes"], known["lanes"]], [wire.MEMORY_KIB, wire.PASSES, 1]
    yield "secret", known["secret"], key.secret.hex()


def check_words(known):
    for v in known:
        yield v["words"], v["index"], wire.check_index(v["words"])


def derived(known, key):
    for label, value in known.items():
        yield label, value, key.derive(label).hex()


def probes(known, key):
    seal = wire.Seal(key)
    for v in known:
        flags = sum(flag for name, flag in wire.FLAGS.items() if v[name])
        probe = wire.Probe(KINDS[v["kind"]], ROLES[v["role"]], flags, v["epoch"], v["instance"], v["sequence"],
                           v["unix ms"], v["token"], address(v["observed"]))
        yield v["name"] + ", nonce", v["nonce"], seal.nonce(bytes.fromhex(v["drawn"]), probe.encode()).hex()
        yield v["name"] + ", sealed", v["datagram"], seal.seal(probe, bytes.fromhex(v["drawn"])).hex()
        yield v["name"] + ", opened", probe, seal.open(bytes.fromhex(v["datagram"]))


def address(text):
    if text is None:
        return None
    ip, _, port = text.rpartition(":")
    return ip.strip("[]"), int(port)


def survey_probes(known, key):
    seal = wire.Seal(key, "letter seal")
    for v in known:
        probe = wire.survey_probe(ROLES[v["role"]], v["round"], v["letter"], v["instance"])
        datagram = seal.seal_with(probe, bytes.fromhex(v["nonce"]))
        yield (v["role"], v["round"]), v["datagram"], datagram.hex()
        yield (v["role"], v["round"], "opened"), probe, seal.open(bytes.fromhex(v["datagram"]))


def connection_ids(known, ids):
    for v in known:
        yield v["random"], v["connection id"], ids.mark(bytes.fromhex(v["random"])).hex()
        yield v["random"], True, ids.is_marked(bytes.fromhex(v["connection id"]))


def initial_keys(known, key):
    for v in known:
        covered = wire.initial_id(key, v["instances"], bytes.fromhex(v["connection id"]))
        yield v["instances"], v["replaced by"], covered.hex()


def initial_packet(v, key):
    _, server = quic.initial_keys(wire.initial_id(key, v["instances"], bytes.fromhex(v["first destination"])))
    opened, number = bytes.fromhex(v["opened"]), v["packet number"]
    head, frames = opened[:26], opened[30:]  # between them stands the packet number
    whole = frames.ljust(quic.DATAGRAM_BYTES - len(head) - 4 - 16, b"\0")
    yield "sealed", v["datagram"], server.protect(head, number, whole).hex()
    yield "opened", (opened[0], number, whole), server.open(bytes.fromhex(v["datagram"]), len(head), number - 1)
    made = quic.initial_packet(server, bytes.fromhex(v["destination"]), bytes.fromhex(v["source"]), number, frames)
    yield "made", v["datagram"], made.hex()


def slots(known, schedule):
    for v in known:
        yield v["slot"], v["ports"], list(schedule.slot(v["slot"], *v["main ports"]))
        yield v["slot"], v["speaker"], "open" if v["slot"] % 2 else "serve"


def reserve_ports(known, schedule):
    for v in known:
        yield v["epochs"], v["ports"], list(schedule.reserve(*v["epochs"], *v["main ports"]))


def fans(known, schedule):
    for v in known:
        ports, start = schedule.fan(v["epoch"], ROLES[v["role"]], v["main port"])
        found = {"first": ports[:8], "last": ports[-4:], "count": len(ports), "start": start}
        for name, value in found.items():
            yield (v["epoch"], name), v[name], value


def hellos(known):
    for v in known:
        fields = v["version"], v["features"], v["offered"], v["names"]
        yield v["names"], v["bytes"], wire.hello(*fields).hex()
        yield v["names"], fields, wire.first_hello(bytes.fromhex(v["bytes"]))


def requests(known):
    for v in known:
        made = wire.CHECK_REQUEST if v.get("check") else wire.request(v["service"], v["any"], v["pieces"])
        yield v, v["bytes"], made.hex()


def blocks(known):
    for v in known:
        head = wire.packed_head(v["length"], v["unpacked"]) if "unpacked" in v else wire.plain_head(v["length"])
        yield v, v["head"], head.hex()


def short(value):
    return f"{str(value):.100}"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    _, checks = sections(vectors)
    wrong = [f"{name}: checked by nobody" for name in vectors if name not in checks]
    count = 0
    for name, check in checks.items():
        for what, expected, found in check():
            count += 1
            if expected != found:
                wrong.append(f"{name}, {what}: the file has {short(expected)}, the document leads to {short(found)}")
    print("\n".join(wrong) or f"{count} values of {len(checks)} sections are as the document says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
