//! X.509 certificates (RFC 5280 4) as the appliance needs them: [`Certificate`] keeps the bytes as they
//! came, since names and keys are compared and hashed in exactly that form, and answers questions about
//! its extensions. Read once at start, so the decoding is x509-cert's.

use bytes::Bytes;
use der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier};

use super::{
    algorithm::{DigestAlgorithm, KeyKind, SignatureAlgorithm},
    oid::{self, ObjectIdentifier},
    time::Seconds,
    tlv::{DerError, Reader, tag},
};

/// Why bytes are not a certificate that can be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("not a certificate in DER or PEM form ({0})")]
    Malformed(String),
    #[error("the file holds no `-----BEGIN CERTIFICATE-----` block")]
    NoPemBlock,
    #[error(
        "the certificate's key is of a kind that is not supported; use P-256, P-384, RSA or Ed25519"
    )]
    UnsupportedKey,
}

impl From<der::Error> for CertificateError {
    fn from(error: der::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<DerError> for CertificateError {
    fn from(error: DerError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A decoded certificate and the bytes it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Bytes,
    subject: Bytes,
    issuer: Bytes,
    serial: Bytes,
    key: PublicKey,
    decoded: x509_cert::Certificate,
}

impl Certificate {
    /// From one DER certificate with nothing behind it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let decoded = x509_cert::Certificate::from_der(der)?;
        let der = Bytes::copy_from_slice(der);
        // The same walk as RFC 5280 4.1, for the slices whose exact bytes matter.
        let mut outer = Reader::whole(&der, tag::SEQUENCE)?.reader();
        let mut tbs = outer.expect(tag::SEQUENCE)?.reader();
        tbs.optional(tag::context_constructed(0))?;
        let serial = tbs.integer()?;
        tbs.expect(tag::SEQUENCE)?;
        let issuer = tbs.expect(tag::SEQUENCE)?.raw;
        tbs.expect(tag::SEQUENCE)?;
        let subject = tbs.expect(tag::SEQUENCE)?.raw;
        let key = PublicKey::from_spki(tbs.expect(tag::SEQUENCE)?.raw)?;
        Ok(Self {
            subject: der.slice_ref(subject),
            issuer: der.slice_ref(issuer),
            serial: der.slice_ref(serial),
            key,
            decoded,
            der,
        })
    }

    /// The encodings of a certificate's subject and subjectPublicKeyInfo, whatever kind of key that is.
    pub fn subject_and_key(der: &[u8]) -> Result<(&[u8], &[u8]), CertificateError> {
        let mut outer = Reader::whole(der, tag::SEQUENCE)?.reader();
        let mut tbs = outer.expect(tag::SEQUENCE)?.reader();
        tbs.optional(tag::context_constructed(0))?;
        tbs.integer()?;
        // Signature algorithm, issuer and validity.
        for _ in 0..3 {
            tbs.expect(tag::SEQUENCE)?;
        }
        let subject = tbs.expect(tag::SEQUENCE)?.raw;
        Ok((subject, tbs.expect(tag::SEQUENCE)?.raw))
    }

    /// All certificates of a file's content: every PEM block (text around them is passed over), or one
    /// DER certificate.
    pub fn read_all(content: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if content.first() == Some(&tag::SEQUENCE) {
            return Ok(vec![Self::from_der(content)?]);
        }
        let blocks = pem_blocks(content, "CERTIFICATE").map_err(CertificateError::Malformed)?;
        if blocks.is_empty() {
            return Err(CertificateError::NoPemBlock);
        }
        blocks.iter().map(|der| Self::from_der(der)).collect()
    }

    pub const fn der(&self) -> &Bytes {
        &self.der
    }

    /// The subject Name's encoding.
    pub const fn subject(&self) -> &Bytes {
        &self.subject
    }

    /// The issuer Name's encoding.
    pub const fn issuer(&self) -> &Bytes {
        &self.issuer
    }

    /// The serialNumber's content octets.
    pub const fn serial(&self) -> &Bytes {
        &self.serial
    }

    pub const fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The subject for people (RFC 4514).
    pub fn subject_text(&self) -> String {
        self.decoded.tbs_certificate.subject.to_string()
    }

    /// The issuer for people (RFC 4514).
    pub fn issuer_text(&self) -> String {
        self.decoded.tbs_certificate.issuer.to_string()
    }

    /// Whether it is of version 3, without which it has no extensions, and TLS does not take it.
    pub fn is_v3(&self) -> bool {
        self.decoded.tbs_certificate.version == x509_cert::Version::V3
    }

    pub fn not_before(&self) -> Seconds {
        self.decoded.tbs_certificate.validity.not_before.into()
    }

    pub fn not_after(&self) -> Seconds {
        self.decoded.tbs_certificate.validity.not_after.into()
    }

    /// Whether `issuer`'s key signed this certificate, and its subject is the issuer named here.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject && self.verify_signature(issuer.public_key()).unwrap_or(false)
    }

    /// The content of an extension's extnValue, with its critical flag.
    pub fn extension(&self, id: ObjectIdentifier) -> Option<(bool, &[u8])> {
        let extensions = self.decoded.tbs_certificate.extensions.as_deref()?;
        let found = extensions
            .iter()
            .find(|extension| extension.extn_id == id)?;
        Some((found.critical, found.extn_value.as_bytes()))
    }

    /// extKeyUsage with its critical flag; an extension that cannot be decoded counts as one without any usage.
    pub fn extended_key_usage(&self) -> Option<(bool, Vec<ObjectIdentifier>)> {
        let (critical, value) = self.extension(oid::EXT_KEY_USAGE)?;
        Some((
            critical,
            ExtendedKeyUsage::from_der(value)
                .map(|usages| usages.0)
                .unwrap_or_default(),
        ))
    }

    /// keyUsage; `None` where it is absent or cannot be decoded.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        KeyUsage::from_der(self.extension(oid::KEY_USAGE)?.1).ok()
    }

    /// basicConstraints' cA.
    pub fn is_ca(&self) -> bool {
        self.extension(oid::BASIC_CONSTRAINTS)
            .and_then(|(_, value)| BasicConstraints::from_der(value).ok())
            .is_some_and(|constraints| constraints.ca)
    }

    /// basicConstraints' pathLenConstraint.
    pub fn path_length(&self) -> Option<u8> {
        let (_, value) = self.extension(oid::BASIC_CONSTRAINTS)?;
        BasicConstraints::from_der(value).ok()?.path_len_constraint
    }

    /// Every extension that is marked critical.
    pub fn critical_extensions(&self) -> impl Iterator<Item = ObjectIdentifier> {
        let extensions = self.decoded.tbs_certificate.extensions.as_deref();
        let extensions = extensions.unwrap_or_default().iter();
        extensions
            .filter(|extension| extension.critical)
            .map(|extension| extension.extn_id)
    }

    /// subjectKeyIdentifier.
    pub fn subject_key_identifier(&self) -> Option<Vec<u8>> {
        let (_, value) = self.extension(oid::SUBJECT_KEY_IDENTIFIER)?;
        Some(SubjectKeyIdentifier::from_der(value).ok()?.0.into_bytes())
    }

    /// privateKeyUsagePeriod's two ends (RFC 3280 4.2.1.4), each optional.
    pub fn private_key_usage_period(
        &self,
    ) -> Result<(Option<Seconds>, Option<Seconds>), CertificateError> {
        let Some((_, value)) = self.extension(oid::PRIVATE_KEY_USAGE_PERIOD) else {
            return Ok((None, None));
        };
        let mut fields = Reader::whole(value, tag::SEQUENCE)?.reader();
        let mut end = |number| match fields.optional(tag::context(number))? {
            None => Ok::<_, CertificateError>(None),
            Some(element) => {
                let mut time = Vec::new();
                super::tlv::put(&mut time, tag::GENERALIZED_TIME, element.value);
                let time = der::asn1::GeneralizedTime::from_der(&time)?;
                Ok(Some(Seconds::from(time.to_date_time())))
            }
        };
        let period = (end(0)?, end(1)?);
        Ok(period)
    }

    /// The algorithm the issuer signed this certificate with; `None` where it is not known here.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        let identifier = self.decoded.signature_algorithm.to_der().ok()?;
        SignatureAlgorithm::from_identifier(&identifier)
            .ok()
            .flatten()
    }

    fn verify_signature(&self, issuer: &PublicKey) -> Option<bool> {
        let mut outer = Reader::whole(&self.der, tag::SEQUENCE).ok()?.reader();
        let tbs = outer.expect(tag::SEQUENCE).ok()?.raw;
        let signature = self.decoded.signature.as_bytes()?;
        Some(self.signature_algorithm()?.verify(issuer, tbs, signature))
    }
}

/// A public key: its SubjectPublicKeyInfo and what kind it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Bytes,
    bits: Bytes,
    kind: KeyKind,
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo's whole encoding (RFC 5280 4.1.2.7).
    pub fn from_spki(spki: &[u8]) -> Result<Self, CertificateError> {
        let spki = Bytes::copy_from_slice(spki);
        let mut fields = Reader::whole(&spki, tag::SEQUENCE)?.reader();
        let mut algorithm = fields.expect(tag::SEQUENCE)?.reader();
        let bits = match fields.expect(tag::BIT_STRING)?.value {
            [0, bits @ ..] => bits,
            _ => {
                return Err(CertificateError::Malformed(
                    "the key is no whole number of octets".into(),
                ));
            }
        };
        fields.finish()?;
        let algorithm_oid = algorithm.oid()?;
        let is = |id: ObjectIdentifier| algorithm_oid == id.as_bytes();
        let kind = if is(oid::RSA_ENCRYPTION) {
            let mut key = Reader::whole(bits, tag::SEQUENCE)?.reader();
            let modulus = key.integer()?;
            let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
            let spare = modulus.first().map_or(0, |octet| octet.leading_zeros());
            KeyKind::Rsa {
                bits: (modulus.len() * 8).saturating_sub(usize::try_from(spare).unwrap_or(0)),
            }
        } else if is(oid::EC_PUBLIC_KEY) {
            let curve = algorithm.oid()?;
            [
                (oid::P256, KeyKind::P256),
                (oid::P384, KeyKind::P384),
                (oid::P521, KeyKind::P521),
            ]
            .into_iter()
            .find(|(id, _)| id.as_bytes() == curve)
            .ok_or(CertificateError::UnsupportedKey)?
            .1
        } else if is(oid::ED25519) {
            KeyKind::Ed25519
        } else {
            return Err(CertificateError::UnsupportedKey);
        };
        Ok(Self {
            bits: spki.slice_ref(bits),
            kind,
            spki,
        })
    }

    /// The SubjectPublicKeyInfo's encoding.
    pub const fn spki(&self) -> &Bytes {
        &self.spki
    }

    /// The subjectPublicKey BIT STRING's octets, without the unused-bits octet: what issuerKeyHash and
    /// ResponderID byKey hash (RFC 6960 4.1.1, 4.2.1).
    pub const fn bits(&self) -> &Bytes {
        &self.bits
    }

    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The digest of [`PublicKey::bits`]; with SHA-1 it is ResponderID byKey, and the common subjectKeyIdentifier.
    pub fn key_hash(&self, digest: DigestAlgorithm) -> super::algorithm::Digest {
        digest.digest(&self.bits)
    }
}

/// The decoded content of every PEM block with this label. Blocks of other labels and whatever is between are
/// passed over; a block that is not base64 is an error. What is no text at all takes no more memory than it has.
pub fn pem_blocks(content: &[u8], label: &str) -> Result<Vec<Vec<u8>>, String> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut blocks = Vec::new();
    let mut rest = content;
    while let Some((_, after)) = split_once(rest, begin.as_bytes()) {
        let (body, after) = split_once(after, end.as_bytes())
            .ok_or_else(|| format!("no `{end}` after its beginning"))?;
        let octets = body.iter().copied();
        let base64: Vec<u8> = octets
            .filter(|octet| !octet.is_ascii_whitespace())
            .collect();
        let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64)
            .map_err(|error| format!("a {label} block is not base64: {error}"))?;
        blocks.push(der);
        rest = after;
    }
    Ok(blocks)
}

/// What is before and behind the first `mark`.
fn split_once<'a>(content: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = content
        .windows(mark.len())
        .position(|window| window == mark)?;
    let (before, rest) = content.split_at_checked(at)?;
    Some((before, rest.get(mark.len()..)?))
}
