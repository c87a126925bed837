mod hostile;
mod leap;
mod regaining;

use super::*;
use crate::clock::{
    report::{Kernel, ReportError, SourceState, Tracking},
    testing::{POLL, World},
};

const TOLERANCE: Duration = Duration::from_millis(100);
const LIMITS: Limits = Limits::new(TOLERANCE);

/// A discipline and the clock it watches.
struct Rig {
    world: World,
    discipline: Discipline,
}

impl Rig {
    fn new(world: World, limits: Limits) -> Self {
        Self {
            world,
            discipline: Discipline::new(limits),
        }
    }

    /// After as many good polls as it takes.
    fn proven() -> Self {
        Self::proven_under(LIMITS)
    }

    fn proven_under(limits: Limits) -> Self {
        Self::proven_at(World::new(), limits)
    }

    fn proven_at(world: World, limits: Limits) -> Self {
        let mut rig = Self::new(world, limits);
        rig.polls(limits.good_polls);
        rig.now().unwrap();
        rig.discipline.transitions();
        rig
    }

    /// A good poll.
    fn poll(&mut self) {
        self.poll_but(|_| ());
    }

    fn polls(&mut self, number: u32) {
        for _ in 0..number {
            self.poll();
        }
    }

    /// A poll that is good but for a change.
    fn poll_but(&mut self, change: impl FnOnce(&mut Report)) {
        let mut report = self.world.next();
        change(&mut report);
        self.discipline.take(&report);
    }

    fn poll_tracking(&mut self, change: impl FnOnce(&mut Tracking)) {
        self.poll_but(|report| change(report.chronyd.as_mut().unwrap()));
    }

    /// How many good polls until the proof is there.
    fn polls_until_proven(&mut self) -> u32 {
        for number in 1..10_000 {
            self.poll();
            if self.now().is_ok() {
                return number;
            }
        }
        panic!("never proven: {:?}", self.discipline.verdict());
    }

    fn now(&self) -> Result<TrustedTime, Unproven> {
        self.discipline.verdict().at(self.world.instants())
    }

    fn reason(&self) -> &'static str {
        self.now()
            .map_or_else(|reason| reason.label(), |_| "proven")
    }

    fn told(&mut self) -> Vec<Transition> {
        self.discipline.transitions()
    }
}

/// What a poll with this change leads to, of a clock that was proven before.
fn refusal(change: impl FnOnce(&mut Report)) -> &'static str {
    let mut rig = Rig::proven();
    rig.poll_but(change);
    assert_eq!(rig.discipline.state == State::Lost, rig.now().is_err());
    rig.reason()
}

fn refusal_of(change: impl FnOnce(&mut Tracking)) -> &'static str {
    refusal(|report| change(report.chronyd.as_mut().unwrap()))
}

#[test]
fn a_kept_clock_is_proven_after_the_good_polls() {
    let mut rig = Rig::new(World::new(), LIMITS);
    assert_eq!(rig.reason(), "no_report");
    for good in 1..LIMITS.good_polls {
        rig.poll();
        let needed = LIMITS.good_polls;
        assert_eq!(rig.now(), Err(Unproven::Regaining { good, needed }));
    }
    rig.poll();
    let time = rig.now().unwrap();
    assert_eq!(time.basis(), Basis::Proven);
    assert_eq!(time.since_1970(), rig.world.realtime);
    let bound = rig.discipline.status().bound.unwrap().total();
    assert_eq!(time.bound(), bound);
    assert_eq!(rig.told(), [Transition::Proven { bound }]);
}

#[test]
fn another_tolerance_counts_from_the_next_report_on() {
    let mut rig = Rig::proven();
    let bound = rig.now().unwrap().bound();
    rig.discipline.tolerate(TOLERANCE * 2);
    rig.poll();
    assert_eq!(rig.reason(), "proven");
    rig.discipline.tolerate(bound / 2);
    assert_eq!(rig.reason(), "proven", "what was reported stands");
    rig.poll();
    assert!(rig.now().is_err());
    rig.discipline.tolerate(TOLERANCE);
    rig.polls_until_proven();
}

// The rows of what chronyd's tracking shows, in order.

#[test]
fn before_a_source_has_answered_nothing_is_proven() {
    let reason = refusal_of(|tracking| {
        (tracking.leap, tracking.stratum, tracking.ref_id) = (3, 0, 0);
        tracking.ref_time = Duration::ZERO;
    });
    assert_eq!(reason, "not_synchronised");
    // Each by itself.
    assert_eq!(refusal_of(|tracking| tracking.leap = 3), "not_synchronised");
    assert_eq!(
        refusal_of(|tracking| tracking.leap = u16::MAX),
        "not_synchronised"
    );
    assert_eq!(refusal_of(|tracking| tracking.ref_id = 0), "no_reference");
    assert_eq!(refusal_of(|tracking| tracking.stratum = 0), "stratum");
    assert_eq!(refusal_of(|tracking| tracking.stratum = 4), "proven");
    assert_eq!(refusal_of(|tracking| tracking.stratum = 5), "stratum");
}

#[test]
fn silent_sources_are_found_by_the_age_of_the_last_update() {
    let mut rig = Rig::proven();
    rig.world.silent = true;
    let begin = rig.world.ref_time;
    while rig.now().is_ok() {
        rig.poll();
    }
    assert_eq!(rig.reason(), "reference_old");
    let age = rig.world.realtime - begin;
    assert!(
        age > LIMITS.ref_time_age && age <= LIMITS.ref_time_age + POLL,
        "{age:?}"
    );
}

#[test]
fn a_slow_poll_gives_the_last_update_more_time() {
    let old = |poll, age| {
        let mut rig = Rig::new(World::new(), LIMITS);
        for _ in 0..LIMITS.good_polls {
            rig.poll_tracking(|tracking| {
                tracking.sources[0].poll = poll;
                tracking.ref_time -= Duration::from_secs(age);
            });
        }
        rig.reason()
    };
    assert_eq!(old(4, 290), "proven");
    assert_eq!(old(4, 305), "reference_old");
    assert_eq!(old(6, 500), "proven");
    assert_eq!(old(6, 515), "reference_old");
    // No poll is slow enough for this.
    assert_eq!(old(i8::MAX, 8_195), "reference_old");
    assert_eq!(old(i8::MIN, 305), "reference_old");
}

#[test]
fn sources_that_disagree_unsynchronise_chronyd() {
    let reason = refusal_of(|tracking| {
        tracking.leap = 3;
        for source in &mut tracking.sources {
            source.state = SourceState::Falseticker;
        }
    });
    assert_eq!(reason, "not_synchronised");
}

#[test]
fn chronyd_on_its_own_word_is_refused() {
    let reason = refusal_of(|tracking| {
        (tracking.ref_id, tracking.stratum) = (0x7f7f_0101, 10);
        (tracking.root_delay, tracking.root_dispersion) = (Duration::ZERO, Duration::ZERO);
        tracking.correction = 0;
    });
    assert_eq!(reason, "local_reference");
}

#[test]
fn a_source_that_steps_shows_in_the_bound() {
    for correction in [500_000_000, -500_000_000, i64::MAX, i64::MIN] {
        assert_eq!(
            refusal_of(|tracking| tracking.correction = correction),
            "beyond_tolerance"
        );
    }
}

#[test]
fn liars_and_smearers_are_left_to_several_sources() {
    use crate::clock::report::Source;
    use SourceState::{Combined, Falseticker, Jittery, NotSelectable, Selectable, Selected};
    let with = |states: &[SourceState]| {
        refusal_of(|tracking| {
            let source = tracking.sources[0];
            tracking.source_count = u16::try_from(states.len()).unwrap();
            tracking.sources = states
                .iter()
                .map(|state| Source {
                    state: *state,
                    ..source
                })
                .collect();
        })
    };
    assert_eq!(
        with(&[Selected, Combined, Selectable, Falseticker]),
        "proven"
    );
    for bad in [Falseticker, Jittery, NotSelectable] {
        assert_eq!(with(&[Selected, Combined, bad, bad]), "few_usable");
    }
    assert_eq!(with(&[Selected, Combined, Selectable]), "few_sources");
    assert_eq!(with(&[Selected; 3]), "few_sources");
    assert_eq!(with(&[]), "few_sources");
    // Followed for want of another, though it is silent.
    assert_eq!(
        refusal_of(|tracking| tracking.sources[0].reach = 0),
        "few_usable"
    );
    // Sources beyond those told count as none that can be used.
    let many = refusal_of(|tracking| {
        tracking.source_count = u16::MAX;
        tracking.sources.truncate(2);
    });
    assert_eq!(many, "few_usable");
}

#[test]
fn a_silent_chronyd_is_refused_by_its_kind_of_silence() {
    for (silence, label) in [
        (Silence::TimedOut, "chronyd_timed_out"),
        (Silence::Refused, "chronyd_refused"),
        (Silence::Garbage, "chronyd_garbage"),
        (Silence::Unauthorised, "chronyd_unauthorised"),
        (Silence::NotAsked, "chronyd_not_asked"),
    ] {
        assert_eq!(refusal(|report| report.chronyd = Err(silence)), label);
    }
}

#[test]
fn an_update_from_the_future_is_refused() {
    let ahead = |millis: u64| {
        refusal_of(|tracking| tracking.ref_time += Duration::from_millis(millis + 16_000))
    };
    assert_eq!(ahead(0), "reference_ahead");
    assert_eq!(ahead(3_600_000), "reference_ahead");
    // chronyd's time is ahead of the system's by what it has still to correct.
    let mut rig = Rig::proven();
    let realtime = rig.world.realtime;
    rig.poll_tracking(|tracking| {
        tracking.correction = 50_000_000;
        tracking.ref_time = realtime + POLL + Duration::from_millis(140);
    });
    assert_eq!(rig.reason(), "proven");
    rig.poll_tracking(|tracking| {
        tracking.correction = 50_000_000;
        tracking.ref_time = realtime + 2 * POLL + Duration::from_millis(151);
    });
    assert_eq!(rig.reason(), "reference_ahead");
}

#[test]
fn the_kernel_is_a_gate_of_its_own() {
    type Spoil = fn(&mut Kernel);
    let spoil: [(Spoil, &str); 4] = [
        (|kernel| kernel.state = 5, "kernel_unsynchronised"),
        (|kernel| kernel.status |= 0x40, "kernel_unsynchronised"),
        (
            |kernel| kernel.max_error = TOLERANCE + Duration::from_nanos(1),
            "kernel_error",
        ),
        (|kernel| kernel.max_error = Duration::MAX, "kernel_error"),
    ];
    let open = Limits {
        kernel_gate: false,
        ..LIMITS
    };
    for (spoil, label) in spoil {
        let spoil = |report: &mut Report| spoil(report.kernel.as_mut().unwrap());
        assert_eq!(refusal(spoil), label);
        let mut rig = Rig::proven_under(open);
        rig.poll_but(spoil);
        assert_eq!(rig.reason(), "proven");
    }
    assert_eq!(refusal(|report| report.kernel = None), "unreadable");
    let mut rig = Rig::proven_under(open);
    rig.poll_but(|report| report.kernel = None);
    assert_eq!(rig.reason(), "proven");
}

#[test]
fn the_bound_grows_from_the_poll_until_the_report_is_too_old() {
    let rig = Rig::proven();
    let verdict = rig.discipline.verdict();
    let at = |millis| {
        let mut later = rig.world.clone();
        later.pass(Duration::from_millis(millis));
        verdict.at(later.instants())
    };
    let poll = at(0).unwrap().bound();
    // 15 ppm, a skew of 100 in 10^9 and a residual frequency of -50.
    assert_eq!(
        at(1_000).unwrap().bound(),
        poll + Duration::from_nanos(15_150)
    );
    assert_eq!(
        at(2_000).unwrap().bound(),
        poll + Duration::from_nanos(30_300)
    );
    let (age, limit) = (Duration::from_millis(2_001), LIMITS.max_age);
    assert_eq!(at(2_001), Err(Unproven::Stale { age, limit }));
}

#[test]
fn a_reading_that_outgrows_the_tolerance_is_refused() {
    let mut rig = Rig::proven();
    rig.poll_tracking(|tracking| {
        tracking.root_dispersion = Duration::from_millis(99);
        // 1,000 ppm.
        tracking.skew = 1_000_000;
    });
    rig.now().unwrap();
    let mut later = rig.world.instants();
    later.boottime += Duration::from_secs(1);
    later.realtime += Duration::from_secs(1);
    let refused = rig.discipline.verdict().at(later).unwrap_err();
    assert_eq!(refused.label(), "beyond_tolerance");
}

#[test]
fn a_step_voids_the_report_at_once() {
    let rig = Rig::proven();
    let verdict = rig.discipline.verdict();
    let bound = rig.now().unwrap().bound();
    let stepped = |nanos: i64| {
        let mut now = rig.world.instants();
        let by = Duration::from_nanos(nanos.unsigned_abs());
        if nanos < 0 {
            now.realtime -= by;
        } else {
            now.realtime += by;
        }
        verdict.at(now)
    };
    for nanos in [-3_600_000_000_000i64, -1_000_001, 1_000_001, 1_000_000_000] {
        let by = Duration::from_nanos(nanos.unsigned_abs());
        assert_eq!(stepped(nanos), Err(Unproven::Stepped { by }));
    }
    for nanos in [-1_000_000i64, 1_000_000, -300, 300] {
        let by = Duration::from_nanos(nanos.unsigned_abs());
        assert_eq!(stepped(nanos).unwrap().bound(), bound + by);
    }
    // A reading that a report has overtaken.
    let mut now = rig.world.instants();
    now.boottime -= Duration::from_micros(50);
    now.realtime -= Duration::from_micros(50);
    assert!(verdict.at(now).is_ok());
}

#[test]
fn small_steps_add_up_until_chronyd_hears_from_a_source() {
    let mut rig = Rig::proven();
    rig.world.silent = true;
    let small = Duration::from_micros(400);
    for steps in 1..=2 {
        rig.world.realtime += small;
        rig.poll();
        let bound = rig.discipline.status().bound.unwrap();
        assert_eq!(bound.step, small * steps);
        assert_eq!(rig.now().unwrap().bound(), bound.total());
    }
    rig.world.realtime += small;
    rig.poll();
    assert_eq!(rig.reason(), "stepped");

    let mut rig = Rig::proven();
    for _ in 0..10 {
        rig.world.realtime += small;
        // The update comes at once, and is only told a poll later to be after the step.
        rig.world.ref_time = rig.world.realtime;
        rig.poll();
        rig.poll();
        assert_eq!(rig.reason(), "proven");
    }
}

#[test]
fn failures_of_the_helper_are_told_by_kind() {
    for (why, label) in [
        (Unproven::NotConnected, "not_connected"),
        (
            Unproven::Peer {
                uid: 1,
                expected: 2,
            },
            "peer",
        ),
        (Unproven::Malformed(ReportError::Checksum), "malformed"),
        (
            Unproven::Stale {
                age: Duration::from_secs(3),
                limit: LIMITS.max_age,
            },
            "stale",
        ),
    ] {
        let mut rig = Rig::proven();
        rig.discipline.fail(why, rig.world.instants());
        assert_eq!(rig.now(), Err(why));
        assert_eq!(why.label(), label);
        assert_eq!(rig.polls_until_proven(), LIMITS.good_polls);
    }
}

#[test]
fn reports_must_move_on() {
    let mut rig = Rig::proven();
    let report = rig.world.report();
    rig.discipline.take(&report);
    assert_eq!(rig.reason(), "out_of_order");
    for _ in 0..2 * LIMITS.good_polls {
        rig.discipline.take(&report);
    }
    assert_eq!(rig.reason(), "out_of_order");
    assert_eq!(rig.polls_until_proven(), LIMITS.good_polls);
    // One from far ahead is no trap for those that follow.
    let mut ahead = rig.world.clone();
    ahead.pass(Duration::from_secs(1 << 33));
    rig.discipline.take(&ahead.report());
    assert!(rig.now().is_err());
    rig.poll();
    rig.polls_until_proven();
}

#[test]
fn a_gap_between_reports_is_a_loss() {
    let mut rig = Rig::proven();
    rig.world.pass(LIMITS.max_age - POLL);
    rig.poll();
    assert_eq!(rig.reason(), "proven");
    rig.world.pass(LIMITS.max_age);
    rig.poll();
    assert_eq!(rig.reason(), "stale");
}

#[test]
fn the_status_tells_what_is_known() {
    let mut rig = Rig::proven();
    let before = rig.world.realtime;
    rig.poll_tracking(|tracking| tracking.leap = 3);
    let status = rig.discipline.status();
    assert_eq!(status.state, State::Lost);
    assert_eq!(status.reason, Some(Unproven::NotSynchronised));
    assert_eq!(status.last_proven, Some(before));
    assert_eq!((status.usable_sources, status.losses), (3, 1));
    assert_eq!(status.tracking.unwrap().sources.len(), 4);
    assert_eq!(status.kernel, rig.world.kernel);
    assert_eq!(
        status.ref_time_age,
        Some(rig.world.realtime - rig.world.ref_time)
    );
    assert_eq!(status.polled, Some(rig.world.instants()));
}

#[test]
fn the_kernel_alone_can_be_judged() {
    let report = KernelReport {
        realtime: Duration::from_secs(1_800_000_000),
        unsynchronised: false,
        max_error: Duration::from_millis(20),
        leap: false,
    };
    let time = judge_kernel(&report, TOLERANCE).unwrap();
    assert_eq!(time.basis(), Basis::Proven);
    assert_eq!(time.bound(), Duration::from_millis(20));
    let unsynchronised = KernelReport {
        unsynchronised: true,
        ..report
    };
    assert_eq!(
        judge_kernel(&unsynchronised, TOLERANCE),
        Err(Unproven::KernelUnsynchronised)
    );
    let over = KernelReport {
        max_error: TOLERANCE + Duration::from_nanos(1),
        ..report
    };
    assert_eq!(
        judge_kernel(&over, TOLERANCE).unwrap_err().label(),
        "kernel_error"
    );
}
