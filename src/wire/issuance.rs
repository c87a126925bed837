//! What a certificate says of who issued it: [`Issuance`] is read without a look at its key, which may be of any
//! kind, and in a microsecond.

use der::Decode;

use super::{
    certificate::{Certificate, CertificateError, pem_blocks},
    distribution_point::names_of_points,
    oid::{self, ObjectIdentifier},
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
    /// Names of the distribution points of its CRLs.
    points: Vec<String>,
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
        let (mut key, mut points) = (None, Vec::new());
        if let Some(extensions) = tbs.optional(tag::context_constructed(3))? {
            key = extension(extensions.value, oid::AUTHORITY_KEY_IDENTIFIER)?;
            // Of names that cannot be read none is known here.
            points = extension(extensions.value, oid::CRL_DISTRIBUTION_POINTS)?
                .and_then(|points| names_of_points(points, &issuer).ok())
                .unwrap_or_default();
        }
        let issuer_key = key.map(issuer_key).transpose()?.flatten();
        Ok(Self {
            issuer,
            issuer_key,
            serial,
            not_after: not_after.into(),
            points,
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

    /// URIs and distinguished names, as text, of the distribution points where it would be on a CRL.
    pub fn distribution_points(&self) -> &[String] {
        &self.points
    }
}

/// The value of this extension, if it is among these Extensions.
fn extension(extensions: &[u8], id: ObjectIdentifier) -> Result<Option<&[u8]>, DerError> {
    let mut extensions = Reader::whole(extensions, tag::SEQUENCE)?.reader();
    while !extensions.is_empty() {
        let mut extension = extensions.expect(tag::SEQUENCE)?.reader();
        let is_it = extension.oid()? == id.as_bytes();
        extension.optional(tag::BOOLEAN)?;
        let value = extension.expect(tag::OCTET_STRING)?.value;
        if is_it {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The key that an authorityKeyIdentifier names (RFC 5280 4.2.1.1).
fn issuer_key(value: &[u8]) -> Result<Option<Vec<u8>>, DerError> {
    let mut identifier = Reader::whole(value, tag::SEQUENCE)?.reader();
    let key = identifier.optional(tag::context(0))?;
    Ok(key.map(|key| key.value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tlv::wrap;

    fn certificate(serial: &[u8], not_after: &[u8], issuer_key: Option<&[u8]>) -> Vec<u8> {
        let sequence = |parts: &[&[u8]]| wrap(tag::SEQUENCE, parts);
        let time = |tag, text| wrap(tag, &[text]);
        let version = wrap(tag::context_constructed(0), &[&wrap(tag::INTEGER, &[&[2]])]);
        let validity = sequence(&[&time(tag::UTC_TIME, b"260101000000Z"), not_after]);
        let name = wrap(tag::SEQUENCE, &[&wrap(tag::SET, &[])]);
        let other = sequence(&[
            &wrap(tag::OID, &[&[0x55, 0x1d, 0x0f]]),
            &wrap(tag::OCTET_STRING, &[]),
        ]);
        let extensions = match issuer_key {
            None => vec![],
            Some(key) => {
                let value = sequence(&[&wrap(tag::context(0), &[key])]);
                let value = wrap(tag::OCTET_STRING, &[&value]);
                let id = wrap(tag::OID, &[oid::AUTHORITY_KEY_IDENTIFIER.as_bytes()]);
                let all = sequence(&[&other, &sequence(&[&id, &value])]);
                wrap(tag::context_constructed(3), &[&all])
            }
        };
        let tbs = sequence(&[
            &version,
            &wrap(tag::INTEGER, &[serial]),
            &sequence(&[]),
            &name,
            &validity,
            &sequence(&[]),
            &sequence(&[]),
            &extensions,
        ]);
        sequence(&[&tbs, &sequence(&[]), &wrap(tag::BIT_STRING, &[&[0]])])
    }

    #[test]
    fn what_is_needed_is_read_and_nothing_else_is_looked_at() {
        let (utc, generalized) = (b"\x17\x0d270301000000Z", b"\x18\x0f21500301000000Z");
        let der = certificate(&[0, 0xff], utc, Some(&[7, 8]));
        let [read] = Issuance::read_all(&der).unwrap().try_into().unwrap();
        assert_eq!(read.serial(), [0, 0xff]);
        assert_eq!(read.not_after().to_string(), "2027-03-01T00:00:00Z");
        assert_eq!(read.issuer_key.as_deref(), Some(&[7, 8][..]));
        assert_eq!(read.issuer, [0x30, 2, 0x31, 0]);
        let long = Issuance::from_der(&certificate(&[1], generalized, None)).unwrap();
        assert_eq!(long.not_after().to_string(), "2150-03-01T00:00:00Z");
        assert_eq!(long.issuer_key, None);
        assert_eq!(long.distribution_points(), [""; 0]);
        for end in 0..der.len() {
            assert!(Issuance::read_all(&der[..end]).is_err(), "{end}");
        }
        for at in 0..der.len() {
            let mut altered = der.clone();
            altered[at] ^= 0x80;
            // Whatever it says now, it says it without a panic.
            let _ = Issuance::read_all(&altered);
        }
    }
}
