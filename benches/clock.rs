//! What it costs to ask whether a reading of the clock may be signed: `cargo bench --bench clock`. A decision is what
//! the issuance path does for every token: the last verdict out of its place, both clocks read, and the judgement.
//! Under 200 ns are wanted. While it is measured, another thread puts a new verdict in place four hundred times a
//! second, a hundred times as often as the helper reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::as_conversions,
    clippy::panic
)]

use std::{
    hint::black_box,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use gnomon::clock::{
    Discipline, Instants, Limits, Verdict,
    report::{Kernel, Report, Source, SourceState, Tracking},
};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 9;
const DECISIONS: u32 = 1_000_000;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut discipline = Discipline::new(Limits::new(Duration::from_millis(500)));
    for _ in 0..10 {
        discipline.take(&report());
        thread::sleep(Duration::from_millis(1));
    }
    let place = ArcSwap::from_pointee(discipline.verdict());
    let (done, place) = (AtomicBool::new(false), &place);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                discipline.take(&report());
                place.store(discipline.verdict().into());
                thread::sleep(Duration::from_micros(2_500));
            }
        });
        let clocks = median(|| {
            black_box(instants());
        });
        let verdict: Verdict = **place.load();
        let now = instants();
        let judgement = median(|| {
            black_box(black_box(&verdict).at(black_box(now))).unwrap();
        });
        let decision = median(|| {
            let verdict = place.load();
            black_box(verdict.at(instants())).unwrap();
        });
        println!("two clocks read: {clocks:.0} ns");
        println!("the judgement alone: {judgement:.0} ns");
        println!("a decision: {decision:.0} ns (under 200 ns wanted)");
        done.store(true, Ordering::Relaxed);
    });
}

/// Nanoseconds a call, in the middle one of the rounds.
fn median(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..DECISIONS {
                call();
            }
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(DECISIONS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).try_into().unwrap()
}

fn instants() -> Instants {
    Instants {
        boottime: clock(ClockId::Boottime),
        realtime: SystemTime::now().duration_since(UNIX_EPOCH).unwrap(),
    }
}

/// A well kept clock at this moment.
fn report() -> Report {
    let Instants { boottime, realtime } = instants();
    let source = |last| Source {
        address: Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped(),
        is_reference_clock: false,
        state: SourceState::Selected,
        reach: 0xff,
        poll: 4,
        stratum: 1,
    };
    Report {
        boottime,
        realtime,
        // Nobody suspends a host that runs a bench; the difference must stay the same.
        monotonic: boottime,
        chronyd: Ok(Tracking {
            ref_id: 0xc000_0201,
            stratum: 2,
            leap: 0,
            ref_time: realtime,
            correction: -20_000,
            last_offset: 10_000,
            root_delay: Duration::from_micros(400),
            root_dispersion: Duration::from_micros(100),
            skew: 100,
            residual_frequency: -50,
            update_interval: Duration::from_secs(16),
            source_count: 4,
            sources: (1..=4).map(source).collect(),
        }),
        kernel: Some(Kernel {
            state: 0,
            status: 0,
            max_error: Duration::from_millis(5),
            tai: 37,
        }),
    }
}
