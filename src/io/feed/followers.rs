//! All feeds of the appliance, over its reloads: [`Followers::open`] gives a new configuration the feed of each issuer,
//! which is the one that runs where nothing of it is to change, [`Followers::begin`] has the new ones followed, and
//! [`Orders`] tells all of them what to do. No two feeds of one CA ever run side by side.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, PoisonError},
};

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use super::{
    Feed, FeedError, FeedSettings,
    follow::{Following, Line, Order, World, follow},
    kept,
    marks::Marks,
    pushed::{self, Accepting, Pushes},
    reader::run_behind_everything,
};
use crate::{
    io::store::Store,
    revocation::{Shortage, Snapshot},
    service::code,
    wire::{certificate::Certificate, time::Seconds},
};

/// Entries of the ledger that are shown.
const SHOWN: usize = 50;

/// The feeds that run.
#[derive(Debug, Default)]
pub struct Followers {
    running: Vec<Running>,
    /// Those that stand in no place of the configuration to come, and run until it is in force.
    leaving: Vec<Running>,
    /// Those that stand still, since another of the same CA is to follow.
    halted: Vec<Halted>,
    store: Store,
}

#[derive(Debug)]
struct Running {
    settings: FeedSettings,
    snapshot: Arc<ArcSwap<Snapshot>>,
    following: Following,
    pushes: Option<Pushes>,
    /// Who takes them; none where an earlier one could not keep them, and they are refused.
    accepting: Option<Accepting>,
}

#[derive(Debug)]
struct Halted {
    settings: FeedSettings,
    feed: Feed,
    pushes: Option<Pushes>,
}

/// Why feeds are not followed.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error(transparent)]
    Threads(#[from] io::Error),
    /// By issuer.
    #[error("issuers would no longer be answered for")]
    Missing(Vec<(String, FeedError)>),
}

/// One issuer's feed as a configuration wants it.
#[derive(Debug)]
pub struct Opened {
    settings: FeedSettings,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// None: it runs already.
    feed: Option<Box<Feed>>,
}

impl Opened {
    pub const fn issuer(&self) -> &Certificate {
        &self.settings.issuer
    }

    /// What answers read from.
    pub const fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// Whether it does not run yet.
    pub const fn is_new(&self) -> bool {
        self.feed.is_some()
    }
}

/// Tells the threads what to do, and what they have.
#[derive(Debug, Clone)]
pub struct Orders {
    feeds: Arc<[Arc<Line>]>,
    store: Store,
}

impl Orders {
    /// Has every source looked at, whenever it would be due.
    pub fn look(&self) {
        for line in &*self.feeds {
            let _ = line.orders.send(Order::Look);
        }
    }

    /// Lets the CRL numbers of an issuer go back, those of one source or of all.
    pub fn reset(&self, issuer: &str, source: Option<String>) {
        match self.feeds.iter().find(|line| line.issuer == issuer) {
            Some(line) => {
                let _ = line.orders.send(Order::Reset { source });
            }
            None => tracing::error!(
                code = code::MARKS_LOWERED,
                "`gnomon crl reset-mark`: there is no issuer `{issuer}` here"
            ),
        }
    }

    /// What every source has, and the last entries of the ledger.
    pub fn overview(&self) -> Value {
        let show = |line: &Arc<Line>| {
            let overview = line.overview.lock();
            overview.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let issuers: Vec<_> = self.feeds.iter().map(show).collect();
        json!({ "issuers": issuers, "ledger": self.store.ledger(SHOWN) })
    }
}

impl Followers {
    /// Whether there are none, as before the start.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The feed for these settings: the one that runs, or one that is opened. Before that, one of the same CA is halted,
    /// so that the two do not follow each other's files; what it last had in force stays so for whoever reads it.
    pub fn open(&mut self, settings: FeedSettings) -> Result<Opened, Vec<FeedError>> {
        let mut running = self.running.iter();
        if let Some(same) = running.find(|running| running.settings == settings) {
            return Ok(Opened {
                snapshot: Arc::clone(&same.snapshot),
                settings,
                feed: None,
            });
        }
        let ca = kept::of_issuer(&settings.issuer);
        let mut running = self.running.iter();
        let its = running.position(|running| kept::of_issuer(&running.settings.issuer) == ca);
        if let Some(its) = its {
            let (halted, trouble) = self.running.remove(its).halt();
            self.halted.extend(halted);
            if let Some(trouble) = trouble {
                return Err(vec![trouble]);
            }
        }
        let feed = match self.running.is_empty() && self.halted.is_empty() {
            true => Feed::open(settings.clone())?,
            false => open_beside_others(settings.clone())?,
        };
        Ok(Opened {
            snapshot: Arc::clone(feed.snapshot()),
            settings,
            feed: Some(Box::new(feed)),
        })
    }

    /// Has what was opened followed, unless an issuer has lost a CRL by it. `marks` is how far CRLs have come by store and
    /// journal. Where that fails nothing of it runs; then, as after a failed [`Followers::open`], [`Followers::resume`]
    /// brings back what was.
    pub fn begin(
        &mut self,
        mut opened: Vec<Opened>,
        world: &World,
        marks: &Marks,
    ) -> Result<(), BeginError> {
        let mut marks = marks.clone();
        for halted in &self.halted {
            for (scope, mark) in halted.feed.judge.marks.iter() {
                marks.raise(scope.clone(), mark.clone());
            }
        }
        self.store = world.store.clone();
        let mut missing = Vec::new();
        for one in &mut opened {
            let Some(feed) = &mut one.feed else { continue };
            feed.recall(&world.store, &marks);
            let lost = self.lost_by(feed).into_iter();
            missing.extend(lost.map(|error| (one.settings.name.clone(), error)));
        }
        if !missing.is_empty() {
            return Err(BeginError::Missing(missing));
        }
        let (mut begun, mut new) = (Vec::new(), Vec::new());
        for Opened { settings, feed, .. } in opened {
            let Some(feed) = feed else {
                let mut running = self.running.iter();
                let at = running.position(|running| running.settings == settings);
                begun.extend(at.map(|at| self.running.remove(at)));
                continue;
            };
            new.push(kept::of_issuer(&settings.issuer));
            match Running::begin(settings, *feed, world) {
                Ok(running) => begun.push(running),
                Err(error) => {
                    let is_new =
                        |one: &Running| new.contains(&kept::of_issuer(&one.settings.issuer));
                    let (new, old): (Vec<_>, Vec<_>) = begun.into_iter().partition(is_new);
                    new.into_iter().for_each(|one| drop(one.stop()));
                    self.running.extend(old);
                    return Err(error.into());
                }
            }
        }
        self.leaving = std::mem::replace(&mut self.running, begun);
        Ok(())
    }

    /// What this feed has no CRL of, where the one that was halted for it had all.
    fn lost_by(&self, new: &mut Feed) -> Vec<FeedError> {
        let ca = kept::of_issuer(&new.judge.issuer);
        let mut halted = self.halted.iter();
        let old = halted.find(|old| kept::of_issuer(&old.settings.issuer) == ca);
        if old.is_none_or(|old| lacks_crls(&old.feed)) || !lacks_crls(new) {
            return Vec::new();
        }
        // Why, as far as it is known.
        let mut all = std::mem::take(&mut new.warnings);
        let without = new.slots.iter().filter(|slot| slot.part.is_none());
        all.extend(without.map(|slot| FeedError::NotYet {
            place: slot.base.name(),
        }));
        all
    }

    /// Ends what has no place in the configuration that is in force now; gives the sources that are no longer followed.
    pub fn settle(&mut self) -> Vec<String> {
        let leaving = std::mem::take(&mut self.leaving);
        leaving.iter().for_each(|one| one.following.end());
        let mut gone: BTreeSet<_> = leaving
            .into_iter()
            .filter_map(Running::stop)
            .chain(self.halted.drain(..).map(|halted| halted.feed))
            .flat_map(|feed| feed.source_names())
            .collect();
        for running in &self.running {
            for wanted in &running.settings.crls {
                for name in wanted.names() {
                    gone.remove(&name);
                }
            }
        }
        self.store.flush();
        gone.into_iter().collect()
    }

    /// Has those followed again that were halted for a configuration that did not come into force; whether there were any.
    pub fn resume(&mut self, world: &World) -> bool {
        let any = !self.halted.is_empty();
        for Halted {
            settings,
            feed,
            pushes,
        } in self.halted.drain(..)
        {
            // What was taken when it was halted.
            feed.swap();
            let name = settings.name.clone();
            match Running::begin(settings, feed, world) {
                Ok(mut running) => {
                    // Where they cannot be kept they are refused, and not unheard of.
                    running.pushes = running.pushes.or(pushes);
                    self.running.push(running);
                }
                Err(error) => tracing::error!(
                    code = code::READER_DEAD,
                    "issuer `{name}`: its CRLs are no longer followed: {error}; start gnomon anew"
                ),
            }
        }
        any
    }

    pub fn orders(&self) -> Orders {
        let lines = self.running.iter().map(|one| one.following.line());
        Orders {
            feeds: lines.cloned().collect(),
            store: self.store.clone(),
        }
    }

    /// Where serials of the issuer of this name are pushed to, if that is wanted.
    pub fn pushes(&self, name: &str) -> Option<&Pushes> {
        let mut running = self.running.iter();
        let running = running.find(|running| running.settings.name == name)?;
        running.pushes.as_ref()
    }

    /// Waits until the threads have ended.
    pub fn stop(&mut self) {
        let all = std::mem::take(&mut self.running).into_iter();
        let all: Vec<_> = all.chain(std::mem::take(&mut self.leaving)).collect();
        all.iter().for_each(|running| running.following.end());
        all.into_iter().for_each(|running| drop(running.stop()));
        self.store.flush();
    }
}

/// Whether it cannot answer before a CRL has come.
fn lacks_crls(feed: &Feed) -> bool {
    let shortage = feed.snapshot().load().shortage(Seconds::EPOCH);
    matches!(shortage, Some(Shortage::Missing { .. }))
}

/// Taking in a million entries must not slow down who is served meanwhile. The thread is one that starts no others, since
/// they would be as slow.
fn open_beside_others(settings: FeedSettings) -> Result<Feed, Vec<FeedError>> {
    let name = settings.name.clone();
    let lost = |what| vec![FeedError::Lost { name, what }];
    let thread = std::thread::Builder::new().name("feed".into());
    let thread = thread.spawn(|| {
        run_behind_everything();
        Feed::open(settings)
    });
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) | Err(_) => Err(lost("the thread that reads its CRLs")),
    }
}

impl Running {
    fn begin(settings: FeedSettings, mut feed: Feed, world: &World) -> io::Result<Self> {
        let (pushes, accepting) = pushed::accept(&mut feed)?.unzip();
        let snapshot = Arc::clone(feed.snapshot());
        Ok(Self {
            following: follow(feed, world)?,
            settings,
            snapshot,
            pushes,
            accepting,
        })
    }

    /// Ends it; gives its feed.
    fn stop(self) -> Option<Feed> {
        if let Some(accepting) = self.accepting {
            accepting.stop();
        }
        self.following.ended()
    }

    /// Ends it in a way that it can be begun again, and tells why no other may take its place.
    fn halt(self) -> (Option<Halted>, Option<FeedError>) {
        let settings = self.settings;
        let is_pushed = settings.issued.pushed.is_some();
        let feed = self.following.ended();
        // Only now, since a follower may be slow to end, and pushes are refused from here on.
        let found = self.accepting.and_then(Accepting::stop);
        let lost = |what| FeedError::Lost {
            name: settings.name.clone(),
            what,
        };
        let Some(mut feed) = feed else {
            return (None, Some(lost("the thread that follows its CRLs")));
        };
        let trouble = (is_pushed && found.is_none()).then(|| lost("what keeps pushed serials"));
        feed.issued.found = found;
        // Another begins with what is on the disk, and must not find that older than the marks.
        let unkept = feed.slots.iter_mut().find_map(|slot| slot.try_keep().err());
        let trouble = trouble.or(unkept);
        let pushes = self.pushes;
        let halted = Halted {
            settings,
            feed,
            pushes,
        };
        (Some(halted), trouble)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::{
        io::{
            feed::{
                Delta, IssuedSources, Place, Wanted, kept::Kept, pushed::PushError, tests::Folder,
            },
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
            let opened = journal::open(&journal::Settings {
                dir: folder.0.join("journal"),
                log_key: folder.0.join("log.key"),
                origin: None,
                checkpoint_interval: Duration::from_secs(1),
                segment_size: 1 << 20,
                keep_tokens: false,
                warn_free: 0,
                stop_free: 0,
            })
            .unwrap();
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
}
