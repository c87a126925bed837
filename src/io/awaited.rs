//! What has no end of its own: a call into a device or to a disk, or the next turn of a thread. [`Awaited`] knows since
//! when it is waited for, so that whoever looks can tell whether it is overdue.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Shared by who waits and whoever looks.
#[derive(Debug)]
pub struct Awaited {
    origin: Instant,
    /// In ms after `origin` and one more; zero while nothing is waited for.
    since: AtomicU64,
}

impl Default for Awaited {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            since: AtomicU64::new(0),
        }
    }
}

impl Awaited {
    /// The waiting begins, or begins anew.
    pub fn begin(&self) {
        self.since.store(self.now(), Ordering::Relaxed);
    }

    /// Waits for this call.
    pub fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        self.begin();
        let result = call();
        self.since.store(0, Ordering::Relaxed);
        result
    }

    /// Whether it has been waited for longer than `patience`.
    pub fn is_overdue(&self, patience: Duration) -> bool {
        match self.since.load(Ordering::Relaxed) {
            0 => false,
            since => self.now().saturating_sub(since) > millis(patience),
        }
    }

    fn now(&self) -> u64 {
        millis(self.origin.elapsed()).saturating_add(1)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_overdue_until_it_comes() {
        let (call, patience) = (Awaited::default(), Duration::from_millis(20));
        call.during(|| {
            assert!(!call.is_overdue(patience), "not yet");
            while !call.is_overdue(patience) {
                std::thread::yield_now();
            }
            call.begin();
            assert!(!call.is_overdue(patience), "begun anew");
        });
        assert!(!call.is_overdue(Duration::ZERO), "it came");
    }
}
