use super::*;
use Transition as T;

fn dispersion(millis: u64) -> impl Fn(&mut Tracking) {
    move |tracking| tracking.root_dispersion = Duration::from_millis(millis)
}

#[test]
fn a_warning_comes_before_the_end_and_goes_well_below() {
    let mut rig = Rig::proven();
    let mut state = |millis| {
        rig.poll_tracking(dispersion(millis));
        rig.discipline.state
    };
    assert_eq!(state(49), State::Proven);
    assert_eq!(state(51), State::Degraded);
    assert_eq!(state(49), State::Degraded);
    assert_eq!(state(26), State::Degraded);
    assert_eq!(state(24), State::Proven);
    assert_eq!(state(49), State::Proven);
    assert_eq!(state(99), State::Degraded);
    assert_eq!(state(101), State::Lost);
    assert!(matches!(
        rig.told()[..],
        [
            T::Degraded { .. },
            T::Proven { .. },
            T::Degraded { .. },
            T::Lost {
                reason: Unproven::BeyondTolerance { .. },
                last_proven: Some(_)
            }
        ]
    ));
}

#[test]
fn after_a_loss_the_bound_must_come_down() {
    let mut rig = Rig::proven();
    rig.poll_tracking(dispersion(101));
    for _ in 0..100 {
        rig.poll_tracking(dispersion(26));
        assert_eq!(rig.reason(), "above_recovery");
    }
    for _ in 1..LIMITS.good_polls {
        rig.poll_tracking(dispersion(24));
        assert_eq!(rig.reason(), "regaining");
    }
    rig.poll_tracking(dispersion(24));
    assert_eq!(rig.reason(), "proven");
}

#[test]
fn a_start_takes_any_bound_that_is_tolerated() {
    let mut rig = Rig::new(World::new(), LIMITS);
    for _ in 0..LIMITS.good_polls {
        assert!(rig.now().is_err());
        rig.poll_tracking(dispersion(90));
    }
    assert_eq!(rig.discipline.state, State::Degraded);
    assert!(rig.now().is_ok());
    assert!(matches!(rig.told()[..], [T::Degraded { .. }]));
}

#[test]
fn a_start_does_not_wait_for_chronyd_as_after_a_restart() {
    let mut rig = Rig::new(World::new(), LIMITS);
    for _ in 0..20 {
        rig.poll_but(|report| report.chronyd = Err(Silence::Refused));
    }
    for _ in 0..20 {
        rig.poll_tracking(|tracking| {
            (tracking.leap, tracking.ref_id, tracking.stratum) = (3, 0, 0);
            tracking.ref_time = Duration::ZERO;
        });
    }
    assert_eq!(rig.polls_until_proven(), LIMITS.good_polls);
    assert_eq!(rig.discipline.status().losses, 0);
}

#[test]
fn good_polls_must_come_in_a_row() {
    let mut rig = Rig::proven();
    rig.poll_tracking(|tracking| tracking.stratum = 16);
    for _ in 0..20 {
        rig.polls(LIMITS.good_polls - 1);
        assert_eq!(rig.reason(), "regaining");
        rig.poll_tracking(|tracking| tracking.stratum = 16);
        assert_eq!(rig.reason(), "stratum");
    }
    assert_eq!(rig.polls_until_proven(), LIMITS.good_polls);
    // One loss, however long it lasted.
    assert_eq!(rig.discipline.status().losses, 1);
}

/// After this the wait is a minute and three updates. They come every 16 s.
fn settles(mut rig: Rig) {
    let begin = rig.world.boottime;
    assert!(rig.now().is_err());
    rig.poll();
    assert_eq!(rig.reason(), "settling");
    rig.polls_until_proven();
    let waited = rig.world.boottime - begin;
    assert!(
        waited >= LIMITS.after_step && waited <= LIMITS.after_step + 2 * POLL,
        "{waited:?}"
    );
}

#[test]
fn after_a_step_between_polls_the_clock_is_watched() {
    for back in [true, false] {
        let mut rig = Rig::proven();
        let by = Duration::from_millis(2);
        if back {
            rig.world.realtime -= by;
        } else {
            rig.world.realtime += by;
        }
        assert_eq!(rig.now(), Err(Unproven::Stepped { by }));
        rig.poll();
        assert_eq!(rig.now(), Err(Unproven::Stepped { by }));
        assert!(matches!(
            rig.told()[..],
            [T::Stepped { by: told }, T::Lost { .. }] if told == by
        ));
        settles(rig);
    }
}

#[test]
fn a_step_seen_while_issuing_is_one_step() {
    let mut rig = Rig::proven();
    // Polled before the step, delivered after it was seen.
    rig.world.pass(POLL);
    let late = rig.world.report();
    rig.world.pass(Duration::from_micros(100));
    let by = Duration::from_secs(3_600);
    rig.world.realtime -= by;
    assert_eq!(rig.reason(), "stepped");
    let now = rig.world.instants();
    for _ in 0..10 {
        rig.discipline.stepped(by, now);
    }
    assert_eq!(
        rig.discipline.verdict().reason(),
        Some(Unproven::Stepped { by })
    );
    rig.discipline.take(&late);
    assert_eq!(
        rig.discipline.verdict().reason(),
        Some(Unproven::Stepped { by })
    );
    // chronyd takes a step over into its own times.
    rig.world.ref_time -= by;
    rig.poll();
    rig.discipline.stepped(by, now);
    assert!(matches!(
        rig.told()[..],
        [T::Stepped { .. }, T::Lost { .. }]
    ));
    settles(rig);
}

#[test]
fn a_step_while_the_helper_is_away_is_found() {
    let mut rig = Rig::proven();
    rig.discipline
        .fail(Unproven::NotConnected, rig.world.instants());
    rig.world.pass(Duration::from_secs(100));
    rig.world.realtime += Duration::from_millis(5);
    rig.poll();
    assert_eq!(rig.reason(), "stepped");
    settles(rig);
}

#[test]
fn a_suspend_is_treated_as_a_step() {
    let mut rig = Rig::proven();
    rig.world.pass(Duration::from_secs(600));
    rig.world.monotonic -= Duration::from_secs(600);
    assert_eq!(rig.reason(), "stale");
    rig.poll();
    let slept = Duration::from_secs(600);
    assert_eq!(rig.now(), Err(Unproven::Suspended { slept }));
    assert!(matches!(
        rig.told()[..],
        [T::Suspended { .. }, T::Lost { .. }]
    ));
    settles(rig);
}

#[test]
fn a_chronyd_that_begins_anew_is_watched() {
    // Killed, and seen to be away.
    let mut rig = Rig::proven();
    rig.poll_but(|report| report.chronyd = Err(Silence::Refused));
    settles(rig);
    // Restarted between two polls: it has no source yet.
    let mut rig = Rig::proven();
    rig.poll_tracking(|tracking| {
        (tracking.leap, tracking.ref_id, tracking.stratum) = (3, 0, 0);
        tracking.ref_time = Duration::ZERO;
    });
    settles(rig);
    // Its last update goes back.
    let mut rig = Rig::proven();
    rig.world.ref_time -= Duration::from_millis(1_001);
    rig.poll();
    assert_eq!(rig.reason(), "restarted");
    settles(rig);
    // Stopped and continued: the same chronyd.
    let mut rig = Rig::proven();
    rig.poll_but(|report| report.chronyd = Err(Silence::TimedOut));
    assert_eq!(rig.polls_until_proven(), LIMITS.good_polls);
    // A correction moves the last update a little.
    let mut rig = Rig::proven();
    rig.world.ref_time -= Duration::from_millis(900);
    rig.poll();
    assert_eq!(rig.reason(), "proven");
}

#[test]
fn a_wait_needs_updates_and_not_only_time() {
    let mut rig = Rig::proven();
    rig.world.realtime += Duration::from_millis(2);
    rig.poll();
    rig.world.silent = true;
    rig.polls(4 * 200);
    assert!(matches!(
        rig.now(),
        Err(Unproven::Settling { updates: 0, .. })
    ));
    rig.world.silent = false;
    for updates in 1..=2 {
        rig.world.ref_time = rig.world.realtime;
        rig.poll();
        assert!(matches!(rig.now(), Err(Unproven::Settling { updates: n, .. }) if n == updates));
    }
    rig.world.ref_time = rig.world.realtime;
    rig.poll();
    assert_eq!(rig.reason(), "proven");
}

fn lose_and_regain(rig: &mut Rig) {
    rig.poll_tracking(|tracking| tracking.stratum = 16);
    rig.polls(LIMITS.good_polls);
}

#[test]
fn the_third_loss_waits_for_the_operator() {
    let mut rig = Rig::proven();
    for _ in 0..2 {
        lose_and_regain(&mut rig);
        assert_eq!(rig.reason(), "proven");
    }
    rig.told();
    lose_and_regain(&mut rig);
    assert_eq!(rig.now(), Err(Unproven::Latched { losses: 3 }));
    assert!(matches!(
        rig.told()[..],
        [T::Lost { .. }, T::Latched { losses: 3 }]
    ));
    rig.polls(10_000);
    assert_eq!(rig.reason(), "latched");
    let status = rig.discipline.status();
    assert!(status.latched && status.fault.is_none());
    // What is wrong now shows beside the latch.
    rig.poll_tracking(|tracking| tracking.stratum = 16);
    assert_eq!(rig.reason(), "latched");
    assert_eq!(rig.discipline.status().fault.unwrap().label(), "stratum");

    rig.discipline.reset();
    assert_eq!(rig.reason(), "stratum");
    assert_eq!(rig.polls_until_proven(), LIMITS.good_polls);
    assert!(matches!(rig.told()[..], [T::Reset, T::Proven { .. }]));
    lose_and_regain(&mut rig);
    assert_eq!(rig.reason(), "proven");
}

#[test]
fn a_latch_that_is_reset_asks_for_good_polls_all_the_same() {
    let mut rig = Rig::proven();
    for _ in 0..3 {
        lose_and_regain(&mut rig);
    }
    rig.polls(100);
    rig.discipline.reset();
    assert_eq!(rig.reason(), "regaining");
    assert_eq!(rig.polls_until_proven(), LIMITS.good_polls);
}

#[test]
fn losses_far_apart_do_not_latch() {
    let mut rig = Rig::proven();
    for _ in 0..10 {
        lose_and_regain(&mut rig);
        assert_eq!(rig.reason(), "proven");
        rig.polls(4 * 301);
    }
}

#[test]
fn what_nobody_asks_for_does_not_pile_up() {
    let mut rig = Rig::proven_under(Limits {
        latch_losses: 0,
        ..LIMITS
    });
    for _ in 0..1_000 {
        lose_and_regain(&mut rig);
    }
    assert_eq!(rig.told().len(), MOST_PENDING);
}
