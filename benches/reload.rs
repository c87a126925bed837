//! What clients notice of reloads: `cargo bench --bench reload`. wrk loads while the service reloads every second, each
//! time to another configuration, in rounds that alternate with rounds without reloads; the measure is the 99th
//! percentile of the latency. No request may fail.
//!
//! - sealed OCSP answers, and P-256 tokens, each over 8 connections of one thread of the client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

mod load;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use load::{Load, median, wrk};
use support::{ocsp_path, reloads::Edited, timestamp_query};

const ROUNDS: usize = 9;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let gnomon = Edited::start(|_| ());
    let first = gnomon.config();
    let second = first.replace("issued = [", "validity = \"9h\"\nissued = [");
    assert_ne!(first, second);
    let path = ocsp_path(&gnomon.dir, "good.pem");
    let (query, _) = timestamp_query(&gnomon.dir);
    let token = format!(
        "wrk.method = 'POST'\nlocal f = io.open('{query}', 'rb')\nwrk.body = f:read('*a')\nf:close()\n"
    );
    for (what, path, lines) in [
        ("sealed OCSP answer", path.as_str(), ""),
        ("P-256 token", "/tsa", token.as_str()),
    ] {
        let load = || wrk(&gnomon.url(path), 1, 8, lines);
        let (mut plain, mut reloaded) = (Vec::new(), Vec::new());
        let mut reloads = 0;
        for _ in 0..ROUNDS {
            plain.push(load());
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let reloading = scope.spawn(|| {
                    let mut count = 0;
                    for config in [&second, &first].into_iter().cycle() {
                        gnomon.write(config);
                        gnomon.hang_up("done");
                        count += 1;
                        std::thread::sleep(Duration::from_secs(1));
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    count
                });
                reloaded.push(load());
                done.store(true, Ordering::Relaxed);
                reloads += reloading.join().unwrap();
            });
        }
        let p99 = |loads: &[Load]| median(loads.iter().map(|load| load.p99).collect());
        let rate = |loads: &[Load]| median(loads.iter().map(|load| load.per_second).collect());
        println!(
            "{what}: p99 {:.2} ms without and {:.2} ms with {reloads} reloads, {:.2} times (under 2 wanted); {:.0} and {:.0} \
             a second; no request failed",
            p99(&plain),
            p99(&reloaded),
            p99(&reloaded) / p99(&plain),
            rate(&plain),
            rate(&reloaded)
        );
    }
}
