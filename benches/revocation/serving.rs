//! What clients notice while CRLs of a million entries are taken in: the rate and the latency of sealed OCSP answers of
//! the real appliance under wrk's full load, in rounds with and without. In a round with them, one CRL after the other
//! is put in place and asked for as `gnomon crl refresh` does, as soon as the one before it is in force.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{
    MILLION,
    lists::{Ca, List, now},
    median,
    support::{Gnomon, http, ocsp_path, run},
};

const ROUNDS: u64 = 9;

/// Of load in a round.
const SECONDS: &str = "2s";

/// CRLs that are ready for a round.
const READY: u64 = 16;

/// Answers a second, and the latency in milliseconds that 99 % are within.
struct Load {
    rate: f64,
    latency: f64,
}

pub fn measure() {
    let appliance = Gnomon::demo();
    let dir = &appliance.dir;
    let ca = Ca::of(&dir.join("issuing.pem"), dir.path("issuing.key"));
    let url = sealed(&appliance);
    let script = dir.path("load.lua");
    fs::write(
        &script,
        "done = function(s, l) io.write('requests=' .. s.requests .. ' us=' .. s.duration .. ' p99=' .. \
         l:percentile(99) .. ' bad=' .. (s.errors.status + s.errors.read + s.errors.timeout + s.errors.connect) .. '\\n') end\n",
    )
    .unwrap();
    // What was never taken in has not made its memory ready.
    // The demo's own has a number made of the time.
    let number = now().get() + 1_000;
    ca.put(dir, "next", &List::new(number, 0..MILLION));
    take(&appliance, MILLION, &AtomicBool::new(true));
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    let (taken, mut times) = (AtomicUsize::new(0), Vec::new());
    for round in 1..=ROUNDS {
        let entries = |nth| MILLION + round * READY + nth;
        for nth in 0..READY {
            let list = List::new(number + round * READY + nth, 0..entries(nth));
            ca.put(dir, &format!("ready-{nth}"), &list);
        }
        idle.push(load(&url, &script));
        let on = AtomicBool::new(true);
        let (during, mut took) = std::thread::scope(|scope| {
            let taking = scope.spawn(|| {
                let mut took = Vec::new();
                for nth in 0..READY {
                    fs::rename(dir.join(format!("ready-{nth}")), dir.join("next")).unwrap();
                    let start = Instant::now();
                    if !take(&appliance, entries(nth), &on) {
                        break;
                    }
                    taken.fetch_add(1, Ordering::Relaxed);
                    took.push(start.elapsed().as_secs_f64());
                }
                took
            });
            let during = load(&url, &script);
            assert!(!taking.is_finished(), "too few CRLs for the time");
            on.store(false, Ordering::Relaxed);
            (during, taking.join().unwrap())
        });
        busy.push(during);
        times.append(&mut took);
        // The last one is finished in peace.
        std::thread::sleep(Duration::from_secs(1));
    }
    let of = |loads: &[Load], figure: fn(&Load) -> f64| median(loads.iter().map(figure).collect());
    let rates = [&idle, &busy].map(|loads| of(loads, |load| load.rate));
    let latencies = [&idle, &busy].map(|loads| of(loads, |load| load.latency));
    println!(
        "sealed answers: {:.0}/s, 99 % within {:.2} ms; while {} CRLs of a million entries were taken in, in {:.2} s each: \
         {:.0}/s, 99 % within {:.2} ms; {:.2} of the rate (at least 0.6 wanted), {:.2} times the latency (at most 2 wanted)",
        rates[0],
        latencies[0],
        taken.into_inner(),
        median(times),
        rates[1],
        latencies[1],
        rates[1] / rates[0],
        latencies[1] / latencies[0]
    );
}

/// Puts `next` in the place of the CRL and waits until one of so many entries is in force, unless `on` goes.
fn take(appliance: &Gnomon, entries: u64, on: &AtomicBool) -> bool {
    let dir = &appliance.dir;
    fs::rename(dir.join("next"), dir.join("issuing.crl")).unwrap();
    let request = b"POST /crl/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let said = http(appliance.admin, request);
    assert!(said.status < 300, "{said:?}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while on.load(Ordering::Relaxed) {
        if appliance.metric(&["gnomon_crl_entries"]) == entries as f64 {
            return true;
        }
        assert!(Instant::now() < deadline, "not in force");
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Where a sealed answer is.
fn sealed(appliance: &Gnomon) -> String {
    let path = ocsp_path(&appliance.dir, "good.pem");
    assert_eq!(appliance.get(&path, "").status, 200);
    appliance.url(&path)
}

fn load(url: &str, script: &str) -> Load {
    let options = ["-t1", "-c64", "-d", SECONDS, "-s", script, url];
    let said = run("wrk", &options);
    let number = |name: &str| -> f64 {
        let (_, rest) = said.split_once(name).unwrap_or_else(|| panic!("{said}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert_eq!(number("bad="), 0.0, "{said}");
    Load {
        rate: number("requests=") / number(" us=") * 1e6,
        latency: number("p99=") / 1e3,
    }
}
