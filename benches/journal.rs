//! What the journal costs and how fast it is read: `cargo bench --bench journal`. Everything is a ratio against
//! something measured in the same minute.
//!
//! - commits of batches, against a plain loop of append and fdatasync with the same octets, and what of that is left
//!   for as many clients that record one token after another, encoding and hand-over between threads included;
//! - a start over 100 million records, of which there is what a start may read;
//! - proving and checking an inclusion in a tree of 10 million;
//! - `gnomon journal verify` over the same 10 million, against `sha256sum` over the same files.
//!
//! It needs 7 GB in the folder that TMPDIR names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use gnomon::{
    audit::{
        Recorder, TokenIssued,
        checkpoint::{Checkpoint, VerifierKey},
        proof::Proof,
        record::Encoded,
        tile::Tile,
        tree::{Tree, widths},
    },
    clock::Basis,
    io::journal::{
        self, Journal, Settings,
        disk::{Disk, Folder as DiskFolder},
        log::{Log, LogKey},
        reader::Stored,
        segments::Segments,
    },
    wire::algorithm::DigestAlgorithm,
};
use support::{Folder, run};

const GNOMON: &str = env!("CARGO_BIN_EXE_gnomon");

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    commits();
    start_over_a_hundred_million();
    ten_million();
}

fn token(number: u64) -> TokenIssued {
    let mut serial = [0; 16];
    serial[8..].copy_from_slice(&number.to_be_bytes());
    let gen_time = Duration::from_millis(1_800_000_000_000 + number / 20);
    TokenIssued {
        tsu: "ecdsa".into(),
        serial,
        policy: "1.3.6.1.4.1.99999.1.1".parse().unwrap(),
        gen_time,
        reading: gen_time,
        bound: Duration::from_millis(3),
        basis: Basis::Proven,
        imprint_algorithm: DigestAlgorithm::Sha256,
        imprint: vec![7; 32],
        nonce_digest: Some([5; 32]),
        token_digest: [9; 32],
        token: Vec::new().into(),
    }
}

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        log_key: dir.join("log.key"),
        origin: None,
        checkpoint_interval: Duration::from_secs(5),
        segment_size: 64 << 20,
        keep_tokens: false,
        warn_free: 1,
        stop_free: 1,
    }
}

fn commits() {
    const TIME: Duration = Duration::from_secs(2);
    for batch in [1usize, 16, 64, 256] {
        let (mut commits, mut clients, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        let records: Vec<_> = (0..batch)
            .map(|number| Encoded::of_token(&token(number as u64), &[0; 16], false))
            .collect();
        let octets = records.iter().map(|record| record.octets().len()).sum();
        for _ in 0..3 {
            let dir = Folder::new();
            let disk: Arc<dyn Disk> = Arc::new(DiskFolder::new(&dir));
            let (mut segments, _) = Segments::open(disk, 64 << 20, 0, |_| Ok(())).unwrap();
            commits.push(rate(TIME, || segments.append(&records).unwrap()));
            let mut file = File::create(dir.join("plain")).unwrap();
            let block = vec![7; octets];
            plain.push(rate(TIME, || {
                file.write_all(&block).unwrap();
                file.sync_data().unwrap();
            }));
            let dir = Folder::new();
            let opened = journal::open(&settings(&dir)).unwrap();
            clients.push(recorders(&opened.journal, batch, TIME));
            opened.threads.close();
        }
        let (commits, clients, plain) = (median(commits), median(clients), median(plain));
        println!(
            "batches of {batch} ({octets} octets): {commits:.0} commits/s; append and fdatasync: {plain:.0}/s; {:.2} of \
             it (at least 0.8 wanted); {batch} clients: {clients:.0} records/s, as {:.0} such batches",
            commits / plain,
            clients / batch as f64
        );
    }
}

/// Calls a second.
fn rate(time: Duration, mut call: impl FnMut()) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        call();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Records a second with so many tasks that record one after another, as the HTTP threads do.
fn recorders(journal: &Journal, count: usize, time: Duration) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let tasks = tokio::task::LocalSet::new();
    let start = Instant::now();
    let one = |journal: Journal| async move {
        let mut recorded = 0u64;
        while start.elapsed() < time {
            let coming = Recorder::<()>::announce(&journal);
            journal
                .record(coming, token(recorded), ())
                .await
                .unwrap()
                .release();
            recorded += 1;
        }
        recorded
    };
    let handles: Vec<_> = (0..count)
        .map(|_| tasks.spawn_local(one(journal.clone())))
        .collect();
    let total = runtime.block_on(tasks.run_until(async {
        let mut total = 0;
        for handle in handles {
            total += handle.await.unwrap();
        }
        total
    }));
    total as f64 / start.elapsed().as_secs_f64()
}

fn key(dir: &Path) -> Arc<LogKey> {
    let pem = run("openssl", &["genpkey", "-algorithm", "ed25519"]);
    fs::write(dir.join("log.key"), &pem).unwrap();
    run("chmod", &["600", dir.join("log.key").to_str().unwrap()]);
    let der = gnomon::wire::certificate::pem_blocks(pem.as_bytes(), "PRIVATE KEY").unwrap();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der[0]).unwrap();
    let public = VerifierKey::of("bench.example/log", &pair).unwrap();
    fs::write(dir.join("log.pub"), format!("{public}\n")).unwrap();
    Arc::new(LogKey { pair, public })
}

/// A journal of 100 million records as far as a start looks at it: the right edge of the tree with a checkpoint, and
/// a last segment of 64 MiB whose last 10,000 records no checkpoint covers yet. All that is before is not there.
fn start_over_a_hundred_million() {
    const SIZE: u64 = 100_000_000;
    let dir = Folder::new();
    let key = key(&dir);
    let disk: Arc<dyn Disk> = Arc::new(DiskFolder::new(&dir));
    let rows: Vec<_> = widths(SIZE).map(|width| vec![[7; 32]; width]).collect();
    let tree = Tree::from_edge(SIZE, rows.clone()).unwrap();
    for (level, row) in (0u8..).zip(&rows) {
        let index = SIZE >> (8 * (u32::from(level) + 1));
        let width = row.len() as u64;
        let tile = Tile {
            level: Some(level),
            index,
            width,
        };
        if width > 0 {
            disk.put(&format!("log/{tile}"), row.as_flattened())
                .unwrap();
        }
        if level == 0 && width > 0 {
            let entries = Tile {
                level: None,
                ..tile
            };
            disk.put(&format!("log/{entries}"), &[0, 1, 7].repeat(row.len()))
                .unwrap();
        }
    }
    let checkpoint = Checkpoint {
        origin: key.public.name().to_owned(),
        size: SIZE,
        root: tree.root(),
    };
    disk.put(
        "log/checkpoint",
        checkpoint.sign(&key.public, &key.pair).as_bytes(),
    )
    .unwrap();
    let (first, end) = (SIZE - 200_000, SIZE + 10_000);
    let name = format!("segments/{first:020}.gnj");
    disk.put(&name, &[]).unwrap();
    fill(&disk, first, end, first, |_| {});
    let mut settings = settings(&dir);
    settings.origin = Some("bench.example/log".into());
    let start = Instant::now();
    let opened = journal::open(&settings).unwrap();
    let taken = start.elapsed();
    let records = opened.journal.figures().records;
    opened.threads.close();
    assert_eq!(records, end);
    println!(
        "start over {end} records, the last 10000 without a checkpoint: {:.0} ms (seconds wanted)",
        taken.as_secs_f64() * 1e3
    );
}

/// Appends records in batches of 256.
fn fill(disk: &Arc<dyn Disk>, first: u64, end: u64, from: u64, mut each: impl FnMut(&Encoded)) {
    let limit = 64 << 20;
    let (mut segments, _) = Segments::open(Arc::clone(disk), limit, from, |_| Ok(())).unwrap();
    let mut number = first;
    while number < end {
        let batch: Vec<_> = (number..end.min(number + 256))
            .map(|number| Encoded::of_token(&token(number), &[3; 16], false))
            .collect();
        segments.append(&batch).unwrap();
        batch.iter().for_each(&mut each);
        number += batch.len() as u64;
    }
    segments.close().unwrap();
}

fn ten_million() {
    const SIZE: u64 = 10_000_000;
    let dir = Folder::new();
    let key = key(&dir);
    let disk: Arc<dyn Disk> = Arc::new(DiskFolder::new(&dir));
    let mut log = Log::empty(Arc::clone(&disk), Arc::clone(&key));
    fill(&disk, 0, SIZE, 0, |record| {
        log.add(record.public(), record.leaf()).unwrap()
    });
    log.checkpoint().unwrap();

    let stored = Stored::open(&dir, &[]).unwrap();
    let mut times = Vec::new();
    for number in (0..50).map(|step| step * 199_999 + 7) {
        let entry = Encoded::of_token(&token(number), &[3; 16], false);
        let start = Instant::now();
        let proof = stored
            .prove(number, entry.public(), &key.public)
            .unwrap()
            .to_string();
        Proof::parse(&proof).unwrap().check(&key.public).unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "proving and checking one of {SIZE} records: {:.2} ms, at most {:.2} ms (under 10 ms wanted)",
        median(times.clone()),
        times.into_iter().fold(0.0, f64::max)
    );

    let segments = fs::read_dir(dir.join("segments")).unwrap();
    let files: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
    let octets: u64 = files
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let start = Instant::now();
        run(GNOMON, &["journal", "verify", &dir.path("")]);
        ours.push(octets as f64 / start.elapsed().as_secs_f64() / 1e6);
        let start = Instant::now();
        let sums = Command::new("sha256sum").args(&files).output().unwrap();
        assert!(sums.status.success());
        theirs.push(octets as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "verify over {} MB of segments: {ours:.0} MB/s; sha256sum over the same files: {theirs:.0} MB/s; {:.2} of it \
         (at least 0.5 wanted)",
        octets / 1_000_000,
        ours / theirs
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
