//! When a CRL is fetched next: [`after_success`] goes by the CRL's own validity, [`after_failure`] by how often
//! fetching has failed. Both take a random number, so that many appliances do not come to a CA at once.

use crate::wire::time::Seconds;

/// A CRL that was revoked into between two regular issues appears under the same URL, and asking again costs a
/// 304: eight looks in a CRL's life, but neither a flood nor a day without a look.
const SHORTEST: u64 = 60;
const LONGEST: u64 = 3_600;

/// After the first failure; doubled with each further one.
const FIRST_RETRY: u64 = 15;

/// Seconds until the next look at a CRL of these dates that was fetched, or found unchanged, at `now`.
pub fn after_success(this_update: Seconds, next_update: Seconds, now: Seconds, random: u64) -> u64 {
    let interval = (next_update.since(this_update) / 8).clamp(SHORTEST, LONGEST);
    let left = next_update.since(now);
    // A CRL near its end is looked for at its end, one past its end as often as ever.
    let interval = if left == 0 {
        SHORTEST
    } else {
        interval.min(left.max(SHORTEST))
    };
    jittered(interval, random)
}

/// Seconds until the next try after `failures` in a row, at least one.
pub fn after_failure(failures: u32, random: u64) -> u64 {
    let doubled = FIRST_RETRY.saturating_mul(
        1u64.checked_shl(failures.saturating_sub(1).min(32))
            .unwrap_or(u64::MAX),
    );
    jittered(doubled.min(LONGEST), random)
}

/// A tenth more or less.
const fn jittered(seconds: u64, random: u64) -> u64 {
    let span = seconds / 5;
    seconds - span / 2 + random % (span + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Seconds = Seconds::new(1_800_000_000);

    #[test]
    fn a_crl_is_looked_for_eight_times_in_its_life_within_bounds() {
        let next = |validity: u64, passed: u64| {
            let this = NOW.minus(passed);
            after_success(this, this.plus(validity), NOW, 0)
        };
        assert_eq!(next(4 * 3_600, 0), 1_800 - 180);
        assert_eq!(next(7 * 86_400, 0), 3_600 - 360);
        assert_eq!(next(100, 0), 60 - 6);
        // Ten minutes before its end, and after it.
        assert_eq!(next(7 * 86_400, 7 * 86_400 - 600), 600 - 60);
        assert_eq!(next(7 * 86_400, 8 * 86_400), 60 - 6);
        assert!(after_success(NOW, Seconds::END, NOW, u64::MAX) <= 3_960);
    }

    #[test]
    fn failures_are_retried_ever_later_but_not_never() {
        let waits: Vec<_> = [1, 2, 3, 9, 400]
            .map(|failures| after_failure(failures, 1))
            .into();
        assert_eq!(waits, [15, 28, 55, 3_241, 3_241]);
    }
}
