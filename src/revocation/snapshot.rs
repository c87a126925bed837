//! All revocation data of one issuer: a [`Snapshot`] says what is known of a serial, and for how long.

use std::{fmt, sync::Arc};

use super::{Issued, Part, Revocation, Scope, Shard, Told};
use crate::wire::time::Seconds;

/// cACompromise (RFC 5280 5.3.1).
const CA_COMPROMISE: u8 = 2;

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
/// every CRL is asked about every serial, one that is missing or out of date makes every serial stale that no other
/// CRL revokes and of which the list of issued ones does not tell another shard, and that the CRLs together cover the issuer is the operator's word. [`Snapshot::uncovered`] tells where that word is visibly needed: a CRL of users' certificates
/// alone is usable, and right for an issuer that has no CAs below it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    parts: Vec<Option<Part>>,
    /// For each part its shard, if it is one of several.
    shards: Vec<Shard>,
    issued: Option<Arc<Issued>>,
    /// Where the CA itself is compromised.
    authority: Option<Revocation>,
}

impl Snapshot {
    /// From an issuer's CRLs, of which some may not have come yet, and, if there is one, its list of issued serials.
    pub const fn new(parts: Vec<Option<Part>>, issued: Option<Arc<Issued>>) -> Self {
        Self {
            parts,
            shards: Vec::new(),
            issued,
            authority: None,
        }
    }

    /// The same where each part is known by the name of its distribution point.
    #[must_use]
    pub fn of_shards(mut self, shards: Vec<Shard>) -> Self {
        self.shards = shards;
        self
    }

    /// The same CRLs with other issued serials.
    #[must_use]
    pub fn with_issued(&self, issued: Option<Arc<Issued>>) -> Self {
        Self {
            issued,
            ..self.clone()
        }
    }

    /// The same for a CA whose key is compromised since `time` (RFC 6960 2.7): nothing that it issued is good, and no
    /// CRL is needed to say so.
    #[must_use]
    pub const fn of_compromised_authority(mut self, time: Seconds) -> Self {
        self.authority = Some(Revocation {
            time,
            reason: Some(CA_COMPROMISE),
        });
        self
    }

    /// The same but for the CA's compromise as a whole.
    #[must_use]
    pub fn by_crls_alone(&self) -> Self {
        Self {
            authority: None,
            ..self.clone()
        }
    }

    /// What is known at `now` about the serial of these INTEGER content octets, of any sign and length.
    pub fn status(&self, serial: &[u8], now: Seconds) -> SerialStatus {
        self.look_up(serial, now).status
    }

    /// The same with the end of its validity. A revocation needs the CRL that shows it, anything else needs every
    /// CRL that the serial could be on.
    pub fn look_up(&self, serial: &[u8], now: Seconds) -> Finding {
        let mut found: Option<(Revocation, Seconds)> = None;
        let mut until = if self.parts.is_empty() {
            Seconds::EPOCH
        } else {
            Seconds::END
        };
        for part in &self.parts {
            let Some(part) = part.as_ref().filter(|part| part.is_current(now)) else {
                until = Seconds::EPOCH;
                continue;
            };
            let end = part.next_update();
            until = until.min(end);
            if let Some(new) = part.get(serial) {
                found = Some(match found {
                    Some((old, old_end)) if old.or(new) == old => (old, old_end),
                    _ => (new, end),
                });
            }
        }
        let told = || self.issued.as_ref().map(|issued| issued.told(serial));
        let issued = || told().map(|told| told.is_some());
        if let Some(authority) = self.authority
            && issued() != Some(false)
        {
            let earlier = found.filter(|(found, _)| authority.or(*found) == *found);
            let (revocation, until) = earlier.unwrap_or((authority, Seconds::END));
            return Finding::revoked(revocation, until);
        }
        if let Some((revocation, until)) = found {
            return Finding::revoked(revocation, until);
        }
        if until == Seconds::EPOCH
            && let Some(Some(Told { shard, .. })) = told()
            && let Some(until) = self.until_of(shard, now)
        {
            let status = SerialStatus::Issued;
            return Finding { status, until };
        }
        let status = if until == Seconds::EPOCH {
            SerialStatus::Stale
        } else if issued() == Some(true) {
            SerialStatus::Issued
        } else {
            SerialStatus::Unlisted
        };
        Finding { status, until }
    }

    /// How long the CRLs hold that a certificate of this shard could be on; `None` where one is missing or stale, or
    /// the shard is none of these.
    fn until_of(&self, shard: Shard, now: Seconds) -> Option<Seconds> {
        if shard == Shard::UNKNOWN || !self.shards.contains(&shard) {
            return None;
        }
        let of = self.parts.iter().zip(&self.shards);
        let needed = of.filter(|(_, of)| **of == shard || **of == Shard::UNKNOWN);
        let ends = needed.map(|(part, _)| {
            let part = part.as_ref().filter(|part| part.is_current(now))?;
            Some(part.next_update())
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// The earliest of all CRLs; 1970 with one missing.
    pub fn next_update(&self) -> Seconds {
        let all = self.parts.iter();
        let all = all.map(|part| part.as_ref().map_or(Seconds::EPOCH, Part::next_update));
        all.min().unwrap_or(Seconds::EPOCH)
    }

    /// What keeps it from answering for every serial at `now`.
    pub fn shortage(&self, now: Seconds) -> Option<Shortage> {
        if self.authority.is_some() {
            return None;
        }
        let of = self.parts.len();
        let missing = self.parts.iter().filter(|part| part.is_none()).count();
        if missing > 0 || of == 0 {
            return Some(Shortage::Missing { missing, of });
        }
        let ends = || self.parts.iter().flatten().map(Part::next_update);
        let over = ends().filter(|end| *end <= now).count();
        if let Some(since) = ends().min().filter(|_| over > 0) {
            return Some(Shortage::RanOut { over, of, since });
        }
        let begins = self.parts.iter().flatten().map(Part::this_update).max()?;
        (begins > now).then_some(Shortage::NotYet { begins })
    }

    /// How many serials are on the list of issued ones, if there is a list.
    pub fn issued(&self) -> Option<usize> {
        self.issued.as_ref().map(|issued| issued.len())
    }

    /// When the certificate of this serial ends, if the list tells.
    pub fn not_after(&self, serial: &[u8]) -> Option<Seconds> {
        self.issued.as_ref()?.not_after(serial)
    }

    pub const fn has_issued_list(&self) -> bool {
        self.issued.is_some()
    }

    /// In the order of the configuration.
    pub fn parts(&self) -> &[Option<Part>] {
        &self.parts
    }

    /// The kind of certificates that no CRL is about: users' where there are only CRLs of CAs', and the
    /// reverse. `None` where both kinds are covered, or a CRL is missing.
    pub fn uncovered(&self) -> Option<Scope> {
        if self.parts.iter().any(Option::is_none) {
            return None;
        }
        let has = |scope| {
            let mut scopes = self.parts.iter().flatten().map(|part| part.base().scope());
            scopes.any(|other| other == scope || other == Scope::All)
        };
        match (has(Scope::UserCertificates), has(Scope::CaCertificates)) {
            (true, false) => Some(Scope::CaCertificates),
            (false, true) => Some(Scope::UserCertificates),
            _ => None,
        }
    }
}

impl Finding {
    const fn revoked(Revocation { time, reason }: Revocation, until: Seconds) -> Self {
        Self {
            status: SerialStatus::Revoked { time, reason },
            until,
        }
    }
}

/// Why not every serial can be answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    Missing {
        missing: usize,
        of: usize,
    },
    RanOut {
        over: usize,
        of: usize,
        since: Seconds,
    },
    NotYet {
        begins: Seconds,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = |f: &mut fmt::Formatter<'_>, some, of| match of {
            1 => f.write_str("its CRL"),
            _ => write!(f, "{some} of its {of} CRLs"),
        };
        match self {
            Self::Missing { missing, of } => {
                which(f, missing, *of)?;
                f.write_str(" did not come yet; see the log for what is in the way")
            }
            Self::RanOut { over, of, since } => {
                which(f, over, *of)?;
                write!(f, " ran out at {since}; see that the CA's new one arrives")
            }
            Self::NotYet { begins } => write!(
                f,
                "a CRL is valid from {begins} only; see that the clocks here and at the CA are right"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        revocation::{
            Retained, Serials, VerifiedCrl,
            testing::{Ca, Draft, entry},
            verify,
        },
        wire::oid,
    };

    fn crl(ca: &Ca, draft: &Draft) -> Option<Part> {
        let crl: VerifiedCrl = verify(&ca.crl(draft), &ca.certificate, None).unwrap();
        Some(Part::new(crl, Retained::default()))
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
        let list = crl(&ca, &Draft::new(&[entry(&[5], Some(6)), entry(&[6], None)]));
        let issued = Serials::parse(b"05\n07\nff\n").unwrap();
        let issued = Arc::new(Issued::new(issued));
        let with = Snapshot::new(vec![list.clone()], Some(issued));
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
        let early = crl(&ca, &dated(&[entry(&[5], None)], "01", "08"));
        let late = crl(&ca, &dated(&[], "03", "10"));
        let one = Snapshot::new(vec![early.clone()], None);
        assert_eq!(one.status(&[5], at(1).minus(1)), SerialStatus::Stale);
        assert_eq!(one.status(&[6], at(1)), SerialStatus::Unlisted);
        assert_eq!(one.status(&[6], at(8).minus(1)), SerialStatus::Unlisted);
        assert_eq!(one.status(&[5], at(8)), SerialStatus::Stale);
        let both = Snapshot::new(vec![late, early], None);
        assert_eq!(both.next_update(), at(8));
        assert_eq!(both.status(&[6], at(2)), SerialStatus::Stale);
        assert_eq!(both.status(&[6], at(3)), SerialStatus::Unlisted);
        assert_eq!(both.status(&[6], at(9)), SerialStatus::Stale);
        let none = Snapshot::new(vec![], None);
        assert_eq!(none.status(&[6], at(3)), SerialStatus::Stale);
        assert_eq!(none.next_update(), Seconds::EPOCH);
    }

    #[test]
    fn a_revocation_for_good_outweighs_a_hold_elsewhere() {
        let ca = Ca::new("A");
        let lists = [Some(6), Some(1)].map(|reason| crl(&ca, &Draft::new(&[entry(&[5], reason)])));
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
        let of = |value: &[u8]| crl(&ca, &Draft::new(&[]).with(idp, true, value));
        let (users, cas) = (of(&[0x30, 3, 0x81, 1, 0xff]), of(&[0x30, 3, 0x82, 1, 0xff]));
        let all = crl(&ca, &Draft::new(&[]));
        let uncovered = |crls: &[&Option<Part>]| {
            Snapshot::new(crls.iter().map(|crl| (*crl).clone()).collect(), None).uncovered()
        };
        assert_eq!(uncovered(&[&users]), Some(Scope::CaCertificates));
        assert_eq!(uncovered(&[&cas, &cas]), Some(Scope::UserCertificates));
        assert_eq!(uncovered(&[&users, &cas]), None);
        assert_eq!(uncovered(&[&users, &all]), None);
        assert_eq!(uncovered(&[]), None);
    }

    #[test]
    fn a_missing_or_stale_crl_hides_only_what_it_could_revoke() {
        let ca = Ca::new("A");
        let early = crl(&ca, &dated(&[entry(&[5], None)], "01", "08"));
        let late = crl(&ca, &dated(&[entry(&[6], None)], "02", "10"));
        let revoked = SerialStatus::Revoked {
            time: at(1),
            reason: None,
        };
        let missing = Snapshot::new(vec![early.clone(), None], None);
        assert_eq!(
            missing.look_up(&[5], at(2)),
            Finding {
                status: revoked,
                until: at(8)
            }
        );
        assert_eq!(missing.status(&[7], at(2)), SerialStatus::Stale);
        let text = missing.shortage(at(2)).unwrap().to_string();
        assert!(text.starts_with("1 of its 2 CRLs did not come"), "{text}");
        let both = Snapshot::new(vec![early, late], None);
        assert_eq!(both.shortage(at(2)), None);
        assert_eq!(both.look_up(&[6], at(2)).until, at(10));
        assert_eq!(both.look_up(&[7], at(2)).until, at(8));
        assert_eq!(both.status(&[6], at(9)), revoked);
        for stale in [5, 7] {
            assert_eq!(both.status(&[stale], at(9)), SerialStatus::Stale);
        }
        let text = both.shortage(at(9)).unwrap().to_string();
        assert!(text.starts_with("1 of its 2 CRLs ran out"), "{text}");
        assert!(
            both.shortage(at(1))
                .unwrap()
                .to_string()
                .contains("valid from 2026-01-02")
        );
    }

    #[test]
    fn a_compromised_authority_leaves_nothing_good() {
        let ca = Ca::new("A");
        let list = crl(
            &ca,
            &dated(&[entry(&[5], Some(1)), entry(&[6], Some(6))], "01", "08"),
        );
        let issued = Arc::new(Issued::new(Serials::parse(b"05\n06\n07\n").unwrap()));
        let status = |snapshot: &Snapshot, serial: u8| snapshot.status(&[serial], at(4));
        let revoked = |time, reason| SerialStatus::Revoked { time, reason };
        let compromised = Snapshot::new(vec![list], Some(issued)).of_compromised_authority(at(3));
        assert_eq!(status(&compromised, 5), revoked(at(1), Some(1)));
        for serial in [6, 7] {
            assert_eq!(status(&compromised, serial), revoked(at(3), Some(2)));
        }
        assert_eq!(status(&compromised, 8), SerialStatus::Unlisted);
        let bare = Snapshot::new(vec![None], None).of_compromised_authority(at(3));
        assert_eq!(bare.shortage(at(4)), None);
        let finding = bare.look_up(&[8], at(4));
        assert_eq!(
            (finding.status, finding.until),
            (revoked(at(3), Some(2)), Seconds::END)
        );
    }

    #[test]
    fn a_serial_whose_shard_is_known_needs_no_other() {
        let ca = Ca::new("A");
        let early = crl(&ca, &dated(&[entry(&[5], None)], "01", "08"));
        let late = crl(&ca, &dated(&[entry(&[6], None)], "01", "10"));
        let lines = b"05 - one\n06 - two\n07 2027-01-31 one\n08 - two\n09\n0a - three\n";
        let issued = Arc::new(Issued::new(Serials::parse(lines).unwrap()));
        let shards = vec![Shard::of("one"), Shard::of("two")];
        let of = |parts: Vec<Option<Part>>| {
            Snapshot::new(parts, Some(Arc::clone(&issued))).of_shards(shards.clone())
        };
        let whole = of(vec![early.clone(), late.clone()]);
        for serial in 7..=10 {
            assert_eq!(whole.status(&[serial], at(2)), SerialStatus::Issued);
        }
        for (snapshot, now) in [(&whole, at(9)), (&of(vec![None, late]), at(2))] {
            let status = |serial: u8| snapshot.status(&[serial], now);
            let two = Finding {
                status: SerialStatus::Issued,
                until: at(10),
            };
            assert_eq!(snapshot.look_up(&[8], now), two);
            assert!(matches!(status(6), SerialStatus::Revoked { .. }));
            // Of the stale one, of no known one, of one that is not configured, and never issued.
            for serial in [5, 7, 9, 10, 11] {
                assert_eq!(status(serial), SerialStatus::Stale, "{serial}");
            }
        }
    }
}
