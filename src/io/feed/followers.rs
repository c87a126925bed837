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
    follow::{Following, Line, Order, World, follow, not_reset},
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
    /// Something is served, which must not be disturbed.
    has_begun: bool,
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
                if line.orders.send(Order::Reset { source }).is_err() {
                    not_reset(issuer);
                }
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
    /// Whether the start is over, with feeds or without.
    pub const fn has_begun(&self) -> bool {
        self.has_begun
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
        let feed = match self.has_begun {
            true => open_beside_others(settings.clone())?,
            false => Feed::open(settings.clone())?,
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
        self.has_begun = true;
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
mod tests;
