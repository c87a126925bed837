//! The time of day, as the system has it: [`wall_clock`]. It is good for what needs no proof: to judge a certificate as
//! clients do, to plan, and to tell the operator. What is signed goes by a [`Clock`](crate::clock::Clock).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::wire::time::Seconds;

pub fn wall_clock() -> Seconds {
    Seconds::new(since_1970().as_secs())
}

/// A clock before 1970 reads as 1970, which no certificate's validity includes.
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
