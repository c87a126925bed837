"""The journal as docs/journal.md has it: journal.py JOURNAL_DIR. Reads every segment, checks whatever can be
checked without the log, and prints a JSON object for each record, then how many there are and their root."""

import hashlib
import json
import struct
import sys
from pathlib import Path

KINDS = [None, "token", "started", "stopped", "configuration", "certificate", "key", "crl accepted"]
KINDS += ["crl refused", "clock proven", "clock lost", "refusals", "repaired", "clock of a demo", "clock degraded"]
KINDS += ["clock stepped", "clock latched", "clock reset", "leap second"]
TABLE = list(range(256))
for _ in range(8):  # Castagnoli's polynomial, least significant bit first
    TABLE = [entry >> 1 ^ (0x82F63B78 if entry & 1 else 0) for entry in TABLE]


def crc32c(octets):
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = TABLE[(crc ^ octet) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def dotted(content):
    arcs, arc = [], 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if octet < 0x80:
            arcs, arc = arcs + [arc], 0
    root = min(arcs[0] // 40, 2)
    return ".".join(map(str, [root, arcs[0] - 40 * root] + arcs[1:]))


class Fields:
    def __init__(self, octets):
        self.octets, self.at = octets, 0

    def take(self, length):
        self.at += length
        assert self.at <= len(self.octets), "it ends inside a field"
        return self.octets[self.at - length : self.at]

    def integer(self, length):
        return int.from_bytes(self.take(length), "big")

    def counted(self, length=1):
        return self.take(self.integer(length))

    def end(self):
        assert self.at == len(self.octets), "octets are left over"


def head(octets):
    """First number and seed."""
    magic, first, seed, crc = struct.unpack(">4sQ16sI", octets[:32].ljust(32, b"\0"))
    assert magic == b"GNS1" and crc32c(octets[:28]) == crc, "the segment's head is not whole"
    return first, seed


def frame(octets, at, seed):
    """First number, records as (public, private), and where the next frame begins."""
    magic, length, first, count, crc = struct.unpack(">4sIQII", octets[at : at + 24].ljust(24, b"\0"))
    assert magic == b"GNJ1", "no frame begins here"
    assert at + 24 + length <= len(octets) and length <= 256 << 20, "the frame is cut short"
    body = octets[at + 24 : at + 24 + length]
    assert crc32c(seed + octets[at : at + 20] + body) == crc, "the frame's checksum does not hold"
    assert count, "the frame has no records"
    fields, records = Fields(body), []
    for _ in range(count):
        lengths = fields.integer(4), fields.integer(4)
        records.append(tuple(map(fields.take, lengths)))
    fields.end()
    return first, records, at + 24 + length


def record(public, private):
    fields, hidden = Fields(public), Fields(private)
    assert fields.integer(1) == 1, "its version is unknown"
    kind, time, commitment = fields.integer(1), fields.integer(8), fields.take(32)
    assert hashlib.sha256(private).digest() == commitment, "its private part is not the one committed to"
    hidden.take(16)
    read = {"kind": KINDS[kind] if 0 < kind < len(KINDS) else kind, "time": time}
    if kind != 1:
        read["details"] = json.loads(hidden.take(len(private) - 16))
    else:
        read |= {"gen_time": time, "serial": fields.counted().hex(), "bound_ns": fields.integer(8)}
        read |= {"tsu": fields.counted().decode(), "policy": dotted(fields.counted())}
        read |= {"imprint_algorithm": dotted(fields.counted()), "imprint": fields.counted().hex()}
        read |= {"token_digest": fields.take(32).hex(), "reading": hidden.integer(8)}
        read |= {"clock": hidden.counted().decode(), "nonce_digest": hidden.counted().hex()}
        token = hidden.counted(4)
        assert hashlib.sha256(token).hexdigest() == read["token_digest"] or not token, "its token is another"
    fields.end()
    hidden.end()
    return read


def is_frame(octets, at, seed, number):
    try:
        return frame(octets, at, seed)[0] >= number
    except AssertionError:
        return False


def main(folder):
    number, stack = 0, []  # of the tree, the perfect subtrees from left to right as (leaves, hash)
    names = sorted(Path(folder, "segments").glob("*.gnj"))
    assert names, "there is no segment"
    for name in names:
        octets, at = name.read_bytes(), 32
        where = f"record {number}: {name.name} at octet "
        assert int(name.stem) == number, f"{where}0: the segment begins with record {int(name.stem)}"
        if name == names[-1] and not any(octets[32:]) and octets[:4] != b"GNS1":
            break  # just begun
        first, seed = head(octets)
        assert first == number, f"{where}0: its head says record {first}"
        while any(octets[at : at + 24]) or any(octets[at:]):
            where = f"record {number}: {name.name} at octet {at}: "
            try:
                first, records, end = frame(octets, at, seed)
            except AssertionError as error:
                later = (place for place in range(at + 1, len(octets)) if octets[place : place + 4] == b"GNJ1")
                if name == names[-1] and not any(is_frame(octets, place, seed, number) for place in later):
                    print(f"{where}{error}: torn, or damaged", file=sys.stderr)
                    break
                raise AssertionError(f"{where}{error}")
            assert first == number, f"{where}it begins with record {first}"
            for public, private in records:
                try:
                    print(json.dumps({"number": number, **record(public, private)}))
                except (AssertionError, ValueError, IndexError) as error:
                    raise AssertionError(f"record {number}: {error}")
                leaves, node = 1, hashlib.sha256(b"\0" + public).digest()
                while stack and stack[-1][0] == leaves:
                    node = hashlib.sha256(b"\1" + stack.pop()[1] + node).digest()
                    leaves *= 2
                stack.append((leaves, node))
                number += 1
            at = end
    root = stack.pop()[1] if stack else hashlib.sha256().digest()
    while stack:
        root = hashlib.sha256(b"\1" + stack.pop()[1] + root).digest()
    print(json.dumps({"records": number, "root": root.hex()}))


try:
    main(sys.argv[1])
except AssertionError as error:
    sys.exit(str(error))
