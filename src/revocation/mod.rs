//! Which certificates of an issuer are revoked. [`verify`] makes a [`VerifiedCrl`] of bytes, [`supersedes`]
//! says whether it may take another's place, and a [`Snapshot`] of CRLs and [`Issued`] serials answers for
//! a serial at an instant. Nothing here reads a clock or a file.

mod index;
mod issued;
mod scope;
mod verify;

use std::sync::Arc;

use index::{Index, Revocation};

use crate::wire::{crl::SerialText, time::Seconds};

pub use issued::{Issued, IssuedError};
pub use scope::{Scope, ScopeError};
pub use verify::{CrlError, verify};

/// A CRL whose signature, issuer, scope, extensions and every entry have been judged ([`verify`] says
/// how). Its dates have not.
#[derive(Debug)]
pub struct VerifiedCrl(Facts);

/// What a CRL says.
#[derive(Debug)]
struct Facts {
    this_update: Seconds,
    next_update: Seconds,
    number: Option<Vec<u8>>,
    scope: Scope,
    entries: Index,
    digest: [u8; 32],
}

impl VerifiedCrl {
    /// The one constructor: called in `revocation/verify.rs` and nowhere else.
    fn assertion(facts: Facts) -> Self {
        Self(facts)
    }

    pub const fn this_update(&self) -> Seconds {
        self.0.this_update
    }

    /// Always there: a CRL without one is not verified.
    pub const fn next_update(&self) -> Option<Seconds> {
        Some(self.0.next_update)
    }

    /// cRLNumber's magnitude without leading zeros, at most 20 octets; one zero octet for 0.
    pub fn number(&self) -> Option<&[u8]> {
        self.0.number.as_deref()
    }

    pub const fn scope(&self) -> Scope {
        self.0.scope
    }

    /// How many serials are revoked.
    pub const fn len(&self) -> usize {
        self.0.entries.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// SHA-256 of the DER encoding.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    fn is_current(&self, now: Seconds) -> bool {
        self.0.this_update <= now && now < self.0.next_update
    }
}

/// Whether `new` may take the place of `old`, a CRL of the same issuer and distribution point. The number
/// never goes back, and one number has one content; where either has no number, thisUpdate never goes
/// back. The very same CRL may always.
pub fn supersedes(new: &VerifiedCrl, old: &VerifiedCrl) -> Result<(), CrlError> {
    if new.digest() == old.digest() {
        return Ok(());
    }
    if new.scope() != old.scope() {
        return Err(CrlError::ScopeChanged {
            old: old.scope(),
            new: new.scope(),
        });
    }
    if let (Some(new), Some(old)) = (new.number(), old.number()) {
        return match (new.len(), new).cmp(&(old.len(), old)) {
            std::cmp::Ordering::Greater => Ok(()),
            std::cmp::Ordering::Equal => Err(CrlError::SameNumber(SerialText::new(new))),
            std::cmp::Ordering::Less => Err(CrlError::NumberWentBack {
                old: SerialText::new(old),
                new: SerialText::new(new),
            }),
        };
    }
    // Two in one second cannot be ordered; refusing the one that came later could hide a revocation.
    if new.this_update() < old.this_update() {
        return Err(CrlError::TimeWentBack {
            old: old.this_update(),
            new: new.this_update(),
        });
    }
    Ok(())
}

/// What is known about a serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialStatus {
    Revoked {
        time: Seconds,
        /// reasonCode (RFC 5280 5.3.1).
        reason: Option<u8>,
    },
    /// Not revoked, and on the list of issued serials.
    Issued,
    /// Not revoked, and not on the list of issued serials, or there is no list.
    Unlisted,
    /// A CRL is out of date, from the future, or there is none: nothing may be said.
    Stale,
}

/// All revocation data of one issuer at one time; immutable, so that an answer is made from one state.
///
/// A serial does not tell whether its certificate is a CA's or a user's, or to which shard it belongs. So
/// every CRL is asked about every serial, and that the CRLs together cover the issuer is the operator's
/// word. [`Snapshot::uncovered`] tells where that word is visibly needed: a CRL of users' certificates
/// alone is usable, and right for an issuer that has no CAs below it.
#[derive(Debug)]
pub struct Snapshot {
    crls: Vec<Arc<VerifiedCrl>>,
    issued: Option<Arc<Issued>>,
}

impl Snapshot {
    /// From an issuer's CRLs and, if there is one, its list of issued serials.
    pub const fn new(crls: Vec<Arc<VerifiedCrl>>, issued: Option<Arc<Issued>>) -> Self {
        Self { crls, issued }
    }

    /// What is known at `now` about the serial of these INTEGER content octets, of any sign and length.
    /// One CRL out of date makes everything stale, since the serial could be its.
    pub fn status(&self, serial: &[u8], now: Seconds) -> SerialStatus {
        if self.crls.is_empty() || !self.crls.iter().all(|crl| crl.is_current(now)) {
            return SerialStatus::Stale;
        }
        let found = self
            .crls
            .iter()
            .filter_map(|crl| crl.0.entries.get(serial))
            .reduce(Revocation::or);
        match (found, &self.issued) {
            (Some(Revocation { time, reason }), _) => SerialStatus::Revoked { time, reason },
            (None, Some(issued)) if issued.contains(serial) => SerialStatus::Issued,
            (None, _) => SerialStatus::Unlisted,
        }
    }

    /// The oldest CRL's; 1970 without any.
    pub fn this_update(&self) -> Seconds {
        let all = self.crls.iter().map(|crl| crl.0.this_update);
        all.min().unwrap_or(Seconds::EPOCH)
    }

    /// The earliest of all CRLs; 1970 without any.
    pub fn next_update(&self) -> Seconds {
        let all = self.crls.iter().map(|crl| crl.0.next_update);
        all.min().unwrap_or(Seconds::EPOCH)
    }

    pub const fn has_issued_list(&self) -> bool {
        self.issued.is_some()
    }

    /// The CRLs it was made of.
    pub fn crls(&self) -> &[Arc<VerifiedCrl>] {
        &self.crls
    }

    /// The kind of certificates that no CRL is about: users' where there are only CRLs of CAs', and the
    /// reverse. `None` where both kinds are covered, or there is no CRL at all.
    pub fn uncovered(&self) -> Option<Scope> {
        let has = |scope| {
            let mut scopes = self.crls.iter().map(|crl| crl.scope());
            scopes.any(|other| other == scope || other == Scope::All)
        };
        match (has(Scope::UserCertificates), has(Scope::CaCertificates)) {
            (true, false) => Some(Scope::CaCertificates),
            (false, true) => Some(Scope::UserCertificates),
            _ => None,
        }
    }
}
