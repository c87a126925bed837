//! What is told of the clock: [`Status`] to metrics and operators, [`Transition`] to the journal and the log.

use std::time::Duration;

use super::{
    Unproven,
    bound::Bound,
    leap::Announcement,
    limits::Instants,
    report::{Kernel, Tracking},
};

/// How the clock is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Shown to be UTC within the tolerance.
    Proven,
    /// The same, and close to the tolerance.
    Degraded,
    /// Nothing is signed.
    Lost,
}

impl State {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Degraded => "degraded",
            Self::Lost => "lost",
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Signing goes on without a warning.
    Proven {
        bound: Duration,
    },
    /// Signing goes on, and the bound is near the tolerance.
    Degraded {
        bound: Duration,
    },
    /// Signing stops.
    Lost {
        reason: Unproven,
        /// CLOCK_REALTIME of the last report that was good.
        last_proven: Option<Duration>,
    },
    /// CLOCK_REALTIME was moved.
    Stepped {
        by: Duration,
    },
    /// The host slept.
    Suspended {
        slept: Duration,
    },
    /// Signing goes on only after [`super::Discipline::reset`].
    Latched {
        losses: u32,
    },
    /// The operator has asked for a new start.
    Reset,
    LeapAnnounced {
        /// 23:59:60 will exist; else 23:59:59 will not.
        insert: bool,
        /// The midnight after it, since 1970.
        at: Duration,
    },
    LeapStarted,
    LeapEnded,
}

/// Everything known, at the last record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    /// Why nothing is signed; `None` while something is.
    pub reason: Option<Unproven>,
    /// What the last record itself failed on, which a latch or a wait hides in [`Status::reason`].
    pub fault: Option<Unproven>,
    /// The bound at the last poll by its parts, if chronyd answered it.
    pub bound: Option<Bound>,
    /// When the last poll was.
    pub polled: Option<Instants>,
    /// What chronyd said at the last poll.
    pub tracking: Option<Tracking>,
    /// How long before the last poll chronyd heard from a source.
    pub ref_time_age: Option<Duration>,
    /// How old that may be.
    pub ref_time_limit: Option<Duration>,
    /// How many of chronyd's sources it can use.
    pub usable_sources: u16,
    /// What the kernel said at the last poll.
    pub kernel: Option<Kernel>,
    /// The leap second that is due, or just was.
    pub leap: Option<Announcement>,
    /// CLOCK_REALTIME of the last report that was good while signing went on.
    pub last_proven: Option<Duration>,
    /// Losses since the start.
    pub losses: u64,
    pub latched: bool,
}
