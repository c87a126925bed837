//! What issued serials cost: `cargo bench --bench issued`. 10 million random serials of 16 octets, each with its
//! notAfter: memory as the kernel counts it (resident pages, from /proc/self/statm), the time to build the set, and
//! medians of look-ups of serials that are in it and that are not, in an order that no cache knows; what one more serial
//! costs when so many are there, and a line of a list to read. Then the same for serials that follow one another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use std::{fs, hint::black_box, time::Instant};

use gnomon::{
    revocation::{Issued, LastDay, Serials},
    wire::time::Seconds,
};

const COUNT: u64 = 10_000_000;

/// Look-ups in one measurement, and measurements.
const BATCH: u64 = 100_000;
const ROUNDS: u64 = 21;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    measure("random serials", random);
    measure("serials that follow one another", |number| {
        u128::from(number) | 0x4000_0000_0000_0000 << 64
    });
}

fn measure(what: &str, serial: fn(u64) -> u128) {
    println!("{what}: {COUNT} of 16 octets, each with a notAfter");
    let before = resident();
    let start = Instant::now();
    let mut serials = Serials::default();
    for number in 0..COUNT {
        serials.add(&serial(number).to_be_bytes(), not_after(number));
    }
    let collected = start.elapsed();
    let start = Instant::now();
    let issued = Issued::new(serials);
    let built = start.elapsed();
    let taken = resident() - before;
    assert_eq!(issued.len() as u64, COUNT);
    println!(
        "  memory: {:.1} MB, {:.2} octets a serial; at most {:.1} MB while it was built",
        taken as f64 / 1e6,
        taken as f64 / COUNT as f64,
        (peak() - before) as f64 / 1e6
    );
    println!("  collecting {collected:.2?}, building {built:.2?}");
    let ask = |from: u64, expected: bool| {
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|round| {
                let asked: Vec<_> = (0..BATCH)
                    .map(|n| random(round * BATCH + n) as u64 % COUNT + from)
                    .map(|number| serial(number).to_be_bytes())
                    .collect();
                let start = Instant::now();
                let found = asked.iter().filter(|serial| issued.contains(*serial));
                assert_eq!(black_box(found.count()) == asked.len(), expected);
                start.elapsed().as_nanos() as f64 / BATCH as f64
            })
            .collect();
        median(&mut times)
    };
    println!(
        "  look-up: hit {:.0} ns, miss {:.0} ns",
        ask(0, true),
        ask(COUNT, false)
    );
    let mut more = issued.clone();
    let start = Instant::now();
    const ADDED: u64 = 100_000;
    for number in COUNT..COUNT + ADDED {
        let mut serials = Serials::default();
        serials.add(&serial(number).to_be_bytes(), not_after(number));
        more = more.plus(serials);
    }
    let each = start.elapsed().as_nanos() as f64 / ADDED as f64 / 1e3;
    println!("  {ADDED} more, one by one: {each:.1} us each");
    assert_eq!(more.len() as u64, COUNT + ADDED);
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let line = |n| format!("{:032x} 2027-03-01\n", serial(round * BATCH + n));
            let list: String = (0..BATCH).map(line).collect();
            let start = Instant::now();
            black_box(Serials::parse(list.as_bytes()).unwrap());
            start.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect();
    println!("  reading a line of a list: {:.0} ns", median(&mut times));
}

/// Positive, and always of 16 octets: SplitMix64 twice, and a bit that keeps a leading zero octet.
fn random(number: u64) -> u128 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let high = mix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (u128::from(high) << 64 | u128::from(mix(!high))) >> 1 | 1 << 119
}

fn not_after(number: u64) -> LastDay {
    Seconds::new(1_800_000_000 + number * 7).into()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// The most there ever was.
fn peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}
