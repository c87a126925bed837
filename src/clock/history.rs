//! What it takes to have the proof back: [`Regain`] counts good polls and waits after a step, [`Losses`] latches when
//! the proof is lost again and again.

use std::{collections::VecDeque, time::Duration};

use super::{Unproven, limits::Limits};

/// An update of chronyd's is a new one if its time differs by this much; corrections move the time of the last one by
/// less.
pub(super) const UPDATE: Duration = Duration::from_millis(100);

/// The way back.
#[derive(Debug)]
pub(super) struct Regain {
    good: u32,
    /// What the bound must come down to.
    pub(super) ceiling: Duration,
    settle: Option<Settle>,
}

/// The wait after a step, a suspend or a chronyd that has begun anew.
#[derive(Debug)]
struct Settle {
    /// CLOCK_BOOTTIME.
    since: Duration,
    /// The last update of chronyd's that was counted, or was there before.
    ref_time: Duration,
    updates: u32,
}

impl Regain {
    pub(super) const fn new(ceiling: Duration) -> Self {
        Self {
            good: 0,
            ceiling,
            settle: None,
        }
    }

    /// Good polls must come in a row.
    pub(super) const fn interrupt(&mut self) {
        self.good = 0;
    }

    /// Begins the wait, anew if there was one. `ref_time` is chronyd's last update, which does not count.
    pub(super) const fn settle(&mut self, since: Duration, ref_time: Duration) {
        self.good = 0;
        self.settle = Some(Settle {
            since,
            ref_time,
            updates: 0,
        });
    }

    /// Counts a good poll; `Ok` when the proof is back.
    pub(super) fn count(
        &mut self,
        boottime: Duration,
        ref_time: Duration,
        bound: Duration,
        limits: &Limits,
    ) -> Result<(), Unproven> {
        if bound > self.ceiling {
            self.good = 0;
            return Err(Unproven::AboveRecovery {
                bound,
                recover: self.ceiling,
            });
        }
        self.good = self.good.saturating_add(1);
        if let Some(settle) = &mut self.settle {
            if settle.ref_time.abs_diff(ref_time) >= UPDATE {
                settle.ref_time = ref_time;
                settle.updates = settle.updates.saturating_add(1);
            }
            let waited = boottime.saturating_sub(settle.since);
            if waited < limits.after_step || settle.updates < limits.after_step_updates {
                return Err(Unproven::Settling {
                    waited,
                    wait: limits.after_step,
                    updates: settle.updates,
                    needed: limits.after_step_updates,
                });
            }
        }
        if self.good < limits.good_polls {
            return Err(Unproven::Regaining {
                good: self.good,
                needed: limits.good_polls,
            });
        }
        self.settle = None;
        Ok(())
    }
}

/// When the proof was lost.
#[derive(Debug)]
pub(super) struct Losses {
    /// CLOCK_BOOTTIME, of those within the window.
    recent: VecDeque<Duration>,
    total: u64,
    latched: bool,
}

impl Losses {
    pub(super) const fn new() -> Self {
        Self {
            recent: VecDeque::new(),
            total: 0,
            latched: false,
        }
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) const fn is_latched(&self) -> bool {
        self.latched
    }

    /// How many within the window.
    pub(super) fn recent(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }

    /// Notes one; true if it is the one that latches.
    pub(super) fn note(&mut self, boottime: Duration, limits: &Limits) -> bool {
        self.total = self.total.saturating_add(1);
        if limits.latch_losses == 0 {
            return false;
        }
        self.recent
            .retain(|loss| loss.abs_diff(boottime) <= limits.latch_window);
        self.recent.push_back(boottime);
        let latches = !self.latched && self.recent() >= limits.latch_losses;
        self.latched |= latches;
        latches
    }

    pub(super) fn forgive(&mut self) {
        self.recent.clear();
        self.latched = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits::new(Duration::from_secs(1));

    fn latches(seconds: [u64; 3]) -> [bool; 3] {
        let mut losses = Losses::new();
        seconds.map(|second| losses.note(Duration::from_secs(second), &LIMITS))
    }

    #[test]
    fn the_third_loss_within_the_window_latches() {
        assert_eq!(latches([5, 300, 605]), [false, false, true]);
        assert_eq!(latches([5, 300, 606]), [false, false, false]);
    }

    #[test]
    fn a_latch_is_forgiven_whole() {
        let mut losses = Losses::new();
        for second in [1, 2, 3] {
            losses.note(Duration::from_secs(second), &LIMITS);
        }
        assert!(losses.is_latched());
        losses.forgive();
        assert!(!losses.is_latched());
        assert!(!losses.note(Duration::from_secs(4), &LIMITS));
        assert_eq!((losses.recent(), losses.total()), (1, 4));
    }

    #[test]
    fn no_number_of_losses_latches_where_none_is_wanted() {
        let never = Limits {
            latch_losses: 0,
            ..LIMITS
        };
        let mut losses = Losses::new();
        for _ in 0..1_000 {
            assert!(!losses.note(Duration::ZERO, &never));
        }
    }

    #[test]
    fn only_a_new_update_counts() {
        let mut regain = Regain::new(LIMITS.recover);
        let second = Duration::from_secs;
        regain.settle(second(100), second(90));
        let mut count =
            |boottime, ref_time| regain.count(second(boottime), ref_time, Duration::ZERO, &LIMITS);
        let updates = |result| match result {
            Err(Unproven::Settling { updates, .. }) => updates,
            other => panic!("{other:?}"),
        };
        assert_eq!(updates(count(101, second(90))), 0);
        assert_eq!(
            updates(count(102, second(90) + Duration::from_micros(300))),
            0
        );
        assert_eq!(updates(count(110, second(108))), 1);
        // Set back by an hour: other than the last, so new.
        assert_eq!(updates(count(120, second(30))), 2);
        assert_eq!(updates(count(170, second(30))), 2);
        for good in 6..LIMITS.good_polls {
            assert!(matches!(
                count(170, second(80)),
                Err(Unproven::Regaining { good: counted, .. }) if counted == good
            ));
        }
        assert_eq!(count(171, second(80)), Ok(()));
    }
}
