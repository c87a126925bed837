//! The time-stamping unit (RFC 3161): [`Tsu`] is one key with its certificate and its terms. A request
//! becomes [`admission::Admitted`], gets its serial and time from [`sequence`], is drafted by [`draft`],
//! and leaves as a [`Token`] once it is on record.

pub mod admission;
pub mod draft;
pub mod policy;
pub mod sequence;
pub mod set;

use bytes::Bytes;

use crate::{
    clock::{Basis, TrustedTime},
    signing::credential::Credential,
    wire::{algorithm::DigestAlgorithm, cms::TokenTemplate, tst_info},
};

use policy::Terms;
use sequence::Sequence;

pub use policy::{TermsError, TsuSpec};

/// A finished TimeStampToken: the DER of a ContentInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Bytes);

impl Token {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The SHA-256 of the token, which the journal keeps.
    pub fn digest(&self) -> [u8; 32] {
        let digest = DigestAlgorithm::Sha256.digest(&self.0);
        <[u8; 32]>::try_from(digest.as_ref()).unwrap_or_default()
    }
}

/// One time-stamping unit.
#[derive(Debug)]
pub struct Tsu {
    name: String,
    demo: bool,
    credential: Credential,
    terms: Terms,
    sequence: Sequence,
    template: TokenTemplate,
    accuracy: Vec<u8>,
    tsa_field: Vec<u8>,
    extensions: Vec<u8>,
}

impl Tsu {
    /// `entropy` goes into every serial: the first bit is dropped, 79 stay.
    pub fn new(
        spec: TsuSpec,
        credential: Credential,
        entropy: [u8; 10],
    ) -> Result<Self, TermsError> {
        let certificate = credential.certificate();
        let algorithm = credential.signer().algorithm();
        let template = TokenTemplate::new(certificate, credential.chain(), algorithm);
        let tsa_field = if spec.tsa_field {
            tst_info::tsa_name(certificate.subject())
        } else {
            Vec::new()
        };
        let extensions = if spec.qualified {
            tst_info::qualified_extension()
        } else {
            Vec::new()
        };
        let terms = Terms::new(&spec)?;
        Ok(Self {
            name: spec.name,
            demo: spec.demo,
            accuracy: tst_info::accuracy(spec.accuracy),
            terms,
            sequence: Sequence::new(entropy),
            template,
            credential,
            tsa_field,
            extensions,
        })
    }

    /// The name in the configuration, in paths and in metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    pub const fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Whether this TSU may sign at `time`: close enough to UTC for the declared accuracy, and proven
    /// unless this is a demo.
    pub fn accepts(&self, time: &TrustedTime) -> bool {
        match time.basis() {
            Basis::Proven => time.bound() <= self.terms.tolerance(),
            Basis::Demo => self.demo,
        }
    }
}
