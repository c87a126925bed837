//! Which certificates of an issuer are revoked. [`verify`] makes a [`VerifiedCrl`] of bytes, [`supersedes`]
//! says whether it may take another's place, and a [`Snapshot`] of CRLs and [`Issued`] serials answers for
//! a serial at an instant. Nothing here reads a clock or a file.

mod index;
mod issued;
pub mod schedule;
mod scope;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

use std::sync::Arc;

use index::{Index, Revocation};

use crate::wire::{crl::SerialText, time::Seconds};

pub use issued::{Issued, IssuedError, LastDay, Serials};
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

/// What is known about a serial, and how long that can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    pub status: SerialStatus,
    /// The nextUpdate of what this rests on: no answer holds longer. [`Seconds::EPOCH`] where nothing may be said.
    pub until: Seconds,
}

/// All revocation data of one issuer at one time; immutable, so that an answer is made from one state.
///
/// A serial does not tell whether its certificate is a CA's or a user's, or to which shard it belongs. So
/// every CRL is asked about every serial, and that the CRLs together cover the issuer is the operator's
/// word. [`Snapshot::uncovered`] tells where that word is visibly needed: a CRL of users' certificates
/// alone is usable, and right for an issuer that has no CAs below it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    crls: Vec<Arc<VerifiedCrl>>,
    issued: Option<Arc<Issued>>,
}

impl Snapshot {
    /// From an issuer's CRLs and, if there is one, its list of issued serials.
    pub const fn new(crls: Vec<Arc<VerifiedCrl>>, issued: Option<Arc<Issued>>) -> Self {
        Self { crls, issued }
    }

    /// The same CRLs with other issued serials.
    #[must_use]
    pub fn with_issued(&self, issued: Option<Arc<Issued>>) -> Self {
        Self {
            issued,
            ..self.clone()
        }
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

    /// The same with the end of its validity.
    pub fn look_up(&self, serial: &[u8], now: Seconds) -> Finding {
        Finding {
            status: self.status(serial, now),
            until: self.next_update(),
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

#[cfg(test)]
mod tests {
    use super::testing::{Ca, Draft, entry};
    use super::*;
    use crate::wire::oid;

    fn crl(ca: &Ca, draft: &Draft) -> VerifiedCrl {
        verify(&ca.crl(draft), &ca.certificate, None).unwrap()
    }

    fn at(day: u64) -> Seconds {
        // 2026-01-01 is 20454 days after 1970-01-01.
        Seconds::new((20_453 + day) * 86_400)
    }

    fn dated(revoked: &[Vec<u8>], this: &str, next: &str) -> Draft {
        let mut draft = Draft::new(revoked);
        draft.this_update = format!("202601{this}000000Z");
        draft.next_update = Some(format!("202601{next}000000Z"));
        draft
    }

    #[test]
    fn a_serial_is_revoked_issued_or_unlisted() {
        let ca = Ca::new("A");
        let list = Arc::new(crl(
            &ca,
            &Draft::new(&[entry(&[5], Some(6)), entry(&[6], None)]),
        ));
        let issued = Serials::parse(b"05\n07\nff\n").unwrap();
        let issued = Arc::new(Issued::new(issued));
        let with = Snapshot::new(vec![Arc::clone(&list)], Some(issued));
        let revoked = |reason| SerialStatus::Revoked {
            time: at(1),
            reason,
        };
        let status = |serial: &[u8]| with.status(serial, at(2));
        assert_eq!(status(&[5]), revoked(Some(6)));
        assert_eq!(status(&[6]), revoked(None));
        assert_eq!(status(&[7]), SerialStatus::Issued);
        assert_eq!(status(&[0, 0xff]), SerialStatus::Issued);
        for other in [&[0][..], &[0xff], &[8], &[0x7f; 21], &[0x80; 40], &[]] {
            assert_eq!(status(other), SerialStatus::Unlisted, "{other:02x?}");
        }
        // A serial written longer than need be is still that serial.
        assert_eq!(status(&[0, 5]), revoked(Some(6)));
        let without = Snapshot::new(vec![list], None);
        assert!(with.has_issued_list() && !without.has_issued_list());
        assert_eq!(without.status(&[7], at(2)), SerialStatus::Unlisted);
    }

    #[test]
    fn nothing_is_said_from_a_crl_out_of_date_or_from_the_future() {
        let ca = Ca::new("A");
        let early = Arc::new(crl(&ca, &dated(&[entry(&[5], None)], "01", "08")));
        let late = Arc::new(crl(&ca, &dated(&[], "03", "10")));
        let one = Snapshot::new(vec![Arc::clone(&early)], None);
        assert_eq!(one.status(&[5], at(1).minus(1)), SerialStatus::Stale);
        assert_eq!(one.status(&[6], at(1)), SerialStatus::Unlisted);
        assert_eq!(one.status(&[6], at(8).minus(1)), SerialStatus::Unlisted);
        assert_eq!(one.status(&[5], at(8)), SerialStatus::Stale);
        let both = Snapshot::new(vec![late, early], None);
        assert_eq!((both.this_update(), both.next_update()), (at(1), at(8)));
        assert_eq!(both.status(&[6], at(2)), SerialStatus::Stale);
        assert_eq!(both.status(&[6], at(3)), SerialStatus::Unlisted);
        assert_eq!(both.status(&[6], at(9)), SerialStatus::Stale);
        let none = Snapshot::new(vec![], None);
        assert_eq!(none.status(&[6], at(3)), SerialStatus::Stale);
        assert_eq!(
            (none.this_update(), none.next_update()),
            (Seconds::EPOCH, Seconds::EPOCH)
        );
    }

    #[test]
    fn a_revocation_for_good_outweighs_a_hold_elsewhere() {
        let ca = Ca::new("A");
        let lists = [Some(6), Some(1)]
            .map(|reason| Arc::new(crl(&ca, &Draft::new(&[entry(&[5], reason)]))));
        let status = Snapshot::new(lists.to_vec(), None).status(&[5], at(2));
        assert!(matches!(
            status,
            SerialStatus::Revoked {
                reason: Some(1),
                ..
            }
        ));
    }

    #[test]
    fn the_kind_that_is_not_covered_is_told() {
        let ca = Ca::new("A");
        let idp = oid::ISSUING_DISTRIBUTION_POINT;
        let of = |value: &[u8]| Arc::new(crl(&ca, &Draft::new(&[]).with(idp, true, value)));
        let (users, cas) = (of(&[0x30, 3, 0x81, 1, 0xff]), of(&[0x30, 3, 0x82, 1, 0xff]));
        let all = Arc::new(crl(&ca, &Draft::new(&[])));
        let uncovered = |crls: &[&Arc<VerifiedCrl>]| {
            Snapshot::new(crls.iter().map(|crl| Arc::clone(crl)).collect(), None).uncovered()
        };
        assert_eq!(uncovered(&[&users]), Some(Scope::CaCertificates));
        assert_eq!(uncovered(&[&cas, &cas]), Some(Scope::UserCertificates));
        assert_eq!(uncovered(&[&users, &cas]), None);
        assert_eq!(uncovered(&[&users, &all]), None);
        assert_eq!(uncovered(&[]), None);
        assert!(matches!(
            supersedes(&users, &all),
            Err(CrlError::ScopeChanged { .. })
        ));
    }

    #[test]
    fn numbers_never_go_back() {
        let ca = Ca::new("A");
        let numbered = |number: &[u8]| crl(&ca, &Draft::new(&[]).number(number));
        let (low, high) = (numbered(&[0xff]), numbered(&[1, 0]));
        assert_eq!(supersedes(&high, &low), Ok(()));
        assert_eq!(supersedes(&high, &high), Ok(()));
        let error = supersedes(&low, &high).unwrap_err();
        assert!(error.to_string().contains("from 0100 to ff"), "{error}");
        let same = crl(&ca, &Draft::new(&[entry(&[1], None)]).number(&[1, 0]));
        let error = supersedes(&same, &high).unwrap_err();
        assert!(error.to_string().starts_with("ALARM"), "{error}");
    }

    #[test]
    fn without_a_number_this_update_never_goes_back() {
        let ca = Ca::new("A");
        let early = crl(&ca, &dated(&[], "01", "08"));
        let late = crl(&ca, &dated(&[], "02", "08"));
        let numbered = crl(&ca, &Draft::new(&[]).number(&[9]));
        assert_eq!(supersedes(&late, &early), Ok(()));
        assert!(matches!(
            supersedes(&early, &late),
            Err(CrlError::TimeWentBack { .. })
        ));
        assert_eq!(supersedes(&late, &numbered), Ok(()));
        assert!(supersedes(&numbered, &late).is_err());
    }
}
