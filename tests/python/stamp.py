"""Time-stamps as rfc3161-client sees them: stamp.py BASE_URL DEMO_DIR. The strictest reader of DER there is."""

import sys
import urllib.request
from pathlib import Path

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerifierBuilder,
    decode_timestamp_response,
)

base, folder = sys.argv[1], Path(sys.argv[2])


def certificate(name):
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


message = b"what is to be stamped"
for path, tsu, policy in [
    ("/tsa", "tsu-ecdsa.pem", "2.999.3161.1"),
    ("/tsa/rsa", "tsu-rsa.pem", "2.999.3161.2"),
]:
    for digest in [HashAlgorithm.SHA256, HashAlgorithm.SHA512]:
        for nonce in [True, False]:
            for certificates in [True, False]:
                builder = TimestampRequestBuilder().data(message).hash_algorithm(digest)
                request = builder.nonce(nonce=nonce).cert_request(cert_request=certificates).build()
                http = urllib.request.Request(
                    base + path,
                    data=request.as_bytes(),
                    headers={"Content-Type": "application/timestamp-query"},
                )
                with urllib.request.urlopen(http) as reply:
                    assert reply.headers["Content-Type"] == "application/timestamp-reply"
                    response = decode_timestamp_response(reply.read())
                assert response.status == 0, response.status_string
                info = response.tst_info
                assert info.policy.dotted_string == policy, info.policy
                assert info.nonce == request.nonce
                assert 0 < info.serial_number < 1 << 127
                assert (info.accuracy.seconds, info.accuracy.millis, info.accuracy.micros) == (1, None, None)
                assert len(response.signed_data.certificates) == (2 if certificates else 0)
                verifier = (
                    VerifierBuilder.from_request(request)
                    .add_root_certificate(certificate("ca.pem"))
                    .add_intermediate_certificate(certificate("issuing.pem"))
                    .tsa_certificate(certificate(tsu))
                    .build()
                )
                assert verifier.verify_message(response, message)
                try:
                    verifier.verify_message(response, b"something else")
                except Exception:
                    pass
                else:
                    sys.exit("a token was accepted for another message")
print("rfc3161-client accepts all 16 tokens")
