//! A folder that a CA puts certificates into: [`Folder`] reads those that are new, however many there are.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{FeedError, follow::INTERVAL};
use crate::{
    io::{
        stamp::{Stamp, stamp},
        wall_clock::wall_clock,
    },
    revocation::{Serials, Shard, Told},
    wire::{certificate::Certificate, crl::CertificateList, issuance::Issuance},
};

/// The largest file in a folder of certificates.
const LARGEST_CERTIFICATE: u64 = 16 << 20;

/// How many times longer than it takes to go through a folder it then rests: one of ten million files that changes all
/// the time shall not keep a core busy.
const REST: u32 = 4;

/// A folder can change again without a new stamp for as long as the file system's clock stands still, some
/// milliseconds; clocks of file servers differ by more.
const UNSETTLED: u64 = 2;

/// What is known of a folder of certificates. A certificate that leaves it has been issued all the same.
#[derive(Debug, Default)]
pub struct Folder {
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
    pub fn is_unsettled(&self) -> bool {
        let changed = |(path, old): (&PathBuf, &Stamp)| stamp(path) != *old;
        self.is_fresh || self.pending.iter().any(changed)
    }

    pub fn rests(&self) -> bool {
        self.rest.is_some_and(|rest| Instant::now() < rest)
    }

    /// The serials of the files that are new since the last time, and what was wrong with some of them.
    pub fn read_new(
        &mut self,
        path: &Path,
        now: Stamp,
        issuer: (&Certificate, &[String]),
    ) -> Result<(Serials, Option<FeedError>), FeedError> {
        let unreadable = |error| FeedError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let (start, mut reading) = (Instant::now(), Duration::ZERO);
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
            let opened = Instant::now();
            let read = read_certificates(&path, stamp, issuer, &mut serials);
            reading += opened.elapsed();
            match read {
                Ok(()) => {
                    seen.insert(key);
                }
                // It has another name by now, and the folder another stamp.
                Err(FeedError::Unreadable { error, .. })
                    if error.kind() == io::ErrorKind::NotFound => {}
                // Tried again until it can be read.
                Err(error @ FeedError::Unreadable { .. }) => {
                    failures.push(error);
                    pending.insert(path, None);
                }
                // Most likely it is being written.
                Err(_) if is_fresh(stamp) => {
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
        // What is new is read only once.
        let rest = start.elapsed().saturating_sub(reading) * REST;
        self.rest = (rest > INTERVAL).then(|| Instant::now() + rest);
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
    let now = wall_clock().get();
    stamp.is_some_and(|(_, _, seconds, _)| {
        now.abs_diff(u64::try_from(seconds).unwrap_or(0)) < UNSETTLED
    })
}

/// Takes the serials of `issuer`'s certificates in a file. Certificates of others are passed over, and so is what else
/// a CA publishes: CRLs, and PEM blocks with other labels.
fn read_certificates(
    path: &Path,
    stamp: Stamp,
    (issuer, shards): (&Certificate, &[String]),
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
        let points = issuance.distribution_points().iter();
        let shard = points
            .filter(|point| shards.contains(point))
            .map(|point| Shard::of(point))
            .next();
        let told = Told {
            last_day: issuance.not_after().into(),
            shard: shard.unwrap_or_default(),
        };
        serials.add(issuance.serial(), told);
    }
    Ok(())
}

fn is_something_else(content: &[u8]) -> bool {
    let has = |text: &[u8]| content.windows(text.len()).any(|window| window == text);
    CertificateList::parse(content).is_ok()
        || (has(b"-----BEGIN ") && !has(b"-----BEGIN CERTIFICATE-----"))
}
