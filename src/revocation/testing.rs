//! A CA for tests: [`Ca`] has a certificate and signs CRLs, well-formed or not, that [`Draft`] describes.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

use crate::wire::{
    algorithm::SignatureAlgorithm,
    certificate::Certificate,
    oid::{self, ObjectIdentifier},
    tlv::{put_unsigned, tag, wrap},
};

pub const THIS_UPDATE: &str = "20260101000000Z";
pub const NEXT_UPDATE: &str = "20260108000000Z";

/// A CA with a P-256 key.
pub struct Ca {
    key: EcdsaKeyPair,
    pub certificate: Certificate,
}

/// What goes into a CRL.
#[derive(Clone)]
pub struct Draft {
    pub v2: bool,
    pub this_update: String,
    pub next_update: Option<String>,
    /// revokedCertificates' content.
    pub revoked: Option<Vec<u8>>,
    /// Whole Extension elements.
    pub extensions: Vec<Vec<u8>>,
}

impl Draft {
    pub fn new(revoked: &[Vec<u8>]) -> Self {
        Self {
            v2: true,
            this_update: THIS_UPDATE.into(),
            next_update: Some(NEXT_UPDATE.into()),
            revoked: (!revoked.is_empty()).then(|| revoked.concat()),
            extensions: Vec::new(),
        }
    }

    pub fn with(mut self, id: ObjectIdentifier, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(extension(id, critical, value));
        self
    }

    pub fn number(self, magnitude: &[u8]) -> Self {
        let mut value = Vec::new();
        put_unsigned(&mut value, magnitude);
        self.with(oid::CRL_NUMBER, false, &value)
    }
}

pub fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let id = wrap(tag::OID, &[id.as_bytes()]);
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    let value = wrap(tag::OCTET_STRING, &[value]);
    wrap(tag::SEQUENCE, &[&id, critical, &value])
}

/// An entry of 2026-01-01, its serial given by content octets.
pub fn entry(serial: &[u8], reason: Option<u8>) -> Vec<u8> {
    let serial = wrap(tag::INTEGER, &[serial]);
    let date = wrap(tag::UTC_TIME, &[b"260101000000Z"]);
    let extensions = reason.map_or(Vec::new(), |reason| {
        let code = extension(oid::REASON_CODE, false, &[tag::ENUMERATED, 1, reason]);
        wrap(tag::SEQUENCE, &[&code])
    });
    wrap(tag::SEQUENCE, &[&serial, &date, &extensions])
}

fn name(common_name: &str) -> Vec<u8> {
    let id = wrap(tag::OID, &[&[0x55, 0x04, 0x03]]);
    let value = wrap(tag::UTF8_STRING, &[common_name.as_bytes()]);
    let attribute = wrap(tag::SEQUENCE, &[&id, &value]);
    wrap(tag::SEQUENCE, &[&wrap(tag::SET, &[&attribute])])
}

fn time(text: &str) -> Vec<u8> {
    wrap(tag::GENERALIZED_TIME, &[text.as_bytes()])
}

impl Ca {
    /// With a subjectKeyIdentifier of four sevens and a keyUsage of certificates and CRLs.
    pub fn new(common_name: &str) -> Self {
        Self::with_usage(common_name, Some(&[tag::BIT_STRING, 2, 1, 0x06]))
    }

    pub fn with_usage(common_name: &str, key_usage: Option<&[u8]>) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        let mut extensions = extension(oid::SUBJECT_KEY_IDENTIFIER, false, &[4, 4, 7, 7, 7, 7]);
        if let Some(usage) = key_usage {
            extensions.extend(extension(oid::KEY_USAGE, true, usage));
        }
        let validity = [time("20200101000000Z"), time("20500101000000Z")].concat();
        let tbs = wrap(
            tag::SEQUENCE,
            &[
                &[0xa0, 3, 2, 1, 2, 2, 1, 1],
                &SignatureAlgorithm::EcdsaSha256.identifier(),
                &name(common_name),
                &wrap(tag::SEQUENCE, &[&validity]),
                &name(common_name),
                spki.as_ref(),
                &wrap(0xa3, &[&wrap(tag::SEQUENCE, &[&extensions])]),
            ],
        );
        let certificate = Certificate::from_der(&signed(&key, &tbs)).unwrap();
        Self { key, certificate }
    }

    /// The CRL that `draft` describes, signed.
    pub fn crl(&self, draft: &Draft) -> Vec<u8> {
        let extensions = if draft.extensions.is_empty() {
            Vec::new()
        } else {
            let all = draft.extensions.concat();
            wrap(0xa0, &[&wrap(tag::SEQUENCE, &[&all])])
        };
        let next_update = draft.next_update.as_deref().map(time).unwrap_or_default();
        let revoked = draft.revoked.as_ref();
        let tbs = wrap(
            tag::SEQUENCE,
            &[
                if draft.v2 { &[2, 1, 1] } else { &[] },
                &SignatureAlgorithm::EcdsaSha256.identifier(),
                self.certificate.subject(),
                &time(&draft.this_update),
                &next_update,
                &revoked.map_or(Vec::new(), |content| wrap(tag::SEQUENCE, &[content])),
                &extensions,
            ],
        );
        signed(&self.key, &tbs)
    }
}

fn signed(key: &EcdsaKeyPair, tbs: &[u8]) -> Vec<u8> {
    let signature = key.sign(&SystemRandom::new(), tbs).unwrap();
    let bits = wrap(tag::BIT_STRING, &[&[0], signature.as_ref()]);
    wrap(
        tag::SEQUENCE,
        &[tbs, &SignatureAlgorithm::EcdsaSha256.identifier(), &bits],
    )
}
