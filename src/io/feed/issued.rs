//! Which serials an issuer has given out, from everywhere: [`IssuedLists`] reads list files again when they have
//! changed, reads what is new in folders of certificates, and takes in at the start what was pushed. [`AllIssued`]
//! holds all of it together.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    FeedError,
    folder::Folder,
    pushed_file::{self, Contents},
};
use crate::{
    io::stamp::{Stamp, stamp},
    revocation::{Issued, Serials},
    wire::certificate::Certificate,
};

/// The longest line of a list: a serial and a notAfter take 160 octets, the rest is comment.
const LONGEST_LINE: u64 = 4 << 10;

/// Where serials come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuedSources {
    /// List files and folders of certificates.
    pub paths: Vec<PathBuf>,
    /// Where pushed serials are kept, if any may be pushed.
    pub pushed: Option<PathBuf>,
    /// The names of the distribution points that the issuer's CRLs are configured with.
    pub shards: Vec<String>,
}

impl From<Vec<PathBuf>> for IssuedSources {
    fn from(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            ..Self::default()
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
    /// Takes what is listed now in the place of what was, and has `swap` put it into force.
    pub fn publish(&self, listed: &Issued, swap: impl FnOnce(Option<Arc<Issued>>)) {
        let mut parts = self.parts();
        parts.listed = listed.clone();
        swap(parts.all());
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
    shards: Vec<String>,
    sources: Vec<Listed>,
    /// From all of them. Whoever reads them runs behind everything, and must not hold what pushes wait for.
    pub listed: Issued,
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
            match source.look((issuer, &wanted.shards)) {
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
        let mut lists = Self {
            issuer: issuer.clone(),
            shards: wanted.shards,
            sources,
            listed: Issued::default(),
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
            if source.folder.as_ref().is_some_and(Folder::rests) {
                continue;
            }
            let error = source.look((&self.issuer, &self.shards)).err();
            let failure = error.as_ref().map(ToString::to_string);
            if failure != source.failure {
                errors.extend(error);
                source.failure = failure;
            }
            changed |= source.is_new;
        }
        if changed {
            self.gather();
        }
        changed
    }

    fn gather(&mut self) {
        let serials = self.sources.iter().flat_map(|source| &source.serials);
        self.listed = Issued::union(serials);
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

    fn look(&mut self, issuer: (&Certificate, &[String])) -> Result<(), FeedError> {
        self.is_new = false;
        let now = stamp(&self.path);
        let is_same = now == self.stamp && now.is_some();
        if self.path.is_dir() {
            let folder = self.folder.get_or_insert_default();
            if is_same && !folder.is_unsettled() {
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
