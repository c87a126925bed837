use super::*;
use Transition as T;

const SECOND: Duration = Duration::from_secs(1);
/// 2027-01-01T00:00:00Z.
const MIDNIGHT: Duration = Duration::from_secs(20_819 * 86_400);

/// A clock that is proven one minute before midnight, with a leap second announced by chronyd or by the kernel.
fn eve(insert: bool, by_kernel: bool, limits: Limits) -> Rig {
    let mut world = World::at(MIDNIGHT - Duration::from_secs(60));
    if by_kernel {
        let kernel = world.kernel.as_mut().unwrap();
        (kernel.state, kernel.status) = if insert { (1, 0x10) } else { (2, 0x20) };
    }
    let mut rig = Rig::new(world, limits);
    for _ in 0..limits.good_polls {
        rig.poll_tracking(|tracking| announce(tracking, insert, by_kernel));
    }
    assert!(rig.now().is_ok());
    let at = MIDNIGHT;
    assert_eq!(rig.told()[0], T::LeapAnnounced { insert, at });
    rig
}

fn announce(tracking: &mut Tracking, insert: bool, by_kernel: bool) {
    tracking.leap = match (by_kernel, insert) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
}

/// Goes through the night millisecond by millisecond, as the kernel makes it; gives for each the label that the clock
/// shows, how long after the leap second's beginning it is, and whether it is signed.
fn night(
    rig: &mut Rig,
    insert: bool,
    by_kernel: bool,
) -> Vec<(Duration, Result<TrustedTime, Unproven>)> {
    const MS: Duration = Duration::from_millis(1);
    let mut seen = Vec::new();
    // To 23:59:55.
    while rig.world.realtime < MIDNIGHT - 5 * SECOND {
        rig.poll_tracking(|tracking| announce(tracking, insert, by_kernel));
    }
    let mut made = false;
    for step in 0..12_000u64 {
        rig.world.pass(MS);
        let due = if insert { MIDNIGHT } else { MIDNIGHT - SECOND };
        if !made && rig.world.realtime >= due {
            made = true;
            if insert {
                rig.world.realtime -= SECOND;
            } else {
                rig.world.realtime += SECOND;
            }
        }
        let now = rig.world.instants();
        if let Err(Unproven::Stepped { by }) = rig.now() {
            rig.discipline.stepped(by, now);
        }
        if step % 250 == 249 {
            let mut report = rig.world.report();
            let over = made && now.realtime >= MIDNIGHT;
            let tracking = report.chronyd.as_mut().unwrap();
            // chronyd says "not synchronised" in the leap second, and nothing more of it afterwards.
            if made && insert && !over {
                (tracking.leap, tracking.ref_id, tracking.stratum) = (3, 0, 0);
                tracking.ref_time = Duration::ZERO;
            } else if !made {
                announce(tracking, insert, by_kernel);
            }
            if over {
                rig.world.kernel.as_mut().unwrap().status = 0;
                rig.world.kernel.as_mut().unwrap().state = 0;
            }
            rig.discipline.take(&report);
        }
        seen.push((now.realtime, rig.now()));
    }
    seen
}

#[test]
fn nothing_is_signed_in_the_whole_window() {
    for (insert, by_kernel) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut rig = eve(insert, by_kernel, LIMITS);
        rig.told();
        let seen = night(&mut rig, insert, by_kernel);
        let mut last_before = Duration::ZERO;
        let mut first_after = Duration::MAX;
        for (realtime, result) in &seen {
            // The bound is below 1 ms.
            let inside = *realtime >= MIDNIGHT - SECOND && *realtime <= MIDNIGHT + SECOND;
            match result {
                Ok(time) => {
                    assert!(!inside, "signed at {realtime:?}");
                    assert_eq!(time.since_1970(), *realtime);
                    if *realtime < MIDNIGHT {
                        last_before = *realtime;
                    } else {
                        first_after = first_after.min(*realtime);
                    }
                }
                Err(Unproven::LeapSecond) => {}
                Err(Unproven::Regaining { .. }) => assert!(*realtime > MIDNIGHT + SECOND),
                Err(other) => panic!("{other} at {realtime:?}"),
            }
        }
        assert!(MIDNIGHT - SECOND - last_before <= Duration::from_millis(2));
        let wait = first_after - (MIDNIGHT + SECOND);
        assert!(wait <= POLL * LIMITS.good_polls, "{wait:?}");
        // No loss, no step, and no second announcement.
        let told = rig.told();
        assert!(
            matches!(told[..], [T::LeapStarted, T::LeapEnded, T::Proven { .. }]),
            "{told:?}"
        );
        assert_eq!(rig.discipline.status().losses, 0);
    }
}

#[test]
fn the_window_is_as_wide_as_the_bound_asks() {
    for insert in [true, false] {
        let mut rig = eve(insert, false, LIMITS);
        while rig.world.realtime < MIDNIGHT - Duration::from_millis(1_100) {
            rig.poll_tracking(|tracking| {
                announce(tracking, insert, false);
                tracking.root_dispersion = Duration::from_millis(40);
            });
            if rig.world.realtime >= MIDNIGHT - Duration::from_millis(1_350) {
                break;
            }
        }
        let verdict = rig.discipline.verdict();
        for millis in 0..1_400 {
            let mut later = rig.world.clone();
            later.pass(Duration::from_millis(millis));
            // The bound by this clock's other parts and its growth.
            let bound = Duration::from_millis(40)..Duration::from_millis(42);
            let left = MIDNIGHT - SECOND;
            let result = verdict.at(later.instants());
            if later.realtime + bound.start >= left {
                assert_eq!(result, Err(Unproven::LeapSecond));
            } else if later.realtime + bound.end < left {
                assert!(result.is_ok());
            }
        }
    }
}

#[test]
fn both_ends_belong_to_the_window() {
    let leap = Announcement {
        insert: true,
        midnight: MIDNIGHT,
    };
    let nano = Duration::from_nanos(1);
    for bound in [Duration::ZERO, Duration::from_millis(7)] {
        let (begin, end) = (MIDNIGHT - SECOND - bound, MIDNIGHT + SECOND + bound);
        assert!(!leap.covers(begin - nano, bound) && leap.covers(begin, bound));
        assert!(leap.covers(end, bound) && !leap.covers(end + nano, bound));
        for milli in 0..2_000 {
            assert!(leap.covers(begin + Duration::from_millis(milli), bound));
        }
    }
    assert!(leap.covers(Duration::ZERO, Duration::MAX));
    assert!(leap.covers(Duration::MAX, Duration::MAX));
}

#[test]
fn an_announcement_stands_when_it_is_heard_no_more() {
    let mut rig = eve(true, false, LIMITS);
    while rig.world.realtime < MIDNIGHT - 2 * SECOND {
        rig.poll();
    }
    assert_eq!(rig.reason(), "proven");
    rig.world.pass(SECOND);
    assert_eq!(rig.reason(), "leap_second");
    rig.poll();
    assert_eq!(rig.reason(), "leap_second");
}

#[test]
fn what_is_announced_still_after_midnight_is_the_same_leap_second() {
    let mut rig = eve(true, true, LIMITS);
    night(&mut rig, true, true);
    rig.told();
    let kernel = rig.world.kernel.as_mut().unwrap();
    (kernel.state, kernel.status) = (4, 0x10);
    for _ in 0..100 {
        rig.poll_tracking(|tracking| tracking.leap = 1);
    }
    assert_eq!(rig.told(), []);
    assert_eq!(rig.reason(), "proven");
}

#[test]
fn a_start_within_the_leap_second_or_after_it_knows_of_it() {
    for (state, begin, refused) in [
        (3, MIDNIGHT - Duration::from_millis(900), true),
        (4, MIDNIGHT + Duration::from_millis(10), true),
        (4, MIDNIGHT + Duration::from_secs(20), false),
        (4, MIDNIGHT + Duration::from_secs(86_000), false),
    ] {
        let mut world = World::at(begin);
        let kernel = world.kernel.as_mut().unwrap();
        (kernel.state, kernel.status) = (state, 0x10);
        let mut rig = Rig::new(world, LIMITS);
        rig.poll();
        assert_eq!(rig.reason() == "leap_second", refused, "{state} {begin:?}");
    }
}

#[test]
fn another_step_within_the_window_is_a_step() {
    for (insert, back, by) in [
        (true, false, SECOND),
        (false, true, SECOND),
        (true, true, Duration::from_millis(1_002)),
        (true, true, Duration::from_millis(500)),
    ] {
        let mut rig = eve(insert, false, LIMITS);
        while rig.world.realtime < MIDNIGHT - SECOND / 2 {
            rig.poll_tracking(|tracking| announce(tracking, insert, false));
        }
        assert_eq!(rig.reason(), "leap_second");
        rig.told();
        if back {
            rig.world.realtime -= by;
        } else {
            rig.world.realtime += by;
        }
        rig.poll();
        assert!(matches!(rig.told()[0], T::Stepped { .. }));
        assert_eq!(
            rig.discipline.verdict().reason(),
            Some(Unproven::Stepped { by })
        );
    }
}

#[test]
fn who_ignores_leap_seconds_signs_on() {
    let ignore = Limits {
        leap: LeapPolicy::Ignore,
        ..LIMITS
    };
    for insert in [true, false] {
        let mut rig = eve(insert, true, ignore);
        rig.told();
        // The kernel does not step here: a smeared clock, say.
        while rig.world.realtime < MIDNIGHT + 3 * SECOND {
            rig.poll();
            assert_eq!(rig.reason(), "proven");
        }
        assert_eq!(rig.told(), [T::LeapStarted, T::LeapEnded]);
    }
}

#[test]
fn no_announcement_no_window() {
    let mut rig = Rig::proven_at(World::at(MIDNIGHT - Duration::from_secs(10)), LIMITS);
    while rig.world.realtime < MIDNIGHT + 10 * SECOND {
        rig.poll();
        assert_eq!(rig.reason(), "proven");
    }
    assert_eq!(rig.told(), []);
}

#[test]
fn the_kernel_alone_refuses_the_whole_window_too() {
    let max_error = Duration::from_millis(20);
    for offset in -2_000i64..2_000 {
        let shift = Duration::from_millis(offset.unsigned_abs());
        let realtime = if offset < 0 {
            MIDNIGHT - shift
        } else {
            MIDNIGHT + shift
        };
        let report = KernelReport {
            realtime,
            unsynchronised: false,
            max_error,
            leap: true,
        };
        let refused = judge_kernel(&report, TOLERANCE) == Err(Unproven::LeapSecond);
        assert_eq!(refused, offset.abs() <= 1_020, "{offset} ms");
        let quiet = KernelReport {
            leap: false,
            ..report
        };
        assert!(judge_kernel(&quiet, TOLERANCE).is_ok());
    }
}
