//! The other side of RFC 6960: what is asked of a responder that need not be ours, with [`request`], and what it says to
//! that, a [`Response`]. Nothing is verified here.

use der::{Decode, asn1::GeneralizedTime};

use super::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    certificate::Certificate,
    ocsp_request::CertId,
    ocsp_response::{CertStatus, ErrorStatus},
    oid,
    time::Seconds,
    tlv::{self, DerError, Element, Reader, tag},
};

/// An OCSPRequest about one certificate. The CertID is by SHA-1, which every responder knows (RFC 5019 2.1.1).
pub fn request(certificate: &Certificate, issuer: &Certificate) -> Vec<u8> {
    const DIGEST: DigestAlgorithm = DigestAlgorithm::Sha1;
    let object = tlv::wrap(tag::OID, &[DIGEST.oid().as_bytes()]);
    let name_hash = DIGEST.digest(issuer.subject());
    let key_hash = issuer.public_key().key_hash(DIGEST);
    let cert_id = [
        // With NULL, as everybody writes it: some compare octets.
        tlv::wrap(tag::SEQUENCE, &[&object, &[tag::NULL, 0]]),
        tlv::wrap(tag::OCTET_STRING, &[name_hash.as_ref()]),
        tlv::wrap(tag::OCTET_STRING, &[key_hash.as_ref()]),
        tlv::wrap(tag::INTEGER, &[certificate.serial()]),
    ];
    // CertID, Request, requestList, TBSRequest, OCSPRequest (RFC 6960 4.1.1).
    (0..5).fold(cert_id.concat(), |content, _| {
        tlv::wrap(tag::SEQUENCE, &[&content])
    })
}

/// The URI of the first OCSP responder that a certificate names (RFC 5280 4.2.2.1).
pub fn responder(certificate: &Certificate) -> Option<String> {
    const URI: u8 = tag::context(6);
    let (_, access) = certificate.extension(oid::AUTHORITY_INFO_ACCESS)?;
    let mut descriptions = Reader::whole(access, tag::SEQUENCE).ok()?.reader();
    while !descriptions.is_empty() {
        let mut fields = descriptions.expect(tag::SEQUENCE).ok()?.reader();
        let is_ocsp = fields.oid().ok()? == oid::AD_OCSP.as_bytes();
        let location = fields.next_element().ok()?;
        if is_ocsp && location.tag == URI {
            return std::str::from_utf8(location.value).ok().map(str::to_owned);
        }
    }
    None
}

/// Why bytes are not a response with statuses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    #[error("not a DER OCSPResponse: {0}")]
    Der(#[from] DerError),
    #[error("the responder says `{0}`")]
    Status(&'static str),
    #[error("the response is of another type than basic")]
    Type,
    #[error("the response has a critical extension that is not known here")]
    Extension,
}

/// A successful response of the basic type.
#[derive(Debug)]
pub struct Response<'a> {
    /// The octets that are signed.
    pub data: &'a [u8],
    /// `None` where it is not known here.
    pub algorithm: Option<SignatureAlgorithm>,
    pub signature: &'a [u8],
    /// Encodings, as they came.
    pub certificates: Vec<&'a [u8]>,
    pub responder: ResponderId<'a>,
    pub singles: Vec<Single<'a>>,
}

/// Whose the response says that it is (RFC 6960 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponderId<'a> {
    /// A Name's encoding.
    Name(&'a [u8]),
    /// The SHA-1 of the public key.
    KeyHash(&'a [u8]),
}

/// What is said of one certificate.
#[derive(Debug)]
pub struct Single<'a> {
    pub cert_id: CertId<'a>,
    pub status: CertStatus,
    pub this_update: Seconds,
    pub next_update: Option<Seconds>,
}

impl<'a> Response<'a> {
    pub fn parse(response: &'a [u8]) -> Result<Self, ResponseError> {
        let mut outer = Reader::whole(response, tag::SEQUENCE)?.reader();
        let status = outer.expect(tag::ENUMERATED)?;
        if status.value != [0] {
            return Err(ResponseError::Status(name(status.value)));
        }
        let explicit = outer.expect(tag::context_constructed(0))?;
        outer.finish()?;
        let mut bytes = Reader::whole(explicit.value, tag::SEQUENCE)?.reader();
        if bytes.oid()? != oid::OCSP_BASIC.as_bytes() {
            return Err(ResponseError::Type);
        }
        let basic = bytes.expect(tag::OCTET_STRING)?;
        bytes.finish()?;
        let mut basic = Reader::whole(basic.value, tag::SEQUENCE)?.reader();
        let data = basic.expect(tag::SEQUENCE)?;
        let algorithm = SignatureAlgorithm::from_identifier(basic.expect(tag::SEQUENCE)?.raw)?;
        let signature = basic.expect(tag::BIT_STRING)?.value;
        let signature = signature.strip_prefix(&[0]).ok_or(DerError::Value)?;
        let mut certificates = Vec::new();
        if let Some(explicit) = basic.optional(tag::context_constructed(0))? {
            let mut list = Reader::whole(explicit.value, tag::SEQUENCE)?.reader();
            while !list.is_empty() {
                certificates.push(list.expect(tag::SEQUENCE)?.raw);
            }
        }
        basic.finish()?;
        let (responder, singles) = said(data)?;
        Ok(Self {
            data: data.raw,
            algorithm,
            signature,
            certificates,
            responder,
            singles,
        })
    }
}

/// Out of ResponseData.
fn said(data: Element<'_>) -> Result<(ResponderId<'_>, Vec<Single<'_>>), ResponseError> {
    const BY_NAME: u8 = tag::context_constructed(1);
    const BY_KEY: u8 = tag::context_constructed(2);
    let mut fields = data.reader();
    fields.optional(tag::context_constructed(0))?;
    let responder = fields.next_element()?;
    let responder = match responder.tag {
        BY_NAME => ResponderId::Name(responder.value),
        BY_KEY => {
            let hash = Reader::whole(responder.value, tag::OCTET_STRING)?;
            ResponderId::KeyHash(hash.value)
        }
        _ => return Err(DerError::UnexpectedTag.into()),
    };
    fields.expect(tag::GENERALIZED_TIME)?;
    let mut list = fields.expect(tag::SEQUENCE)?.reader();
    let mut singles = Vec::new();
    while !list.is_empty() {
        singles.push(Single::read(list.expect(tag::SEQUENCE)?)?);
    }
    none_critical(fields)?;
    Ok((responder, singles))
}

/// Extensions in an explicit [1], to the end: none here changes what a response means, so that no critical one is
/// known (RFC 6960 4.4).
fn none_critical(mut fields: Reader<'_>) -> Result<(), ResponseError> {
    let extensions = fields.optional(tag::context_constructed(1))?;
    fields.finish()?;
    let Some(explicit) = extensions else {
        return Ok(());
    };
    let mut list = Reader::whole(explicit.value, tag::SEQUENCE)?.reader();
    while !list.is_empty() {
        let mut extension = list.expect(tag::SEQUENCE)?.reader();
        extension.oid()?;
        if extension.peek() == Some(tag::BOOLEAN) && extension.boolean()? {
            return Err(ResponseError::Extension);
        }
        extension.expect(tag::OCTET_STRING)?;
        extension.finish()?;
    }
    Ok(())
}

impl<'a> Single<'a> {
    fn read(element: Element<'a>) -> Result<Self, ResponseError> {
        const GOOD: u8 = tag::context(0);
        const REVOKED: u8 = tag::context_constructed(1);
        const UNKNOWN: u8 = tag::context(2);
        let mut fields = element.reader();
        let cert_id = CertId::first(fields.rest())?;
        fields.next_element()?;
        let status = fields.next_element()?;
        let status = match status.tag {
            GOOD => CertStatus::Good,
            UNKNOWN => CertStatus::Unknown,
            REVOKED => {
                let mut info = status.reader();
                let time = time(info.expect(tag::GENERALIZED_TIME)?)?;
                let reason = match info.optional(tag::context_constructed(0))? {
                    Some(explicit) => {
                        let value = Reader::whole(explicit.value, tag::ENUMERATED)?.value;
                        value.first().copied()
                    }
                    None => None,
                };
                CertStatus::Revoked { time, reason }
            }
            _ => return Err(DerError::UnexpectedTag.into()),
        };
        let this_update = time(fields.expect(tag::GENERALIZED_TIME)?)?;
        let next_update = match fields.optional(tag::context_constructed(0))? {
            Some(explicit) => Some(time(Reader::whole(explicit.value, tag::GENERALIZED_TIME)?)?),
            None => None,
        };
        none_critical(fields)?;
        Ok(Self {
            cert_id,
            status,
            this_update,
            next_update,
        })
    }
}

fn time(element: Element<'_>) -> Result<Seconds, DerError> {
    let time = GeneralizedTime::from_der(element.raw).map_err(|_| DerError::Value)?;
    Ok(Seconds::from(time.to_date_time()))
}

/// OCSPResponseStatus (RFC 6960 4.2.1).
fn name(status: &[u8]) -> &'static str {
    let known = ErrorStatus::ALL.into_iter();
    let known = known.map(|status| (status.code(), status.name()));
    // We never say that one.
    let mut known = known.chain([(5, "sigRequired")]);
    let found = known.find(|(code, _)| status == [*code]);
    found.map_or("an unknown status", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response with these extensions of the whole and of its one status.
    fn response(of_all: &[u8], of_one: &[u8]) -> Vec<u8> {
        let sequence = |parts: &[&[u8]]| tlv::wrap(tag::SEQUENCE, parts);
        let object = tlv::wrap(tag::OID, &[oid::OCSP_BASIC.as_bytes()]);
        let sha1 = DigestAlgorithm::Sha1.identifier();
        let octets = tlv::wrap(tag::OCTET_STRING, &[&[0; 20]]);
        let serial = tlv::wrap(tag::INTEGER, &[&[1]]);
        let cert_id = sequence(&[&sha1, &octets, &octets, &serial]);
        let time = tlv::wrap(tag::GENERALIZED_TIME, &[b"20270101000000Z"]);
        let good = [tag::context(0), 0];
        let single = sequence(&[&cert_id, &good, &time, of_one]);
        let by_key = tlv::wrap(tag::context_constructed(2), &[&octets]);
        let data = sequence(&[&by_key, &time, &sequence(&[&single]), of_all]);
        let algorithm = SignatureAlgorithm::EcdsaSha256.identifier();
        let signature = tlv::wrap(tag::BIT_STRING, &[&[0, 1]]);
        let basic = sequence(&[&data, &algorithm, &signature]);
        let bytes = sequence(&[&object, &tlv::wrap(tag::OCTET_STRING, &[&basic])]);
        let bytes = tlv::wrap(tag::context_constructed(0), &[&bytes]);
        sequence(&[&[tag::ENUMERATED, 1, 0], &bytes])
    }

    fn extensions(critical: &[u8]) -> Vec<u8> {
        let id = tlv::wrap(tag::OID, &[oid::OCSP_NONCE.as_bytes()]);
        let value = tlv::wrap(tag::OCTET_STRING, &[&[4, 0]]);
        let one = tlv::wrap(tag::SEQUENCE, &[&id, critical, &value]);
        let list = tlv::wrap(tag::SEQUENCE, &[&one]);
        tlv::wrap(tag::context_constructed(1), &[&list])
    }

    #[test]
    fn a_critical_extension_is_refused_and_others_are_passed_over() {
        let (plain, critical) = (extensions(&[]), extensions(&[tag::BOOLEAN, 1, 0xff]));
        for (of_all, of_one) in [(&[][..], &[][..]), (&plain, &plain)] {
            let response = response(of_all, of_one);
            let read = Response::parse(&response).unwrap();
            assert_eq!(read.responder, ResponderId::KeyHash(&[0; 20]));
            assert_eq!(read.singles.len(), 1);
        }
        for (of_all, of_one) in [(&critical, &plain), (&plain, &critical)] {
            let response = response(of_all, of_one);
            let refused = Response::parse(&response).unwrap_err();
            assert_eq!(refused, ResponseError::Extension);
        }
    }
}
