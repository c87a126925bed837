//! Values that no chronyd and no kernel would tell.

use super::*;
use crate::clock::report::Source;

/// xorshift64*: the same run every time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    /// Small, large and in between, the ends often.
    fn any(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => self.next(),
            3 => self.below(10),
            4 => u64::MAX - self.below(10),
            _ => self.next() >> self.below(64),
        }
    }

    fn nanos(&mut self) -> Duration {
        Duration::from_nanos(self.any())
    }

    /// Near `good`, or anything.
    fn around(&mut self, good: Duration) -> Duration {
        match self.below(3) {
            0 => self.nanos(),
            1 => good.saturating_add(Duration::from_nanos(self.below(4_000_000_000))),
            _ => good.saturating_sub(Duration::from_nanos(self.below(4_000_000_000))),
        }
    }

    /// Spoils one thing of a report, whatever it is.
    fn spoil(&mut self, report: &mut Report) {
        let small = |value: u64| u16::try_from(value & 0xffff).unwrap();
        match self.below(6) {
            0 => report.boottime = self.around(report.boottime),
            1 => report.realtime = self.around(report.realtime),
            2 => report.monotonic = self.around(report.monotonic),
            3 => {
                report.kernel = (!self.one_in(4)).then(|| Kernel {
                    state: i32::try_from(self.below(9)).unwrap() - 2,
                    status: i32::try_from(self.next() >> 33).unwrap(),
                    max_error: Duration::from_micros(self.any()),
                    tai: i32::try_from(self.next() >> 33).unwrap(),
                });
            }
            4 => {
                report.chronyd = Err(match self.below(5) {
                    0 => Silence::TimedOut,
                    1 => Silence::Refused,
                    2 => Silence::Garbage,
                    3 => Silence::Unauthorised,
                    _ => Silence::NotAsked,
                });
            }
            _ => {
                let realtime = report.realtime;
                let Ok(tracking) = &mut report.chronyd else {
                    return;
                };
                let any = self.any();
                match self.below(11) {
                    0 => {
                        tracking.ref_id =
                            [0, 0x7f7f_0101, 1, u32::MAX][usize::try_from(any % 4).unwrap()]
                    }
                    1 => tracking.stratum = small(any),
                    2 => tracking.leap = small(any % 5),
                    3 => tracking.ref_time = self.around(realtime),
                    4 => tracking.correction = any.cast_signed(),
                    5 => tracking.root_delay = self.nanos(),
                    6 => tracking.root_dispersion = self.nanos(),
                    7 => tracking.skew = u32::try_from(any >> 32).unwrap(),
                    8 => {
                        tracking.residual_frequency =
                            u32::try_from(any >> 32).unwrap().cast_signed()
                    }
                    9 => tracking.source_count = small(any),
                    _ => {
                        for source in &mut tracking.sources {
                            self.spoil_source(source);
                        }
                    }
                }
            }
        }
    }

    fn spoil_source(&mut self, source: &mut Source) {
        source.reach = u8::try_from(self.any() & 0xff).unwrap();
        source.poll = u8::try_from(self.any() & 0xff).unwrap().cast_signed();
        source.state = match self.below(6) {
            0 => SourceState::Selected,
            1 => SourceState::NotSelectable,
            2 => SourceState::Falseticker,
            3 => SourceState::Jittery,
            4 => SourceState::Combined,
            _ => SourceState::Selectable,
        };
    }
}

/// What must hold of the last report for a reading to be trusted, written down once more and plainly.
fn holds(report: &Report, now: &Instants, time: &TrustedTime) {
    let tracking = report.chronyd.as_ref().expect("chronyd answered");
    let kernel = report.kernel.as_ref().expect("the kernel was read");
    assert!(tracking.leap < 3 && tracking.ref_id != 0 && tracking.ref_id != 0x7f7f_0101);
    assert!((1..=LIMITS.max_stratum).contains(&tracking.stratum));
    assert!(tracking.source_count >= 4 && chronyd::usable(tracking) >= 3);
    assert!((0..=4).contains(&kernel.state) && kernel.status & 0x40 == 0);
    assert!(kernel.max_error <= TOLERANCE);
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap();
    let correction = i128::from(tracking.correction).abs();
    let age = nanos(report.realtime) - nanos(tracking.ref_time);
    assert!(age <= 8_192_000_000_000 && age >= -correction - 100_000_000);
    // The formula, in whole nanoseconds, and its rounding.
    let elapsed = (nanos(now.boottime) - nanos(report.boottime)).abs();
    assert!(elapsed <= 2_000_000_000);
    let parts = i128::from(tracking.skew) + i128::from(tracking.residual_frequency).abs() + 15_000;
    let bound = correction
        + nanos(tracking.root_dispersion)
        + nanos(tracking.root_delay) / 2
        + age.max(0) * 14_000 / 1_000_000_000
        + parts * elapsed / 1_000_000_000;
    let step =
        nanos(now.realtime) - nanos(report.realtime) - nanos(now.boottime) + nanos(report.boottime);
    // Steps of up to a millisecond before the report count too, so that the bound can be wider.
    assert!(nanos(time.bound()) >= bound && nanos(time.bound()) <= bound + 1_000_004);
    assert!(step.abs() <= 2_000_000);
    assert!(time.bound() <= TOLERANCE);
    assert_eq!(time.since_1970(), now.realtime);
}

#[test]
fn nothing_is_trusted_that_violates_a_condition() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut trusted, mut refused) = (0u32, 0u32);
    for _ in 0..400 {
        let mut rig = Rig::proven();
        let mut last = rig.world.report();
        for _ in 0..60 {
            match dice.below(12) {
                0 => rig.discipline.fail(
                    Unproven::NotConnected,
                    Instants {
                        boottime: dice.nanos(),
                        realtime: dice.nanos(),
                    },
                ),
                1 => {
                    let now = Instants {
                        boottime: dice.around(rig.world.boottime),
                        realtime: dice.around(rig.world.realtime),
                    };
                    rig.discipline.stepped(dice.nanos(), now);
                }
                2 => rig.discipline.reset(),
                _ => {
                    last = rig.world.next();
                    while dice.one_in(2) {
                        dice.spoil(&mut last);
                    }
                    rig.discipline.take(&last);
                }
            }
            for _ in 0..4 {
                let now = Instants {
                    boottime: dice.around(rig.world.boottime),
                    realtime: dice.around(rig.world.realtime),
                };
                for now in [now, rig.world.instants()] {
                    match rig.discipline.verdict().at(now) {
                        Ok(time) => {
                            trusted += 1;
                            holds(&last, &now, &time);
                        }
                        Err(reason) => {
                            refused += 1;
                            assert!(!reason.to_string().is_empty() && !reason.label().is_empty());
                        }
                    }
                }
            }
            let status = rig.discipline.status();
            assert_eq!(status.state == State::Lost, status.reason.is_some());
        }
    }
    // Both were tried.
    assert!(trusted > 1_000 && refused > 1_000, "{trusted} {refused}");
}

#[test]
fn one_spoiled_report_is_enough() {
    let mut dice = Dice(42);
    let mut refused = 0;
    for _ in 0..5_000 {
        let mut rig = Rig::proven();
        let mut report = rig.world.next();
        dice.spoil(&mut report);
        rig.discipline.take(&report);
        match rig.now() {
            Ok(time) => holds(&report, &rig.world.instants(), &time),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1_000);
}

#[test]
fn the_ends_of_every_number_do_no_harm() {
    let ends = [0, 1, u64::MAX - 1, u64::MAX];
    for boottime in ends {
        for realtime in ends {
            for other in ends {
                let mut rig = Rig::proven();
                let mut report = rig.world.next();
                report.boottime = Duration::from_nanos(boottime);
                report.realtime = Duration::from_nanos(realtime);
                report.monotonic = Duration::from_nanos(other);
                let tracking = report.chronyd.as_mut().unwrap();
                tracking.ref_time = Duration::from_nanos(other);
                tracking.leap = 1;
                rig.discipline.take(&report);
                let now = Instants {
                    boottime: Duration::MAX,
                    realtime: Duration::MAX,
                };
                assert!(rig.discipline.verdict().at(now).is_err());
                rig.discipline.stepped(Duration::MAX, now);
                rig.discipline.take(&report);
                rig.discipline.fail(Unproven::NotConnected, now);
                rig.discipline.status();
            }
        }
    }
}
