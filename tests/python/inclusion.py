"""That a token is in the log: inclusion.py PROOF TOKEN LOG.PUB. Written from C2SP's signed-note, tlog-checkpoint
and tlog-proof and from RFC 9162 2.1.3.2, not from the appliance; pymerkle then walks the path a second time.
TOKEN is a TimeStampToken or a TimeStampResp."""

import base64
import hashlib
import sys
from pathlib import Path

from asn1crypto import cms, tsp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InclusionProof, InvalidProof


def check(holds, reason):
    if not holds:
        sys.exit(reason)


def decoded(text):
    octets = base64.b64decode(text, validate=True)
    check(base64.b64encode(octets).decode() == text, f"`{text}` is not canonical base64")
    return octets


def number(text):
    check(text.isascii() and text.isdigit() and str(int(text)) == text, f"`{text}` is no number")
    return int(text)


def sha256(*pieces):
    return hashlib.sha256(b"".join(pieces)).digest()


def verified(note, verifier):
    """Origin, size and root of a checkpoint that the key of this log has signed."""
    name, key_id, key = verifier.strip().split("+", 2)
    key = decoded(key)
    check(len(key) == 33 and key[0] == 1, "the log's key is no Ed25519 key")
    check(sha256(name.encode(), b"\n", key)[:4].hex() == key_id, "the log's key has another ID")
    check(all(c == "\n" or c >= " " for c in note), "the checkpoint is no signed note")
    text, blank, signatures = note.rpartition("\n\n")
    text += "\n"
    check(blank and signatures.endswith("\n"), "the checkpoint has no signatures")
    found = 0
    for line in signatures[:-1].split("\n"):
        dash, signer, signature = line.split(" ")
        signature = decoded(signature)
        check(dash == "\u2014" and len(signature) > 4, "a line of the checkpoint is no signature")
        if (signer, signature[:4].hex()) == (name, key_id):
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
            except InvalidSignature:
                sys.exit("the checkpoint's signature is wrong")
            found += 1
    check(found, f"the checkpoint is not signed by {name}")
    origin, size, root, *extensions = text[:-1].split("\n")
    check(origin == name and all(extensions), "the checkpoint is of another log, or has empty lines")
    root = decoded(root)
    check(len(root) == 32, "the checkpoint has no root")
    return origin, number(size), root


def walked(leaf, index, size, path):
    """The root that RFC 9162 2.1.3.2 comes to, and for each hash of the path whether it stood on the left."""
    check(index < size, f"entry {index} is not in a tree of {size}")
    fn, sn, r, left = index, size - 1, leaf, []
    for p in path:
        check(sn, "the path is too long")
        left.append(int(fn & 1 or fn == sn))
        if left[-1]:
            r = sha256(b"\1", p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\1", r, p)
        fn, sn = fn >> 1, sn >> 1
    check(sn == 0, "the path is too short")
    return r, left


def header(octets, at):
    """Where the content of a DER value begins and ends."""
    length, start = octets[at + 1], at + 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(octets[at + 2 : start], "big")
    return start, start + length


def token_of(octets):
    """The TimeStampToken: a ContentInfo begins with an OBJECT IDENTIFIER, a TimeStampResp with its status."""
    start, end = header(octets, 0)
    check(octets[0] == 0x30 and end == len(octets), "the token is no DER")
    if octets[start] == 0x06:
        return octets
    token = octets[header(octets, start)[1] : end]
    check(token, "the response holds no token")
    return token


def entry_of(octets):
    """Serial, policy, imprint and so on of a token's record (docs/journal.md), in order."""
    check(octets[:2] == b"\1\1", "the entry is not a token's")
    fields, at = [int.from_bytes(octets[2:10], "big")], 42
    for length in [None, 8, None, None, None, None, 32]:
        if length is None:
            length, at = octets[at], at + 1
        fields.append(octets[at : at + length])
        at += length
    check(at == len(octets), "the entry's fields do not fill it")
    return fields


def main(proof, token, verifier):
    head, blank, note = proof.partition("\n\n")
    first, extra, index, *path = head.split("\n")
    check(blank and first == "c2sp.org/tlog-proof@v1", "it is no proof")
    check(extra.startswith("extra ") and index.startswith("index "), "the proof has no entry or no index")
    entry, index, path = decoded(extra[6:]), number(index[6:]), [decoded(line) for line in path]
    origin, size, root = verified(note, verifier)
    leaf = sha256(b"\0", entry)
    found, left = walked(leaf, index, size, path)
    check(found == root, f"the path of entry {index} leads to another root")
    InclusionProof("sha256", True, size, index + 1, left + [0], [leaf] + path).verify(leaf, root)

    gen_time, serial, bound, tsu, policy, algorithm, imprint, digest = entry_of(entry)
    token = token_of(token)
    check(sha256(token) == digest, f"entry {index} is another token's")
    content = cms.ContentInfo.load(token)["content"]["encap_content_info"]["content"]
    info = tsp.TSTInfo.load(content.parsed.dump())
    check(info["serial_number"].native == int.from_bytes(serial, "big"), "the entry has another serial")
    check(info["policy"].contents == policy, "the entry has another policy")
    check(info["message_imprint"]["hash_algorithm"]["algorithm"].contents == algorithm, "the entry has another hash")
    check(info["message_imprint"]["hashed_message"].native == imprint, "the entry has another imprint")
    time = info["gen_time"].native
    check(int(time.timestamp()) == gen_time // 10**9, "the entry has another time")
    check(time.microsecond == gen_time % 10**9 // 1000, "the entry has another time")
    print(f"token {serial.hex()} of {tsu.decode()} at {time.isoformat()} is entry {index} of {size} in {origin}")


try:
    proof, token, verifier = (Path(name).read_bytes() for name in sys.argv[1:4])
    main(proof.decode(), token, verifier.decode())
except (ValueError, LookupError, TypeError, InvalidProof) as error:
    sys.exit(f"it proves nothing: {error}")
