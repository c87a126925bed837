//! What the appliance knows about the time. [`TrustedTime`] is a reading that may be signed; the port
//! [`Clock`] hands them out, and only [`discipline`] decides whether there is one: start with its
//! [`Discipline`].

pub mod bound;
mod chronyd;
pub mod discipline;
mod history;
mod kernel;
pub mod leap;
pub mod limits;
pub mod report;
pub mod status;
#[cfg(test)]
mod testing;
mod unproven;

use std::{fmt, sync::Arc, time::Duration};

use crate::wire::time::Seconds;

pub use bound::Bound;
pub use discipline::{Discipline, Verdict};
pub use limits::{Instants, LeapPolicy, Limits};
pub use status::{State, Status, Transition};
pub use unproven::Unproven;

/// On what grounds a reading is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Shown to be within [`TrustedTime::bound`] of UTC.
    Proven,
    /// The bare system clock. Only a TSU marked demo signs on it.
    Demo,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proven => "proven",
            Self::Demo => "demo",
        })
    }
}

/// A reading of the clock that may be signed, with how far it can be from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedTime {
    since_1970: Duration,
    bound: Duration,
    basis: Basis,
}

impl TrustedTime {
    /// The one constructor: called in `clock/discipline.rs` and nowhere else.
    fn assertion(since_1970: Duration, bound: Duration, basis: Basis) -> Self {
        Self {
            since_1970,
            bound,
            basis,
        }
    }

    /// The reading, counted from 1970-01-01T00:00:00Z without leap seconds.
    pub const fn since_1970(&self) -> Duration {
        self.since_1970
    }

    /// The reading in whole seconds, rounded down.
    pub const fn seconds(&self) -> Seconds {
        Seconds::new(self.since_1970.as_secs())
    }

    /// |reading - UTC| is at most this. Zero and meaningless on the basis [`Basis::Demo`].
    pub const fn bound(&self) -> Duration {
        self.bound
    }

    pub const fn basis(&self) -> Basis {
        self.basis
    }
}

/// The port to the clock.
pub trait Clock: Send + Sync {
    /// A reading that may be signed, or why there is none.
    fn trusted(&self) -> Result<TrustedTime, Unproven>;

    /// The bare system clock, for cache headers, freshness of what is already signed, and logs; never
    /// for anything that gets signed.
    fn reading(&self) -> Seconds;

    /// What has happened to the clock since this was last asked; `None` where the clock keeps no account of it.
    fn news(&self) -> Option<Vec<Transition>> {
        None
    }

    /// Everything that is known of the clock, for people and metrics.
    fn status(&self) -> Option<Arc<Status>> {
        None
    }

    /// From now on the largest error that some TSU can live with is this. Each TSU holds its own beside it.
    fn tolerate(&self, _tolerance: Duration) {}

    /// The operator has looked: a latched clock may be proven again.
    fn reset(&self) {}
}
