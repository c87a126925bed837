//! Revocation data from files and by HTTP: [`Feed`] holds one issuer's sources, reads or fetches them again
//! when that is due, and swaps in a new snapshot only when everything read anew has been verified and kept.
//! [`Followers`] keeps all feeds current on threads of their own.

mod bounded_file;
mod crl_folder;
mod fetch;
mod folder;
mod follow;
mod followers;
mod issued;
mod judge;
pub mod kept;
pub mod marks;
pub mod pushed;
mod pushed_file;
mod reader;
mod reason;
mod retained;
mod slot;
mod source;
mod state;

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use reqwest::Client;

use super::{http_client, store::Store, wall_clock::wall_clock};
use crate::{
    audit::event::Event,
    revocation::{Issued, Shard, Snapshot},
    service::code,
    wire::{
        certificate::{Certificate, CertificateError},
        time::Seconds,
    },
};
use fetch::FetchError;
use issued::IssuedLists;
use judge::{CrlRefusal, Judge};
use kept::{Kept, Kind};
use marks::Marks;
use slot::Slot;

pub use follow::World;
pub use followers::{BeginError, Followers, Opened, Orders};
pub use issued::IssuedSources;
pub use judge::in_date;
pub use slot::{Delta, Wanted};
pub use source::Place;

/// From http to https, to a mirror, and some more; a loop ends.
const REDIRECTS: usize = 5;

/// Why something of a feed was not taken, or what must be known of what was.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{path}: cannot be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path}: is larger than {largest} octets; see revocation.largest_crl")]
    TooLarge { path: PathBuf, largest: u64 },
    #[error("{0}; it is passed over, though it may be the newest of its folder")]
    PassedOver(Box<Self>),
    #[error("{place}: cannot be fetched: {error}")]
    Fetch { place: String, error: FetchError },
    #[error("{place}: {}{error}{}", with_number(.number.as_ref()), rollback_advice(.error))]
    Crl {
        place: String,
        /// CRLNumber, hexadecimal, where the octets show one.
        number: Option<String>,
        error: CrlRefusal,
    },
    #[error(
        "{path}: the CRL that was kept cannot be used: {error}; until a new one comes only the journal tells a rollback"
    )]
    Kept { path: PathBuf, error: String },
    #[error("ALARM: {path}: {error}")]
    Retained { path: PathBuf, error: String },
    #[error(
        "{path}: the CRL is in force but cannot be kept: {error}; make room, and it is written at once"
    )]
    NotKept { path: PathBuf, error: io::Error },
    #[error(
        "ALARM: {place}: the CRL with number {number} is older than what was accepted before, and is not used; see who put \
         back the files of the appliance. If the CA was restored, say `gnomon crl reset-mark`"
    )]
    RolledBack { place: String, number: String },
    #[error(
        "ALARM: {place}: {count} revocations have disappeared from the CRL before their certificates end: serial {serials}; \
         they are still answered as revoked; ask the CA what it did"
    )]
    Disappeared {
        place: String,
        count: usize,
        serials: String,
    },
    #[error("{place}: the CRL names {count} serials more than once; the weightier entry counts")]
    Duplicates { place: String, count: usize },
    #[error(
        "{place}: the CRL says that there are deltas to it ({deltas}), and none is configured; set `delta` to them, or to \"freshest\", to see \
         revocations sooner"
    )]
    Freshest { place: String, deltas: String },
    #[error(
        "{path}: none of its files *.crl is the {kind} CRL that is wanted, by issuer and distribution point"
    )]
    NoneInFolder { path: PathBuf, kind: &'static str },
    #[error(
        "{place}: the CRL has not come yet, and nobody could be answered until then; put it into a file that is named first, or \
         start gnomon anew"
    )]
    NotYet { place: String },
    #[error("{path}: {what}")]
    Issued { path: PathBuf, what: String },
    #[error("{path}: {error}")]
    Certificate {
        path: PathBuf,
        error: CertificateError,
    },
    #[error("issuer `{name}`: {what} has failed, see the log before this; start gnomon anew")]
    Lost { name: String, what: &'static str },
}

impl FeedError {
    /// What the operator looks it up by.
    const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::PassedOver(_)
            | Self::Fetch { .. }
            | Self::NotYet { .. }
            | Self::NoneInFolder { .. } => code::CRL_UNAVAILABLE,
            Self::Crl { .. } => code::CRL_REFUSED,
            Self::RolledBack { .. } => code::CRL_ROLLED_BACK,
            Self::Disappeared { .. } => code::REVOCATIONS_DISAPPEARED,
            Self::Kept { .. } | Self::Retained { .. } => code::KEPT_UNUSABLE,
            Self::NotKept { .. } => code::CRL_NOT_KEPT,
            Self::Duplicates { .. } | Self::Freshest { .. } => code::CRL_ODD,
            Self::Issued { .. } | Self::Certificate { .. } => code::ISSUED_UNREADABLE,
            Self::Lost { .. } => code::READER_DEAD,
        }
    }

    /// What it means for the answers, in words to follow it.
    const fn effect(&self) -> &'static str {
        match self {
            Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::Fetch { .. }
            | Self::Crl { .. }
            | Self::NoneInFolder { .. }
            | Self::Issued { .. }
            | Self::Certificate { .. } => "; the old data stays in force",
            _ => "",
        }
    }
}

/// Which one it was.
fn with_number(number: Option<&String>) -> String {
    number.map_or_else(String::new, |number| format!("number {number}: "))
}

/// What to do where the CA itself went back, or names its CRLs otherwise.
fn rollback_advice(error: &CrlRefusal) -> &'static str {
    use crate::revocation::CrlError;
    match error {
        CrlRefusal::Crl(CrlError::NumberWentBack { .. } | CrlError::TimeWentBack { .. }) => {
            "; if that is meant because the CA was restored, say `gnomon crl reset-mark`"
        }
        CrlRefusal::Crl(CrlError::ScopeChanged { .. } | CrlError::PointChanged) => {
            "; if that is meant, say `gnomon crl reset-mark`"
        }
        _ => "",
    }
}

/// One issuer's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSettings {
    /// As the configuration has it.
    pub name: String,
    pub issuer: Certificate,
    pub crls: Vec<Wanted>,
    pub issued: IssuedSources,
    pub kept: Kept,
    pub fetch_time: Duration,
    /// Octets of a CRL.
    pub largest: u64,
    /// Since when the CA itself is compromised, if it is.
    pub compromised: Option<Seconds>,
}

/// One issuer's sources and the snapshot made of them.
#[derive(Debug)]
pub struct Feed {
    name: String,
    slots: Vec<Slot>,
    judge: Judge,
    fetch_time: Duration,
    issued: IssuedLists,
    compromised: Option<Seconds>,
    /// For each slot.
    shards: Vec<Shard>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    store: Store,
    /// What the store was last told of each source.
    told: HashMap<String, String>,
    /// What the start could do without but the operator should know.
    warnings: Vec<FeedError>,
    /// There is more to look at, once what was found is in force.
    is_cut_short: bool,
}

impl Feed {
    /// Reads and verifies everything that is on this host once; every file that fails is named. A CRL that was
    /// kept stands in for a file that cannot be taken, and for a URL until it is fetched. Nothing is written.
    pub fn open(settings: FeedSettings) -> Result<Self, Vec<FeedError>> {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let mut judge = Judge {
            issuer: settings.issuer,
            largest: settings.largest,
            marks: Marks::default(),
            now: None,
            writes: false,
            news: Vec::new(),
        };
        let (mut slots, mut shards) = (Vec::new(), Vec::new());
        let mut of_point: HashMap<Option<String>, usize> = HashMap::new();
        for wanted in settings.crls {
            let point = wanted.distribution_point.as_deref();
            shards.push(point.map_or(Shard::UNKNOWN, Shard::of));
            let nth = of_point
                .entry(wanted.distribution_point.clone())
                .or_default();
            let kept = &settings.kept;
            slots.push(Slot::open(
                wanted,
                *nth,
                kept,
                &mut judge,
                &mut errors,
                &mut warnings,
            ));
            *nth += 1;
        }
        let issued = IssuedLists::open(settings.issued, &judge.issuer, &mut errors, &mut warnings);
        if !errors.is_empty() {
            return Err(errors);
        }
        let feed = Self {
            name: settings.name,
            slots,
            judge,
            fetch_time: settings.fetch_time,
            issued,
            compromised: settings.compromised,
            shards,
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::new(Vec::new(), None))),
            store: Store::default(),
            told: HashMap::new(),
            warnings,
            is_cut_short: false,
        };
        feed.swap();
        Ok(feed)
    }

    /// What answers read from.
    pub const fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// Holds what was read at the start against how far each scope had come by the store and the journal, and takes out
    /// of force what is older: somebody has put back the files.
    pub fn recall(&mut self, store: &Store, marks: &Marks) {
        for slot in &mut self.slots {
            for kind in [Kind::Complete, Kind::Delta] {
                let Some(crl) = slot.crl(kind) else { continue };
                let issuer = &self.judge.issuer;
                let scope = kept::scope(issuer, crl.distribution_point(), kind);
                let old = marks.get(&scope);
                if old.is_some_and(|old| old.admits(&crl.mark()).is_err()) {
                    let known = crl.number().map(hex::encode);
                    let number = known.clone().unwrap_or_else(|| "none".to_owned());
                    let place = slot.name(kind);
                    slot.withdraw(kind);
                    self.judge.marks.remove(&scope);
                    self.judge.news.retain(|event| !matches!(event, Event::CrlAccepted { scope: of, .. } if *of == scope));
                    let source = place.clone();
                    let error = FeedError::RolledBack { place, number };
                    self.judge.news.push(Event::CrlRefused {
                        issuer: self.judge.issuer.subject_text(),
                        source,
                        number: known,
                        reason: error.to_string(),
                    });
                    self.warnings.push(error);
                }
            }
        }
        // Another issuer's marks are its own feed's to raise, lower and write down: here they would stay as they are now,
        // and be written over what that feed has come to.
        let ours = kept::of_issuer(&self.judge.issuer);
        for (scope, mark) in marks.iter().filter(|(scope, _)| scope.starts_with(&ours)) {
            self.judge.marks.raise(scope.clone(), mark.clone());
        }
        self.store = store.clone();
        self.recall_validators();
        // Before any feed says that the journal need not be read again.
        self.remember(&[]);
        self.swap();
    }

    /// Reads again what has changed, and fetches what is due; `now` is the time where it is proven. Nothing is in force
    /// before [`Feed::swap`], but it is kept. What cannot be taken is returned, and the old data stays; each changed
    /// file is judged once, not at every look.
    ///
    /// What is new is not to wait for a server that may never answer, so that it ends before one is asked then.
    pub async fn refresh(&mut self, now: Option<Seconds>) -> (bool, Vec<FeedError>) {
        let mut errors = std::mem::take(&mut self.warnings);
        self.judge.now = now;
        self.judge.writes = true;
        let client = self.client(&mut errors);
        let (mut changed, mut is_urgent) = (false, false);
        // Files may change at every look, and servers are to be asked all the same.
        let was_cut_short = std::mem::take(&mut self.is_cut_short);
        for fetches in [false, true] {
            for slot in &mut self.slots {
                if slot.wants_client() != fetches {
                    continue;
                }
                if fetches && is_urgent {
                    self.is_cut_short = true;
                    return (changed, errors);
                }
                let is_told = slot.before.is_none();
                if is_told {
                    slot.before = slot.part.clone();
                }
                let new = slot
                    .refresh(client.as_ref(), &mut self.judge, &mut errors)
                    .await;
                changed |= new;
                is_urgent |= new && fetches;
                let before = slot.before.take();
                if new || !is_told {
                    let issued = self.snapshot.load();
                    let now = now.unwrap_or_else(wall_clock);
                    errors.extend(slot.disappeared(before.as_ref(), &issued, now));
                    errors.extend(slot.remarks());
                }
            }
            if !fetches {
                changed |= self.issued.refresh(&mut errors);
                is_urgent = changed && !was_cut_short;
            }
        }
        (changed, errors)
    }

    /// Puts into force what was taken, wholly and at once.
    pub fn swap(&self) {
        let parts = self.slots.iter().map(|slot| slot.part.clone()).collect();
        let new = Snapshot::new(parts, None).of_shards(self.shards.clone());
        let new = match self.compromised {
            Some(time) => new.of_compromised_authority(time),
            None => new,
        };
        let swap =
            |issued: Option<Arc<Issued>>| self.snapshot.store(Arc::new(new.with_issued(issued)));
        self.issued.all.publish(&self.issued.listed, swap);
    }

    /// The names of all its sources, as metrics have them.
    fn source_names(&self) -> Vec<String> {
        let sources = |slot: &Slot| {
            let delta = slot.delta.as_ref().map(source::Source::name);
            [Some(slot.base.name()), delta]
        };
        self.slots.iter().flat_map(sources).flatten().collect()
    }

    /// Makes every URL due, and every file to be judged again.
    fn hurry(&mut self) {
        for source in self.sources_mut() {
            source.hurry();
            source.reread();
        }
    }

    fn sources_mut(&mut self) -> impl Iterator<Item = &mut source::Source> {
        let slots = self.slots.iter_mut();
        slots.flat_map(|slot| std::iter::once(&mut slot.base).chain(&mut slot.delta))
    }

    /// Lets the numbers of a source's CRLs go back, or of all; how many had come to something.
    fn reset(&mut self, source: Option<&str>) -> usize {
        let mut scopes = Vec::new();
        for slot in &mut self.slots {
            let means = |wanted| state::each(slot).any(|(source, _)| source.is_named(wanted));
            if source.is_some_and(|wanted| !means(wanted)) {
                continue;
            }
            slot.is_reset = true;
            slot.base.forget();
            for kind in [Kind::Complete, Kind::Delta] {
                let point = slot.crl(Kind::Complete);
                let point = point.map(|crl| crl.distribution_point().to_vec());
                let scope = kept::scope(&self.judge.issuer, &point.unwrap_or_default(), kind);
                scopes.push(scope);
            }
        }
        if source.is_none() {
            // Those too of which nothing is in force.
            scopes.extend(self.judge.marks.iter().map(|(scope, _)| scope.clone()));
        }
        let mut count = 0;
        for scope in scopes {
            self.store.remove_mark(&scope);
            self.told.remove(&scope);
            count += usize::from(self.judge.lower(&scope));
        }
        count
    }

    /// A client, where a URL is due: with the root certificates of this moment.
    fn client(&mut self, errors: &mut Vec<FeedError>) -> Option<Client> {
        let fetch_time = self.fetch_time;
        let first = self.sources_mut().find(|source| source.wants_client())?;
        match http_client::client(fetch_time, REDIRECTS) {
            Ok(client) => Some(client),
            Err(error) => {
                let error = FeedError::Fetch {
                    place: first.place(),
                    error: error.into(),
                };
                first.failed(&error);
                errors.push(error);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
