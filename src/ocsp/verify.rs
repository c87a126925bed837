//! A response that need not be ours, as a client judges it: [`verify`] shows that it says `good` of a certificate, by
//! whom it may be said, and for how long.

use crate::wire::{
    algorithm::DigestAlgorithm,
    certificate::Certificate,
    ocsp_client::{ResponderId, Response, ResponseError, Single},
    ocsp_response::CertStatus,
    oid,
    time::Seconds,
};

/// By how much a responder's clock may be ahead of ours, in seconds.
const SKEW: u64 = 300;

/// Certificates in a response that are looked at; each may cost two verifications.
const MOST: usize = 8;

/// For how long a response holds that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    pub from: Seconds,
    pub until: Seconds,
}

/// Why a response does not say `good`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Response(#[from] ResponseError),
    #[error("the response says nothing of this certificate")]
    Other,
    #[error(
        "the response is signed neither by the CA nor by a responder with its own certificate for OCSP (RFC 6960 4.2.2.2)"
    )]
    Signer,
    #[error("the certificate was revoked at {0}")]
    Revoked(Seconds),
    #[error("the responder does not know the certificate")]
    Unknown,
    #[error("the response has no nextUpdate, so that it is not known for how long it holds")]
    Endless,
    #[error("the response is of {from} and holds until {until}, not now; compare the clocks")]
    NotNow { from: Seconds, until: Seconds },
}

/// Verifies that `response` says `good` of `certificate` at `now`, on the word of its `issuer` or of whom that has
/// delegated it to.
pub fn verify(
    response: &[u8],
    certificate: &Certificate,
    issuer: &Certificate,
    now: Seconds,
) -> Result<Holds, VerifyError> {
    let response = Response::parse(response)?;
    let is_meant = |single: &&Single<'_>| {
        let cert_id = single.cert_id;
        cert_id.digest.is_some_and(|digest| {
            let name_hash = digest.digest(issuer.subject());
            let key_hash = issuer.public_key().key_hash(digest);
            cert_id.serial == *certificate.serial()
                && cert_id.issuer_name_hash == name_hash.as_ref()
                && cert_id.issuer_key_hash == key_hash.as_ref()
        })
    };
    let mut singles = response.singles.iter();
    let single = singles.find(is_meant).ok_or(VerifyError::Other)?;
    if !is_signed(&response, issuer, now) {
        return Err(VerifyError::Signer);
    }
    match single.status {
        CertStatus::Good => {}
        CertStatus::Revoked { time, .. } => return Err(VerifyError::Revoked(time)),
        CertStatus::Unknown => return Err(VerifyError::Unknown),
    }
    let (from, until) = (
        single.this_update,
        single.next_update.ok_or(VerifyError::Endless)?,
    );
    if from > now.plus(SKEW) || until <= now {
        return Err(VerifyError::NotNow { from, until });
    }
    Ok(Holds { from, until })
}

/// By the CA's key, or by one with a certificate of the CA's that is for OCSP and valid.
fn is_signed(response: &Response<'_>, issuer: &Certificate, now: Seconds) -> bool {
    let Some(algorithm) = response.algorithm else {
        return false;
    };
    let holds = |signer: &Certificate| {
        let is_named = match response.responder {
            ResponderId::Name(name) => name == signer.subject(),
            ResponderId::KeyHash(hash) => {
                hash == signer.public_key().key_hash(DigestAlgorithm::Sha1).as_ref()
            }
        };
        is_named && algorithm.verify(signer.public_key(), response.data, response.signature)
    };
    let is_responder = |one: &Certificate| {
        let usages = one.extended_key_usage().unwrap_or_default().1;
        usages.contains(&oid::KP_OCSP_SIGNING)
            && (one.not_before()..=one.not_after()).contains(&now)
            && one.is_issued_by(issuer)
    };
    let others = response.certificates.iter().take(MOST);
    let mut others = others.filter_map(|der| Certificate::from_der(der).ok());
    holds(issuer) || others.any(|other| is_responder(&other) && holds(&other))
}
