"""Makes CRLs of the demo's issuing CA: crls.py DIR, with a JSON list on standard input of what each is to be.

Each object has `out`, a file in DIR that is replaced at once, and any of
  number       CRLNumber
  base         BaseCRLNumber, which makes it a delta
  revoked      {serial in hexadecimal, or a certificate of DIR: reason, or null}
  again        the same, once more: serials that stand twice
  from, until  seconds from now to thisUpdate and nextUpdate; `until` may be "never"
  point        a URI of the issuing distribution point
  freshest     a URI of the freshest CRL
  unknown      true: a critical extension that nobody knows
  filled       so many more entries, of serials that nobody has
  malformed    true: the last but one of those has a time that is none
  flipped      true: one bit of the signature is wrong
"""

import datetime
import json
import os
import struct
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder = Path(sys.argv[1])
issuer = x509.load_pem_x509_certificate((folder / "issuing.pem").read_bytes())
key = serialization.load_pem_private_key((folder / "issuing.key").read_bytes(), None)
now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
REVOKED = now - datetime.timedelta(days=1)
NEVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)


def serial(name):
    if name.endswith(".pem"):
        return x509.load_pem_x509_certificate((folder / name).read_bytes()).serial_number
    return int(name, 16)


def moment(seconds):
    return NEVER if seconds == "never" else now + datetime.timedelta(seconds=seconds)


def small(spec):
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    builder = builder.last_update(moment(spec.get("from", -60)))
    builder = builder.next_update(moment(spec.get("until", 7 * 86400)))
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)
    builder = builder.add_extension(identifier, critical=False)
    if "number" in spec:
        builder = builder.add_extension(x509.CRLNumber(spec["number"]), critical=False)
    if "base" in spec:
        builder = builder.add_extension(x509.DeltaCRLIndicator(spec["base"]), critical=True)
    if "point" in spec:
        name = [x509.UniformResourceIdentifier(spec["point"])]
        point = x509.IssuingDistributionPoint(name, None, False, False, None, False, False)
        builder = builder.add_extension(point, critical=True)
    if "freshest" in spec:
        name = [x509.UniformResourceIdentifier(spec["freshest"])]
        point = x509.DistributionPoint(name, None, None, None)
        builder = builder.add_extension(x509.FreshestCRL([point]), critical=False)
    if spec.get("unknown"):
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    for revoked in [spec.get("revoked", {}), spec.get("again", {})]:
        for name, reason in revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial(name)).revocation_date(REVOKED)
            if reason:
                reason = x509.CRLReason(x509.ReasonFlags(reason))
                entry = entry.add_extension(reason, critical=False)
            builder = builder.add_revoked_certificate(entry.build())
    crl = builder.sign(key, hashes.SHA256())
    return crl.public_bytes(serialization.Encoding.DER)


def wrap(tag, *parts):
    value = b"".join(parts)
    length = len(value)
    if length < 0x80:
        return bytes([tag, length]) + value
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + value


def elements(value):
    """The encodings that stand in a row."""
    found = []
    while value:
        length, start = value[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(value[2:start], "big")
        found.append(value[: start + length])
        value = value[start + length :]
    return found


def content(element):
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def filled(der, count, malformed):
    """The same CRL with more entries, signed again: by hand, since the builder copies its list for each."""
    tbs, algorithm, _ = elements(content(der))
    fields = elements(content(tbs))
    time = REVOKED.strftime("%y%m%d%H%M%SZ").encode()
    # A serial of nine octets, which none of the demo's has.
    head, tail = b"\x30\x1a\x02\x09\x5f", b"\x17\x0d" + time
    entries = [head + struct.pack(">Q", number) + tail for number in range(count)]
    if malformed:
        entries[-2] = entries[-2][:-13] + b"26133" + entries[-2][-8:]
    # version, algorithm, issuer, thisUpdate, nextUpdate, maybe entries, extensions
    given = content(fields[5]) if len(fields) == 7 else b""
    tbs = wrap(0x30, *fields[:5], wrap(0x30, given, *entries), fields[-1])
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return wrap(0x30, tbs, algorithm, wrap(0x03, b"\0", signature))


for spec in json.load(sys.stdin):
    der = small(spec)
    if "filled" in spec:
        der = filled(der, spec["filled"], spec.get("malformed"))
    if spec.get("flipped"):
        der = der[:-1] + bytes([der[-1] ^ 1])
    out = folder / spec["out"]
    out.parent.mkdir(exist_ok=True)
    new = out.with_suffix(".new")
    new.write_bytes(der)
    os.replace(new, out)
