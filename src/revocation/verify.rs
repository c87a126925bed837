//! From bytes to a [`VerifiedCrl`] or a [`VerifiedDelta`]: [`verify`] and [`verify_delta`] are the only places that
//! make them. They judge everything about a CRL but its dates and its place among others of its issuer.
//!
//! A CRL is taken if and only if
//! - it is DER, or PEM with one block, and nothing else;
//! - its issuer's Name is the configured issuer's subject (RFC 5280 7.1), and if that certificate has
//!   a keyUsage, it has cRLSign (RFC 5280 6.3.3 (f));
//! - its signature is the issuer's, by an algorithm that is known here;
//! - no critical extension of it or of an entry is unknown, and none stands twice (RFC 5280 5.2, 5.3);
//! - its authorityKeyIdentifier, if there is one, names the issuer's subjectKeyIdentifier;
//! - it is complete within its scope, or a delta where one is wanted; no indirect CRL, not only some reasons
//!   (RFC 5280 5.2.4, 5.2.5), and of the distribution point that is configured;
//! - its number is not negative and of at most 20 octets (RFC 5280 5.2.3); a delta must have one, and one
//!   for its base;
//! - it has a nextUpdate (RFC 5280 5.1.2.5);
//! - no entry has a serial over 20 octets, nor, but in a delta, the reason removeFromCRL.

use std::borrow::Cow;

use super::{
    Facts, VerifiedCrl, VerifiedDelta,
    index::{Index, Plan, Revocation, Serial},
    scope::{Scope, ScopeError},
};
use crate::wire::{
    algorithm::{SignatureAlgorithm, sha256},
    certificate::{Certificate, pem_blocks},
    crl::{CertificateList, CrlFormatError, Extension, OidText, SerialText},
    distribution_point::names_of_points,
    name::same_name,
    oid,
    time::Seconds,
    tlv::{DerError, Reader, tag},
};

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
    #[error(
        "the CRL is a delta (deltaCRLIndicator); give the complete CRL, and the delta beside it"
    )]
    Delta,
    #[error("the CRL is complete and no delta; give the delta, or nothing")]
    NoDelta,
    #[error("the delta has no CRL number of its own (RFC 5280 5.2.3)")]
    NoNumber,
    #[error(
        "the delta is for a base with number {wanted} or above, and the one in force has {has}"
    )]
    OldBase { wanted: SerialText, has: SerialText },
    #[error("the delta needs a base with a number, and the one in force has none")]
    BaseWithoutNumber,
    #[error("the delta and the CRL in force have different issuing distribution points")]
    OtherBase,
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
    #[error("the CRL number went back from {old} to {new}")]
    NumberWentBack { old: SerialText, new: SerialText },
    #[error(
        "ALARM: two CRLs with the number {0} have different content; ask the CA which of them it issued"
    )]
    SameNumber(SerialText),
    #[error("thisUpdate went back from {old} to {new}; give the newer file")]
    TimeWentBack { old: Seconds, new: Seconds },
    #[error("the CRL is about other certificates than the one before it ({old}, now {new})")]
    ScopeChanged { old: Scope, new: Scope },
    #[error(
        "the issuing distribution point is not that of the CRL before it, though it has a name of it"
    )]
    PointChanged,
}

/// Verifies a complete CRL (DER or PEM) of `issuer`. `distribution_point` is a name that its issuing
/// distribution point must have ([`Scope::read`]); without it the CRL must not name any.
pub fn verify(
    bytes: &[u8],
    issuer: &Certificate,
    distribution_point: Option<&str>,
) -> Result<VerifiedCrl, CrlError> {
    match read(bytes, issuer, distribution_point, false)? {
        (_, Some(_)) => Err(CrlError::Delta),
        (facts, None) => Ok(VerifiedCrl::assertion(facts)),
    }
}

/// Verifies a delta CRL (RFC 5280 5.2.4) of `issuer` in the same way.
pub fn verify_delta(
    bytes: &[u8],
    issuer: &Certificate,
    distribution_point: Option<&str>,
) -> Result<VerifiedDelta, CrlError> {
    match read(bytes, issuer, distribution_point, true)? {
        (_, None) => Err(CrlError::NoDelta),
        (Facts { number: None, .. }, _) => Err(CrlError::NoNumber),
        (facts, Some(base)) => Ok(VerifiedDelta::assertion(facts, base)),
    }
}

/// What a CRL says, and the number of the base that it is for if it is a delta.
fn read(
    bytes: &[u8],
    issuer: &Certificate,
    distribution_point: Option<&str>,
    removals: bool,
) -> Result<(Facts, Option<Vec<u8>>), CrlError> {
    read_der(&der_of(bytes)?, issuer, distribution_point, removals)
}

/// What is in DER or PEM.
fn der_of(bytes: &[u8]) -> Result<Cow<'_, [u8]>, CrlError> {
    if bytes.first() == Some(&tag::SEQUENCE) {
        return Ok(bytes.into());
    }
    let blocks = pem_blocks(bytes, "X509 CRL").map_err(CrlError::Pem)?;
    match <[_; 1]>::try_from(blocks) {
        Ok([der]) => Ok(der.into()),
        Err(others) => Err(CrlError::Pem(format!("{} blocks", others.len()))),
    }
}

/// Whether the CRL in DER or PEM is signed with this key of its issuer: of a CA that was re-keyed, the old key's CRLs
/// have the same name on them.
pub fn is_signed_by(bytes: &[u8], issuer: &Certificate) -> bool {
    der_of(bytes).is_ok_and(|der| {
        let list = CertificateList::parse(&der);
        list.is_ok_and(|list| check_signature(&list, issuer).is_ok())
    })
}

fn read_der(
    der: &[u8],
    issuer: &Certificate,
    distribution_point: Option<&str>,
    removals: bool,
) -> Result<(Facts, Option<Vec<u8>>), CrlError> {
    let list = CertificateList::parse(der)?;
    check_signature(&list, issuer)?;
    let extensions = read_extensions(&list, issuer)?;
    if extensions.base.is_some() && !removals {
        return Err(CrlError::Delta);
    }
    let scope = Scope::read(extensions.idp, issuer.subject(), distribution_point)?;
    let next_update = list.next_update.ok_or(CrlError::NoNextUpdate)?;
    let (entries, duplicates) = read_entries(&list, removals)?;
    let facts = Facts {
        this_update: list.this_update,
        next_update,
        number: extensions.number,
        scope,
        distribution_point: extensions.idp.unwrap_or_default().into(),
        freshest: extensions.freshest,
        entries,
        duplicates,
        length: der.len(),
        digest: sha256(&[der]),
    };
    Ok((facts, extensions.base))
}

/// What a CRL says of itself, unverified: enough to find one among others.
#[derive(Debug)]
pub struct Glance {
    issuer: Vec<u8>,
    pub is_delta: bool,
    pub number: Option<Vec<u8>>,
    /// The IssuingDistributionPoint's encoding.
    pub distribution_point: Option<Vec<u8>>,
    pub this_update: Seconds,
}

impl Glance {
    /// Of a CRL in DER or PEM; `None` of what is none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&tag::SEQUENCE) {
            let blocks = pem_blocks(bytes, "X509 CRL").ok()?;
            return Self::of_der(blocks.first()?);
        }
        Self::of_der(bytes)
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        let list = CertificateList::parse(der).ok()?;
        let value = |id| {
            let mut all = list.extensions.into_iter();
            Some(all.find(|extension| extension.is(id))?.value)
        };
        Some(Self {
            issuer: list.issuer.to_vec(),
            is_delta: value(oid::DELTA_CRL_INDICATOR).is_some(),
            number: value(oid::CRL_NUMBER).and_then(|value| read_number(value).ok()),
            distribution_point: value(oid::ISSUING_DISTRIBUTION_POINT).map(<[u8]>::to_vec),
            this_update: list.this_update,
        })
    }

    /// Whether it names this issuer.
    pub fn is_of(&self, issuer: &Certificate) -> bool {
        same_name(&self.issuer, issuer.subject())
    }
}

fn check_signature(list: &CertificateList<'_>, issuer: &Certificate) -> Result<(), CrlError> {
    if !same_name(list.issuer, issuer.subject()) {
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

/// What a CRL's extensions say.
#[derive(Default)]
struct Known<'a> {
    number: Option<Vec<u8>>,
    /// BaseCRLNumber.
    base: Option<Vec<u8>>,
    /// The IssuingDistributionPoint's encoding.
    idp: Option<&'a [u8]>,
    freshest: Vec<String>,
}

fn read_extensions<'a>(
    list: &CertificateList<'a>,
    issuer: &Certificate,
) -> Result<Known<'a>, CrlError> {
    let mut known = Known::default();
    for extension in list.extensions {
        let Extension {
            id,
            critical,
            value,
        } = extension;
        if extension.is(oid::CRL_NUMBER) {
            known.number = Some(read_number(value)?);
        } else if extension.is(oid::ISSUING_DISTRIBUTION_POINT) {
            known.idp = Some(value);
        } else if extension.is(oid::AUTHORITY_KEY_IDENTIFIER) {
            check_key_identifier(value, issuer)?;
        } else if extension.is(oid::DELTA_CRL_INDICATOR) {
            known.base = Some(read_number(value)?);
        } else if extension.is(oid::FRESHEST_CRL) && !critical {
            let names = names_of_points(value, list.issuer);
            known.freshest = names.map_err(|_| CrlError::Extension("freshest CRL"))?;
        } else if critical {
            return Err(CrlError::UnknownCritical(OidText::new(id)));
        }
    }
    Ok(known)
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

/// The entries, and how many serials stand there once more.
fn read_entries(list: &CertificateList<'_>, removals: bool) -> Result<(Index, usize), CrlError> {
    let mut plan = Plan::new(list.serials().count());
    for serial in list.serials().flat_map(Serial::new) {
        plan.count(serial);
    }
    let mut filling = plan.fill();
    for entry in list.entries() {
        let entry = entry?;
        let revocation = Revocation {
            time: entry.revoked,
            reason: entry.reason,
        };
        if revocation.is_removal() && !removals {
            return Err(CrlError::Removed(SerialText::new(entry.serial)));
        }
        let serial = Serial::new(entry.serial)
            .map_err(|_| CrlError::SerialTooLong(SerialText::new(entry.serial)))?;
        filling.put(serial, revocation);
    }
    Ok(filling.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::testing::{Ca, Draft, entry};

    fn judged(ca: &Ca, draft: Draft) -> Result<VerifiedCrl, CrlError> {
        verify(&ca.crl(&draft), &ca.certificate, None)
    }

    #[test]
    fn what_a_crl_says_is_kept() {
        let ca = Ca::new("A");
        let revoked = [entry(&[5], None), entry(&[0, 0xff], Some(6))];
        let der = ca.crl(&Draft::new(&revoked).number(&[0x80, 1]));
        let crl = verify(&der, &ca.certificate, None).unwrap();
        assert_eq!(crl.this_update().to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(crl.next_update().to_string(), "2026-01-08T00:00:00Z");
        assert_eq!(crl.number(), Some(&[0x80, 1][..]));
        assert_eq!((crl.len(), crl.scope()), (2, Scope::All));
        assert_eq!(*crl.digest(), sha256(&[&der]));
    }

    #[test]
    fn no_revoked_certificates_can_be_said_in_two_ways() {
        let ca = Ca::new("A");
        let mut draft = Draft::new(&[]);
        assert!(judged(&ca, draft.clone()).unwrap().is_empty());
        draft.revoked = Some(Vec::new());
        assert!(judged(&ca, draft.clone()).unwrap().is_empty());
        draft.v2 = false;
        assert!(judged(&ca, draft).is_ok());
    }

    #[test]
    fn only_the_issuer_s_own_signature_counts() {
        let (ca, namesake, other) = (Ca::new("A"), Ca::new("A"), Ca::new("B"));
        let der = ca.crl(&Draft::new(&[]));
        let judged_by = |ca: &Ca| verify(&der, &ca.certificate, None);
        assert!(judged_by(&ca).is_ok());
        assert_eq!(
            judged_by(&namesake).unwrap_err(),
            CrlError::Signature("CN=A".into())
        );
        assert_eq!(
            judged_by(&other).unwrap_err(),
            CrlError::OtherIssuer("CN=B".into())
        );
    }

    #[test]
    fn key_usage_must_allow_crls_where_it_is_present() {
        for (usage, allowed) in [
            (None, true),
            (Some(&[3u8, 2, 1, 0x02][..]), true),
            (Some(&[3, 2, 2, 0x04]), false),
            (Some(&[4, 0]), false),
        ] {
            let result = judged(&Ca::with_usage("A", usage), Draft::new(&[]));
            assert_eq!(result.is_ok(), allowed, "{usage:?}");
        }
    }

    #[test]
    fn every_octet_is_covered_and_every_truncation_noticed() {
        let ca = Ca::new("A");
        let der = ca.crl(&Draft::new(&[entry(&[5], Some(1))]).number(&[1]));
        for length in 0..der.len() {
            assert!(
                verify(&der[..length], &ca.certificate, None).is_err(),
                "{length}"
            );
            let mut changed = der.clone();
            changed[length] ^= 0x01;
            assert!(verify(&changed, &ca.certificate, None).is_err(), "{length}");
        }
        let longer = [&der[..], &[0]].concat();
        assert!(verify(&longer, &ca.certificate, None).is_err());
    }

    #[test]
    fn extensions_are_judged() {
        let ca = Ca::new("A");
        let with = |id, critical, value: &[u8]| {
            judged(&ca, Draft::new(&[]).with(id, critical, value)).map(|_| ())
        };
        let unknown = oid::AUTHORITY_INFO_ACCESS;
        assert_eq!(with(unknown, false, &[0x30, 0]), Ok(()));
        assert!(matches!(
            with(unknown, true, &[0x30, 0]),
            Err(CrlError::UnknownCritical(_))
        ));
        let aki = oid::AUTHORITY_KEY_IDENTIFIER;
        assert_eq!(with(aki, false, &[0x30, 6, 0x80, 4, 7, 7, 7, 7]), Ok(()));
        assert_eq!(with(aki, false, &[0x30, 0]), Ok(()));
        let other = with(aki, false, &[0x30, 6, 0x80, 4, 7, 7, 7, 8]);
        assert_eq!(other, Err(CrlError::OtherKey("CN=A".into())));
        assert!(matches!(
            with(aki, false, &[5, 0]),
            Err(CrlError::Extension(_))
        ));
        assert_eq!(
            with(oid::DELTA_CRL_INDICATOR, false, &[2, 1, 1]),
            Err(CrlError::Delta)
        );
        let users = &[0x30, 3, 0x81, 1, 0xff];
        assert_eq!(with(oid::ISSUING_DISTRIBUTION_POINT, true, users), Ok(()));
        let twice = judged(&ca, Draft::new(&[]).number(&[1]).number(&[1]));
        assert!(matches!(
            twice,
            Err(CrlError::Format(CrlFormatError::DuplicateExtension(_)))
        ));
        let mut v1 = Draft::new(&[]).number(&[1]);
        v1.v2 = false;
        assert!(judged(&ca, v1).is_err());
    }

    #[test]
    fn numbers_have_up_to_20_octets_and_no_sign() {
        let ca = Ca::new("A");
        let number = |content: &[u8]| {
            let value = crate::wire::tlv::wrap(tag::INTEGER, &[content]);
            judged(&ca, Draft::new(&[]).with(oid::CRL_NUMBER, false, &value))
                .map(|crl| crl.number().unwrap().to_vec())
        };
        assert_eq!(number(&[0]), Ok(vec![0]));
        assert_eq!(
            number(&[&[0][..], &[0xff; 20]].concat()),
            Ok(vec![0xff; 20])
        );
        assert_eq!(number(&[0x7f; 21]), Err(CrlError::Number));
        assert_eq!(number(&[0xff]), Err(CrlError::Number));
        assert_eq!(number(&[0, 1]), Err(CrlError::Extension("CRL number")));
    }

    #[test]
    fn without_next_update_a_crl_is_refused() {
        let mut draft = Draft::new(&[]);
        draft.next_update = None;
        assert_eq!(
            judged(&Ca::new("A"), draft).unwrap_err(),
            CrlError::NoNextUpdate
        );
    }

    #[test]
    fn entries_are_judged() {
        let ca = Ca::new("A");
        let with = |serial: &[u8], reason| {
            judged(&ca, Draft::new(&[entry(&[1], None), entry(serial, reason)]))
                .map(|crl| crl.len())
        };
        assert_eq!(with(&[2], Some(0)), Ok(2));
        assert_eq!(with(&[1], Some(0)), Ok(1));
        assert_eq!(with(&[&[0][..], &[0xff; 20]].concat(), None), Ok(2));
        assert_eq!(
            with(&[2], Some(8)),
            Err(CrlError::Removed(SerialText::new(&[2])))
        );
        assert!(matches!(
            with(&[1; 21], None),
            Err(CrlError::SerialTooLong(_))
        ));
        assert!(matches!(with(&[0, 1], None), Err(CrlError::Format(_))));
        assert!(matches!(with(&[2], Some(7)), Err(CrlError::Format(_))));
    }

    #[test]
    fn a_hundred_thousand_entries_are_taken() {
        let ca = Ca::new("A");
        let serial = |n: u32| [&[0x41; 12][..], &n.to_be_bytes()].concat();
        let revoked: Vec<_> = (0..100_000).map(|n| entry(&serial(n), Some(4))).collect();
        let crl = judged(&ca, Draft::new(&revoked)).unwrap();
        assert_eq!(crl.len(), 100_000);
    }

    #[test]
    fn pem_holds_one_crl() {
        let ca = Ca::new("A");
        let der = ca.crl(&Draft::new(&[]));
        let engine = &base64::engine::general_purpose::STANDARD;
        let base64 = base64::Engine::encode(engine, &der);
        let pem = format!("-----BEGIN X509 CRL-----\n{base64}\n-----END X509 CRL-----\n");
        let judged = |text: &str| verify(text.as_bytes(), &ca.certificate, None);
        assert!(judged(&format!("Certificate Revocation List:\n{pem}")).is_ok());
        for bad in [
            &pem.repeat(2),
            "",
            "X",
            &pem.replace("-----END", ""),
            "\u{1f}\u{8b}",
        ] {
            assert!(matches!(judged(bad), Err(CrlError::Pem(_))), "{bad}");
        }
    }
}
