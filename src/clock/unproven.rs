//! Why a reading may not be signed: [`Unproven`], each with what an operator can look at.

use std::time::Duration;

use super::report::{ReportError, Silence};

/// Why a reading may not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    // The helper beside chronyd.
    #[error("no clock report has come yet; check that gnomon-clockwatch runs")]
    NoReport,
    #[error(
        "gnomon-clockwatch is not connected; check that it runs and that its socket is the configured one"
    )]
    NotConnected,
    #[error(
        "the clock's socket belongs to the user {uid}, expected is {expected}; another program poses as gnomon-clockwatch, or the configured user is wrong"
    )]
    Peer { uid: u32, expected: u32 },
    #[error("{0}; check that gnomon-clockwatch is of this release")]
    Malformed(ReportError),
    #[error("the last clock report is {} ms old, at most {} ms are taken; check whether gnomon-clockwatch is stopped or the host overloaded", age.as_millis(), limit.as_millis())]
    Stale { age: Duration, limit: Duration },
    #[error("a clock report is not later than the one before; start gnomon-clockwatch again")]
    OutOfOrder,

    // chronyd.
    #[error("{}", silence(*.0))]
    Silent(Silence),
    #[error(
        "chronyd is not synchronised: no source has answered yet, or they disagree; check `chronyc sources`"
    )]
    NotSynchronised,
    #[error("chronyd follows no source (reference id 0); check `chronyc sources`")]
    NoReference,
    #[error(
        "chronyd follows its own clock (reference id 127.127.1.1); take `local` out of its configuration"
    )]
    LocalReference,
    #[error("chronyd last heard from a source {} s ago, at most {} s are taken: the sources are silent; check the network and `chronyc sources`", age.as_secs(), limit.as_secs())]
    ReferenceOld { age: Duration, limit: Duration },
    #[error("chronyd's last update lies {} ms in the future: the clock or a source was set; check `chronyc tracking`", ahead.as_millis())]
    ReferenceAhead { ahead: Duration },
    #[error(
        "chronyd is at stratum {stratum}, taken are 1 to {limit}; check `chronyc sources` for servers closer to UTC"
    )]
    Stratum { stratum: u16, limit: u16 },
    #[error(
        "chronyd has {sources} sources, {needed} are wanted; add `server` lines to its configuration"
    )]
    FewSources { sources: u16, needed: u16 },
    #[error(
        "chronyd can use {usable} of its {sources} sources, {needed} are wanted; check `chronyc sources`"
    )]
    FewUsable {
        usable: u16,
        sources: u16,
        needed: u16,
    },
    #[error("the clock can be off by {} us, tolerated are {} us; check `chronyc tracking`", bound.as_micros(), tolerance.as_micros())]
    BeyondTolerance {
        bound: Duration,
        tolerance: Duration,
    },

    // The kernel.
    #[error(
        "the kernel says that no NTP daemon disciplines the clock (STA_UNSYNC); with chronyd, set `rtcsync` and check `chronyc tracking`"
    )]
    KernelUnsynchronised,
    #[error("the kernel says that the clock can be off by {} us (maxerror), tolerated are {} us; check `chronyc tracking`", max_error.as_micros(), tolerance.as_micros())]
    KernelError {
        max_error: Duration,
        tolerance: Duration,
    },
    #[error("the clock's state cannot be read from the kernel")]
    Unreadable,

    // The clock itself.
    #[error("the clock was stepped by {} us; issuing goes on when it has been shown anew to be right", by.as_micros())]
    Stepped { by: Duration },
    #[error("the host slept for {} ms; issuing goes on when the clock has been shown anew to be right", slept.as_millis())]
    Suspended { slept: Duration },
    #[error("a leap second is due or under way; issuing goes on by itself when it has passed")]
    LeapSecond,

    // On the way back.
    #[error("chronyd has begun anew; issuing goes on when it has kept the clock for a while")]
    Restarted,
    #[error("the clock is good again, for {good} of {needed} polls")]
    Regaining { good: u32, needed: u32 },
    #[error("the clock can be off by {} us and must come down to {} us after a loss; check `chronyc tracking`", bound.as_micros(), recover.as_micros())]
    AboveRecovery { bound: Duration, recover: Duration },
    #[error("the clock is watched after a step or a restart of chronyd: {} of {} s, {updates} of {needed} updates from a source", waited.as_secs(), wait.as_secs())]
    Settling {
        waited: Duration,
        wait: Duration,
        updates: u32,
        needed: u32,
    },
    #[error(
        "the proof of the clock was lost {losses} times in short order; find out why, then say `gnomon clock reset`"
    )]
    Latched { losses: u32 },
}

/// chronyd's silence in words.
const fn silence(silence: Silence) -> &'static str {
    match silence {
        Silence::TimedOut => {
            "chronyd does not answer in time; check whether it is stopped or hangs"
        }
        Silence::Refused => {
            "chronyd refuses the connection: it is not running, or `cmdport` is not the configured one"
        }
        Silence::Garbage => "what answers at chronyd's port is not chronyd, or of another version",
        Silence::Unauthorised => {
            "chronyd will not tell its state; check `bindcmdaddress` and `cmdallow` in its configuration"
        }
        Silence::NotAsked => "gnomon-clockwatch could not ask chronyd; its log says why",
    }
}

impl Unproven {
    /// A bounded label for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoReport => "no_report",
            Self::NotConnected => "not_connected",
            Self::Peer { .. } => "peer",
            Self::Malformed(_) => "malformed",
            Self::Stale { .. } => "stale",
            Self::OutOfOrder => "out_of_order",
            Self::Silent(Silence::TimedOut) => "chronyd_timed_out",
            Self::Silent(Silence::Refused) => "chronyd_refused",
            Self::Silent(Silence::Garbage) => "chronyd_garbage",
            Self::Silent(Silence::Unauthorised) => "chronyd_unauthorised",
            Self::Silent(Silence::NotAsked) => "chronyd_not_asked",
            Self::NotSynchronised => "not_synchronised",
            Self::NoReference => "no_reference",
            Self::LocalReference => "local_reference",
            Self::ReferenceOld { .. } => "reference_old",
            Self::ReferenceAhead { .. } => "reference_ahead",
            Self::Stratum { .. } => "stratum",
            Self::FewSources { .. } => "few_sources",
            Self::FewUsable { .. } => "few_usable",
            Self::BeyondTolerance { .. } => "beyond_tolerance",
            Self::KernelUnsynchronised => "kernel_unsynchronised",
            Self::KernelError { .. } => "kernel_error",
            Self::Unreadable => "unreadable",
            Self::Stepped { .. } => "stepped",
            Self::Suspended { .. } => "suspended",
            Self::LeapSecond => "leap_second",
            Self::Restarted => "restarted",
            Self::Regaining { .. } => "regaining",
            Self::AboveRecovery { .. } => "above_recovery",
            Self::Settling { .. } => "settling",
            Self::Latched { .. } => "latched",
        }
    }
}
