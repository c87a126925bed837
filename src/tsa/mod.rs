//! The time-stamping unit (RFC 3161): [`Tsu`] is one key with its certificate and its terms. A request
//! becomes [`admission::Admitted`], gets its serial and time from [`sequence`], is drafted by [`draft`],
//! and leaves as a [`Token`] once it is on record.

pub mod admission;
pub mod draft;
pub mod policy;
pub mod sequence;
pub mod set;
pub mod signatory;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    clock::{Basis, TrustedTime},
    signing::credential::Credential,
    wire::{algorithm::sha256, time::Seconds, tst_info},
};

use policy::Terms;
use sequence::Sequence;
use signatory::Signatory;

pub use policy::{Accuracy, TermsError, TsuSpec};

/// A finished TimeStampToken: the DER of a ContentInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Bytes);

impl Token {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The SHA-256 of the token, which the journal keeps.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[&self.0])
    }
}

/// One time-stamping unit.
#[derive(Debug)]
pub struct Tsu {
    name: String,
    demo: bool,
    signatory: Signatory,
    /// Who signs from when on.
    successor: Option<(Seconds, Signatory)>,
    terms: Terms,
    sequence: Arc<Sequence>,
    extensions: Vec<u8>,
}

impl Tsu {
    /// `successor`: who takes over, and when. `sequence` is that of the TSU whose place this one takes, so that genTime
    /// never runs back between the two, or a new one.
    pub fn new(
        spec: TsuSpec,
        credential: Credential,
        successor: Option<(Seconds, Credential)>,
        sequence: Arc<Sequence>,
    ) -> Result<Self, TermsError> {
        let extensions = if spec.qualified {
            tst_info::qualified_extension()
        } else {
            Vec::new()
        };
        Ok(Self {
            signatory: Signatory::new(credential, &spec),
            successor: successor
                .map(|(from, credential)| (from, Signatory::new(credential, &spec))),
            demo: spec.demo,
            terms: Terms::new(&spec)?,
            sequence,
            extensions,
            name: spec.name,
        })
    }

    /// The name in the configuration, in paths and in metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who signs at `now`.
    pub fn signatory(&self, now: Seconds) -> &Signatory {
        match &self.successor {
            Some((from, successor)) if now >= *from => successor,
            _ => &self.signatory,
        }
    }

    /// Who signs, and who will.
    pub fn signatories(&self) -> impl Iterator<Item = &Signatory> {
        let successor = self.successor.iter().map(|(_, successor)| successor);
        std::iter::once(&self.signatory).chain(successor)
    }

    /// When the last key that is known stops signing.
    pub fn end(&self) -> Seconds {
        let last = self.successor.as_ref();
        let last = last.map_or(&self.signatory, |(_, successor)| successor);
        last.credential().end()
    }

    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    pub const fn sequence(&self) -> &Arc<Sequence> {
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
