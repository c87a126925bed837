//! Leap seconds: [`Leap`] remembers that one is announced, and [`Announcement::covers`] says when nothing is signed
//! for it.
//!
//! An announcement once heard stands until an hour after its midnight: chronyd says "not synchronised" during the leap
//! second and nothing of it afterwards, and a window of two seconds too many harms less than one token with a second
//! that is told twice.

use std::time::Duration;

use super::{
    kernel::{STA_DEL, STA_INS, TIME_DEL, TIME_INS, TIME_OOP, TIME_WAIT},
    limits::{Instants, Limits},
    report::Report,
};

const DAY: u64 = 86_400;
const SECOND: Duration = Duration::from_secs(1);
/// A daemon that still announces for a while what is over does not announce the next.
const AFTERGLOW: Duration = Duration::from_secs(3_600);
/// A plan further ahead was made by a clock that has been set back since.
const FURTHEST: Duration = Duration::from_secs(2 * DAY);

/// A leap second that is due, or just was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// 23:59:60 will exist; else 23:59:59 will not.
    pub insert: bool,
    /// The midnight after it, since 1970.
    pub midnight: Duration,
}

impl Announcement {
    /// Whether `realtime`, which can be off by `bound`, may be in the second before the leap, in the leap second, or in
    /// the second after: [23:59:59 - bound, 00:00:01 + bound], both ends included.
    pub fn covers(&self, realtime: Duration, bound: Duration) -> bool {
        let margin = SECOND.saturating_add(bound);
        realtime.saturating_add(margin) >= self.midnight
            && realtime <= self.midnight.saturating_add(margin)
    }
}

/// What is known of leap seconds.
#[derive(Debug)]
pub(super) struct Leap {
    plan: Option<Announcement>,
}

impl Leap {
    pub(super) const fn new() -> Self {
        Self { plan: None }
    }

    /// The leap second that is due, or just was.
    pub(super) const fn plan(&self) -> Option<Announcement> {
        self.plan
    }

    /// Whether the step between two moments is the kernel's handling of the leap second: CLOCK_REALTIME repeats a
    /// second or skips one, and a report tells of it soon after.
    pub(super) fn explains(&self, from: &Instants, to: &Instants, limits: &Limits) -> bool {
        self.plan.is_some_and(|plan| {
            from.steps_forward_to(to) != plan.insert
                && from.step_to(to).abs_diff(SECOND) <= limits.max_step
                && plan.covers(to.realtime, limits.max_age)
        })
    }

    /// Hears what a report announces, if it is news.
    pub(super) fn hear(&mut self, report: &Report) -> Option<Announcement> {
        let over = |plan: &Announcement| {
            report.realtime > plan.midnight.saturating_add(AFTERGLOW)
                || plan.midnight > report.realtime.saturating_add(FURTHEST)
        };
        if self.plan.as_ref().is_some_and(over) {
            self.plan = None;
        }
        if self.plan.is_some() {
            return None;
        }
        self.plan = announced(report);
        self.plan
    }
}

fn announced(report: &Report) -> Option<Announcement> {
    let today = report.realtime.as_secs() / DAY;
    let midnight = |day: u64| Duration::from_secs(day.saturating_mul(DAY));
    let tonight = |insert| Announcement {
        insert,
        midnight: midnight(today.saturating_add(1)),
    };
    let (state, status) = report
        .kernel
        .map_or((0, 0), |kernel| (kernel.state, kernel.status));
    let leap = report.chronyd.as_ref().map_or(0, |tracking| tracking.leap);
    match (state, leap) {
        (TIME_OOP, _) => Some(tonight(true)),
        (TIME_WAIT, _) => {
            // It has passed; the state stays for as long as the daemon leaves the bits.
            let passed = Announcement {
                insert: status & STA_DEL == 0,
                midnight: midnight(today),
            };
            (report.realtime.saturating_sub(passed.midnight) <= AFTERGLOW).then_some(passed)
        }
        (_, 1) => Some(tonight(true)),
        (_, 2) => Some(tonight(false)),
        (TIME_INS, _) => Some(tonight(true)),
        (TIME_DEL, _) => Some(tonight(false)),
        _ if status & STA_INS != 0 => Some(tonight(true)),
        _ if status & STA_DEL != 0 => Some(tonight(false)),
        _ => None,
    }
}

/// Within `margin` of the end of a UTC day, on either side.
pub(super) fn near_midnight(realtime: Duration, margin: Duration) -> bool {
    let midnight = Duration::from_secs(realtime.as_secs() / DAY * DAY);
    let into_day = realtime.saturating_sub(midnight);
    into_day <= margin || into_day.saturating_add(margin) >= Duration::from_secs(DAY)
}
