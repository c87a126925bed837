//! The other side of RFC 6960: what is asked of a responder that need not be ours, with [`request`], and what it says to
//! that, a [`Response`]. Nothing is verified here.

use der::{Decode, asn1::GeneralizedTime};

use super::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    certificate::Certificate,
    ocsp_request::CertId,
    ocsp_response::CertStatus,
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
    pub singles: Vec<Single<'a>>,
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
        Ok(Self {
            data: data.raw,
            algorithm,
            signature,
            certificates,
            singles: singles(data)?,
        })
    }
}

/// Out of ResponseData.
fn singles(data: Element<'_>) -> Result<Vec<Single<'_>>, DerError> {
    let mut fields = data.reader();
    fields.optional(tag::context_constructed(0))?;
    // ResponderID, by name or by key: whose key it is shows when the signature is verified.
    fields.next_element()?;
    fields.expect(tag::GENERALIZED_TIME)?;
    let mut list = fields.expect(tag::SEQUENCE)?.reader();
    let mut singles = Vec::new();
    while !list.is_empty() {
        singles.push(Single::read(list.expect(tag::SEQUENCE)?)?);
    }
    Ok(singles)
}

impl<'a> Single<'a> {
    fn read(element: Element<'a>) -> Result<Self, DerError> {
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
            _ => return Err(DerError::UnexpectedTag),
        };
        let this_update = time(fields.expect(tag::GENERALIZED_TIME)?)?;
        let next_update = match fields.optional(tag::context_constructed(0))? {
            Some(explicit) => Some(time(Reader::whole(explicit.value, tag::GENERALIZED_TIME)?)?),
            None => None,
        };
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
const fn name(status: &[u8]) -> &'static str {
    match status {
        [1] => "malformedRequest",
        [2] => "internalError",
        [3] => "tryLater",
        [5] => "sigRequired",
        [6] => "unauthorized",
        _ => "an unknown status",
    }
}
