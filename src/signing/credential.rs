//! A key and its certificate meet once, here: [`Credential::prove`] shows that they belong together and
//! that the certificate may do the job, and whoever holds a [`Credential`] need not ask again, but for
//! the dates and a revocation ([`Credential::usable_at`]).

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;

use super::Signer;
use crate::wire::{
    certificate::{Certificate, CertificateError},
    crl::reason_name,
    oid,
    time::Seconds,
};

/// The shortest that 15 months can be, in seconds: from the first of a February to the first of May.
const FIFTEEN_MONTHS: u64 = 454 * 86_400;

/// The job a certificate is to do.
#[derive(Debug, Clone, Copy)]
pub enum Role<'a> {
    /// Sign time-stamp tokens (RFC 3161 2.3); those for signatures of code for 15 months after notBefore at most (CA/B
    /// Forum CSBR 6.3.2).
    TimeStamping { code_signing: bool },
    /// Sign status for this CA by delegation (RFC 6960 4.2.2.2).
    DelegatedResponder { issuer: &'a Certificate },
    /// Sign status with the CA's own key.
    IssuerItself,
}

/// Why a key and a certificate cannot be used together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error(
        "the key does not belong to the certificate of {0}; give the key that the certificate was issued for"
    )]
    KeyMismatch(String),
    #[error("the certificate of {0} is a CA's; a TSU's must not be")]
    IsCa(String),
    #[error(
        "the certificate of {0} has no extended key usage; it needs timeStamping, critical, and nothing else (RFC 3161 2.3)"
    )]
    NoUsage(String),
    #[error(
        "the certificate of {0} has other extended key usages than exactly one, timeStamping (RFC 3161 2.3)"
    )]
    NotTimeStamping(String),
    #[error("the extended key usage of {0} is not critical; RFC 3161 2.3 demands it")]
    UsageNotCritical(String),
    #[error("the key usage of {0} does not allow digital signatures")]
    NoDigitalSignature(String),
    #[error("the certificate of {0} has no extended key usage OCSPSigning (RFC 6960 4.2.2.2)")]
    NotOcspSigning(String),
    #[error(
        "the certificate of {0} has no id-pkix-ocsp-nocheck extension; clients would ask for its own status without end (RFC 6960 4.2.2.2.1)"
    )]
    NoNocheck(String),
    #[error(
        "the certificate of {0} was not issued by the CA it is to answer for, or not under its present key (RFC 6960 4.2.2.2)"
    )]
    NotIssuedBy(String),
    #[error("the certificate of {0} is valid from {1}")]
    NotYetValid(String, Seconds),
    #[error("the certificate of {0} ended at {1}; renew it")]
    Expired(String, Seconds),
    #[error("the private key usage period of {0} begins at {1}")]
    KeyNotYet(String, Seconds),
    #[error(
        "the private key usage period of {0} ended at {1}; give the TSU a new key and certificate"
    )]
    KeyEnded(String, Seconds),
    #[error(
        "the key of {0} could sign until {1}, 15 months after its certificate's notBefore (`code_signing`, CSBR 6.3.2); give the TSU a new key and certificate"
    )]
    ProfileEnded(String, Seconds),
    #[error(
        "the certificate of {0} was revoked on {time} ({reason}), so its key signs nothing; give it a new key and certificate",
        time = .1.time, reason = reason_name(.1.reason)
    )]
    Revoked(String, Revocation),
    #[error("the RSA key of {0} has {1} bits; 3072 are the least")]
    ShortRsa(String, usize),
    #[error("the chain of {0} has a gap: {1} was not issued by the certificate after it")]
    BrokenChain(String, String),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// That a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    pub time: Seconds,
    /// reasonCode (RFC 5280 5.3.1).
    pub reason: Option<u8>,
}

/// A signer that may do its job, with its certificate and the intermediates above it.
pub struct Credential {
    certificate: Certificate,
    chain: Vec<Certificate>,
    signer: Arc<dyn Signer>,
    not_before: Seconds,
    not_after: Seconds,
    key_not_before: Option<Seconds>,
    key_not_after: Option<Seconds>,
    /// The end by the rules for the role.
    profile_end: Option<Seconds>,
    /// What the CA has said of the certificate since it was proved.
    revocation: ArcSwapOption<Revocation>,
}

impl Credential {
    /// Proves the match, the role and the dates at `now`. `chain` holds the intermediates, nearest first.
    pub fn prove(
        role: Role<'_>,
        certificate: Certificate,
        chain: Vec<Certificate>,
        signer: Arc<dyn Signer>,
        now: Seconds,
    ) -> Result<Self, CredentialError> {
        let name = certificate.subject_text();
        if signer.public_key().spki() != certificate.public_key().spki() {
            return Err(CredentialError::KeyMismatch(name));
        }
        if let crate::wire::algorithm::KeyKind::Rsa { bits } = certificate.public_key().kind()
            && bits < 3072
            && !matches!(role, Role::IssuerItself)
        {
            // CSBR 6.1.5.2 and TS 119 312: no RSA key below 3072 bits for new signatures.
            return Err(CredentialError::ShortRsa(name, bits));
        }
        check_role(role, &certificate, &name)?;
        let mut below = &certificate;
        for above in &chain {
            if !below.is_issued_by(above) {
                return Err(CredentialError::BrokenChain(name, below.subject_text()));
            }
            below = above;
        }
        let period = certificate.private_key_usage_period()?;
        let profile_end = match role {
            Role::TimeStamping { code_signing: true } => {
                Some(certificate.not_before().plus(FIFTEEN_MONTHS))
            }
            _ => None,
        };
        let credential = Self::assertion(certificate, chain, signer, period, profile_end);
        credential.usable_at(now)?;
        Ok(credential)
    }

    fn assertion(
        certificate: Certificate,
        chain: Vec<Certificate>,
        signer: Arc<dyn Signer>,
        (key_not_before, key_not_after): (Option<Seconds>, Option<Seconds>),
        profile_end: Option<Seconds>,
    ) -> Self {
        Self {
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            certificate,
            chain,
            signer,
            key_not_before,
            key_not_after,
            profile_end,
            revocation: ArcSwapOption::empty(),
        }
    }

    /// Whether certificate and key may be used at `now`: revocation, validity, PrivateKeyUsagePeriod and the rules for
    /// the role.
    pub fn usable_at(&self, now: Seconds) -> Result<(), CredentialError> {
        let name = || self.certificate.subject_text();
        if let Some(revocation) = self.revocation() {
            return Err(CredentialError::Revoked(name(), revocation));
        }
        if now < self.not_before {
            return Err(CredentialError::NotYetValid(name(), self.not_before));
        }
        if now > self.not_after {
            return Err(CredentialError::Expired(name(), self.not_after));
        }
        match (self.key_not_before, self.key_not_after) {
            (Some(start), _) if now < start => Err(CredentialError::KeyNotYet(name(), start)),
            (_, Some(end)) if now > end => Err(CredentialError::KeyEnded(name(), end)),
            _ => match self.profile_end {
                Some(end) if now > end => Err(CredentialError::ProfileEnded(name(), end)),
                _ => Ok(()),
            },
        }
    }

    /// The revocation of the certificate, if its CA has told one.
    pub fn revocation(&self) -> Option<Revocation> {
        self.revocation.load().as_deref().copied()
    }

    /// From now on the certificate counts as revoked, or, with `None`, as no longer so. Whoever uses the
    /// credential sees it at the next [`Credential::usable_at`].
    pub fn set_revocation(&self, revocation: Option<Revocation>) {
        self.revocation.store(revocation.map(Arc::new));
    }

    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The intermediates above the certificate, nearest first; no root unless the operator listed it.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }

    /// When the key stops signing: the end of the certificate, of its PrivateKeyUsagePeriod, or by the rules for the role.
    pub fn end(&self) -> Seconds {
        let earlier = [self.key_not_after, self.profile_end];
        let earlier = earlier.into_iter().flatten();
        earlier.fold(self.not_after, Seconds::min)
    }

    /// The end of the certificate.
    pub const fn not_after(&self) -> Seconds {
        self.not_after
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("subject", &self.certificate.subject_text())
            .finish()
    }
}

fn check_role(
    role: Role<'_>,
    certificate: &Certificate,
    name: &str,
) -> Result<(), CredentialError> {
    let name = || name.to_owned();
    let usages = certificate.extended_key_usage();
    let may_sign = certificate
        .key_usage()
        .is_none_or(|usage| usage.digital_signature() || usage.non_repudiation());
    match role {
        Role::TimeStamping { .. } => {
            if certificate.is_ca() {
                return Err(CredentialError::IsCa(name()));
            }
            let (critical, usages) = usages.ok_or_else(|| CredentialError::NoUsage(name()))?;
            if usages != [oid::KP_TIME_STAMPING] {
                return Err(CredentialError::NotTimeStamping(name()));
            }
            if !critical {
                return Err(CredentialError::UsageNotCritical(name()));
            }
            if !may_sign {
                return Err(CredentialError::NoDigitalSignature(name()));
            }
        }
        Role::DelegatedResponder { issuer } => {
            if !usages.is_some_and(|(_, usages)| usages.contains(&oid::KP_OCSP_SIGNING)) {
                return Err(CredentialError::NotOcspSigning(name()));
            }
            if certificate.extension(oid::OCSP_NOCHECK).is_none() {
                return Err(CredentialError::NoNocheck(name()));
            }
            if !may_sign {
                return Err(CredentialError::NoDigitalSignature(name()));
            }
            if !certificate.is_issued_by(issuer) {
                return Err(CredentialError::NotIssuedBy(name()));
            }
        }
        Role::IssuerItself => {}
    }
    Ok(())
}
