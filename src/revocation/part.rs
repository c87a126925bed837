//! A CRL in force: [`Part`] is a complete CRL, the delta over it, and what earlier ones revoked for good. It is
//! immutable and cheap to copy; a new CRL makes a new part, and what both have in common is shared.

use std::sync::Arc;

use super::{CrlError, Facts, Index, Revocation, Serial, VerifiedCrl, VerifiedDelta};
use crate::wire::{crl::SerialText, time::Seconds};

/// Revocations that a later CRL no longer shows: it may drop a certificate that has expired (RFC 5280 3.3), but a
/// responder goes on to say that it is revoked (ETSI EN 319 411-2; CSBR 4.9.7: ten years). Never a hold.
#[derive(Debug, Clone, Default)]
pub struct Retained(Index);

impl Retained {
    /// Of those that `walk` gives, the same at every call.
    pub fn of<I>(walk: impl Fn() -> I) -> Self
    where
        I: Iterator<Item = (Serial, Revocation)>,
    {
        Self(Index::of(walk().count(), walk))
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = (Serial, Revocation)> {
        self.0.iter()
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One scope of an issuer's CRLs.
#[derive(Debug, Clone)]
pub struct Part {
    base: Arc<VerifiedCrl>,
    delta: Option<Arc<VerifiedDelta>>,
    retained: Arc<Retained>,
}

/// What became of a delta.
#[derive(Debug)]
pub enum Overlaid {
    /// It is in force.
    New(Part),
    /// The base holds all of it already.
    Superseded,
}

impl Part {
    /// The first that is known of this scope, but for what earlier processes retained.
    pub fn new(base: VerifiedCrl, retained: Retained) -> Self {
        Self {
            base: Arc::new(base),
            delta: None,
            retained: Arc::new(retained),
        }
    }

    /// With another complete CRL in the place of this part's, whose [`Mark`](super::Mark) admits it. The delta stays
    /// while it still adds something.
    pub fn succeeded_by(&self, base: VerifiedCrl) -> Result<Self, CrlError> {
        if base.scope != self.base.scope {
            return Err(CrlError::ScopeChanged {
                old: self.base.scope,
                new: base.scope,
            });
        }
        if base.distribution_point != self.base.distribution_point {
            return Err(CrlError::PointChanged);
        }
        Ok(self.replaced_by(base))
    }

    /// The same with one that may be about other certificates, since an operator says so.
    #[must_use]
    pub fn replaced_by(&self, base: VerifiedCrl) -> Self {
        let mut next = Self {
            base: Arc::new(base),
            delta: None,
            retained: Arc::clone(&self.retained),
        };
        if let Some(delta) = &self.delta
            && matches!(next.fits(delta), Ok(true))
        {
            next.delta = Some(Arc::clone(delta));
        }
        next.retain_from(self);
        next
    }

    /// With this delta over the complete CRL (RFC 5280 5.2.4 and 6.3.3 (c)): of the same scope, for this base or an
    /// older one, and newer than it.
    pub fn with_delta(&self, delta: VerifiedDelta) -> Result<Overlaid, CrlError> {
        if !self.fits(&delta)? {
            return Ok(Overlaid::Superseded);
        }
        let mut next = Self {
            delta: Some(Arc::new(delta)),
            ..self.clone()
        };
        next.retain_from(self);
        Ok(Overlaid::New(next))
    }

    /// The complete CRL alone, and what is retained.
    #[must_use]
    pub fn without_delta(&self) -> Self {
        Self {
            delta: None,
            ..self.clone()
        }
    }

    /// Whether the delta adds something to the base; the error says why it cannot.
    fn fits(&self, delta: &VerifiedDelta) -> Result<bool, CrlError> {
        fn order(number: &[u8]) -> (usize, &[u8]) {
            (number.len(), number)
        }
        if delta.distribution_point != self.base.distribution_point {
            return Err(CrlError::OtherBase);
        }
        let has = self.base.number().ok_or(CrlError::BaseWithoutNumber)?;
        if order(&delta.base) > order(has) {
            return Err(CrlError::OldBase {
                wanted: SerialText::new(&delta.base),
                has: SerialText::new(has),
            });
        }
        Ok(delta
            .number()
            .is_some_and(|number| order(number) > order(has)))
    }

    /// Keeps what `before` revoked for good and this part no longer shows.
    fn retain_from(&mut self, before: &Self) {
        // Not collected: there can be as many as there are entries.
        let disappeared = || {
            let base = (!Arc::ptr_eq(&self.base, &before.base))
                .then(|| before.base.entries.weaker_in(&self.base.entries));
            let delta = before.delta.iter().flat_map(|delta| delta.entries.iter());
            let both = base.into_iter().flatten().chain(delta);
            both.filter(|(serial, revocation)| {
                let lasts = !revocation.is_hold() && !revocation.is_removal();
                lasts && self.find(*serial).is_none_or(|now| now.is_hold())
            })
        };
        if disappeared().next().is_none() {
            return;
        }
        let all = || self.retained.iter().chain(disappeared());
        self.retained = Arc::new(Retained::of(all));
    }

    pub fn base(&self) -> &VerifiedCrl {
        &self.base
    }

    pub fn delta(&self) -> Option<&VerifiedDelta> {
        self.delta.as_deref()
    }

    pub fn retained(&self) -> &Retained {
        &self.retained
    }

    /// The serials that this part retains and `before` did not: they have disappeared from the CA's CRLs.
    pub fn newly_retained<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (Serial, Revocation)> + 'a {
        let new = (!Arc::ptr_eq(&self.retained, &before.retained)).then(|| {
            let all = self.retained.iter();
            all.filter(|(serial, _)| before.retained.0.get(*serial).is_none())
        });
        new.into_iter().flatten()
    }

    /// Of the newest CRL, whose dates hold for what base and delta say together.
    fn newest(&self) -> &Facts {
        match &self.delta {
            Some(delta) => delta,
            None => &self.base,
        }
    }

    pub fn this_update(&self) -> Seconds {
        self.newest().this_update
    }

    pub fn next_update(&self) -> Seconds {
        self.newest().next_update
    }

    pub fn is_current(&self, now: Seconds) -> bool {
        self.this_update() <= now && now < self.next_update()
    }

    /// The revocation of the serial of these INTEGER content octets.
    pub fn get(&self, serial: &[u8]) -> Option<Revocation> {
        self.find(Serial::new(serial).ok()?)
    }

    fn find(&self, serial: Serial) -> Option<Revocation> {
        let below = || {
            let listed = self.base.entries.get(serial);
            let retained = self.retained.0.get(serial);
            listed.into_iter().chain(retained).reduce(Revocation::or)
        };
        let over = self.delta.as_ref();
        let over = over.map(|delta| delta.entries.get(serial));
        match over.flatten() {
            None => below(),
            // It was on hold. Else its certificate has expired, and it stays revoked.
            Some(over) if over.is_removal() => below().filter(|below| !below.is_hold()),
            Some(over) if over.is_hold() => Some(below().map_or(over, |below| below.or(over))),
            Some(over) => Some(over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        revocation::{
            testing::{Ca, Draft, entry},
            verify, verify_delta,
        },
        wire::oid,
    };

    const HOLD: Option<u8> = Some(6);
    const REMOVED: Option<u8> = Some(8);

    type Entries<'a> = &'a [(u8, Option<u8>)];

    struct World(Ca);

    impl World {
        fn draft(number: u8, entries: Entries<'_>) -> Draft {
            let entries: Vec<_> = entries
                .iter()
                .map(|(serial, reason)| entry(&[*serial], *reason))
                .collect();
            Draft::new(&entries).number(&[number])
        }

        fn base(&self, number: u8, entries: Entries<'_>) -> VerifiedCrl {
            let crl = self.0.crl(&Self::draft(number, entries));
            verify(&crl, &self.0.certificate, None).unwrap()
        }

        fn delta(&self, base: u8, number: u8, entries: Entries<'_>) -> VerifiedDelta {
            let draft = Self::draft(number, entries);
            let crl = draft.with(oid::DELTA_CRL_INDICATOR, true, &[2, 1, base]);
            verify_delta(&self.0.crl(&crl), &self.0.certificate, None).unwrap()
        }

        fn part(&self, number: u8, entries: Entries<'_>) -> Part {
            Part::new(self.base(number, entries), Retained::default())
        }
    }

    fn world() -> World {
        World(Ca::new("A"))
    }

    fn overlaid(part: &Part, delta: VerifiedDelta) -> Part {
        match part.with_delta(delta).unwrap() {
            Overlaid::New(part) => part,
            Overlaid::Superseded => panic!("superseded"),
        }
    }

    fn reasons(part: &Part, serials: &[u8]) -> Vec<Option<Option<u8>>> {
        let reason = |serial: &u8| part.get(&[*serial]).map(|revocation| revocation.reason);
        serials.iter().map(reason).collect()
    }

    #[test]
    fn a_delta_is_read_over_its_base() {
        let world = world();
        let base = world.part(5, &[(1, HOLD), (2, HOLD), (3, Some(1)), (4, Some(1))]);
        let delta = world.delta(
            4,
            7,
            &[
                (1, REMOVED),
                (2, Some(4)),
                (3, REMOVED),
                (4, HOLD),
                (5, None),
                (6, REMOVED),
            ],
        );
        let part = overlaid(&base, delta);
        let expected = [
            None,
            Some(Some(4)),
            Some(Some(1)),
            Some(Some(1)),
            Some(None),
            None,
        ];
        assert_eq!(reasons(&part, &[1, 2, 3, 4, 5, 6]), expected);
        // The next delta says less: what was revoked for good stays, and what was on hold is as the base has it.
        let part = overlaid(&part, world.delta(5, 8, &[]));
        let expected = [
            Some(HOLD),
            Some(Some(4)),
            Some(Some(1)),
            Some(Some(1)),
            Some(None),
            None,
        ];
        assert_eq!(reasons(&part, &[1, 2, 3, 4, 5, 6]), expected);
        assert_eq!(part.retained().len(), 2);
    }

    #[test]
    fn a_delta_must_fit_its_base() {
        let world = world();
        let base = world.part(5, &[]);
        let text = |delta| base.with_delta(delta).unwrap_err().to_string();
        assert!(
            text(world.delta(6, 7, &[]))
                .contains("number 06 or above, and the one in force has 05")
        );
        for (from, number) in [(5, 5), (3, 4)] {
            let delta = world.delta(from, number, &[]);
            assert!(matches!(base.with_delta(delta), Ok(Overlaid::Superseded)));
        }
        let draft = World::draft(7, &[])
            .with(oid::DELTA_CRL_INDICATOR, true, &[2, 1, 5])
            .with(
                oid::ISSUING_DISTRIBUTION_POINT,
                true,
                &[0x30, 3, 0x81, 1, 0xff],
            );
        let delta = verify_delta(&world.0.crl(&draft), &world.0.certificate, None).unwrap();
        assert_eq!(base.with_delta(delta).unwrap_err(), CrlError::OtherBase);
        let bare = verify(&world.0.crl(&Draft::new(&[])), &world.0.certificate, None).unwrap();
        let bare = Part::new(bare, Retained::default());
        let error = bare.with_delta(world.delta(1, 2, &[])).unwrap_err();
        assert_eq!(error, CrlError::BaseWithoutNumber);
    }

    #[test]
    fn a_delta_stays_until_a_base_holds_all_of_it() {
        let world = world();
        let part = overlaid(
            &world.part(5, &[]),
            world.delta(5, 7, &[(1, Some(1)), (2, Some(1))]),
        );
        let between = part.succeeded_by(world.base(6, &[(3, None)])).unwrap();
        assert!(between.delta().is_some() && between.retained().is_empty());
        assert_eq!(reasons(&between, &[1, 3]), [Some(Some(1)), Some(None)]);
        let folded = between
            .succeeded_by(world.base(7, &[(1, Some(1)), (3, None)]))
            .unwrap();
        assert!(folded.delta().is_none());
        // What the base should have taken over from the delta is not forgotten.
        assert_eq!(
            reasons(&folded, &[1, 2, 3]),
            [Some(Some(1)), Some(Some(1)), Some(None)]
        );
        assert_eq!(folded.retained().len(), 1);
    }

    #[test]
    fn what_disappears_stays_revoked_unless_it_was_on_hold() {
        let world = world();
        let first = world.part(1, &[(1, Some(1)), (2, HOLD), (3, None), (4, Some(1))]);
        let second = first
            .succeeded_by(world.base(2, &[(3, None), (4, HOLD)]))
            .unwrap();
        let expected = [Some(Some(1)), None, Some(None), Some(Some(1))];
        assert_eq!(reasons(&second, &[1, 2, 3, 4]), expected);
        let new = second.newly_retained(&first);
        let mut new: Vec<_> = new.map(|(serial, _)| serial.octets()).collect();
        new.sort_unstable();
        assert_eq!(new, [[1], [4]]);
        let third = second.succeeded_by(world.base(3, &[])).unwrap();
        assert_eq!(
            reasons(&third, &[1, 2, 3, 4]),
            [Some(Some(1)), None, Some(None), Some(Some(1))]
        );
        assert_eq!(third.newly_retained(&second).count(), 1);
    }

    #[test]
    fn another_scope_takes_no_place() {
        let world = world();
        let draft = World::draft(2, &[]).with(
            oid::ISSUING_DISTRIBUTION_POINT,
            true,
            &[0x30, 3, 0x81, 1, 0xff],
        );
        let users = verify(&world.0.crl(&draft), &world.0.certificate, None).unwrap();
        let refused = world.part(1, &[]).succeeded_by(users);
        assert!(matches!(refused, Err(CrlError::ScopeChanged { .. })));
    }

    #[test]
    fn a_delta_gives_its_dates() {
        let world = world();
        let mut draft = World::draft(2, &[]).with(oid::DELTA_CRL_INDICATOR, true, &[2, 1, 1]);
        draft.this_update = "20260103000000Z".into();
        draft.next_update = Some("20260104000000Z".into());
        let delta = verify_delta(&world.0.crl(&draft), &world.0.certificate, None).unwrap();
        let base = world.part(1, &[]);
        let part = overlaid(&base, delta);
        assert_eq!(part.next_update().since(part.this_update()), 86_400);
        assert!(base.is_current(part.next_update()) && !part.is_current(part.next_update()));
    }
}
