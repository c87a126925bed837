//! Feeds over reloads that come into force, and over those that do not.

use std::{path::Path, time::Duration};

use super::*;
use crate::{
    io::{
        feed::{Delta, IssuedSources, Place, Wanted, kept::Kept, pushed::PushError, tests::Folder},
        http_client, journal,
        kernel_clock::KernelClock,
        metrics::Metrics,
    },
    revocation::{
        SerialStatus, Serials,
        testing::{Ca, Draft, entry},
    },
};

struct Stage {
    followers: Followers,
    world: World,
    _journal: journal::Threads,
    ca: Ca,
    folder: Folder,
}

impl Stage {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let opened = journal::testing::open(&folder.0);
        Self {
            followers: Followers::default(),
            world: World {
                journal: opened.journal.clone(),
                metrics: Arc::new(Metrics::new().unwrap()),
                // Never proven, since the drafts' dates are over.
                clock: Arc::new(KernelClock::new(Duration::ZERO)),
                store: Store::open(&folder.0.join("state")).0,
            },
            _journal: opened.threads,
            ca: Ca::new("A"),
            folder,
        }
    }

    fn put(&self, name: &str, number: u8, serial: u8) {
        let draft = &[entry(&[serial], None)];
        let crl = self.ca.crl(&Draft::new(draft).number(&[number]));
        self.folder.put(name, crl);
    }

    fn settings(&self, crl: &str) -> FeedSettings {
        let path = |name: &str| self.folder.0.join(name);
        FeedSettings {
            name: "A".into(),
            issuer: self.ca.certificate.clone(),
            crls: vec![Wanted {
                places: vec![Place::File(path(crl))],
                delta: Delta::None,
                distribution_point: None,
            }],
            issued: IssuedSources {
                pushed: Some(path("kept/pushed.issued")),
                ..IssuedSources::default()
            },
            kept: Kept::new(path("kept")),
            fetch_time: Duration::from_secs(9),
            largest: 1 << 20,
            compromised: None,
        }
    }

    fn begin(&mut self, opened: Opened) {
        let marks = Marks::default();
        self.followers
            .begin(vec![opened], &self.world, &marks)
            .unwrap();
    }

    fn push(&self, serial: &[u8]) -> Result<(), PushError> {
        let serials = Serials::parse(serial).unwrap();
        let pushes = self.followers.pushes("A").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(pushes.push(serials))
    }
}

fn says(snapshot: &ArcSwap<Snapshot>, serial: u8) -> SerialStatus {
    // 2026-01-02, within the drafts' dates.
    let now = Seconds::new(20_455 * 86_400);
    snapshot.load().status(&[serial], now)
}

fn is_revoked(snapshot: &ArcSwap<Snapshot>, serial: u8) -> bool {
    matches!(says(snapshot, serial), SerialStatus::Revoked { .. })
}

fn wait_until(what: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain");
}

#[test]
fn what_is_unchanged_goes_on_and_what_is_changed_takes_over_all_that_was_known() {
    let mut stage = Stage::new("followers");
    stage.put("crl", 1, 1);
    let first = stage.followers.open(stage.settings("crl")).unwrap();
    let snapshot = Arc::clone(first.snapshot());
    stage.begin(first);
    stage.push(b"07").unwrap();
    stage.put("crl", 2, 2);
    wait_until(|| is_revoked(&snapshot, 2));
    let same = stage.followers.open(stage.settings("crl")).unwrap();
    assert!(!same.is_new() && Arc::ptr_eq(same.snapshot(), &snapshot));
    stage.begin(same);
    assert_eq!(stage.followers.settle(), [""; 0]);
    stage.push(b"08").unwrap();
    assert_eq!(says(&snapshot, 8), SerialStatus::Issued);
    // Another file with an older CRL: what was accepted before stays.
    stage.put("other", 1, 9);
    let changed = stage.followers.open(stage.settings("other")).unwrap();
    let other = Arc::clone(changed.snapshot());
    assert!(changed.is_new() && is_revoked(&snapshot, 2));
    stage.begin(changed);
    let gone = stage.followers.settle();
    assert!(gone.len() == 1 && Path::new(&gone[0]).ends_with("crl"));
    assert!(is_revoked(&other, 2) && !is_revoked(&other, 9));
    assert_eq!(says(&other, 7), SerialStatus::Issued);
    stage.push(b"0a").unwrap();
    assert_eq!(says(&other, 10), SerialStatus::Issued);
    stage.put("other", 3, 3);
    wait_until(|| is_revoked(&other, 3));
    assert!(!is_revoked(&snapshot, 3), "the old one is left alone");
    stage.followers.stop();
}

#[test]
fn a_feed_that_was_halted_in_vain_goes_on() {
    let mut stage = Stage::new("followers-resume");
    stage.put("crl", 1, 1);
    let first = stage.followers.open(stage.settings("crl")).unwrap();
    let snapshot = Arc::clone(first.snapshot());
    stage.begin(first);
    stage.push(b"07").unwrap();
    stage.folder.put("crl", "spoilt");
    let failures = |count: u32| {
        let text = String::from_utf8(stage.world.metrics.text()).unwrap();
        let mut lines = text.lines();
        let wanted = format!(" {count}");
        let name = "gnomon_crl_failures_total{";
        lines.any(|line| line.starts_with(name) && line.ends_with(&wanted))
    };
    wait_until(|| failures(1));
    let broken = FeedSettings {
        compromised: Some(Seconds::EPOCH),
        largest: 1,
        ..stage.settings("none")
    };
    assert!(stage.followers.open(broken).is_err());
    assert!(is_revoked(&snapshot, 1), "halted, it still answers");
    let world = stage.world.clone();
    assert!(stage.followers.resume(&world) && !stage.followers.resume(&world));
    stage.push(b"08").unwrap();
    assert_eq!(says(&snapshot, 7), SerialStatus::Issued);
    assert_eq!(says(&snapshot, 8), SerialStatus::Issued);
    stage.put("crl", 2, 2);
    wait_until(|| is_revoked(&snapshot, 2));
    assert!(failures(1), "counted once");
    stage.followers.stop();
}

#[test]
fn what_is_in_force_is_on_the_disk_before_another_feed_takes_over() {
    let mut stage = Stage::new("followers-unkept");
    stage.put("crl", 1, 1);
    let settings = stage.settings("crl");
    // As a disk that takes nothing.
    let kept = settings.kept.path(&settings.issuer, "", 0);
    let blocked = kept.with_extension("crl.new");
    std::fs::create_dir_all(&blocked).unwrap();
    let first = stage.followers.open(settings).unwrap();
    let snapshot = Arc::clone(first.snapshot());
    stage.begin(first);
    stage.put("crl", 2, 2);
    wait_until(|| is_revoked(&snapshot, 2));
    stage.put("other", 1, 9);
    let errors = stage.followers.open(stage.settings("other")).unwrap_err();
    let text = errors[0].to_string();
    assert!(text.contains("in force but cannot be kept"), "{text}");
    let world = stage.world.clone();
    assert!(stage.followers.resume(&world) && is_revoked(&snapshot, 2));
    std::fs::remove_dir(blocked).unwrap();
    let changed = stage.followers.open(stage.settings("other")).unwrap();
    let other = Arc::clone(changed.snapshot());
    stage.begin(changed);
    stage.followers.settle();
    assert!(is_revoked(&other, 2) && !is_revoked(&other, 9));
    stage.followers.stop();
}

#[test]
fn an_issuer_that_is_answered_for_is_not_changed_into_one_without_a_crl() {
    let mut stage = Stage::new("followers-bare");
    let url = http_client::url("http://127.0.0.1:9/other.crl").unwrap();
    let elsewhere = |stage: &Stage, point: Option<&str>| {
        let mut settings = stage.settings("crl");
        settings.crls[0].places = vec![Place::Url(url.clone())];
        settings.crls[0].distribution_point = point.map(str::to_owned);
        settings
    };
    // Of one that never had a CRL nothing is lost.
    let first = stage.followers.open(elsewhere(&stage, None)).unwrap();
    stage.begin(first);
    stage.put("crl", 1, 1);
    let second = stage.followers.open(stage.settings("crl")).unwrap();
    let snapshot = Arc::clone(second.snapshot());
    stage.begin(second);
    stage.followers.settle();
    wait_until(|| is_revoked(&snapshot, 1));
    let point = Some("http://127.0.0.1:9/renamed");
    let bare = stage.followers.open(elsewhere(&stage, point)).unwrap();
    let (marks, world) = (Marks::default(), stage.world.clone());
    let begun = stage.followers.begin(vec![bare], &world, &marks);
    let Err(BeginError::Missing(missing)) = begun else {
        panic!("{begun:?}");
    };
    let text = missing[0].1.to_string();
    assert!(
        missing[0].0 == "A" && text.contains("has not come yet"),
        "{text}"
    );
    assert!(stage.followers.resume(&world) && is_revoked(&snapshot, 1));
    // What was kept stands in until the URL has been asked.
    let moved = stage.followers.open(elsewhere(&stage, None)).unwrap();
    let moved_to = Arc::clone(moved.snapshot());
    stage.begin(moved);
    assert!(is_revoked(&moved_to, 1));
    stage.followers.stop();
}

#[test]
fn what_keeps_pushed_serials_stays_lost_however_often_it_is_asked_for() {
    let mut stage = Stage::new("followers-lost");
    stage.put("crl", 1, 1);
    let first = stage.followers.open(stage.settings("crl")).unwrap();
    let snapshot = Arc::clone(first.snapshot());
    stage.begin(first);
    stage.push(b"07").unwrap();
    // As a sync that failed leaves it.
    let accepting = stage.followers.running[0].accepting.take();
    accepting.unwrap().stop();
    let changed = || FeedSettings {
        compromised: Some(Seconds::EPOCH),
        ..stage.settings("crl")
    };
    let (changed, world) = ([changed(), changed()], stage.world.clone());
    for changed in changed {
        let errors = stage.followers.open(changed).unwrap_err();
        let text = errors[0].to_string();
        assert!(
            text.contains("what keeps pushed serials has failed"),
            "{text}"
        );
        assert!(stage.followers.resume(&world));
        assert_eq!(stage.push(b"08"), Err(PushError::NotKept));
    }
    assert_eq!(says(&snapshot, 7), SerialStatus::Issued);
    stage.put("crl", 2, 2);
    wait_until(|| is_revoked(&snapshot, 2));
    stage.followers.stop();
}

#[test]
fn who_asks_often_is_looked_for_once() {
    let mut stage = Stage::new("followers-asked");
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/crl", server.local_addr().unwrap());
    let requests = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let asked = Arc::clone(&requests);
    std::thread::spawn(move || {
        // Nobody gets an answer, and each only after a while.
        for client in server.incoming() {
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(200));
            drop(client);
        }
    });
    let mut settings = stage.settings("crl");
    settings.crls[0].places = vec![Place::Url(http_client::url(&url).unwrap())];
    let opened = stage.followers.open(settings).unwrap();
    stage.begin(opened);
    let orders = stage.followers.orders();
    let asked = || requests.load(std::sync::atomic::Ordering::Relaxed);
    wait_until(|| asked() > 0);
    let before = asked();
    (0..50).for_each(|_| orders.look());
    wait_until(|| asked() > before);
    std::thread::sleep(Duration::from_secs(3));
    stage.followers.stop();
    // A client may try a second time where it is hung up on.
    assert!(asked() <= before + 6, "{} more", asked() - before);
}
