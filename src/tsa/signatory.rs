//! The key that signs for a TSU, and its time: [`Signatory`]. A TSU has one at any instant; a successor takes
//! over at the instant that the operator named, and every token is built from the one that signs it.

use std::sync::Arc;

use crate::{
    signing::credential::Credential,
    wire::{cms::TokenTemplate, tst_info},
};

use super::policy::TsuSpec;

/// A credential with what it puts into every token.
#[derive(Debug)]
pub struct Signatory {
    credential: Arc<Credential>,
    template: TokenTemplate,
    tsa_field: Vec<u8>,
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
        Self {
            template: TokenTemplate::new(certificate, credential.chain(), algorithm),
            tsa_field,
            credential: Arc::new(credential),
        }
    }

    pub const fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    pub(super) const fn template(&self) -> &TokenTemplate {
        &self.template
    }

    pub(super) fn tsa_field(&self) -> &[u8] {
        &self.tsa_field
    }
}
