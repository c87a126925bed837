//! From bytes to a [`VerifiedCrl`]: [`verify`] is the only place that makes one. It judges everything
//! about a CRL but its dates, which are judged when an answer is made from it.
//!
//! A CRL is taken if and only if
//! - it is DER, or PEM with one block, and nothing else;
//! - its issuer's Name is the configured issuer's subject, octet for octet, and if that certificate has
//!   a keyUsage, it has cRLSign (RFC 5280 6.3.3 (f));
//! - its signature is the issuer's, by an algorithm that is known here;
//! - no critical extension of it or of an entry is unknown, and none stands twice (RFC 5280 5.2, 5.3);
//! - its authorityKeyIdentifier, if there is one, names the issuer's subjectKeyIdentifier;
//! - it is complete within its scope: no delta, no indirect CRL, not only some reasons (RFC 5280 5.2.4,
//!   5.2.5), and of the distribution point that is configured;
//! - its number, if there is one, is not negative and of at most 20 octets (RFC 5280 5.2.3);
//! - it has a nextUpdate (RFC 5280 5.1.2.5);
//! - no entry is removed from it (removeFromCRL belongs in deltas) or has a serial over 20 octets.

use super::{
    Facts, VerifiedCrl,
    index::{Index, Revocation},
    scope::{Scope, ScopeError},
};
use crate::wire::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    certificate::{Certificate, pem_blocks},
    crl::{CertificateList, CrlFormatError, Extension, OidText, SerialText},
    oid,
    time::Seconds,
    tlv::{DerError, Reader, tag},
};

/// reasonCode removeFromCRL (RFC 5280 5.3.1).
const REMOVE_FROM_CRL: u8 = 8;

/// Why a CRL is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    #[error(transparent)]
    Format(#[from] CrlFormatError),
    #[error("neither a CRL in DER form nor a file with one `-----BEGIN X509 CRL-----` block ({0})")]
    Pem(String),
    #[error("the CRL was not issued by {0}; give that CA's own CRL")]
    OtherIssuer(String),
    #[error("the key usage of {0} has no cRLSign, so that it may not sign CRLs")]
    NoCrlSign(String),
    #[error("the CRL is signed with an algorithm that is not supported; use SHA-256 or better")]
    UnsupportedAlgorithm,
    #[error(
        "the signature is not that of the key of {0}; if the CA has a new key, configure its new certificate"
    )]
    Signature(String),
    #[error(
        "the critical extension {0} is not known here, so that the CRL must not be used (RFC 5280 5.2)"
    )]
    UnknownCritical(OidText),
    #[error(
        "the authority key identifier is not the subject key identifier of {0}; configure the certificate of the key that signs CRLs"
    )]
    OtherKey(String),
    #[error("the {0} is not in DER form")]
    Extension(&'static str),
    #[error("the CRL is a delta (deltaCRLIndicator); give the complete CRL")]
    Delta,
    #[error("the CRL number is negative or longer than 20 octets (RFC 5280 5.2.3)")]
    Number,
    #[error(
        "the CRL has no nextUpdate (RFC 5280 5.1.2.5), so that nothing tells how long it is good for"
    )]
    NoNextUpdate,
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("the entry of serial {0} has the reason removeFromCRL, which only a delta may have")]
    Removed(SerialText),
    #[error("the entry of serial {0} is longer than 20 octets (RFC 5280 4.1.2.2)")]
    SerialTooLong(SerialText),
    #[error(
        "the CRL number went back from {old} to {new}; if the CA was restored, restart with the new file"
    )]
    NumberWentBack { old: SerialText, new: SerialText },
    #[error(
        "ALARM: two CRLs with the number {0} have different content; ask the CA which of them it issued"
    )]
    SameNumber(SerialText),
    #[error("thisUpdate went back from {old} to {new}; give the newer file")]
    TimeWentBack { old: Seconds, new: Seconds },
    #[error(
        "the CRL is about other certificates than the one before it ({old:?}, now {new:?}); restart if that is meant"
    )]
    ScopeChanged { old: Scope, new: Scope },
}

/// Verifies a CRL (DER or PEM) of `issuer`. `distribution_point` is the URI that its issuing
/// distribution point must name; without it the CRL must not name any.
pub fn verify(
    bytes: &[u8],
    issuer: &Certificate,
    distribution_point: Option<&str>,
) -> Result<VerifiedCrl, CrlError> {
    if bytes.first() == Some(&tag::SEQUENCE) {
        return verify_der(bytes, issuer, distribution_point);
    }
    let blocks = pem_blocks(bytes, "X509 CRL").map_err(CrlError::Pem)?;
    match blocks.as_slice() {
        [der] => verify_der(der, issuer, distribution_point),
        others => Err(CrlError::Pem(format!("{} blocks", others.len()))),
    }
}

fn verify_der(
    der: &[u8],
    issuer: &Certificate,
    distribution_point: Option<&str>,
) -> Result<VerifiedCrl, CrlError> {
    let list = CertificateList::parse(der)?;
    check_signature(&list, issuer)?;
    let (scope, number) = read_extensions(&list, issuer, distribution_point)?;
    let next_update = list.next_update.ok_or(CrlError::NoNextUpdate)?;
    let entries = read_entries(&list)?;
    let mut digest = [0; 32];
    let computed = DigestAlgorithm::Sha256.digest(der);
    for (to, from) in digest.iter_mut().zip(computed.as_ref()) {
        *to = *from;
    }
    Ok(VerifiedCrl::assertion(Facts {
        this_update: list.this_update,
        next_update,
        number,
        scope,
        entries,
        digest,
    }))
}

fn check_signature(list: &CertificateList<'_>, issuer: &Certificate) -> Result<(), CrlError> {
    if list.issuer != issuer.subject().as_ref() {
        return Err(CrlError::OtherIssuer(issuer.subject_text()));
    }
    // A keyUsage that cannot be decoded allows nothing.
    let may_sign = issuer.extension(oid::KEY_USAGE).is_none()
        || issuer.key_usage().is_some_and(|usage| usage.crl_sign());
    if !may_sign {
        return Err(CrlError::NoCrlSign(issuer.subject_text()));
    }
    let algorithm = SignatureAlgorithm::from_identifier(list.algorithm)
        .map_err(CrlFormatError::from)?
        .ok_or(CrlError::UnsupportedAlgorithm)?;
    if algorithm.verify(issuer.public_key(), list.tbs, list.signature) {
        Ok(())
    } else {
        Err(CrlError::Signature(issuer.subject_text()))
    }
}

fn read_extensions(
    list: &CertificateList<'_>,
    issuer: &Certificate,
    distribution_point: Option<&str>,
) -> Result<(Scope, Option<Vec<u8>>), CrlError> {
    let (mut number, mut idp) = (None, None);
    for extension in list.extensions {
        let Extension {
            id,
            critical,
            value,
        } = extension;
        if extension.is(oid::CRL_NUMBER) {
            number = Some(read_number(value)?);
        } else if extension.is(oid::ISSUING_DISTRIBUTION_POINT) {
            idp = Some(value);
        } else if extension.is(oid::AUTHORITY_KEY_IDENTIFIER) {
            check_key_identifier(value, issuer)?;
        } else if extension.is(oid::DELTA_CRL_INDICATOR) {
            return Err(CrlError::Delta);
        } else if critical {
            return Err(CrlError::UnknownCritical(OidText::new(id)));
        }
    }
    Ok((Scope::read(idp, distribution_point)?, number))
}

/// The number's magnitude without leading zeros; one zero octet for 0.
fn read_number(value: &[u8]) -> Result<Vec<u8>, CrlError> {
    let mut reader = Reader::new(value);
    let number = reader
        .integer()
        .and_then(|number| reader.finish().map(|()| number))
        .map_err(|_| CrlError::Extension("CRL number"))?;
    let magnitude = match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        [first, ..] if first & 0x80 == 0 => number,
        _ => return Err(CrlError::Number),
    };
    if magnitude.len() > 20 {
        return Err(CrlError::Number);
    }
    Ok(magnitude.to_vec())
}

fn check_key_identifier(value: &[u8], issuer: &Certificate) -> Result<(), CrlError> {
    let read = || -> Result<Option<&[u8]>, DerError> {
        let mut fields = Reader::whole(value, tag::SEQUENCE)?.reader();
        let identifier = fields.optional(tag::context(0))?;
        fields.optional(tag::context_constructed(1))?;
        fields.optional(tag::context(2))?;
        fields.finish()?;
        Ok(identifier.map(|element| element.value))
    };
    let identifier = read().map_err(|_| CrlError::Extension("authority key identifier"))?;
    match (identifier, issuer.subject_key_identifier()) {
        (Some(named), Some(own)) if named != own => Err(CrlError::OtherKey(issuer.subject_text())),
        _ => Ok(()),
    }
}

fn read_entries(list: &CertificateList<'_>) -> Result<Index, CrlError> {
    // Counting first costs little beside hashing and makes every allocation the right size.
    let mut index = Index::with_capacity(list.entries().filter(Result::is_ok).count());
    for entry in list.entries() {
        let entry = entry?;
        if entry.reason == Some(REMOVE_FROM_CRL) {
            return Err(CrlError::Removed(SerialText::new(entry.serial)));
        }
        let revocation = Revocation {
            time: entry.revoked,
            reason: entry.reason,
        };
        index
            .insert(entry.serial, revocation)
            .map_err(|_| CrlError::SerialTooLong(SerialText::new(entry.serial)))?;
    }
    Ok(index)
}
