//! The key that signs for a TSU, and its time: [`Signatory`]. A TSU has one at any instant; a successor takes
//! over at the instant that the operator named, and every token is built from the one that signs it.

use std::sync::Arc;

use crate::{
    signing::credential::{Credential, CredentialError},
    wire::{cms::TokenTemplate, time::Seconds, tst_info},
};

use super::policy::TsuSpec;

/// The shortest that 15 months can be, in seconds: how long a key may sign after its certificate's
/// notBefore (CA/B Forum CSBR 6.3.2).
const FIFTEEN_MONTHS: u64 = 455 * 86_400;

/// A credential with what it puts into every token.
#[derive(Debug)]
pub struct Signatory {
    credential: Arc<Credential>,
    template: TokenTemplate,
    tsa_field: Vec<u8>,
    /// The end of signing, if the profile sets one before the certificate does.
    profile_end: Option<Seconds>,
}

/// Why a signatory may not sign now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatoryError {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(
        "the key may sign until {0}, 15 months after its certificate's notBefore (CSBR 6.3.2); give the TSU a new key and certificate"
    )]
    ProfileEnded(Seconds),
}

impl Signatory {
    pub fn new(credential: Credential, spec: &TsuSpec) -> Self {
        let certificate = credential.certificate();
        let algorithm = credential.signer().algorithm();
        let tsa_field = if spec.tsa_field {
            tst_info::tsa_name(certificate.subject())
        } else {
            Vec::new()
        };
        let profile_end = spec
            .code_signing
            .then(|| certificate.not_before().plus(FIFTEEN_MONTHS));
        Self {
            template: TokenTemplate::new(certificate, credential.chain(), algorithm),
            tsa_field,
            profile_end,
            credential: Arc::new(credential),
        }
    }

    pub const fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// Whether the key may sign at `now`.
    pub fn usable_at(&self, now: Seconds) -> Result<(), SignatoryError> {
        self.credential.usable_at(now)?;
        match self.profile_end {
            Some(end) if now > end => Err(SignatoryError::ProfileEnded(end)),
            _ => Ok(()),
        }
    }

    /// When the key stops signing.
    pub fn end(&self) -> Seconds {
        let end = self.credential.end();
        self.profile_end.map_or(end, |profile| profile.min(end))
    }

    pub(super) const fn template(&self) -> &TokenTemplate {
        &self.template
    }

    pub(super) fn tsa_field(&self) -> &[u8] {
        &self.tsa_field
    }
}
