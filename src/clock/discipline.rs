//! When a reading of the clock counts as UTC. [`Discipline`] takes the reports about chronyd and the kernel one
//! after the other and comes to a [`Verdict`]; [`Verdict::at`] turns a reading into [`TrustedTime`], or says why it
//! may not. Hosts with another NTP daemon have the kernel's word alone, in [`judge_kernel`].
//!
//! The clock is proven when
//! - chronyd's answer holds (`chronyd.rs`), and the kernel agrees (`kernel.rs`),
//! - the bound is within the tolerance (`bound.rs`),
//! - CLOCK_REALTIME was not stepped since chronyd's last update,
//! - no leap second is near (`leap.rs`),
//! - and, after a loss, so many polls in a row were good with a bound well within; after a step, a suspend or a
//!   chronyd that has begun anew some time must have passed too, in which chronyd heard from its sources
//!   (`history.rs`). A start waits for the good polls only, and takes any bound within the tolerance.
//!
//! A chronyd has begun anew when it was seen to be away, when it follows nothing any more, or when its last update
//! goes back. Sources that all disagree look the same from here, and deserve the same wait.

use std::time::Duration;

use super::{
    Basis, TrustedTime,
    bound::{Bound, share},
    chronyd,
    history::{Losses, Regain, UPDATE},
    kernel,
    leap::{Announcement, Leap, near_midnight},
    limits::{Instants, LeapPolicy, Limits},
    report::{Report, Silence},
    status::{State, Status, Transition},
    unproven::Unproven,
};

/// chronyd has begun anew if its last update goes back by more than a correction moves it.
const BACK: Duration = Duration::from_secs(1);

/// How long after a leap second chronyd may still be busy with it.
const LEAP_CLOSE: Duration = Duration::from_secs(10);

/// How many transitions wait to be asked for; the oldest go first.
const MOST_PENDING: usize = 64;

/// What the issuance path needs of the last report. Small, and read without a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict(Result<Proof, Unproven>);

/// A report under which readings may be signed for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proof {
    /// CLOCK_BOOTTIME at the poll.
    polled: Duration,
    /// The clocks when chronyd last heard from a source: steps count from there, so that small ones add up.
    base: Instants,
    /// The bound at the poll, without a step.
    bound: Duration,
    /// How fast it grows, in parts in 10^9.
    growth: u64,
    tolerance: Duration,
    max_age: Duration,
    max_step: Duration,
    /// The leap second to keep away from.
    leap: Option<Announcement>,
}

impl Verdict {
    /// Judges a reading of both clocks, taken now. Pure, and quick enough for every signature.
    pub fn at(&self, now: Instants) -> Result<TrustedTime, Unproven> {
        let proof = self.0.as_ref().map_err(|reason| *reason)?;
        // A reading may be a little older than a report that came in between.
        let age = now.boottime.abs_diff(proof.polled);
        if age > proof.max_age {
            return Err(Unproven::Stale {
                age,
                limit: proof.max_age,
            });
        }
        let grown = proof.bound.saturating_add(share(age, proof.growth));
        let step = proof.base.step_to(&now);
        let bound = grown.saturating_add(step);
        // The leap second before the step: the step is how the kernel makes it.
        let margin = grown.saturating_add(step.min(proof.max_step));
        if proof
            .leap
            .is_some_and(|leap| leap.covers(now.realtime, margin))
        {
            return Err(Unproven::LeapSecond);
        }
        if step > proof.max_step {
            return Err(Unproven::Stepped { by: step });
        }
        if bound > proof.tolerance {
            return Err(Unproven::BeyondTolerance {
                bound,
                tolerance: proof.tolerance,
            });
        }
        Ok(TrustedTime::assertion(now.realtime, bound, Basis::Proven))
    }

    /// Why no reading is trusted, whichever.
    pub const fn reason(&self) -> Option<Unproven> {
        match self.0 {
            Ok(_) => None,
            Err(reason) => Some(reason),
        }
    }
}

/// The clock's story so far. One thread advances it, with every record of the helper's.
#[derive(Debug)]
pub struct Discipline {
    limits: Limits,
    state: State,
    verdict: Verdict,
    /// What the last record itself failed on.
    fault: Option<Unproven>,
    regain: Regain,
    losses: Losses,
    leap: Leap,
    in_leap: bool,
    clocks: Option<Clocks>,
    report: Option<Report>,
    bound: Option<Bound>,
    last_proven: Option<Duration>,
    pending: Vec<Transition>,
}

/// The clocks as the last report had them.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    last: Instants,
    /// BOOTTIME - MONOTONIC: the time slept since the start of the host.
    slept: Duration,
    /// See [`Proof::base`].
    base: Instants,
    /// chronyd's last update.
    ref_time: Duration,
    /// CLOCK_BOOTTIME when the issuance path saw a step, until the next report.
    stepped: Option<Duration>,
}

impl Clocks {
    /// Whether a report with these clocks was under way when the issuance path saw a step: it has nothing to say.
    fn precedes_step(&self, now: &Instants) -> bool {
        now.boottime > self.last.boottime && self.stepped.is_some_and(|at| now.boottime < at)
    }
}

impl Discipline {
    pub const fn new(limits: Limits) -> Self {
        Self {
            state: State::Lost,
            verdict: Verdict(Err(Unproven::NoReport)),
            fault: Some(Unproven::NoReport),
            regain: Regain::new(limits.tolerance),
            losses: Losses::new(),
            leap: Leap::new(),
            in_leap: false,
            clocks: None,
            report: None,
            bound: None,
            last_proven: None,
            pending: Vec::new(),
            limits,
        }
    }

    /// Takes a record of the helper's, also one that says that chronyd is silent.
    pub fn take(&mut self, report: &Report) {
        let now = report.instants();
        if self.clocks.is_some_and(|clocks| clocks.precedes_step(&now)) {
            return;
        }
        if let Some(leap) = self.leap.hear(report)
            && leap.midnight >= report.realtime
        {
            self.tell(Transition::LeapAnnounced {
                insert: leap.insert,
                at: leap.midnight,
            });
        }
        let step = self.follow(report);
        let tracking = report.chronyd.as_ref().ok();
        let moved = match step {
            Ok(by) | Err(Unproven::Stepped { by }) => by,
            Err(_) => Duration::ZERO,
        };
        self.bound = tracking.map(|tracking| Bound::at_poll(tracking, now.realtime, moved));
        self.report = Some(report.clone());
        self.watch_leap(now.realtime);
        if let Err(reason) = step {
            self.lose(reason, now.boottime);
        } else if self.in_leap && self.limits.leap == LeapPolicy::Refuse {
            self.pause();
        } else {
            match self.judge(report) {
                Ok(good) => self.hold(good, now),
                Err(reason) => self.lose(reason, now.boottime),
            }
        }
    }

    /// There is no record, or none that can be taken.
    pub fn fail(&mut self, why: Unproven, now: Instants) {
        self.lose(why, now.boottime);
    }

    /// The issuance path saw CLOCK_REALTIME step `by` since the last report. What is known already is not told again,
    /// so that it does no harm if several requests see the same step.
    pub fn stepped(&mut self, by: Duration, now: Instants) {
        let Some(clocks) = &mut self.clocks else {
            return;
        };
        let unknown = clocks.base.step_to(&now) > self.limits.max_step;
        if !unknown || self.leap.explains(&clocks.base, &now, &self.limits) {
            // A leap second's: the verdict refuses by itself until the next report.
            return;
        }
        // So that the next report does not find the same step again.
        clocks.last = now.moved_to(clocks.last.boottime);
        clocks.base = now;
        clocks.stepped = Some(now.boottime);
        let ref_time = clocks.ref_time;
        self.regain.settle(now.boottime, ref_time);
        self.tell(Transition::Stepped { by });
        self.lose(Unproven::Stepped { by }, now.boottime);
    }

    /// Judges by another tolerance from the next report on.
    pub fn tolerate(&mut self, tolerance: Duration) {
        let new = Limits::new(tolerance);
        let ceiling = if self.regain.ceiling == self.limits.tolerance {
            new.tolerance
        } else {
            new.recover
        };
        self.regain.ceiling = ceiling;
        self.limits.tolerance = new.tolerance;
        self.limits.warn = new.warn;
        self.limits.recover = new.recover;
    }

    /// The operator has looked, and wants signing to go on when the clock is good again.
    pub fn reset(&mut self) {
        if self.losses.is_latched() {
            self.regain.interrupt();
            self.verdict = Verdict(Err(self.fault.unwrap_or(Unproven::Regaining {
                good: 0,
                needed: self.limits.good_polls,
            })));
        }
        self.losses.forgive();
        self.tell(Transition::Reset);
    }

    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What has happened since this was last asked.
    pub fn transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.pending)
    }

    /// Everything known, for metrics and people.
    pub fn status(&self) -> Status {
        let tracking = self.report.as_ref();
        let tracking = tracking.and_then(|report| report.chronyd.as_ref().ok());
        let realtime = self.report.as_ref().map(|report| report.realtime);
        Status {
            state: self.state,
            reason: self.verdict.reason(),
            fault: self.fault,
            bound: self.bound,
            polled: self.report.as_ref().map(Report::instants),
            ref_time_age: tracking
                .zip(realtime)
                .map(|(tracking, realtime)| chronyd::age(tracking, realtime)),
            ref_time_limit: tracking.map(|tracking| chronyd::age_limit(tracking, &self.limits)),
            usable_sources: tracking.map_or(0, chronyd::usable),
            tracking: tracking.cloned(),
            kernel: self.report.as_ref().and_then(|report| report.kernel),
            leap: self.leap.plan(),
            last_proven: self.last_proven,
            losses: self.losses.total(),
            latched: self.losses.is_latched(),
        }
    }

    /// Follows the clocks from report to report; gives the step since chronyd's last update, if it is a small one.
    fn follow(&mut self, report: &Report) -> Result<Duration, Unproven> {
        let now = report.instants();
        let slept = report.boottime.saturating_sub(report.monotonic);
        let said = report.chronyd.as_ref().ok();
        let Some(before) = self.clocks else {
            self.clocks = Some(Clocks {
                last: now,
                slept,
                base: now,
                ref_time: said.map_or(Duration::ZERO, |tracking| tracking.ref_time),
                stepped: None,
            });
            return Ok(Duration::ZERO);
        };
        let ref_time = said.map_or(before.ref_time, |tracking| tracking.ref_time);
        let updated = ref_time.abs_diff(before.ref_time) >= UPDATE;
        let after = Clocks {
            last: now,
            slept,
            // The update may have come before a step within this interval: count from the report before it.
            base: if updated { before.last } else { before.base },
            ref_time: if updated { ref_time } else { before.ref_time },
            stepped: None,
        };
        // A step found is not found again in the next report.
        let rebased = Clocks { base: now, ..after };
        self.clocks = Some(after);
        let slept = slept.saturating_sub(before.slept);
        if slept > self.limits.max_step {
            self.clocks = Some(rebased);
            self.regain.settle(now.boottime, ref_time);
            self.tell(Transition::Suspended { slept });
            return Err(Unproven::Suspended { slept });
        }
        let planned = self.leap.explains(&before.base, &now, &self.limits);
        let step = before.base.step_to(&now);
        if planned {
            self.clocks = Some(rebased);
        } else if step > self.limits.max_step {
            self.clocks = Some(rebased);
            self.regain.settle(now.boottime, ref_time);
            self.tell(Transition::Stepped { by: step });
            return Err(Unproven::Stepped { by: step });
        }
        if now.boottime <= before.last.boottime {
            return Err(Unproven::OutOfOrder);
        }
        let gap = now.boottime.saturating_sub(before.last.boottime);
        if gap > self.limits.max_age {
            return Err(Unproven::Stale {
                age: gap,
                limit: self.limits.max_age,
            });
        }
        // chronyd says nothing of its reference during the leap second itself.
        let margin = self.limits.tolerance.saturating_add(LEAP_CLOSE);
        let leap = self.leap.plan();
        let near_leap = leap.is_some_and(|leap| leap.covers(now.realtime, margin));
        let anew = match &report.chronyd {
            Err(silence) => *silence == Silence::Refused,
            Ok(tracking) => {
                tracking.ref_id == 0 || before.ref_time.saturating_sub(tracking.ref_time) > BACK
            }
        };
        if anew && !near_leap && self.last_proven.is_some() {
            self.regain.settle(now.boottime, ref_time);
            // Where it is plain to see, chronyd's answer itself is the better reason.
            if report
                .chronyd
                .as_ref()
                .is_ok_and(|tracking| tracking.ref_id != 0)
            {
                return Err(Unproven::Restarted);
            }
        }
        Ok(if planned { Duration::ZERO } else { step })
    }

    /// Whether this record by itself shows the time.
    fn judge(&self, report: &Report) -> Result<Good, Unproven> {
        let tracking = report.chronyd.as_ref();
        let tracking = tracking.map_err(|silence| Unproven::Silent(*silence))?;
        chronyd::check(tracking, report.realtime, &self.limits)?;
        if self.limits.kernel_gate {
            let kernel = report.kernel.as_ref().ok_or(Unproven::Unreadable)?;
            kernel::gate(
                kernel.is_unsynchronised(),
                kernel.max_error,
                self.limits.tolerance,
            )?;
        }
        let bound = self.bound.ok_or(Unproven::NoReport)?;
        if bound.total() > self.limits.tolerance {
            return Err(Unproven::BeyondTolerance {
                bound: bound.total(),
                tolerance: self.limits.tolerance,
            });
        }
        Ok(Good {
            bound,
            ref_time: tracking.ref_time,
        })
    }

    fn watch_leap(&mut self, realtime: Duration) {
        // A bound over the tolerance refuses by itself, and would make the window endless.
        let bound = self.bound.map_or(Duration::MAX, |bound| bound.total());
        let bound = bound.min(self.limits.tolerance);
        let plan = self.leap.plan();
        let inside = plan.is_some_and(|leap| leap.covers(realtime, bound));
        if inside != self.in_leap {
            self.in_leap = inside;
            self.tell(if inside {
                Transition::LeapStarted
            } else {
                Transition::LeapEnded
            });
        }
    }

    /// Stops for a leap second, which is no loss. Afterwards the polls must be good anew.
    fn pause(&mut self) {
        if self.state != State::Lost {
            self.state = State::Lost;
            self.regain = Regain::new(self.limits.tolerance);
        }
        self.regain.interrupt();
        self.refuse(Unproven::LeapSecond);
    }

    fn lose(&mut self, reason: Unproven, boottime: Duration) {
        self.regain.interrupt();
        if self.state != State::Lost {
            self.state = State::Lost;
            self.regain.ceiling = self.limits.recover;
            self.tell(Transition::Lost {
                reason,
                last_proven: self.last_proven,
            });
            if self.losses.note(boottime, &self.limits) {
                self.tell(Transition::Latched {
                    losses: self.losses.recent(),
                });
            }
        }
        self.refuse(reason);
    }

    fn refuse(&mut self, reason: Unproven) {
        self.fault = Some(reason);
        self.wait(reason);
    }

    /// Signs nothing for `reason`, or for the latch, which no good poll ends.
    fn wait(&mut self, reason: Unproven) {
        self.verdict = Verdict(Err(if self.losses.is_latched() {
            Unproven::Latched {
                losses: self.losses.recent(),
            }
        } else {
            reason
        }));
    }

    /// Takes a good record into account: signing goes on, or is a poll closer to.
    fn hold(&mut self, good: Good, now: Instants) {
        let bound = good.bound.total();
        let before = self.state;
        self.fault = None;
        if before == State::Lost {
            let back = self
                .regain
                .count(now.boottime, good.ref_time, bound, &self.limits);
            match back {
                Err(reason) => return self.wait(reason),
                Ok(()) if self.losses.is_latched() => {
                    let losses = self.losses.recent();
                    return self.wait(Unproven::Latched { losses });
                }
                Ok(()) => self.regain = Regain::new(self.limits.recover),
            }
        }
        let warned = before == State::Degraded && bound > self.limits.recover;
        self.state = if warned || bound > self.limits.warn {
            State::Degraded
        } else {
            State::Proven
        };
        if self.state != before {
            self.tell(if self.state == State::Proven {
                Transition::Proven { bound }
            } else {
                Transition::Degraded { bound }
            });
        }
        self.last_proven = Some(now.realtime);
        self.verdict = Verdict(Ok(Proof {
            polled: now.boottime,
            base: self.clocks.map_or(now, |clocks| clocks.base),
            bound: good.bound.without_step(),
            growth: good.bound.growth,
            tolerance: self.limits.tolerance,
            max_age: self.limits.max_age,
            max_step: self.limits.max_step,
            leap: self
                .leap
                .plan()
                .filter(|_| self.limits.leap == LeapPolicy::Refuse),
        }));
    }

    fn tell(&mut self, transition: Transition) {
        if self.pending.len() >= MOST_PENDING {
            self.pending.remove(0);
        }
        self.pending.push(transition);
    }
}

/// What a good record shows.
struct Good {
    bound: Bound,
    /// chronyd's last update.
    ref_time: Duration,
}

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

/// Judges the kernel's report alone. `tolerance` is the largest error that some TSU can live with.
pub fn judge_kernel(report: &KernelReport, tolerance: Duration) -> Result<TrustedTime, Unproven> {
    kernel::gate(report.unsynchronised, report.max_error, tolerance)?;
    let margin = report.max_error.saturating_add(Duration::from_secs(1));
    if report.leap && near_midnight(report.realtime, margin) {
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

#[cfg(test)]
mod tests;
