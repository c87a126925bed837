//! What must hold of chronyd's answer: [`check`]. A leap status of 0 proves nothing, since chronyd keeps it for ever
//! when its sources fall silent, and shows it while it follows its own clock; the age of its last update and its
//! reference id are as mandatory.

use std::time::Duration;

use super::{
    Unproven,
    limits::Limits,
    report::{Source, SourceState, Tracking},
};

/// 127.127.1.1: chronyd's `local`, no source at all.
const LOCAL: u32 = 0x7f7f_0101;
const UNSYNCHRONISED: u16 = 3;
/// How far chronyd's last update may lie in the future: the report's clock is not read at the moment of its answer.
const AHEAD: Duration = Duration::from_millis(100);
/// chronyd's own default for the slowest poll, 1024 s; slower ones get no more time.
const SLOWEST_POLL: i8 = 10;

/// The conditions that chronyd's answer must meet, all but the bound:
/// - it is synchronised, to a source, and not to itself;
/// - its last update is recent and not in the future;
/// - its stratum is one of those taken;
/// - it has enough sources, and can use enough of them.
pub(super) fn check(
    tracking: &Tracking,
    realtime: Duration,
    limits: &Limits,
) -> Result<(), Unproven> {
    if tracking.leap >= UNSYNCHRONISED {
        return Err(Unproven::NotSynchronised);
    }
    if tracking.ref_id == 0 {
        return Err(Unproven::NoReference);
    }
    if tracking.ref_id == LOCAL {
        return Err(Unproven::LocalReference);
    }
    if tracking.stratum == 0 || tracking.stratum > limits.max_stratum {
        return Err(Unproven::Stratum {
            stratum: tracking.stratum,
            limit: limits.max_stratum,
        });
    }
    // chronyd counts in its corrected time, which is off from the system's by the correction.
    let correction = Duration::from_nanos(tracking.correction.unsigned_abs());
    let latest = realtime.saturating_add(correction).saturating_add(AHEAD);
    if tracking.ref_time > latest {
        return Err(Unproven::ReferenceAhead {
            ahead: tracking.ref_time.saturating_sub(realtime),
        });
    }
    let (age, limit) = (age(tracking, realtime), age_limit(tracking, limits));
    if age > limit {
        return Err(Unproven::ReferenceOld { age, limit });
    }
    if tracking.source_count < limits.sources {
        return Err(Unproven::FewSources {
            sources: tracking.source_count,
            needed: limits.sources,
        });
    }
    let usable = usable(tracking);
    if usable < limits.usable_sources {
        return Err(Unproven::FewUsable {
            usable,
            sources: tracking.source_count,
            needed: limits.usable_sources,
        });
    }
    Ok(())
}

/// How long before the poll chronyd heard from a source.
pub(super) fn age(tracking: &Tracking, realtime: Duration) -> Duration {
    realtime.saturating_sub(tracking.ref_time)
}

/// How long that may be: eight polls of the source it follows, or the configured age if that is longer.
pub(super) fn age_limit(tracking: &Tracking, limits: &Limits) -> Duration {
    let followed = |source: &&Source| source.state == SourceState::Selected;
    let poll = tracking.sources.iter().find(followed);
    let poll = poll.map_or(0, |source| source.poll).clamp(0, SLOWEST_POLL);
    let eight = 8u64
        .checked_shl(u32::try_from(poll).unwrap_or(0))
        .unwrap_or(0);
    limits.ref_time_age.max(Duration::from_secs(eight))
}

/// How many sources chronyd can use. One that answered none of eight polls is none of them, also while chronyd still
/// follows it for want of another.
pub(super) fn usable(tracking: &Tracking) -> u16 {
    let usable = tracking.sources.iter().filter(|source| {
        source.reach != 0
            && matches!(
                source.state,
                SourceState::Selected | SourceState::Combined | SourceState::Selectable
            )
    });
    u16::try_from(usable.count()).unwrap_or(0)
}
