//! OCSPResponse (RFC 6960 4.2.1), written: [`response_data`] makes what gets signed, [`successful`] the
//! finished response, [`error`] one that carries no status at all. Read is only the [`signature`] of our own.

use super::{
    algorithm::SignatureAlgorithm,
    oid::{self, ObjectIdentifier},
    time::Seconds,
    tlv::{self, DerError, Reader, header_len, put, put_header, tag},
};

/// OCSPResponseStatus but for successful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorStatus {
    MalformedRequest,
    InternalError,
    TryLater,
    Unauthorized,
}

impl ErrorStatus {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::MalformedRequest,
        Self::InternalError,
        Self::TryLater,
        Self::Unauthorized,
    ];

    /// The RFC's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformedRequest",
            Self::InternalError => "internalError",
            Self::TryLater => "tryLater",
            Self::Unauthorized => "unauthorized",
        }
    }

    /// On the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::Unauthorized => 6,
        }
    }
}

/// CertStatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertStatus {
    Good,
    /// `reason` is a CRLReason; unspecified(0) is left out on the wire (RFC 5280 5.3.1).
    Revoked {
        time: Seconds,
        reason: Option<u8>,
    },
    Unknown,
}

/// One SingleResponse.
#[derive(Debug, Clone, Copy)]
pub struct SingleResponse<'a> {
    /// The CertID as it was asked, whole.
    pub cert_id: &'a [u8],
    pub status: CertStatus,
    pub this_update: Seconds,
    pub next_update: Seconds,
    /// id-pkix-ocsp-archive-cutoff, if any.
    pub archive_cutoff: Option<Seconds>,
}

/// ResponseData: the responder by its key's SHA-1, whole seconds, no DEFAULT and no empty list written.
pub fn response_data(
    responder_key_hash: &[u8],
    produced_at: Seconds,
    responses: &[SingleResponse<'_>],
    nonce: Option<&[u8]>,
    extended_revoke: bool,
) -> Vec<u8> {
    let by_key = tlv::wrap(
        tag::context_constructed(2),
        &[&tlv::wrap(tag::OCTET_STRING, &[responder_key_hash])],
    );
    let mut singles = Vec::new();
    for response in responses {
        put_single(&mut singles, response);
    }
    let mut extensions = Vec::new();
    if let Some(nonce) = nonce {
        put_extension(&mut extensions, oid::OCSP_NONCE, nonce);
    }
    if extended_revoke {
        put_extension(&mut extensions, oid::OCSP_EXTENDED_REVOKE, &[tag::NULL, 0]);
    }
    let mut fields = by_key;
    put(
        &mut fields,
        tag::GENERALIZED_TIME,
        &produced_at.generalized(),
    );
    put(&mut fields, tag::SEQUENCE, &singles);
    put_extensions(&mut fields, 1, &extensions);
    tlv::wrap(tag::SEQUENCE, &[&fields])
}

/// A successful OCSPResponse. `certificate` is the delegated responder's, if it is one.
pub fn successful(
    response_data: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
    certificate: Option<&[u8]>,
) -> Vec<u8> {
    let element = |content: usize| header_len(content) + content;
    let identifier = algorithm.identifier();
    let bits = signature.len() + 1;
    let certificates = certificate.map(|der| {
        tlv::wrap(
            tag::context_constructed(0),
            &[&tlv::wrap(tag::SEQUENCE, &[der])],
        )
    });
    let certificates = certificates.unwrap_or_default();
    let basic = response_data.len() + identifier.len() + element(bits) + certificates.len();
    let octets = element(basic);
    let response_type = tlv::wrap(tag::OID, &[oid::OCSP_BASIC.as_bytes()]);
    let response_bytes = response_type.len() + element(octets);
    let explicit = element(response_bytes);
    const SUCCESSFUL: [u8; 3] = [tag::ENUMERATED, 1, 0];
    let all = SUCCESSFUL.len() + element(explicit);

    let mut out = Vec::with_capacity(element(all));
    put_header(&mut out, tag::SEQUENCE, all);
    out.extend_from_slice(&SUCCESSFUL);
    put_header(&mut out, tag::context_constructed(0), explicit);
    put_header(&mut out, tag::SEQUENCE, response_bytes);
    out.extend_from_slice(&response_type);
    put_header(&mut out, tag::OCTET_STRING, octets);
    put_header(&mut out, tag::SEQUENCE, basic);
    out.extend_from_slice(response_data);
    out.extend_from_slice(&identifier);
    put_header(&mut out, tag::BIT_STRING, bits);
    out.push(0);
    out.extend_from_slice(signature);
    out.extend_from_slice(&certificates);
    out
}

/// The signature of a response that [`successful`] has made.
pub fn signature(response: &[u8]) -> Result<&[u8], DerError> {
    let mut response = Reader::whole(response, tag::SEQUENCE)?.reader();
    response.expect(tag::ENUMERATED)?;
    let explicit = response.expect(tag::context_constructed(0))?;
    let mut bytes = Reader::whole(explicit.value, tag::SEQUENCE)?.reader();
    bytes.expect(tag::OID)?;
    let basic = bytes.expect(tag::OCTET_STRING)?;
    let mut basic = Reader::whole(basic.value, tag::SEQUENCE)?.reader();
    basic.expect(tag::SEQUENCE)?;
    basic.expect(tag::SEQUENCE)?;
    let bits = basic.expect(tag::BIT_STRING)?.value;
    bits.strip_prefix(&[0]).ok_or(DerError::Value)
}

/// An unsigned OCSPResponse that says only why there is no status.
pub const fn error(status: ErrorStatus) -> [u8; 5] {
    [tag::SEQUENCE, 3, tag::ENUMERATED, 1, status.code()]
}

fn put_single(out: &mut Vec<u8>, response: &SingleResponse<'_>) {
    let mut fields = response.cert_id.to_vec();
    match response.status {
        CertStatus::Good => put(&mut fields, tag::context(0), &[]),
        CertStatus::Unknown => put(&mut fields, tag::context(2), &[]),
        CertStatus::Revoked { time, reason } => {
            let mut info = tlv::wrap(tag::GENERALIZED_TIME, &[&time.generalized()]);
            if let Some(reason) = reason.filter(|&reason| reason != 0) {
                put(
                    &mut info,
                    tag::context_constructed(0),
                    &[tag::ENUMERATED, 1, reason],
                );
            }
            put(&mut fields, tag::context_constructed(1), &info);
        }
    }
    put(
        &mut fields,
        tag::GENERALIZED_TIME,
        &response.this_update.generalized(),
    );
    let next_update = tlv::wrap(
        tag::GENERALIZED_TIME,
        &[&response.next_update.generalized()],
    );
    put(&mut fields, tag::context_constructed(0), &next_update);
    let mut extensions = Vec::new();
    if let Some(cutoff) = response.archive_cutoff {
        let cutoff = tlv::wrap(tag::GENERALIZED_TIME, &[&cutoff.generalized()]);
        put_extension(&mut extensions, oid::OCSP_ARCHIVE_CUTOFF, &cutoff);
    }
    put_extensions(&mut fields, 1, &extensions);
    put(out, tag::SEQUENCE, &fields);
}

fn put_extension(out: &mut Vec<u8>, id: ObjectIdentifier, value: &[u8]) {
    let id = tlv::wrap(tag::OID, &[id.as_bytes()]);
    let value = tlv::wrap(tag::OCTET_STRING, &[value]);
    put_header(out, tag::SEQUENCE, id.len() + value.len());
    out.extend_from_slice(&id);
    out.extend_from_slice(&value);
}

/// `[number] EXPLICIT Extensions`, or nothing: an empty list is never written (Chromium refuses it).
fn put_extensions(out: &mut Vec<u8>, number: u8, extensions: &[u8]) {
    if !extensions.is_empty() {
        let list = tlv::wrap(tag::SEQUENCE, &[extensions]);
        put(out, tag::context_constructed(number), &list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_found_again() {
        let data = response_data(&[7; 20], Seconds::EPOCH, &[], None, false);
        for certificate in [None, Some(&[tag::SEQUENCE, 0][..])] {
            let response = successful(
                &data,
                SignatureAlgorithm::EcdsaSha256,
                &[5, 0, 9],
                certificate,
            );
            assert_eq!(signature(&response), Ok(&[5, 0, 9][..]));
            assert!(signature(&response[1..]).is_err());
        }
    }

    #[test]
    fn errors_are_five_octets() {
        assert_eq!(error(ErrorStatus::Unauthorized), [0x30, 3, 0x0a, 1, 6]);
        assert_eq!(error(ErrorStatus::TryLater), [0x30, 3, 0x0a, 1, 3]);
    }
}
