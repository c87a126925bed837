//! What a certificate says of who issued it: [`Issuance`] is read without a look at its key, which may be of any
//! kind, and in a microsecond.

use der::Decode;

use super::{
    certificate::{Certificate, CertificateError, pem_blocks},
    oid,
    time::Seconds,
    tlv::{DerError, Reader, tag},
};

/// Of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuance {
    /// The issuer Name's encoding.
    issuer: Vec<u8>,
    /// authorityKeyIdentifier's keyIdentifier.
    issuer_key: Option<Vec<u8>>,
    serial: Vec<u8>,
    not_after: Seconds,
}

impl Issuance {
    /// Of all certificates of a file's content: every PEM block, or one DER certificate.
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

    /// RFC 5280 4.1.
    fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let mut outer = Reader::whole(der, tag::SEQUENCE)?.reader();
        let mut tbs = outer.expect(tag::SEQUENCE)?.reader();
        outer.expect(tag::SEQUENCE)?;
        outer.expect(tag::BIT_STRING)?;
        outer.finish()?;
        tbs.optional(tag::context_constructed(0))?;
        let serial = tbs.integer()?.to_vec();
        tbs.expect(tag::SEQUENCE)?;
        let issuer = tbs.expect(tag::SEQUENCE)?.raw.to_vec();
        let mut validity = tbs.expect(tag::SEQUENCE)?.reader();
        validity.next_element()?;
        let not_after = x509_cert::time::Time::from_der(validity.next_element()?.raw)?;
        tbs.expect(tag::SEQUENCE)?;
        tbs.expect(tag::SEQUENCE)?;
        tbs.optional(tag::context(1))?;
        tbs.optional(tag::context(2))?;
        let issuer_key = match tbs.optional(tag::context_constructed(3))? {
            Some(extensions) => issuer_key(extensions.value)?,
            None => None,
        };
        Ok(Self {
            issuer,
            issuer_key,
            serial,
            not_after: not_after.into(),
        })
    }

    /// Whether `issuer` is named as the issuer, and no other key of the same name is.
    pub fn is_by(&self, issuer: &Certificate) -> bool {
        let same_key = match (&self.issuer_key, issuer.subject_key_identifier()) {
            (Some(named), Some(own)) => *named == own,
            _ => true,
        };
        same_key && self.issuer == *issuer.subject()
    }

    /// The serialNumber's content octets.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    pub const fn not_after(&self) -> Seconds {
        self.not_after
    }
}

/// The key that authorityKeyIdentifier names, among these Extensions (RFC 5280 4.2.1.1).
fn issuer_key(extensions: &[u8]) -> Result<Option<Vec<u8>>, DerError> {
    let mut extensions = Reader::whole(extensions, tag::SEQUENCE)?.reader();
    while !extensions.is_empty() {
        let mut extension = extensions.expect(tag::SEQUENCE)?.reader();
        let is_it = extension.oid()? == oid::AUTHORITY_KEY_IDENTIFIER.as_bytes();
        extension.optional(tag::BOOLEAN)?;
        let value = extension.expect(tag::OCTET_STRING)?.value;
        if is_it {
            let mut identifier = Reader::whole(value, tag::SEQUENCE)?.reader();
            let key = identifier.optional(tag::context(0))?;
            return Ok(key.map(|key| key.value.to_vec()));
        }
    }
    Ok(None)
}
