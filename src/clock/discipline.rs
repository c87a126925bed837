//! When a reading of the clock counts as UTC: a pure function of what the kernel reports
//! ([`KernelReport`]) to [`TrustedTime`] or the reason [`Unproven`].
//!
//! The kernel's discipline (`adjtimex`) is proven when
//! - the state is not `TIME_ERROR` and `STA_UNSYNC` is clear: some NTP daemon keeps the clock,
//! - maxerror, which grows 500 ppm between the daemon's updates, is at most the tolerance,
//! - no announced leap second is within the bound plus one second.

use std::time::Duration;

use super::{Basis, TrustedTime};

/// One reading of the kernel's clock state, taken together with the clock itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelReport {
    /// CLOCK_REALTIME, since 1970.
    pub realtime: Duration,
    /// The kernel says that nobody keeps the clock (`TIME_ERROR` or `STA_UNSYNC`).
    pub unsynchronised: bool,
    /// The kernel's maxerror.
    pub max_error: Duration,
    /// A leap second is announced for the end of the UTC day, or has just passed.
    pub leap: bool,
}

/// Why a reading may not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    #[error(
        "the kernel says that no NTP daemon disciplines the clock (STA_UNSYNC); with chronyd, set `rtcsync` and check `chronyc tracking`"
    )]
    Unsynchronised,
    #[error("the clock can be off by {} ms, tolerated are {} ms; check `chronyc tracking`", max_error.as_millis(), tolerance.as_millis())]
    BeyondTolerance {
        max_error: Duration,
        tolerance: Duration,
    },
    #[error("a leap second is due or under way; issuing goes on by itself when it has passed")]
    LeapSecond,
    #[error("the clock's state cannot be read from the kernel")]
    Unreadable,
}

impl Unproven {
    /// A bounded label for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unsynchronised => "unsynchronised",
            Self::BeyondTolerance { .. } => "beyond_tolerance",
            Self::LeapSecond => "leap_second",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Judges the kernel's report. `tolerance` is the largest error that some TSU can live with.
pub fn judge_kernel(report: &KernelReport, tolerance: Duration) -> Result<TrustedTime, Unproven> {
    if report.unsynchronised {
        return Err(Unproven::Unsynchronised);
    }
    if report.max_error > tolerance {
        return Err(Unproven::BeyondTolerance {
            max_error: report.max_error,
            tolerance,
        });
    }
    if report.leap && near_midnight(report.realtime, report.max_error + Duration::from_secs(1)) {
        return Err(Unproven::LeapSecond);
    }
    Ok(TrustedTime::assertion(
        report.realtime,
        report.max_error,
        Basis::Proven,
    ))
}

/// The system clock on its word, for a demo.
pub fn demo_reading(realtime: Duration) -> TrustedTime {
    TrustedTime::assertion(realtime, Duration::ZERO, Basis::Demo)
}

/// Within `margin` of the end of a UTC day, on either side.
fn near_midnight(realtime: Duration, margin: Duration) -> bool {
    const DAY: u64 = 86_400;
    let into_day = realtime - Duration::from_secs(realtime.as_secs() / DAY * DAY);
    into_day <= margin || into_day + margin >= Duration::from_secs(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Duration = Duration::from_millis(500);

    fn report() -> KernelReport {
        KernelReport {
            realtime: Duration::from_secs(1_800_000_000),
            unsynchronised: false,
            max_error: Duration::from_millis(20),
            leap: false,
        }
    }

    #[test]
    fn a_kept_clock_is_proven_with_its_bound() {
        let time = judge_kernel(&report(), TOLERANCE).unwrap();
        assert_eq!(time.basis(), Basis::Proven);
        assert_eq!(time.bound(), Duration::from_millis(20));
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_refused() {
        let unsynchronised = KernelReport {
            unsynchronised: true,
            ..report()
        };
        assert_eq!(
            judge_kernel(&unsynchronised, TOLERANCE),
            Err(Unproven::Unsynchronised)
        );
    }

    #[test]
    fn an_error_over_the_tolerance_is_refused() {
        let at = KernelReport {
            max_error: TOLERANCE,
            ..report()
        };
        assert!(judge_kernel(&at, TOLERANCE).is_ok());
        let over = KernelReport {
            max_error: TOLERANCE + Duration::from_micros(1),
            ..report()
        };
        assert!(matches!(
            judge_kernel(&over, TOLERANCE),
            Err(Unproven::BeyondTolerance { .. })
        ));
    }

    #[test]
    fn the_whole_leap_window_is_refused() {
        let midnight = Duration::from_secs(1_800_000_000 / 86_400 * 86_400);
        for offset in -2_000i64..2_000 {
            let shift = Duration::from_millis(offset.unsigned_abs());
            let realtime = if offset < 0 {
                midnight - shift
            } else {
                midnight + shift
            };
            let leap = KernelReport {
                realtime,
                leap: true,
                ..report()
            };
            let refused = judge_kernel(&leap, TOLERANCE) == Err(Unproven::LeapSecond);
            assert_eq!(refused, offset.abs() <= 1_020, "{offset} ms");
            assert!(
                judge_kernel(
                    &KernelReport {
                        leap: false,
                        ..leap
                    },
                    TOLERANCE
                )
                .is_ok()
            );
        }
    }
}
