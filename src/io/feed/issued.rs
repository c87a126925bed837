//! Which serials an issuer has given out, from everywhere: [`IssuedLists`] reads list files again when they have
//! changed, reads what is new in folders of certificates, and takes in at the start what was pushed. [`AllIssued`]
//! holds all of it together.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    FeedError, INTERVAL,
    pushed_file::{self, Contents},
    source::{Stamp, stamp},
};
use crate::{
    revocation::{Issued, Serials},
    wire::{certificate::Certificate, crl::CertificateList, issuance::Issuance},
};

/// The longest line of a list: a serial and a notAfter take 160 octets, the rest is comment.
const LONGEST_LINE: u64 = 4 << 10;

/// The largest file in a folder of certificates.
const LARGEST_CERTIFICATE: u64 = 16 << 20;

/// How many times longer than a look through a folder the next one has to wait: one of ten million files that changes
/// all the time shall not keep a core busy.
const REST: u32 = 10;

/// A folder can change again without a new stamp for as long as the file system's clock stands still, some
/// milliseconds; clocks of file servers differ by more.
const UNSETTLED: u64 = 2;

/// Where serials come from.
#[derive(Debug, Clone, Default)]
pub struct IssuedSources {
    /// List files and folders of certificates.
    pub paths: Vec<PathBuf>,
    /// Where pushed serials are kept, if any may be pushed.
    pub pushed: Option<PathBuf>,
}

impl From<Vec<PathBuf>> for IssuedSources {
    fn from(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            pushed: None,
        }
    }
}

/// An issuer's serials from all sources. Who changes a part swaps the snapshot before another may change one.
#[derive(Debug, Clone, Default)]
pub struct AllIssued(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    has_sources: bool,
    listed: Issued,
    pushed: Issued,
}

impl Parts {
    /// `None` without any source.
    fn all(&self) -> Option<Arc<Issued>> {
        let all = || Arc::new(Issued::union([&self.listed, &self.pushed]));
        self.has_sources.then(all)
    }
}

impl AllIssued {
    /// Has `swap` put into force what there is.
    pub fn publish(&self, swap: impl FnOnce(Option<Arc<Issued>>)) {
        swap(self.parts().all());
    }

    pub fn pushed(&self) -> Issued {
        self.parts().pushed.clone()
    }

    /// Takes what is pushed now in the place of what was, and has `swap` put it into force.
    pub fn push(&self, pushed: Issued, swap: impl FnOnce(Option<Arc<Issued>>)) {
        let mut parts = self.parts();
        parts.pushed = pushed;
        swap(parts.all());
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Nothing in there can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pushed serials before any may be pushed.
#[derive(Debug)]
pub struct Found {
    pub path: PathBuf,
    pub end: u64,
    pub torn: u64,
}

#[derive(Debug)]
pub struct IssuedLists {
    issuer: Certificate,
    sources: Vec<Listed>,
    pub all: AllIssued,
    pub found: Option<Found>,
}

impl IssuedLists {
    /// Reads everything once. What the start cannot do without is an error; a file of a folder that is no certificate
    /// is a warning, since it may be one in a moment.
    pub fn open(
        wanted: IssuedSources,
        issuer: &Certificate,
        errors: &mut Vec<FeedError>,
        warnings: &mut Vec<FeedError>,
    ) -> Self {
        let mut sources: Vec<_> = wanted.paths.into_iter().map(Listed::new).collect();
        for source in &mut sources {
            match source.look(issuer) {
                Ok(()) => {}
                Err(error) if source.folder.is_some() && source.serials.is_some() => {
                    warnings.push(error);
                }
                Err(error) => errors.push(error),
            }
        }
        let mut parts = Parts {
            has_sources: !sources.is_empty() || wanted.pushed.is_some(),
            ..Parts::default()
        };
        let mut found = None;
        if let Some(path) = wanted.pushed {
            match pushed_file::read(&path) {
                Ok(contents) => {
                    warnings.extend(complaints(&path, &contents));
                    found = Some(Found {
                        path,
                        end: contents.end,
                        torn: contents.torn,
                    });
                    parts.pushed = Issued::new(contents.serials);
                }
                Err(error) => errors.push(FeedError::Unreadable { path, error }),
            }
        }
        let lists = Self {
            issuer: issuer.clone(),
            sources,
            all: AllIssued(Arc::new(Mutex::new(parts))),
            found,
        };
        lists.gather();
        lists
    }

    /// Reads again what has changed; whether there was something. What fails stays as it was, and is told once.
    pub fn refresh(&mut self, errors: &mut Vec<FeedError>) -> bool {
        let mut changed = false;
        for source in &mut self.sources {
            let looked = source.look(&self.issuer);
            if let Err(error) = looked {
                let failure = error.to_string();
                if source.failure.as_ref() != Some(&failure) {
                    errors.push(error);
                }
                source.failure = Some(failure);
            } else if source.is_new {
                source.failure = None;
            }
            changed |= source.is_new;
        }
        if changed {
            self.gather();
        }
        changed
    }

    fn gather(&self) {
        let serials = self.sources.iter().flat_map(|source| &source.serials);
        self.all.parts().listed = Issued::union(serials);
    }
}

/// What is wrong with a file of pushed serials.
fn complaints(path: &Path, contents: &Contents) -> Vec<FeedError> {
    let mut all = Vec::new();
    let mut complain = |what| {
        all.push(FeedError::Issued {
            path: path.to_owned(),
            what,
        });
    };
    if let Some((at, octets)) = contents.damage {
        complain(format!(
            "is damaged from octet {at} on; {octets} octets are no pushed serials any more, all others are in force; check the disk, and push again what the CA issued"
        ));
    }
    if contents.torn > 0 {
        complain(format!(
            "the last {} octets, from {} on, are no whole push, as a crash leaves them; they are cut off",
            contents.torn, contents.end
        ));
    }
    all
}

/// A list file or a folder of certificates.
#[derive(Debug)]
struct Listed {
    path: PathBuf,
    stamp: Stamp,
    /// As far as it is one.
    folder: Option<Folder>,
    /// `None` before it was read.
    serials: Option<Issued>,
    /// Whether the last look changed the serials.
    is_new: bool,
    /// What was last wrong.
    failure: Option<String>,
}

impl Listed {
    const fn new(path: PathBuf) -> Self {
        Self {
            path,
            stamp: None,
            folder: None,
            serials: None,
            is_new: false,
            failure: None,
        }
    }

    fn look(&mut self, issuer: &Certificate) -> Result<(), FeedError> {
        self.is_new = false;
        let now = stamp(&self.path);
        let is_same = now == self.stamp && now.is_some();
        if self.path.is_dir() {
            let folder = self.folder.get_or_insert_default();
            if (is_same && !folder.is_unsettled()) || folder.rests() {
                return Ok(());
            }
            let (serials, failure) = folder.read_new(&self.path, now, issuer)?;
            self.stamp = now;
            self.is_new = !serials.is_empty() || self.serials.is_none();
            self.serials = Some(self.serials.take().unwrap_or_default().plus(serials));
            return failure.map_or(Ok(()), Err);
        }
        if is_same {
            return Ok(());
        }
        let serials = read_list(&self.path);
        // A file that cannot be read is tried again at every look; one that is wrong is so until it changes.
        if !matches!(serials, Err(FeedError::Unreadable { .. })) {
            self.stamp = now;
        }
        self.serials = Some(Issued::new(serials?));
        self.is_new = true;
        Ok(())
    }
}

/// Line by line, since a list may be larger than what is made of it.
fn read_list(path: &Path) -> Result<Serials, FeedError> {
    let unreadable = |error| FeedError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let wrong = |what| FeedError::Issued {
        path: path.to_owned(),
        what,
    };
    let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(unreadable)?);
    let (mut serials, mut line) = (Serials::default(), Vec::new());
    for number in 1.. {
        line.clear();
        let mut start = file.by_ref().take(LONGEST_LINE);
        if start.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        if start.limit() == 0 && !line.ends_with(b"\n") {
            return Err(wrong(format!(
                "line {number}: is longer than {LONGEST_LINE} octets; write one serial a line"
            )));
        }
        serials
            .read(number, &line)
            .map_err(|error| wrong(error.to_string()))?;
    }
    Ok(serials)
}

/// What is known of a folder of certificates. A certificate that leaves it has been issued all the same.
#[derive(Debug, Default)]
struct Folder {
    /// Names and stamps of the files that were read, hashed: a folder can have millions.
    seen: HashSet<u64>,
    hasher: RandomState,
    /// Files that are no certificates, or not yet.
    pending: HashMap<PathBuf, Stamp>,
    /// It changed so shortly before it was read that it may have changed again.
    is_fresh: bool,
    /// When it is looked at again.
    rest: Option<Instant>,
}

impl Folder {
    /// Whether there may be something new though the folder's stamp is old.
    fn is_unsettled(&self) -> bool {
        let changed = |(path, old): (&PathBuf, &Stamp)| stamp(path) != *old;
        self.is_fresh || self.pending.iter().any(changed)
    }

    fn rests(&self) -> bool {
        self.rest.is_some_and(|rest| Instant::now() < rest)
    }

    /// The serials of the files that are new since the last time, and what was wrong with some of them.
    fn read_new(
        &mut self,
        path: &Path,
        now: Stamp,
        issuer: &Certificate,
    ) -> Result<(Serials, Option<FeedError>), FeedError> {
        let unreadable = |error| FeedError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let start = Instant::now();
        self.is_fresh = is_fresh(now);
        let (mut serials, mut seen) = (Serials::default(), HashSet::new());
        let (mut pending, mut failures) = (HashMap::new(), Vec::new());
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let stamp = stamp(&path);
            let key = self.hasher.hash_one((path.file_name(), stamp));
            if self.seen.contains(&key) {
                seen.insert(key);
                pending.extend(self.pending.remove_entry(&path));
                continue;
            }
            if !path.is_file() {
                continue;
            }
            match read_certificates(&path, stamp, issuer, &mut serials) {
                Ok(()) => {
                    seen.insert(key);
                }
                // Tried again until it can be read.
                Err(error @ FeedError::Unreadable { .. }) => {
                    failures.push(error);
                    pending.insert(path, None);
                }
                Err(error) => {
                    failures.push(error);
                    seen.insert(key);
                    pending.insert(path, stamp);
                }
            }
        }
        (self.seen, self.pending) = (seen, pending);
        let rest = start.elapsed() * REST;
        self.rest = start.checked_add(rest).filter(|_| rest > INTERVAL);
        let others = failures.len().saturating_sub(1);
        let failure = failures.into_iter().next().map(|first| match others {
            0 => first,
            _ => FeedError::Issued {
                path: path.to_owned(),
                what: format!("{first}; the same or worse with {others} other files"),
            },
        });
        Ok((serials, failure))
    }
}

fn is_fresh(stamp: Stamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_secs();
    stamp.is_some_and(|(_, _, seconds, _)| {
        now.abs_diff(u64::try_from(seconds).unwrap_or(0)) < UNSETTLED
    })
}

/// Takes the serials of `issuer`'s certificates in a file. Certificates of others are passed over, and so is what else
/// a CA publishes: CRLs, and PEM blocks with other labels.
fn read_certificates(
    path: &Path,
    stamp: Stamp,
    issuer: &Certificate,
    serials: &mut Serials,
) -> Result<(), FeedError> {
    if path.extension().is_some_and(|extension| extension == "crl") {
        return Ok(());
    }
    if stamp.is_some_and(|(_, length, ..)| length > LARGEST_CERTIFICATE) {
        return Err(FeedError::Issued {
            path: path.to_owned(),
            what: format!("is no certificate: it has more than {LARGEST_CERTIFICATE} octets"),
        });
    }
    let content = std::fs::read(path).map_err(|error| FeedError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let all = match Issuance::read_all(&content) {
        Ok(all) => all,
        Err(_) if is_something_else(&content) => return Ok(()),
        Err(error) => {
            return Err(FeedError::Certificate {
                path: path.to_owned(),
                error,
            });
        }
    };
    for issuance in all.iter().filter(|issuance| issuance.is_by(issuer)) {
        serials.add(issuance.serial(), issuance.not_after().into());
    }
    Ok(())
}

fn is_something_else(content: &[u8]) -> bool {
    let has = |text: &[u8]| content.windows(text.len()).any(|window| window == text);
    CertificateList::parse(content).is_ok()
        || (has(b"-----BEGIN ") && !has(b"-----BEGIN CERTIFICATE-----"))
}
