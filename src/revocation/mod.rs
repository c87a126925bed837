//! Which certificates of an issuer are revoked. [`verify()`] makes a [`VerifiedCrl`] of bytes, its [`Mark`] says
//! whether it may take another's place, a [`Part`] is a CRL in force with its delta and what it once revoked, and a
//! [`Snapshot`] of parts and [`Issued`] serials answers for a serial at an instant. Nothing here reads a clock or a
//! file.

mod index;
mod issued;
mod mark;
mod part;
pub mod schedule;
mod scope;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

use index::Index;

use crate::wire::{algorithm::sha256, time::Seconds};

pub use index::{Revocation, Serial};
pub use issued::{Issued, IssuedError, LastDay, Serials, Shard, Told};
pub use mark::Mark;
pub use part::{Overlaid, Part, Retained};
pub use scope::{Scope, ScopeError};
pub use snapshot::{Finding, SerialStatus, Shortage, Snapshot};
pub use verify::{CrlError, Glance, is_signed_by, verify, verify_delta};

/// A complete CRL whose signature, issuer, scope, extensions and every entry have been judged ([`mod@verify`] says
/// how). Its dates have not.
#[derive(Debug)]
pub struct VerifiedCrl(Facts);

/// A delta CRL (RFC 5280 5.2.4), judged in the same way. Whether it fits a base is [`Part::with_delta`]'s question.
#[derive(Debug)]
pub struct VerifiedDelta {
    facts: Facts,
    /// BaseCRLNumber.
    base: Vec<u8>,
}

/// What a CRL says.
#[derive(Debug)]
pub struct Facts {
    this_update: Seconds,
    next_update: Seconds,
    number: Option<Vec<u8>>,
    scope: Scope,
    /// The IssuingDistributionPoint's encoding, empty without one.
    distribution_point: Box<[u8]>,
    freshest: Vec<String>,
    entries: Index,
    duplicates: usize,
    /// Of the DER encoding.
    length: usize,
    digest: [u8; 32],
}

impl VerifiedCrl {
    /// The one constructor: called in `revocation/verify.rs` and nowhere else.
    fn assertion(facts: Facts) -> Self {
        Self(facts)
    }
}

impl VerifiedDelta {
    /// The one constructor: called in `revocation/verify.rs` and nowhere else.
    fn assertion(facts: Facts, base: Vec<u8>) -> Self {
        Self { facts, base }
    }
}

impl std::ops::Deref for VerifiedCrl {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl std::ops::Deref for VerifiedDelta {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl Facts {
    pub const fn this_update(&self) -> Seconds {
        self.this_update
    }

    /// Always there: a CRL without one is not verified.
    pub const fn next_update(&self) -> Seconds {
        self.next_update
    }

    /// cRLNumber's magnitude without leading zeros, at most 20 octets; one zero octet for 0.
    pub fn number(&self) -> Option<&[u8]> {
        self.number.as_deref()
    }

    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// The IssuingDistributionPoint's encoding, empty without one.
    pub const fn distribution_point(&self) -> &[u8] {
        &self.distribution_point
    }

    /// Where it says that deltas to it are (freshestCRL, RFC 5280 5.2.6).
    pub fn freshest(&self) -> &[String] {
        &self.freshest
    }

    /// How many serials are revoked.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries repeat a serial. They are tolerated, and the weightier counts.
    pub const fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// SHA-256 of the DER encoding.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether it was made of these octets; one that came as PEM never says so.
    pub fn is_of(&self, der: &[u8]) -> bool {
        // Reading a large CRL only to find that it is the same would take several times as long.
        self.length == der.len() && sha256(&[der]) == self.digest
    }

    /// What the next CRL of this scope is held against.
    pub fn mark(&self) -> Mark {
        Mark {
            number: self.number.clone(),
            this_update: self.this_update,
            digest: self.digest,
        }
    }
}
