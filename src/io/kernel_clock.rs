//! The clock port over the kernel: [`KernelClock`] asks `adjtimex` at every reading (1.6 us, and never
//! stale), [`DemoClock`] asks nobody.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    clock::{
        Clock, TrustedTime, Unproven,
        discipline::{self, KernelReport},
    },
    io::wall_clock::{since_1970, wall_clock},
    wire::time::Seconds,
};

/// The system clock as long as the kernel shows that an NTP daemon keeps it.
#[derive(Debug)]
pub struct KernelClock {
    /// Nanoseconds.
    tolerance: AtomicU64,
}

impl KernelClock {
    /// `tolerance`: the largest error that some TSU can live with.
    pub fn new(tolerance: Duration) -> Self {
        Self {
            tolerance: AtomicU64::new(nanos(tolerance)),
        }
    }
}

impl Clock for KernelClock {
    fn trusted(&self) -> Result<TrustedTime, Unproven> {
        // TIME_INS to TIME_WAIT (1 to 4) tell of a leap second from its announcement until just after.
        const LEAP_STATES: std::ops::RangeInclusive<i32> = 1..=4;
        let timex = adjtimex::read().map_err(|_| Unproven::Unreadable)?;
        let report = KernelReport {
            realtime: since_1970(),
            unsynchronised: timex.state == adjtimex::TIME_ERROR
                || timex.status & adjtimex::STA_UNSYNC != 0,
            max_error: Duration::from_micros(u64::try_from(timex.max_error_us).unwrap_or(u64::MAX)),
            leap: LEAP_STATES.contains(&timex.state)
                || timex.status & (adjtimex::STA_INS | adjtimex::STA_DEL) != 0,
        };
        let tolerance = Duration::from_nanos(self.tolerance.load(Ordering::Relaxed));
        discipline::judge_kernel(&report, tolerance)
    }

    fn tolerate(&self, tolerance: Duration) {
        self.tolerance.store(nanos(tolerance), Ordering::Relaxed);
    }

    fn reading(&self) -> Seconds {
        wall_clock()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The system clock on its word.
#[derive(Debug)]
pub struct DemoClock;

impl Clock for DemoClock {
    fn trusted(&self) -> Result<TrustedTime, Unproven> {
        Ok(discipline::demo_reading(since_1970()))
    }

    fn reading(&self) -> Seconds {
        wall_clock()
    }
}
