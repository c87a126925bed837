//! Revocation data from files and by HTTP: [`Feed`] holds one issuer's sources, reads or fetches them again
//! when that is due, and swaps in a new snapshot only when everything read anew has been verified.
//! [`follow`] keeps all feeds current on threads of their own.

mod fetch;
mod folder;
mod issued;
pub mod kept;
pub mod pushed;
mod pushed_file;
mod source;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use reqwest::Client;
use tokio::sync::watch;

use super::{http_client, journal::Journal, metrics::Metrics};
use crate::{
    audit::event::Event,
    revocation::{CrlError, Issued, Snapshot},
    wire::certificate::{Certificate, CertificateError},
};
use fetch::FetchError;
use issued::IssuedLists;
use kept::Kept;
use source::{Source, read_bounded, stamp};

pub use issued::IssuedSources;
pub use source::{Place, Wanted};

/// How often files are looked at. A look is one `stat` a file.
const INTERVAL: Duration = Duration::from_secs(1);

/// The largest CRL file read: ten million entries of 50 octets.
const LARGEST: u64 = 512 << 20;

/// From http to https, to a mirror, and some more; a loop ends.
const REDIRECTS: usize = 5;

/// Of a thread (nice).
const LOWEST_PRIORITY: i32 = 19;

/// Why something of a feed was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{path}: cannot be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path}: is larger than {LARGEST} octets; no CRL that large is read")]
    TooLarge { path: PathBuf },
    #[error("{place}: cannot be fetched: {error}")]
    Fetch { place: String, error: FetchError },
    #[error("{place}: is a web page and no CRL; give the address of the CRL itself")]
    WebPage { place: String },
    #[error("{place}: {error}{}", rollback_advice(.error, .kept))]
    Crl {
        place: String,
        kept: PathBuf,
        error: CrlError,
    },
    #[error(
        "{path}: the CRL that was kept cannot be used: {error}; until a new one comes nothing tells a rollback"
    )]
    Kept { path: PathBuf, error: String },
    #[error(
        "{path}: the CRL is in force but cannot be kept: {error}; after a restart an older one would be taken for new"
    )]
    NotKept { path: PathBuf, error: io::Error },
    #[error("{path}: {what}")]
    Issued { path: PathBuf, what: String },
    #[error("{path}: {error}")]
    Certificate {
        path: PathBuf,
        error: CertificateError,
    },
}

/// What to do where the CA itself went back.
fn rollback_advice(error: &CrlError, kept: &Path) -> String {
    match error {
        CrlError::NumberWentBack { .. }
        | CrlError::TimeWentBack { .. }
        | CrlError::ScopeChanged { .. } => format!(
            "; if that is meant because the CA was restored, stop the appliance, remove {} and start it",
            kept.display()
        ),
        _ => String::new(),
    }
}

/// One issuer's sources and the snapshot made of them.
#[derive(Debug)]
pub struct Feed {
    issuer: Certificate,
    crls: Vec<Source>,
    fetch_time: Duration,
    issued: IssuedLists,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// What was accepted or refused and is not yet on record.
    news: Vec<Event>,
    /// What the start could do without but the operator should know.
    warnings: Vec<FeedError>,
}

impl Feed {
    /// Reads and verifies everything that is on this host once; every file that fails is named. A CRL that was
    /// kept stands in for a file that cannot be taken, and for a URL until it is fetched. Nothing is written.
    pub fn open(
        issuer: Certificate,
        crls: Vec<Wanted>,
        issued: impl Into<IssuedSources>,
        kept: &Kept,
        fetch_time: Duration,
    ) -> Result<Self, Vec<FeedError>> {
        let (mut errors, mut warnings, mut news) = (Vec::new(), Vec::new(), Vec::new());
        let mut sources = Vec::new();
        for wanted in crls {
            let path = kept.path(&issuer, &wanted.place.to_string());
            let mut source = Source::new(wanted, path);
            warnings.extend(source.take_kept(&issuer).err());
            if let Place::File(path) = &source.wanted.place {
                source.stamp = stamp(path);
                let judged = read_bounded(path)
                    .and_then(|content| Ok((source.judge(&content, &issuer)?, content)));
                match judged {
                    Ok((crl, content)) => {
                        source.crl = Some(Arc::new(crl));
                        source.to_keep = Some(content);
                    }
                    Err(error) if source.crl.is_some() => warnings.push(error),
                    Err(error) => errors.push(error),
                }
            }
            news.extend(accepted(&issuer, &source));
            sources.push(source);
        }
        let issued = IssuedLists::open(issued.into(), &issuer, &mut errors, &mut warnings);
        if !errors.is_empty() {
            return Err(errors);
        }
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::new(Vec::new(), None)));
        let swap = |issued| snapshot.store(Arc::new(merged(&sources, issued)));
        issued.all.publish(swap);
        Ok(Self {
            issuer,
            crls: sources,
            fetch_time,
            issued,
            snapshot,
            news,
            warnings,
        })
    }

    /// What answers read from.
    pub const fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// Reads again what has changed, and fetches what is due. What cannot be taken is returned, and the old data
    /// stays; each changed file is judged once, not at every look.
    pub async fn refresh(&mut self) -> Vec<FeedError> {
        let mut errors = std::mem::take(&mut self.warnings);
        let mut changed = false;
        let client = self.client(&mut errors);
        for source in &mut self.crls {
            if let Some(content) = source.to_keep.take() {
                errors.extend(keep(source, &content));
            }
            let look = source.look(client.as_ref()).await;
            let taken = look.and_then(|news| {
                let judged = news.map(|(content, validators)| {
                    let crl = source.judge(&content, &self.issuer)?;
                    Ok((crl, content, validators))
                });
                judged.transpose()
            });
            match taken {
                Ok(None) => {}
                Ok(Some((crl, content, validators))) => {
                    let same = source
                        .crl
                        .as_ref()
                        .is_some_and(|old| old.digest() == crl.digest());
                    source.validators = validators;
                    source.crl = Some(Arc::new(crl));
                    source.succeeded();
                    if !same {
                        errors.extend(keep(source, &content));
                        self.news.extend(accepted(&self.issuer, source));
                        changed = true;
                    }
                }
                Err(error) => {
                    source.failed();
                    // A server that is away has shown nothing to refuse.
                    if !matches!(error, FeedError::Fetch { .. }) {
                        self.news.push(Event::CrlRefused {
                            issuer: self.issuer.subject_text(),
                            source: source.wanted.place.to_string(),
                            reason: error.to_string(),
                        });
                    }
                    errors.push(error);
                }
            }
        }
        changed |= self.issued.refresh(&mut errors);
        if changed {
            let swap = |issued| self.snapshot.store(Arc::new(merged(&self.crls, issued)));
            self.issued.all.publish(swap);
        }
        errors
    }

    /// Makes every URL due, and every file to be judged again.
    fn hurry(&mut self) {
        for source in &mut self.crls {
            source.due = Instant::now();
            source.stamp = None;
        }
    }

    /// A client, where a URL is due: with the root certificates of this moment.
    fn client(&mut self, errors: &mut Vec<FeedError>) -> Option<Client> {
        let now = Instant::now();
        let is_due = |source: &&mut Source| {
            matches!(source.wanted.place, Place::Url(_)) && source.due <= now
        };
        let first = self.crls.iter_mut().find(is_due)?;
        match http_client::client(self.fetch_time, REDIRECTS) {
            Ok(client) => Some(client),
            Err(error) => {
                first.failed();
                errors.push(FeedError::Fetch {
                    place: first.wanted.place.to_string(),
                    error: error.into(),
                });
                None
            }
        }
    }
}

/// The threads that keep feeds current, one for each issuer, so that no CA's server holds up another's CRL;
/// [`Followers::stop`] ends them.
#[derive(Debug)]
pub struct Followers {
    orders: Orders,
    threads: Vec<JoinHandle<()>>,
}

/// Tells the threads what to do.
#[derive(Debug, Clone)]
pub struct Orders(watch::Sender<Order>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Follow,
    /// Look at every source now.
    Look,
    Stop,
}

impl Orders {
    /// Has every source looked at, whenever it would be due.
    pub fn look(&self) {
        self.0.send_replace(Order::Look);
    }
}

impl Followers {
    pub const fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Waits until the threads have ended: after what they are reading, but not what they are fetching.
    pub fn stop(self) {
        self.orders.0.send_replace(Order::Stop);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Keeps `feeds` current, on threads of low priority, and puts on record what was accepted and refused.
pub fn follow(
    feeds: Vec<Feed>,
    journal: &Journal,
    metrics: &Arc<Metrics>,
) -> io::Result<Followers> {
    let (sender, orders) = watch::channel(Order::Follow);
    let mut threads = Vec::new();
    for feed in feeds {
        let (journal, metrics) = (journal.clone(), Arc::clone(metrics));
        let orders = orders.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("feed".into());
        threads.push(thread.spawn(move || {
            // Taking in a million entries must not slow down answers. Without the permission it is only slower.
            let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
            runtime.block_on(follow_one(feed, &journal, &metrics, orders));
        })?);
    }
    Ok(Followers {
        orders: Orders(sender),
        threads,
    })
}

async fn follow_one(
    mut feed: Feed,
    journal: &Journal,
    metrics: &Metrics,
    mut orders: watch::Receiver<Order>,
) {
    let mut stop = orders.clone();
    loop {
        let errors = tokio::select! {
            _ = stop.wait_for(|order| *order == Order::Stop) => return,
            errors = feed.refresh() => errors,
        };
        for error in errors {
            tracing::error!("{error}; the old data stays in force");
        }
        for event in feed.news.drain(..) {
            say(&event);
            journal.note(&event);
        }
        for source in &feed.crls {
            let place = source.wanted.place.to_string();
            metrics.crl(&place, source.crl.as_deref(), source.all_failures);
        }
        tokio::select! {
            order = orders.changed() => match order {
                Ok(()) if *orders.borrow_and_update() != Order::Stop => feed.hurry(),
                _ => return,
            },
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

fn say(event: &Event) {
    if let Event::CrlAccepted {
        issuer,
        source,
        number,
        ..
    } = event
    {
        let number = number.as_deref().unwrap_or("none");
        tracing::info!("{source}: the CRL of {issuer} with number {number} is in force");
    }
}

fn keep(source: &Source, content: &[u8]) -> Option<FeedError> {
    let kept = kept::put(&source.kept, content);
    kept.err().map(|error| FeedError::NotKept {
        path: source.kept.clone(),
        error,
    })
}

fn accepted(issuer: &Certificate, source: &Source) -> Option<Event> {
    let crl = source.crl.as_ref()?;
    Some(Event::CrlAccepted {
        issuer: issuer.subject_text(),
        source: source.wanted.place.to_string(),
        number: crl.number().map(hex::encode),
        sha256: hex::encode(crl.digest()),
    })
}

/// With one CRL missing nothing may be said about any serial, since it could be that one's.
fn merged(sources: &[Source], issued: Option<Arc<Issued>>) -> Snapshot {
    let crls: Option<Vec<_>> = sources.iter().map(|source| source.crl.clone()).collect();
    Snapshot::new(crls.unwrap_or_default(), issued)
}

#[cfg(test)]
mod tests;
