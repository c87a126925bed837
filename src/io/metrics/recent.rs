//! What was answered and refused, in a few sums for people, over the last half hour: [`Recent`] keeps them in memory,
//! one entry for each ten seconds. Prometheus does the same better, where there is one.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What one entry is over.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Half an hour.
const ENTRIES: usize = 180;

/// The sums, in the order of [`Counts::NAMES`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts(pub [u64; 6]);

/// What [`Recent`] knows at one moment.
#[derive(Debug, Clone)]
pub struct Activity {
    /// Since the start.
    pub total: Counts,
    /// Of whole intervals, the oldest first.
    pub intervals: Vec<Counts>,
    /// Of the interval that has not ended yet.
    pub open: Counts,
}

/// The last half hour.
#[derive(Debug)]
pub struct Recent(Mutex<Ring>);

#[derive(Debug)]
struct Ring {
    entries: VecDeque<Counts>,
    /// What the counters showed when the open interval began, and when that was.
    before: Counts,
    begun: Instant,
}

impl Counts {
    /// Stable, for JSON.
    pub const NAMES: [&'static str; 6] = [
        "tokens",
        "timestamp_refusals",
        "ocsp_answers",
        "ocsp_refusals",
        "http_refusals",
        "device_signatures",
    ];

    /// Each with its name.
    pub fn named(self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::NAMES.into_iter().zip(self.0)
    }

    /// What has come since `earlier`.
    fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(mut self, other: Self, operation: fn(u64, u64) -> u64) -> Self {
        for (one, other) in self.0.iter_mut().zip(other.0) {
            *one = operation(*one, other);
        }
        self
    }
}

impl Activity {
    /// Of the open interval and the last `intervals` whole ones.
    pub fn last(&self, intervals: usize) -> Counts {
        let last = self.intervals.iter().rev().take(intervals);
        last.fold(self.open, |sum, counts| sum.plus(*counts))
    }
}

impl Recent {
    /// Ends the interval if its time is over; `counts` are what the counters show.
    pub fn sample(&self, counts: impl FnOnce() -> Counts) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.begun.elapsed() < INTERVAL {
            return;
        }
        let counts = counts();
        // Whoever calls this may have been held up for longer: nobody knows when in that time it was.
        while ring.begun.elapsed() >= INTERVAL {
            let entry = counts.since(ring.before);
            ring.before = counts;
            ring.begun += INTERVAL;
            if ring.entries.len() >= ENTRIES {
                ring.entries.pop_front();
            }
            ring.entries.push_back(entry);
        }
    }

    /// All of it; `total` is what the counters show now.
    pub fn activity(&self, total: Counts) -> Activity {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Activity {
            total,
            intervals: ring.entries.iter().copied().collect(),
            open: total.since(ring.before),
        }
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self(Mutex::new(Ring {
            entries: VecDeque::with_capacity(ENTRIES),
            before: Counts::default(),
            begun: Instant::now(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_were_missed_are_empty_and_old_ones_are_forgotten() {
        let recent = Recent::default();
        let tokens = |tokens| Counts([tokens, 0, 0, 0, 0, 0]);
        recent.sample(|| panic!("no interval is over yet"));
        assert_eq!(recent.activity(tokens(7)).open, tokens(7));
        recent.0.lock().unwrap().begun -= 2 * INTERVAL;
        recent.sample(|| tokens(7));
        let activity = recent.activity(tokens(9));
        assert_eq!(activity.intervals, [tokens(7), tokens(0)]);
        assert_eq!(activity.open, tokens(2));
        assert_eq!(activity.last(1), tokens(2));
        assert_eq!(activity.last(2), tokens(9));
        for _ in 0..ENTRIES {
            recent.0.lock().unwrap().begun -= INTERVAL;
            recent.sample(|| tokens(9));
        }
        let activity = recent.activity(tokens(9));
        assert_eq!(activity.intervals.len(), ENTRIES);
        assert_eq!(activity.last(ENTRIES), tokens(2), "the seven are forgotten");
    }
}
