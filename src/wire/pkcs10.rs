//! CertificationRequest (RFC 2986), written only: [`request_info`] makes what gets signed, [`request`] the
//! finished request.

use super::{
    algorithm::SignatureAlgorithm,
    oid::{self, ObjectIdentifier},
    tlv::{self, tag},
};

/// What the certificate shall be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A TSU: extended key usage timeStamping, critical and alone (RFC 3161 2.3).
    TimeStamping,
    /// A delegated OCSP responder: OCSPSigning, with ocsp-nocheck (RFC 6960 4.2.2.2).
    OcspSigning,
}

/// CertificationRequestInfo. `subject` is a Name's encoding, `spki` a SubjectPublicKeyInfo's.
pub fn request_info(subject: &[u8], spki: &[u8], purpose: Purpose) -> Vec<u8> {
    const VERSION: [u8; 3] = [tag::INTEGER, 1, 0];
    // keyUsage with digitalSignature alone.
    let mut extensions = vec![extension(
        oid::KEY_USAGE,
        true,
        &[tag::BIT_STRING, 2, 7, 0x80],
    )];
    let usage = |id| tlv::wrap(tag::SEQUENCE, &[&encoded(id)]);
    match purpose {
        Purpose::TimeStamping => {
            extensions.push(extension(
                oid::EXT_KEY_USAGE,
                true,
                &usage(oid::KP_TIME_STAMPING),
            ));
        }
        Purpose::OcspSigning => {
            extensions.push(extension(
                oid::EXT_KEY_USAGE,
                false,
                &usage(oid::KP_OCSP_SIGNING),
            ));
            extensions.push(extension(oid::OCSP_NOCHECK, false, &[tag::NULL, 0]));
        }
    }
    let extensions = tlv::wrap(tag::SEQUENCE, &[&extensions.concat()]);
    let values = tlv::wrap(tag::SET, &[&extensions]);
    let attribute = tlv::wrap(tag::SEQUENCE, &[&encoded(oid::EXTENSION_REQUEST), &values]);
    let attributes = tlv::wrap(tag::context_constructed(0), &[&attribute]);
    tlv::wrap(tag::SEQUENCE, &[&VERSION, subject, spki, &attributes])
}

/// The request with its signature.
pub fn request(info: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> Vec<u8> {
    let bits = tlv::wrap(tag::BIT_STRING, &[&[0], signature]);
    tlv::wrap(tag::SEQUENCE, &[info, &algorithm.identifier(), &bits])
}

fn encoded(id: ObjectIdentifier) -> Vec<u8> {
    tlv::wrap(tag::OID, &[id.as_bytes()])
}

fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical {
        &[tag::BOOLEAN, 1, 0xff]
    } else {
        &[]
    };
    let value = tlv::wrap(tag::OCTET_STRING, &[value]);
    tlv::wrap(tag::SEQUENCE, &[&encoded(id), flag, &value])
}
