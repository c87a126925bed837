//! The system's clocks, read together: [`Instants::now`].

use rustix::time::{ClockId, clock_gettime};

/// Readings of three clocks at one instant, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instants {
    pub boottime: u64,
    /// Since 1970.
    pub realtime: u64,
    pub monotonic: u64,
}

/// Readings further apart are taken again: the daemon compares their differences, and a thread that lost its
/// core between two of them would look like a step of the clock.
const TOGETHER: u64 = 10_000;
const TRIES: usize = 8;

impl Instants {
    /// The clocks now: the closest together of a few readings.
    pub fn now() -> Self {
        let (mut best, mut apart) = Self::reading();
        for _ in 1..TRIES {
            if apart <= TOGETHER {
                break;
            }
            let (instants, distance) = Self::reading();
            if distance < apart {
                (best, apart) = (instants, distance);
            }
        }
        best
    }

    /// One reading, and how long it took.
    fn reading() -> (Self, u64) {
        let instants = Self {
            boottime: nanos(ClockId::Boottime),
            realtime: nanos(ClockId::Realtime),
            monotonic: nanos(ClockId::Monotonic),
        };
        let after = nanos(ClockId::Boottime);
        (instants, after.saturating_sub(instants.boottime))
    }
}

/// A clock in ns; one before 1970 is at 1970.
fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_read_together_and_go_on() {
        let first = Instants::now();
        let second = Instants::now();
        assert!(first.boottime <= second.boottime);
        assert!(first.monotonic <= first.boottime + 1_000_000);
        assert!(first.realtime > 1_700_000_000_000_000_000);
    }
}
