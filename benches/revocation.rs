//! What CRLs of millions of entries cost: `cargo bench --bench revocation`, or with `-- --bench intake` (`start`,
//! `lookup`, `serving`) one part of it. The CRLs have random serials of 16 octets and reasons, are signed by `openssl
//! dgst`, and `openssl crl -verify` takes them; that is also what times are held against, in the same minute. What is
//! measured is a real feed over a file that is replaced: reading, verifying, comparing with the CRL before, keeping with
//! fsync, swapping. Memory is the kernel's count, in processes of their own (VmRSS, and VmHWM from the moment before).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

#[path = "revocation/lists.rs"]
mod lists;
#[path = "revocation/serving.rs"]
mod serving;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use gnomon::{
    io::feed::{Delta, Feed, FeedSettings, Place, Wanted, kept::Kept},
    revocation::{SerialStatus, Snapshot},
};
use lists::{Ca, List, now, serial};
use support::{Folder, run};

const MILLION: u64 = 1_000_000;

/// Runs of each thing that takes its time.
const ROUNDS: usize = 5;

/// Look-ups in one measurement, and measurements.
const BATCH: u64 = 100_000;
const BATCHES: u64 = 21;

/// Counts what is allocated, for look-ups shall need nothing.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["child", "intake", dir, lists @ ..] => return intake_child(Path::new(dir), lists),
        ["child", "start", dir] => return start_child(Path::new(dir)),
        _ => {}
    }
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !arguments.contains(&"--bench") {
        return;
    }
    let parts: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |part| parts.is_empty() || parts.contains(&&part);
    if wanted("intake") {
        intake();
    }
    if wanted("start") {
        start();
    }
    if wanted("lookup") {
        lookup();
    }
    if wanted("serving") {
        serving::measure();
    }
}

/// One million, and a delta over it, against `openssl crl -verify`; then ten millions.
fn intake() {
    let dir = Folder::new();
    let ca = Ca::new(&dir);
    let size = ca.put(&dir, "million", &List::new(2, 0..MILLION));
    ca.put(&dir, "next", &List::new(3, 1_000..MILLION + 1_000));
    ca.put(&dir, "other", &List::new(4, 2 * MILLION..3 * MILLION));
    let delta = List {
        base: Some(2),
        ..List::new(9, 5 * MILLION..5 * MILLION + 1_000)
    };
    ca.put(&dir, "1000.delta", &delta);
    println!(
        "a CRL of {MILLION} entries: {:.1} MB ({:.1} octets an entry)",
        size as f64 / 1e6,
        size as f64 / MILLION as f64
    );
    let mut theirs = Vec::new();
    let mut ours = Vec::new();
    for _ in 0..ROUNDS {
        theirs.push(openssl(&dir, "million"));
        ours.push(intaken(&dir, &["million", "1000.delta"]));
        ours.last_mut().unwrap().extend(
            intaken(&dir, &["million", "next", "other"])
                .into_iter()
                .skip(1),
        );
    }
    let openssl = median(theirs);
    let of = |what: usize, figure: fn(&Taken) -> f64| {
        median(ours.iter().map(|taken| figure(&taken[what])).collect())
    };
    let time = |what| of(what, |taken| taken.seconds);
    println!(
        "  from the file to the swap: {:.3} s; `openssl crl -verify`: {openssl:.3} s; {:.3} of it (at most 0.2 wanted)",
        time(0),
        time(0) / openssl
    );
    println!(
        "  resident memory afterwards: {:.1} octets an entry (at most 40 wanted)",
        of(0, |taken| taken.grown) / MILLION as f64
    );
    for (what, name) in [
        (0, "the first million"),
        (2, "a thousand of a million replaced"),
        (3, "a million others in their place"),
    ] {
        println!(
            "  {name}: {:.3} s, at the most {:.1} MB resident, {:.2} times the file (below 2.5 wanted); \
             {:.1} MB more than before",
            time(what),
            of(what, |taken| taken.peak) / 1e6,
            of(what, |taken| taken.peak) / size as f64,
            of(what, |taken| taken.peak - taken.before) / 1e6,
        );
    }
    println!(
        "  a delta of 1000 over it: {:.4} s, {:.3} of the base's time (below 0.1 wanted)",
        time(1),
        time(1) / time(0)
    );
    let ten = ca.put(&dir, "ten", &List::new(2, 0..10 * MILLION));
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        one.push(intaken(&dir, &["million"])[0].seconds);
        many.push(intaken(&dir, &["ten"])[0].seconds);
    }
    let (one, many) = (median(one), median(many));
    println!(
        "  10 millions ({:.0} MB): {many:.2} s, {:.1} times a million's {one:.3} s (at most 11 wanted)",
        ten as f64 / 1e6,
        many / one
    );
}

/// From the start of a process until it could answer, with a CRL that an earlier one kept.
fn start() {
    let dir = Folder::new();
    let ca = Ca::new(&dir);
    for (name, count) in [("million", MILLION), ("ten", 10 * MILLION)] {
        ca.put(&dir, name, &List::new(2, 0..count));
        intaken(&dir, &[name]);
        fs::rename(dir.join("kept"), dir.join(name).with_extension("kept")).unwrap();
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (name, times) in ["million", "ten"].into_iter().zip(&mut times) {
            fs::rename(dir.join(name).with_extension("kept"), dir.join("kept")).unwrap();
            place(&dir, name, "list");
            times.push(child(&["start", &dir.path("")])[0][0]);
            fs::rename(dir.join("kept"), dir.join(name).with_extension("kept")).unwrap();
        }
    }
    let [one, ten] = times.map(median);
    println!(
        "from the start of a process until it can answer: {one:.3} s with a million, {ten:.2} s with 10 millions, {:.1} times \
         (at most 11 wanted)",
        ten / one
    );
}

fn lookup() {
    const COUNT: u64 = 10 * MILLION;
    let dir = Folder::new();
    let ca = Ca::new(&dir);
    ca.put(&dir, "list", &List::new(2, 0..COUNT));
    let feed = open(&dir);
    let snapshot = feed.snapshot().load_full();
    println!("a status among {COUNT} entries:");
    // What nothing that reads a record of its own can be faster than: a read from memory of that size, and nothing else.
    let plain = vec![[1_u8; 28]; COUNT as usize];
    for (name, from, wanted) in [("hit", 0, 0.7), ("miss", COUNT, 0.5)] {
        let (mut allocations, mut reads) = (0, Vec::new());
        let times = (0..BATCHES)
            .map(|round| {
                let asked: Vec<_> = (0..BATCH)
                    .map(|n| serial(round * BATCH + n) as u64 % COUNT + from)
                    .map(|number| serial(number).to_be_bytes())
                    .collect();
                let (before, start) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
                let found = asked
                    .iter()
                    .filter(|serial| is_revoked(&snapshot, *serial))
                    .count();
                let time = start.elapsed().as_nanos() as f64 / BATCH as f64 / 1e3;
                allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
                assert_eq!(black_box(found) == asked.len(), from == 0);
                let start = Instant::now();
                let sum = (0..BATCH).fold(0, |sum, n| {
                    // Each waits for the one before.
                    let place = serial(round * BATCH + n + sum) as u64 % COUNT;
                    u64::from(plain[place as usize][0])
                });
                reads.push(start.elapsed().as_nanos() as f64 / BATCH as f64 / 1e3);
                assert_eq!(black_box(sum), 1);
                time
            })
            .collect();
        let (time, read) = (median(times), median(reads));
        println!(
            "  {name}: {time:.3} us (below {wanted} wanted), {:.2} times a random read from as much memory ({read:.3} us); \
             {allocations} allocations in {} look-ups",
            time / read,
            BATCH * BATCHES
        );
    }
}

fn is_revoked(snapshot: &Snapshot, serial: &[u8]) -> bool {
    let finding = snapshot.look_up(serial, now());
    matches!(finding.status, SerialStatus::Revoked { .. })
}

/// What an intake took.
struct Taken {
    seconds: f64,
    /// Resident memory in octets before, the most during it, and the growth over it.
    before: f64,
    peak: f64,
    grown: f64,
}

/// Has a fresh process take these one after the other.
fn intaken(dir: &Folder, lists: &[&str]) -> Vec<Taken> {
    let _ = fs::remove_dir_all(dir.join("kept"));
    let said = child(&[&["intake", &dir.path("")][..], lists].concat());
    let taken = said.into_iter().map(|figures| Taken {
        seconds: figures[0],
        before: figures[1],
        peak: figures[2],
        grown: figures[3] - figures[1],
    });
    taken.collect()
}

fn intake_child(dir: &Path, lists: &[&str]) {
    place(dir, "first", "list");
    let _ = fs::remove_file(dir.join("delta"));
    let mut feed = open(dir);
    // What is done once in a process shall be done.
    place(dir, "empty", "list");
    refresh(&mut feed);
    for name in lists {
        place(
            dir,
            name,
            if name.ends_with("delta") {
                "delta"
            } else {
                "list"
            },
        );
        // From here on VmHWM is counted anew (proc(5)).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("VmRSS:");
        let start = Instant::now();
        refresh(&mut feed);
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{seconds} {before} {} {}",
            memory("VmHWM:"),
            memory("VmRSS:")
        );
    }
    let known = |number| is_revoked(&feed.snapshot().load(), &serial(number).to_be_bytes());
    let retained = feed.overview();
    assert!(known(500) && !known(9 * MILLION + MILLION), "{retained}");
}

/// Puts a list where the feed looks, as a whole.
fn place(dir: &Path, name: &str, at: &str) {
    let new = dir.join("new");
    let _ = fs::remove_file(&new);
    fs::hard_link(dir.join(name), &new).unwrap();
    fs::rename(&new, dir.join(at)).unwrap();
}

fn start_child(dir: &Path) {
    let start = Instant::now();
    let feed = open(dir);
    let seconds = start.elapsed().as_secs_f64();
    assert!(is_revoked(
        &feed.snapshot().load(),
        &serial(0).to_be_bytes()
    ));
    println!("{seconds}");
}

/// A feed over `list` and `delta` in a folder that also has the CA's certificate.
fn open(dir: &Path) -> Feed {
    let delta = dir.join("delta");
    Feed::open(FeedSettings {
        name: "ca".into(),
        issuer: lists::certificate(&dir.join("ca.pem")),
        crls: vec![Wanted {
            places: vec![Place::File(dir.join("list"))],
            delta: Delta::At(vec![Place::File(delta)]),
            distribution_point: None,
        }],
        issued: Vec::<PathBuf>::new().into(),
        kept: Kept::new(dir.join("kept")),
        fetch_time: Duration::from_secs(9),
        largest: 1 << 30,
        compromised: None,
    })
    .unwrap()
}

fn refresh(feed: &mut Feed) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (_, errors) = runtime.unwrap().block_on(feed.refresh(Some(now())));
    feed.swap();
    let absent = |text: &str| text.contains("delta: cannot be read");
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(errors.iter().all(|text| absent(text)), "{errors:?}");
}

/// Runs this program again for a part that wants a process of its own; gives the figures it prints, line by line.
fn child(arguments: &[&str]) -> Vec<Vec<f64>> {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .arg("child")
        .args(arguments)
        .output()
        .unwrap();
    let text = support::text(&output);
    assert!(output.status.success(), "{text}");
    let figures = |line: &str| {
        line.split(' ')
            .map(|figure| figure.parse().unwrap())
            .collect()
    };
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(figures)
        .collect()
}

/// Seconds of `openssl crl -verify`.
fn openssl(dir: &Folder, list: &str) -> f64 {
    let (ca, list) = (dir.path("ca.pem"), dir.path(list));
    let start = Instant::now();
    let said = run(
        "openssl",
        &[
            "crl", "-verify", "-noout", "-inform", "DER", "-CAfile", &ca, "-in", &list,
        ],
    );
    let seconds = start.elapsed().as_secs_f64();
    assert!(said.contains("verify OK"), "{said}");
    seconds
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line of /proc/self/status, in octets.
fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<f64>().unwrap() * 1024.0
}
