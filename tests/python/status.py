"""OCSP as the cryptography package sees it: status.py BASE_URL DEMO_DIR. Every hash, every status; then every
OCSP request of its own test vectors, by POST and by GET."""

import base64
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import cryptography_vectors
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

base, folder = sys.argv[1], Path(sys.argv[2])
Status, Cert = ocsp.OCSPResponseStatus, ocsp.OCSPCertStatus


def certificate(name):
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


def post(request):
    http = urllib.request.Request(
        base + "/ocsp", data=request, headers={"Content-Type": "application/ocsp-request"}
    )
    return answer(http)


def get(request):
    path = urllib.parse.quote(base64.b64encode(request), safe="")
    return answer(urllib.request.Request(f"{base}/ocsp/{path}"))


def answer(http):
    with urllib.request.urlopen(http) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/ocsp-response"
        return ocsp.load_der_ocsp_response(reply.read())


issuing, responder = certificate("issuing.pem"), certificate("ocsp.pem")
for name, status, reason in [
    ("good.pem", Cert.GOOD, None),
    ("revoked.pem", Cert.REVOKED, x509.ReasonFlags.key_compromise),
    ("held.pem", Cert.REVOKED, x509.ReasonFlags.certificate_hold),
]:
    for digest in [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]:
        for nonce in [None, b"12345678", b"n" * 128]:
            builder = ocsp.OCSPRequestBuilder().add_certificate(certificate(name), issuing, digest)
            if nonce:
                builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
            request = builder.build()
            encoded = request.public_bytes(serialization.Encoding.DER)
            for ask in [post, get]:
                response = ask(encoded)
                assert response.response_status == Status.SUCCESSFUL
                assert response.certificate_status == status, (name, response.certificate_status)
                assert response.revocation_reason == reason
                assert response.serial_number == certificate(name).serial_number
                assert response.issuer_key_hash == request.issuer_key_hash
                assert response.issuer_name_hash == request.issuer_name_hash
                assert type(response.hash_algorithm) is type(digest)
                assert response.certificates == [responder]
                ski = responder.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
                assert response.responder_key_hash == ski.value.digest
                assert response.this_update_utc <= response.produced_at_utc < response.next_update_utc
                responder.public_key().verify(
                    response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256())
                )
                if nonce:
                    echoed = response.extensions.get_extension_for_class(x509.OCSPNonce)
                    assert echoed.value.nonce == nonce and not echoed.critical
                else:
                    assert len(response.extensions) == 0
                assert len(response.single_extensions) == 0

vectors = Path(list(cryptography_vectors.__path__)[0]) / "x509" / "ocsp"
expected = {
    # RFC 6960 4.1.1 knows version v1 only, and an extension stands once (RFC 5280 4.2).
    "req-invalid-version.der": Status.MALFORMED_REQUEST,
    "req-duplicate-ext.der": Status.MALFORMED_REQUEST,
}
names = sorted(path.name for path in vectors.glob("*req*.der"))
assert len(names) >= 11, names
for name in names:
    request = (vectors / name).read_bytes()
    for ask in [post, get]:
        status = ask(request).response_status
        assert status == expected.get(name, Status.UNAUTHORIZED), (name, status)
print(f"cryptography accepts every answer, and {len(names)} foreign requests got theirs")
