//! One CRL and where it comes from: [`Source`] knows what is in force, what was kept, and when to look again.

use std::{
    fmt, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use reqwest::Client;

use super::{
    FeedError, LARGEST,
    fetch::{Fetched, Validators, fetch},
};
use crate::{
    io::http_client::Url,
    revocation::{VerifiedCrl, schedule, supersedes, verify},
    wire::{certificate::Certificate, time::Seconds},
};

/// Where a CRL comes from.
#[derive(Debug, Clone)]
pub enum Place {
    File(PathBuf),
    Url(Url),
}

impl fmt::Display for Place {
    /// Without a URL's password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => {
                let mut url = url.clone();
                let _ = url.set_password(None);
                url.fmt(f)
            }
        }
    }
}

/// A CRL that is wanted, and the URI that its issuing distribution point must name.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub place: Place,
    pub distribution_point: Option<String>,
}

#[derive(Debug)]
pub struct Source {
    pub wanted: Wanted,
    pub crl: Option<Arc<VerifiedCrl>>,
    /// The file that outlives the process.
    pub kept: PathBuf,
    /// A CRL that was accepted while opening, when nothing is written yet.
    pub to_keep: Option<Vec<u8>>,
    /// Of a file.
    pub stamp: Stamp,
    /// Of a URL.
    pub validators: Validators,
    pub due: Instant,
    /// In a row, and since the start.
    pub failures: u32,
    pub all_failures: u64,
}

/// What tells that a file has changed: inode, length, and the time of its last change, which unlike the
/// modification time no copying tool sets back and a repaired permission moves too.
pub type Stamp = Option<(u64, u64, i64, i64)>;

impl Source {
    pub fn new(wanted: Wanted, kept: PathBuf) -> Self {
        Self {
            wanted,
            crl: None,
            kept,
            to_keep: None,
            stamp: None,
            validators: Validators::default(),
            due: Instant::now(),
            failures: 0,
            all_failures: 0,
        }
    }

    /// The CRL in `content`, if it may take the place of the one in force.
    pub fn judge(&self, content: &[u8], issuer: &Certificate) -> Result<VerifiedCrl, FeedError> {
        let place = self.wanted.place.to_string();
        if content.trim_ascii_start().starts_with(b"<") {
            return Err(FeedError::WebPage { place });
        }
        verify(content, issuer, self.wanted.distribution_point.as_deref())
            .and_then(|crl| match &self.crl {
                Some(old) => supersedes(&crl, old).map(|()| crl),
                None => Ok(crl),
            })
            .map_err(|error| FeedError::Crl {
                place,
                kept: self.kept.clone(),
                error,
            })
    }

    /// What was kept by an earlier process, judged like anything else that comes from a disk.
    pub fn take_kept(&mut self, issuer: &Certificate) -> Result<(), FeedError> {
        let wrong = |error: String| FeedError::Kept {
            path: self.kept.clone(),
            error,
        };
        let content = match read_bounded(&self.kept) {
            Ok(content) => content,
            Err(FeedError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        let crl = verify(&content, issuer, self.wanted.distribution_point.as_deref());
        self.crl = Some(Arc::new(crl.map_err(|error| wrong(error.to_string()))?));
        Ok(())
    }

    /// What is new at the source, if there is something.
    pub async fn look(
        &mut self,
        client: Option<&Client>,
    ) -> Result<Option<(Vec<u8>, Validators)>, FeedError> {
        match (&self.wanted.place, client) {
            (Place::File(path), _) => {
                let now = stamp(path);
                if now == self.stamp {
                    return Ok(None);
                }
                self.stamp = now;
                Ok(Some((read_bounded(path)?, Validators::default())))
            }
            (Place::Url(url), Some(client)) if self.due <= Instant::now() => {
                match fetch(client, url, &self.validators, LARGEST).await {
                    Ok(Fetched::New(content, validators)) => Ok(Some((content, validators))),
                    Ok(Fetched::Unchanged) => {
                        self.succeeded();
                        Ok(None)
                    }
                    Err(error) => Err(FeedError::Fetch {
                        place: self.wanted.place.to_string(),
                        error,
                    }),
                }
            }
            (Place::Url(_), _) => Ok(None),
        }
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        if let Some(crl) = &self.crl {
            let next = crl.next_update().unwrap_or(Seconds::EPOCH);
            self.wait(schedule::after_success(
                crl.this_update(),
                next,
                wall_clock(),
                random(),
            ));
        }
    }

    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.all_failures = self.all_failures.saturating_add(1);
        self.wait(schedule::after_failure(self.failures, random()));
    }

    fn wait(&mut self, seconds: u64) {
        self.due = Instant::now() + Duration::from_secs(seconds);
    }
}

pub fn read_bounded(path: &Path) -> Result<Vec<u8>, FeedError> {
    let unreadable = |error| FeedError::Unreadable {
        path: path.to_owned(),
        error,
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
        return Err(FeedError::TooLarge {
            path: path.to_owned(),
        });
    }
    std::fs::read(path).map_err(unreadable)
}

/// For when to fetch next, which needs no better clock.
fn wall_clock() -> Seconds {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Seconds::new(now.unwrap_or_default().as_secs())
}

fn random() -> u64 {
    let mut octets = [0; 8];
    // Without random numbers the visits are merely not spread.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    u64::from_be_bytes(octets)
}

/// A folder's stamp changes when entries come and go; files in it are written once.
pub fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.ino(),
        metadata.len(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}
