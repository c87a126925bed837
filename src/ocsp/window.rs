//! For how long an answer holds: [`Window`] has thisUpdate, nextUpdate, and when a fresh answer is due.

use crate::wire::{ocsp_response::CertStatus, time::Seconds};

/// How far thisUpdate lies before the reading of the clock, so that it is in no client's future. Five
/// minutes is what the peers use and what clients' own clocks need.
const BACKDATE: u64 = 5 * 60;

const HOUR: u64 = 3_600;

/// The times of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub this_update: Seconds,
    pub next_update: Seconds,
    /// The reading of the clock that it was signed at.
    signed: Seconds,
    /// From here on a fresh answer is due, if one would say more.
    refresh_at: Seconds,
    /// The end that nothing signed now can pass: of the revocation data or of the certificate.
    limit: Seconds,
}

impl Window {
    /// For an answer signed at `now` that holds for `validity` seconds, but not beyond `limit`.
    ///
    /// A revocation is not said to have been known before it was. A fresh answer is due as the CA/B Forum
    /// BR 4.9.10 ask: by half of a validity under 16 hours, else 8 hours before its end and within 4 days.
    pub fn new(now: Seconds, status: CertStatus, validity: u64, limit: Seconds) -> Self {
        let backdated = now.minus(BACKDATE);
        let this_update = match status {
            CertStatus::Revoked { time, .. } => backdated.max(time.min(now)),
            _ => backdated,
        };
        let next_update = this_update.plus(validity).min(limit);
        let interval = next_update.since(this_update);
        let due = if interval < 16 * HOUR {
            now.plus(next_update.since(now) / 2)
        } else {
            next_update
                .minus(8 * HOUR)
                .min(this_update.plus(4 * 24 * HOUR))
        };
        Self {
            this_update,
            next_update,
            signed: now,
            refresh_at: due,
            limit,
        }
    }

    /// Whether the answer may still be given at `now`, while `limit` is the end that an answer signed now
    /// would have. An answer that reaches that end already cannot be bettered.
    pub fn holds(&self, now: Seconds, limit: Seconds) -> bool {
        if now < self.refresh_at {
            return true;
        }
        now < self.next_update && !self.can_be_bettered(limit)
    }

    /// Whether an answer signed now, with its end at `limit` at the latest, would hold longer.
    pub fn can_be_bettered(&self, limit: Seconds) -> bool {
        self.next_update != self.limit || self.limit != limit
    }

    /// Whether a fresh answer is due soon: an eighth of the time before clients would have to wait for one.
    pub fn nears_refresh(&self, now: Seconds) -> bool {
        let early = self.refresh_at.since(self.signed) / 8;
        now >= self.refresh_at.minus(early)
    }

    /// Whether the answer is over.
    pub fn is_over(&self, now: Seconds) -> bool {
        now >= self.next_update
    }

    /// The reading of the clock that it was signed at.
    pub const fn signed(&self) -> Seconds {
        self.signed
    }

    /// The end that nothing signed then could pass.
    pub const fn limit(&self) -> Seconds {
        self.limit
    }

    /// Seconds for which caches may keep the answer: until a fresh one is due, and never up to nextUpdate
    /// (RFC 9919 7.2).
    pub fn max_age(&self, now: Seconds) -> u64 {
        let left = self.next_update.since(now).saturating_sub(1);
        let due = self.refresh_at.since(now);
        if due == 0 { left } else { left.min(due) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Seconds = Seconds::new(1_800_000_000);

    #[test]
    fn a_short_answer_is_renewed_by_its_half_life() {
        let window = Window::new(NOW, CertStatus::Good, 8 * HOUR, NOW.plus(100 * HOUR));
        assert_eq!(window.next_update.since(window.this_update), 8 * HOUR);
        let limit = NOW.plus(100 * HOUR);
        assert!(window.holds(NOW.plus(3 * HOUR), limit));
        assert!(!window.holds(NOW.plus(4 * HOUR), limit));
    }

    #[test]
    fn a_long_answer_is_renewed_8_hours_before_its_end_and_within_4_days() {
        let limit = Seconds::END;
        let day = Window::new(NOW, CertStatus::Good, 24 * HOUR, limit);
        assert_eq!(day.next_update.since(day.refresh_at), 8 * HOUR);
        let ten_days = Window::new(NOW, CertStatus::Good, 240 * HOUR, limit);
        assert_eq!(ten_days.refresh_at.since(ten_days.this_update), 96 * HOUR);
    }

    #[test]
    fn the_crl_ends_it_and_then_only_a_new_crl_helps() {
        let limit = NOW.plus(HOUR);
        let window = Window::new(NOW, CertStatus::Good, 8 * HOUR, limit);
        assert_eq!(window.next_update, limit);
        assert!(window.holds(limit.minus(1), limit));
        assert!(!window.holds(limit, limit));
        assert!(!window.holds(limit.minus(1), limit.plus(24 * HOUR)));
    }

    #[test]
    fn a_fresh_one_is_due_soon_before_it_is_due() {
        let window = Window::new(NOW, CertStatus::Good, 8 * HOUR, Seconds::END);
        let life = window.refresh_at.since(NOW);
        assert!(!window.nears_refresh(NOW.plus(life / 8 * 7 - 1)));
        assert!(window.nears_refresh(NOW.plus(life - life / 8)));
        assert!(window.can_be_bettered(Seconds::END));
        assert!(window.is_over(window.next_update) && !window.is_over(window.refresh_at));
    }

    #[test]
    fn caches_never_keep_it_to_its_end() {
        let limit = NOW.plus(HOUR);
        let window = Window::new(NOW, CertStatus::Good, 8 * HOUR, limit);
        for second in 0..HOUR {
            let now = NOW.plus(second);
            assert!(now.plus(window.max_age(now)) < window.next_update);
        }
    }

    #[test]
    fn a_fresh_revocation_is_not_backdated_before_itself() {
        let revoked = |time| {
            let status = CertStatus::Revoked { time, reason: None };
            Window::new(NOW, status, 8 * HOUR, Seconds::END)
        };
        assert_eq!(revoked(NOW.minus(10)).this_update, NOW.minus(10));
        assert_eq!(revoked(NOW.plus(10)).this_update, NOW);
        let window = revoked(NOW.minus(HOUR));
        assert_eq!(window.this_update, NOW.minus(BACKDATE));
        assert_eq!(window.next_update.since(window.this_update), 8 * HOUR);
    }
}
