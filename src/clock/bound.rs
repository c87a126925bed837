//! How far the clock can be from UTC: [`Bound`], by its parts.

use std::time::Duration;

use super::report::Tracking;

/// Parts in 10^9 for chronyd's own estimate of a clock without updates is 1,000; bare quartz deserves 15,000.
const UNTOLD_DRIFT: u64 = 14_000;
/// The same from the poll on, for which chronyd vouches for nothing.
const DRIFT: u64 = 15_000;

/// The bound at a poll. Each part is a length of time; they add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// |what chronyd still has to correct|.
    pub correction: Duration,
    /// chronyd's root dispersion, extrapolated to the poll by itself.
    pub root_dispersion: Duration,
    /// Half of the root delay: the way there may have taken all of it.
    pub half_root_delay: Duration,
    /// What quartz may have drifted since chronyd's last update beyond what chronyd allows for.
    pub drift: Duration,
    /// How far CLOCK_REALTIME was moved against CLOCK_BOOTTIME since chronyd's last update.
    pub step: Duration,
    /// How fast the bound grows after the poll, in parts in 10^9.
    pub growth: u64,
}

impl Bound {
    /// At a poll whose CLOCK_REALTIME was `realtime`.
    pub fn at_poll(tracking: &Tracking, realtime: Duration, step: Duration) -> Self {
        let frequency = u64::from(tracking.residual_frequency.unsigned_abs());
        Self {
            correction: Duration::from_nanos(tracking.correction.unsigned_abs()),
            root_dispersion: tracking.root_dispersion,
            half_root_delay: tracking.root_delay / 2,
            drift: share(realtime.saturating_sub(tracking.ref_time), UNTOLD_DRIFT),
            step,
            growth: u64::from(tracking.skew)
                .saturating_add(frequency)
                .saturating_add(DRIFT),
        }
    }

    /// The bound at the poll.
    pub fn total(&self) -> Duration {
        self.without_step().saturating_add(self.step)
    }

    /// What chronyd and quartz account for.
    pub(super) fn without_step(&self) -> Duration {
        self.correction
            .saturating_add(self.root_dispersion)
            .saturating_add(self.half_root_delay)
            .saturating_add(self.drift)
    }
}

/// `parts` in 10^9 of `length`, rounded up.
pub(super) fn share(length: Duration, parts: u64) -> Duration {
    const WHOLE: u64 = 1_000_000_000;
    let nanos = length.as_nanos();
    // The short way for what is asked at each issuance; 128 bits divide slowly.
    let short = u64::try_from(nanos)
        .ok()
        .and_then(|nanos| nanos.checked_mul(parts));
    if let Some(product) = short {
        return Duration::from_nanos(product.div_ceil(WHOLE));
    }
    let nanos = nanos
        .saturating_mul(u128::from(parts))
        .div_ceil(u128::from(WHOLE));
    let seconds = u64::try_from(nanos / u128::from(WHOLE)).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanos % u128::from(WHOLE)).unwrap_or(0);
    Duration::new(seconds, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;

    const REALTIME: Duration = testing::START;

    fn bound(change: impl FnOnce(&mut Tracking)) -> Bound {
        let mut tracking = testing::tracking(REALTIME);
        tracking.ref_time = REALTIME;
        tracking.correction = 0;
        tracking.root_delay = Duration::ZERO;
        tracking.root_dispersion = Duration::ZERO;
        tracking.skew = 0;
        tracking.residual_frequency = 0;
        change(&mut tracking);
        Bound::at_poll(&tracking, REALTIME, Duration::ZERO)
    }

    #[test]
    fn every_term_counts_by_itself() {
        let nothing = bound(|_| ());
        assert_eq!(nothing.total(), Duration::ZERO);
        assert_eq!(nothing.growth, 15_000);

        for correction in [250_000, -250_000] {
            let total = bound(|tracking| tracking.correction = correction).total();
            assert_eq!(total, Duration::from_micros(250));
        }
        let dispersion = Duration::from_micros(70);
        let total = bound(|tracking| tracking.root_dispersion = dispersion).total();
        assert_eq!(total, dispersion);
        let total = bound(|tracking| tracking.root_delay = Duration::from_millis(3)).total();
        assert_eq!(total, Duration::from_micros(1_500));
        // 14 ppm of 100 s.
        let old = REALTIME - Duration::from_secs(100);
        let total = bound(|tracking| tracking.ref_time = old).total();
        assert_eq!(total, Duration::from_micros(1_400));
        assert_eq!(bound(|tracking| tracking.skew = 500).growth, 15_500);
        for frequency in [-700, 700] {
            let growth = bound(|tracking| tracking.residual_frequency = frequency).growth;
            assert_eq!(growth, 15_700);
        }
    }

    #[test]
    fn the_terms_add_up() {
        let all = bound(|tracking| {
            tracking.correction = -1_000;
            tracking.root_dispersion = Duration::from_micros(20);
            tracking.root_delay = Duration::from_micros(600);
            tracking.ref_time = REALTIME - Duration::from_secs(1_000);
        });
        let all = Bound {
            step: Duration::from_micros(5),
            ..all
        };
        assert_eq!(
            all.total(),
            Duration::from_micros(1 + 20 + 300 + 14_000 + 5)
        );
    }

    #[test]
    fn what_does_not_fit_is_the_most() {
        let most = bound(|tracking| {
            tracking.correction = i64::MIN;
            tracking.root_dispersion = Duration::MAX;
            tracking.root_delay = Duration::MAX;
            tracking.ref_time = Duration::ZERO;
            tracking.skew = u32::MAX;
            tracking.residual_frequency = i32::MIN;
        });
        assert_eq!(most.total(), Duration::MAX);
        let longest = Duration::from_secs(u64::MAX);
        assert!(share(Duration::MAX, u64::MAX) >= longest);
        assert!(share(longest, 1_000_000_000) >= longest);
        assert_eq!(share(Duration::from_nanos(1), 1), Duration::from_nanos(1));
    }
}
