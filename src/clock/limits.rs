//! What a clock must keep to count as proven: [`Limits`], with the defaults of [`Limits::new`].

use std::time::Duration;

use super::report::Report;

/// Two clocks read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instants {
    /// CLOCK_BOOTTIME: counts on through a suspend, and nobody can set it.
    pub boottime: Duration,
    /// CLOCK_REALTIME, since 1970.
    pub realtime: Duration,
}

impl Instants {
    /// How far CLOCK_REALTIME was moved against CLOCK_BOOTTIME between `self` and `other`, either way. Slewing moves
    /// both alike, so that this sees steps alone.
    pub fn step_to(&self, other: &Self) -> Duration {
        let passed = other.boottime.abs_diff(self.boottime);
        let expected = if other.boottime >= self.boottime {
            self.realtime.checked_add(passed)
        } else {
            self.realtime.checked_sub(passed)
        };
        expected.map_or(Duration::MAX, |expected| expected.abs_diff(other.realtime))
    }

    /// The same clocks when CLOCK_BOOTTIME was `boottime`.
    pub(super) fn moved_to(&self, boottime: Duration) -> Self {
        let passed = boottime.abs_diff(self.boottime);
        let realtime = if boottime >= self.boottime {
            self.realtime.saturating_add(passed)
        } else {
            self.realtime.saturating_sub(passed)
        };
        Self { boottime, realtime }
    }

    /// Whether such a step went forward.
    pub(super) fn steps_forward_to(&self, other: &Self) -> bool {
        other.realtime.saturating_add(self.boottime) > self.realtime.saturating_add(other.boottime)
    }
}

impl Report {
    /// The two clocks at the poll.
    pub const fn instants(&self) -> Instants {
        Instants {
            boottime: self.boottime,
            realtime: self.realtime,
        }
    }
}

/// What to do about an announced leap second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeapPolicy {
    /// Sign nothing from one second before to one second after, and the bound on either side.
    #[default]
    Refuse,
    /// Sign on. A step of the clock is refused all the same.
    Ignore,
}

/// The conditions of a proof, and of having it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest error that some TSU can live with: over it nothing is signed.
    pub tolerance: Duration,
    /// A bound over this is worth a warning.
    pub warn: Duration,
    /// A bound up to this ends the warning, and counts as good after a loss.
    pub recover: Duration,
    /// How old a report may be.
    pub max_age: Duration,
    /// How far CLOCK_REALTIME may move against CLOCK_BOOTTIME.
    pub max_step: Duration,
    /// How old chronyd's last update from a source may be, unless eight of its polls take longer.
    pub ref_time_age: Duration,
    /// 1 is a server with a reference clock of its own.
    pub max_stratum: u16,
    /// How many sources chronyd must be able to use.
    pub usable_sources: u16,
    /// How many sources chronyd must have.
    pub sources: u16,
    /// Whether the kernel must agree that the clock is kept.
    pub kernel_gate: bool,
    /// How many polls in a row must be good before signing begins.
    pub good_polls: u32,
    /// How long to wait after a step, a suspend or a chronyd that has begun anew.
    pub after_step: Duration,
    /// How often chronyd must have heard from its sources since.
    pub after_step_updates: u32,
    /// So many losses within [`Limits::latch_window`] need an operator; 0 is never.
    pub latch_losses: u32,
    pub latch_window: Duration,
    pub leap: LeapPolicy,
}

impl Limits {
    /// The defaults for a clock that may be wrong by `tolerance`, which is what is left of a TSU's accuracy for the
    /// clock after the cut of genTime and the time for signing (`tsa/policy.rs`). Signing stops only where the
    /// declared accuracy could be untrue; half of that warns, and a quarter ends the warning or a loss.
    pub const fn new(tolerance: Duration) -> Self {
        Self {
            tolerance,
            warn: Self::part(tolerance, 2),
            recover: Self::part(tolerance, 4),
            max_age: Duration::from_secs(2),
            max_step: Duration::from_millis(1),
            ref_time_age: Duration::from_secs(300),
            max_stratum: 4,
            usable_sources: 3,
            sources: 4,
            kernel_gate: true,
            good_polls: 10,
            after_step: Duration::from_secs(60),
            after_step_updates: 3,
            latch_losses: 3,
            latch_window: Duration::from_secs(600),
            leap: LeapPolicy::Refuse,
        }
    }

    const fn part(tolerance: Duration, divisor: u32) -> Duration {
        match tolerance.checked_div(divisor) {
            Some(part) => part,
            None => Duration::ZERO,
        }
    }
}
