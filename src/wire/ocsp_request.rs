//! OCSPRequest (RFC 6960 4.1.1): [`OcspRequest::parse`] borrows a request from the bytes a client sent,
//! without allocating. Its signature, if any, is passed over, as every public responder does.

use super::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    oid,
    tlv::{DerError, Reader, tag},
};

/// The most CertIDs answered at once: what browsers and servers send is one, and each may cost a lookup.
const MOST_CERT_IDS: usize = 10;

/// The longest nonce (RFC 9654 2.1), in octets.
const LONGEST_NONCE: usize = 128;

/// A request whose form is right.
#[derive(Debug, Clone, Copy)]
pub struct OcspRequest<'a> {
    list: Reader<'a>,
    count: usize,
    nonce: Option<&'a [u8]>,
    preferred: Option<Reader<'a>>,
}

/// One certificate that is asked about (RFC 6960 4.1.1).
#[derive(Debug, Clone, Copy)]
pub struct CertId<'a> {
    /// The whole encoding, to be echoed byte for byte.
    pub raw: &'a [u8],
    /// `None` where the hash is not known here.
    pub digest: Option<DigestAlgorithm>,
    pub issuer_name_hash: &'a [u8],
    pub issuer_key_hash: &'a [u8],
    /// The serialNumber INTEGER's content octets.
    pub serial: &'a [u8],
}

/// Why bytes are not a request that can be answered: malformedRequest all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("not a DER OCSPRequest: {0}")]
    Der(#[from] DerError),
    #[error("the request's version is not v1")]
    Version,
    #[error("the request asks about no certificate, or about more than {MOST_CERT_IDS}")]
    Count,
    #[error("the nonce has not 1 to {LONGEST_NONCE} octets")]
    Nonce,
    #[error("an extension stands twice")]
    ExtensionTwice,
    #[error("a critical extension is not known")]
    CriticalExtension,
}

impl<'a> OcspRequest<'a> {
    pub fn parse(request: &'a [u8]) -> Result<Self, RequestError> {
        let mut outer = Reader::whole(request, tag::SEQUENCE)?.reader();
        let mut tbs = outer.expect(tag::SEQUENCE)?.reader();
        if let Some(signature) = outer.optional(tag::context_constructed(0))? {
            Reader::whole(signature.value, tag::SEQUENCE)?;
        }
        outer.finish()?;
        if let Some(version) = tbs.optional(tag::context_constructed(0))? {
            let mut version = version.reader();
            // v1 written out is a DEFAULT that DER forbids and old clients send.
            if version.integer()? != [0] {
                return Err(RequestError::Version);
            }
            version.finish()?;
        }
        tbs.optional(tag::context_constructed(1))?;
        let list = tbs.expect(tag::SEQUENCE)?.reader();
        let extensions = tbs.optional(tag::context_constructed(2))?;
        tbs.finish()?;
        let mut count = 0;
        let mut rest = list;
        while !rest.is_empty() {
            Self::single(&mut rest)?;
            count += 1;
            if count > MOST_CERT_IDS {
                return Err(RequestError::Count);
            }
        }
        if count == 0 {
            return Err(RequestError::Count);
        }
        let mut parsed = Self {
            list,
            count,
            nonce: None,
            preferred: None,
        };
        if let Some(extensions) = extensions {
            parsed.read_extensions(extensions.value)?;
        }
        Ok(parsed)
    }

    /// What is asked, in order.
    pub fn cert_ids(&self) -> impl Iterator<Item = CertId<'a>> {
        let mut rest = self.list;
        // Every one was read by `parse`.
        std::iter::from_fn(move || Self::single(&mut rest).ok())
    }

    /// How many certificates are asked about, 1 to 10.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The nonce's extnValue content, to be echoed byte for byte.
    pub const fn nonce(&self) -> Option<&'a [u8]> {
        self.nonce
    }

    /// Whether the client named algorithms it prefers (RFC 6960 4.4.7).
    pub const fn has_preference(&self) -> bool {
        self.preferred.is_some()
    }

    /// The signature algorithms the client prefers, best first, as far as they are known here.
    pub fn preferred(&self) -> impl Iterator<Item = SignatureAlgorithm> {
        let mut rest = self.preferred;
        std::iter::from_fn(move || {
            let mut fields = rest.as_mut()?.expect(tag::SEQUENCE).ok()?.reader();
            Some(fields.expect(tag::SEQUENCE).ok()?.raw)
        })
        .filter_map(|identifier| {
            SignatureAlgorithm::from_identifier(identifier)
                .ok()
                .flatten()
        })
    }

    fn single(list: &mut Reader<'a>) -> Result<CertId<'a>, RequestError> {
        let mut fields = list.expect(tag::SEQUENCE)?.reader();
        let cert_id = CertId::read(&mut fields)?;
        if let Some(extensions) = fields.optional(tag::context_constructed(0))? {
            for_each_extension(extensions.value, |_, critical, _| match critical {
                true => Err(RequestError::CriticalExtension),
                false => Ok(()),
            })?;
        }
        fields.finish()?;
        Ok(cert_id)
    }

    fn read_extensions(&mut self, extensions: &'a [u8]) -> Result<(), RequestError> {
        for_each_extension(extensions, |id, critical, value| {
            if id == oid::OCSP_NONCE.as_bytes() {
                let twice = self.nonce.replace(value).is_some();
                check_nonce(value)?;
                return if twice {
                    Err(RequestError::ExtensionTwice)
                } else {
                    Ok(())
                };
            }
            if id == oid::OCSP_PREF_SIG_ALGS.as_bytes() {
                let algorithms = Reader::whole(value, tag::SEQUENCE)?.reader();
                let twice = self.preferred.replace(algorithms).is_some();
                return if twice {
                    Err(RequestError::ExtensionTwice)
                } else {
                    Ok(())
                };
            }
            // id-pkix-ocsp-response lists what the client takes; basic is all that anyone speaks.
            if critical && id != oid::OCSP_RESPONSE.as_bytes() {
                return Err(RequestError::CriticalExtension);
            }
            Ok(())
        })
    }
}

impl<'a> CertId<'a> {
    /// From octets that begin with one.
    pub fn first(octets: &'a [u8]) -> Result<Self, DerError> {
        Self::read(&mut Reader::new(octets))
    }

    fn read(fields: &mut Reader<'a>) -> Result<Self, DerError> {
        let element = fields.expect(tag::SEQUENCE)?;
        let mut fields = element.reader();
        let mut algorithm = fields.expect(tag::SEQUENCE)?.reader();
        let digest = DigestAlgorithm::from_oid(algorithm.oid()?)
            .filter(|_| matches!(algorithm.rest(), [] | [tag::NULL, 0]));
        let issuer_name_hash = fields.expect(tag::OCTET_STRING)?.value;
        let issuer_key_hash = fields.expect(tag::OCTET_STRING)?.value;
        let serial = fields.integer()?;
        fields.finish()?;
        Ok(Self {
            raw: element.raw,
            digest,
            issuer_name_hash,
            issuer_key_hash,
            serial,
        })
    }
}

/// The length that counts is that of the inner OCTET STRING; some clients leave it out (RFC 2560 was
/// silent), and then all of the value is the nonce.
fn check_nonce(value: &[u8]) -> Result<(), RequestError> {
    let nonce = Reader::whole(value, tag::OCTET_STRING).map_or(value, |inner| inner.value);
    match nonce.len() {
        1..=LONGEST_NONCE => Ok(()),
        _ => Err(RequestError::Nonce),
    }
}

fn for_each_extension<'a>(
    extensions: &'a [u8],
    mut each: impl FnMut(&'a [u8], bool, &'a [u8]) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    let mut extensions = Reader::whole(extensions, tag::SEQUENCE)?.reader();
    while !extensions.is_empty() {
        let mut extension = extensions.expect(tag::SEQUENCE)?.reader();
        let id = extension.oid()?;
        let critical = match extension.peek() {
            Some(tag::BOOLEAN) => extension.boolean()?,
            _ => false,
        };
        let value = extension.expect(tag::OCTET_STRING)?.value;
        extension.finish()?;
        each(id, critical, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tlv;

    fn cert_id(serial: &[u8]) -> Vec<u8> {
        let hash = DigestAlgorithm::Sha1.identifier();
        let octets = tlv::wrap(tag::OCTET_STRING, &[&[7; 20]]);
        let serial = tlv::wrap(tag::INTEGER, &[serial]);
        tlv::wrap(tag::SEQUENCE, &[&hash, &octets, &octets, &serial])
    }

    fn request(serials: &[&[u8]], extensions: &[Vec<u8>]) -> Vec<u8> {
        let singles: Vec<_> = serials
            .iter()
            .map(|serial| tlv::wrap(tag::SEQUENCE, &[&cert_id(serial)]))
            .collect();
        let singles: Vec<&[u8]> = singles.iter().map(Vec::as_slice).collect();
        let list = tlv::wrap(tag::SEQUENCE, &singles);
        let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
        let extensions = tlv::wrap(
            tag::context_constructed(2),
            &[&tlv::wrap(tag::SEQUENCE, &extensions)],
        );
        let tbs = tlv::wrap(tag::SEQUENCE, &[&list, &extensions]);
        tlv::wrap(tag::SEQUENCE, &[&tbs])
    }

    fn extension(id: oid::ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
        let id = tlv::wrap(tag::OID, &[id.as_bytes()]);
        let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
        tlv::wrap(
            tag::SEQUENCE,
            &[&id, flag, &tlv::wrap(tag::OCTET_STRING, &[value])],
        )
    }

    #[test]
    fn odd_serials_are_read() {
        let bytes = request(&[&[0xff], &[0], &[0x7f; 21]], &[]);
        let parsed = OcspRequest::parse(&bytes).unwrap();
        let serials: Vec<_> = parsed
            .cert_ids()
            .map(|cert_id| cert_id.serial.len())
            .collect();
        assert_eq!((parsed.count(), serials), (3, vec![1, 1, 21]));
    }

    #[test]
    fn ten_certificates_are_the_most() {
        let serial: &[u8] = &[1];
        assert!(OcspRequest::parse(&request(&[serial; 10], &[])).is_ok());
        for wrong in [0, 11] {
            let refused = OcspRequest::parse(&request(&vec![serial; wrong], &[])).unwrap_err();
            assert_eq!(refused, RequestError::Count);
        }
    }

    #[test]
    fn nonces_have_1_to_128_octets_with_or_without_the_inner_octet_string() {
        let nonce = |value: &[u8]| {
            let bytes = request(&[&[1]], &[extension(oid::OCSP_NONCE, true, value)]);
            OcspRequest::parse(&bytes).map(|parsed| parsed.nonce().map(<[u8]>::to_vec))
        };
        let inner = |length| tlv::wrap(tag::OCTET_STRING, &[&vec![9; length]]);
        assert_eq!(nonce(&inner(128)), Ok(Some(inner(128))));
        assert_eq!(nonce(&[9; 16]), Ok(Some(vec![9; 16])));
        for bad in [inner(129), inner(0), vec![], vec![9; 129]] {
            assert_eq!(nonce(&bad), Err(RequestError::Nonce));
        }
        let twice = extension(oid::OCSP_NONCE, false, &inner(8));
        let refused = OcspRequest::parse(&request(&[&[1]], &[twice.clone(), twice])).map(|_| ());
        assert_eq!(refused, Err(RequestError::ExtensionTwice));
    }

    #[test]
    fn only_unknown_critical_extensions_matter() {
        let known = |critical| {
            let bytes = request(&[&[1]], &[extension(oid::OCSP_NOCHECK, critical, &[5, 0])]);
            OcspRequest::parse(&bytes).map(|_| ())
        };
        assert_eq!(known(false), Ok(()));
        assert_eq!(known(true), Err(RequestError::CriticalExtension));
    }

    #[test]
    fn preferences_come_in_order() {
        let algorithm =
            |algorithm: SignatureAlgorithm| tlv::wrap(tag::SEQUENCE, &[&algorithm.identifier()]);
        let value = tlv::wrap(
            tag::SEQUENCE,
            &[
                &algorithm(SignatureAlgorithm::RsaSha384),
                &[0x30, 6, 0x30, 4, 6, 2, 0x2a, 3],
                &algorithm(SignatureAlgorithm::EcdsaSha256),
            ],
        );
        let bytes = request(
            &[&[1]],
            &[extension(oid::OCSP_PREF_SIG_ALGS, false, &value)],
        );
        let preferred: Vec<_> = OcspRequest::parse(&bytes).unwrap().preferred().collect();
        assert_eq!(
            preferred,
            [
                SignatureAlgorithm::RsaSha384,
                SignatureAlgorithm::EcdsaSha256
            ]
        );
    }
}
