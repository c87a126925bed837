//! How the sessions of one key fare: [`Sessions`] counts those that serve, and knows whether the rest can ever
//! come back. A call that has not returned keeps its library from being started anew, so that where no session
//! serves and one is inside, only a new process helps.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use crate::{io::awaited::Awaited, signing::DeviceFigures};

/// What a wake-up costs, some 10 us on a virtual machine, is over a twentieth of a signature that takes less.
const BRIEF: Duration = Duration::from_micros(200);

/// Shared by the threads of one key and whoever asks them.
#[derive(Debug)]
pub struct Sessions {
    healthy: AtomicUsize,
    failures: AtomicU64,
    signatures: AtomicU64,
    /// The last signature took less than [`BRIEF`].
    brief: AtomicBool,
    /// For each thread, the call that it is in.
    inside: Vec<Awaited>,
}

impl Sessions {
    pub fn new(threads: usize) -> Self {
        Self {
            healthy: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            signatures: AtomicU64::new(0),
            brief: AtomicBool::new(false),
            inside: std::iter::repeat_with(Awaited::default)
                .take(threads)
                .collect(),
        }
    }

    /// Counts a session that is open and not stuck, until it is told that it no longer is.
    pub fn serves(&self, yes: bool) {
        if yes {
            self.healthy.fetch_add(1, Ordering::AcqRel);
        } else {
            self.healthy.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Counts a signature, or a session to be opened, that came to nothing.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a signature that took this long.
    pub fn signed(&self, time: Duration) {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        self.brief.store(time < BRIEF, Ordering::Relaxed);
    }

    /// Whether signatures take so little that to wake who asked is a large part of it.
    pub fn are_brief(&self) -> bool {
        self.brief.load(Ordering::Relaxed)
    }

    pub const fn threads(&self) -> usize {
        self.inside.len()
    }

    pub fn figures(&self) -> DeviceFigures {
        DeviceFigures {
            sessions: self.threads(),
            serving: self.healthy.load(Ordering::Acquire),
            failures: self.failures.load(Ordering::Relaxed),
            signatures: self.signatures.load(Ordering::Relaxed),
        }
    }

    pub fn any_serves(&self) -> bool {
        self.healthy.load(Ordering::Acquire) > 0
    }

    /// Runs a call of thread `number` into the library.
    pub fn inside<T>(&self, number: usize, call: impl FnOnce() -> T) -> T {
        match self.inside.get(number) {
            Some(inside) => inside.during(call),
            None => call(),
        }
    }

    /// Whether no session serves and a call has been inside for longer than `deadline`.
    pub fn are_stuck(&self, deadline: Duration) -> bool {
        let is_late = |inside: &Awaited| inside.is_overdue(deadline);
        !self.any_serves() && self.inside.iter().any(is_late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_stuck_when_nothing_serves_and_a_call_is_late() {
        let sessions = Sessions::new(2);
        let deadline = Duration::from_millis(20);
        sessions.inside(0, || {
            assert!(!sessions.are_stuck(deadline), "not late yet");
            while !sessions.are_stuck(deadline) {
                std::thread::yield_now();
            }
            sessions.serves(true);
            assert!(!sessions.are_stuck(deadline), "another serves");
            sessions.serves(false);
        });
        assert!(!sessions.are_stuck(deadline), "it came back");
    }
}
