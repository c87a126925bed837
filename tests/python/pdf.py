"""A PDF signed and stamped by pyHanko, with OCSP answers embedded: pdf.py BASE_URL DEMO_DIR."""

import sys
from io import BytesIO
from pathlib import Path

from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils import generic, writer
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.timestamps import HTTPTimeStamper
from pyhanko.sign.validation import validate_pdf_signature, validate_pdf_timestamp
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator import ValidationContext

base, folder = sys.argv[1], Path(sys.argv[2])
root, issuing = (load_cert_from_pemder(str(folder / name)) for name in ["ca.pem", "issuing.pem"])


def blank():
    page_writer = writer.PdfFileWriter()
    stream = page_writer.add_object(generic.StreamObject(stream_data=b""))
    page_writer.insert_page(
        writer.PageObject(contents=stream, media_box=generic.ArrayObject(map(generic.NumberObject, [0, 0, 100, 100])))
    )
    out = BytesIO()
    page_writer.write(out)
    out.seek(0)
    return out


signer = signers.SimpleSigner.load(
    key_file=str(folder / "signer.key"),
    cert_file=str(folder / "signer.pem"),
    ca_chain_files=[str(folder / "chain.pem")],
)
for path in ["/tsa", "/tsa/rsa"]:
    stamper = HTTPTimeStamper(base + path)
    # A signature with a stamp.
    meta = signers.PdfSignatureMetadata(field_name="Signature", md_algorithm="sha256")
    signed = signers.sign_pdf(IncrementalPdfFileWriter(blank()), meta, signer=signer, timestamper=stamper)
    context = ValidationContext(trust_roots=[root], other_certs=[issuing])
    status = validate_pdf_signature(PdfFileReader(signed).embedded_signatures[0], context)
    assert status.bottom_line, status.pretty_print_details()
    assert status.timestamp_validity.valid and status.timestamp_validity.trusted

    # The same for the long term: the signer's status asked over OCSP and embedded, stamped once more.
    fetching = ValidationContext(
        trust_roots=[root], other_certs=[issuing], allow_fetching=True, revocation_mode="hard-fail"
    )
    meta = signers.PdfSignatureMetadata(
        field_name="Signature",
        md_algorithm="sha256",
        subfilter=SigSeedSubFilter.PADES,
        validation_context=fetching,
        embed_validation_info=True,
        use_pades_lta=True,
    )
    signed = signers.sign_pdf(IncrementalPdfFileWriter(blank()), meta, signer=signer, timestamper=stamper)
    reader = PdfFileReader(signed)
    store = reader.root["/DSS"]
    assert len(store["/OCSPs"]) > 0, "no OCSP answer was embedded"
    # Validated by what is in the document alone; a certificate that names a responder must have its answer.
    context = DocumentSecurityStore.read_dss(reader).as_validation_context(
        {"trust_roots": [root], "allow_fetching": False, "revocation_mode": "hard-fail"}
    )
    status = validate_pdf_signature(reader.embedded_signatures[0], context)
    assert status.bottom_line, status.pretty_print_details()
    assert status.timestamp_validity.valid and status.timestamp_validity.trusted
    # The document time-stamp that archives it all.
    (archived,) = reader.embedded_timestamp_signatures
    status = validate_pdf_timestamp(archived, context)
    assert status.intact and status.valid and status.trusted, status.summary()
print("pyHanko accepts the signatures, the stamps and the embedded OCSP answers")
