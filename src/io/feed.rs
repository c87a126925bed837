//! Revocation data from files: [`Feed`] holds one issuer's CRL and issued-serial files, reads them again
//! when they change, and swaps in a new snapshot only when everything read anew has been verified.
//! [`follow`] keeps all feeds current on a thread of its own.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;

use super::journal::Journal;
use crate::{
    audit::event::Event,
    revocation::{CrlError, Issued, Snapshot, VerifiedCrl, supersedes, verify},
    wire::certificate::{Certificate, CertificateError},
};

/// How often files are looked at. A look is one `stat` a file.
const INTERVAL: Duration = Duration::from_secs(1);

/// The largest CRL file read: ten million entries of 50 octets.
const LARGEST: u64 = 512 << 20;

/// Why a file of a feed was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{path}: cannot be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path}: is larger than {LARGEST} octets; no CRL that large is read")]
    TooLarge { path: PathBuf },
    #[error("{path}: {error}")]
    Crl { path: PathBuf, error: CrlError },
    #[error("{path}: {what}")]
    Issued { path: PathBuf, what: String },
    #[error("{path}: {error}")]
    Certificate {
        path: PathBuf,
        error: CertificateError,
    },
}

/// One issuer's files and the snapshot made of them.
#[derive(Debug)]
pub struct Feed {
    issuer: Certificate,
    crls: Vec<Source>,
    issued: Vec<PathBuf>,
    issued_stamp: Vec<Stamp>,
    /// What was last wrong with the lists, so that it is told once.
    issued_failure: Option<String>,
    listed: Option<Arc<Issued>>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// What was accepted or refused and is not yet on record.
    news: Vec<Event>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    distribution_point: Option<String>,
    stamp: Stamp,
    crl: Arc<VerifiedCrl>,
}

/// What tells that a file has changed: inode, length, and the time of its last change, which unlike the
/// modification time no copying tool sets back and a repaired permission moves too.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Feed {
    /// Reads and verifies everything once; every file that fails is named.
    pub fn open(
        issuer: Certificate,
        crls: Vec<(PathBuf, Option<String>)>,
        issued: Vec<PathBuf>,
    ) -> Result<Self, Vec<FeedError>> {
        let mut errors = Vec::new();
        let mut sources = Vec::new();
        for (path, distribution_point) in crls {
            let stamp = stamp(&path);
            match read_crl(&path, &issuer, distribution_point.as_deref()) {
                Ok(crl) => {
                    sources.push(Source {
                        path,
                        distribution_point,
                        stamp,
                        crl: Arc::new(crl),
                    });
                }
                Err(error) => errors.push(error),
            }
        }
        let issued_stamp = issued.iter().map(|path| stamp(path)).collect();
        let listed = match read_issued(&issued) {
            Ok(listed) => listed.map(Arc::new),
            Err(error) => {
                errors.push(error);
                None
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let snapshot = Arc::new(ArcSwap::from_pointee(merged(&sources, listed.as_ref())));
        let news = sources.iter().map(|source| accepted(&issuer, source));
        Ok(Self {
            news: news.collect(),
            issuer,
            crls: sources,
            issued,
            issued_stamp,
            issued_failure: None,
            listed,
            snapshot,
        })
    }

    /// What answers read from.
    pub const fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// Reads again what has changed. What cannot be taken is returned, and the old data stays; each
    /// changed file is judged once, not at every look. Lists of issued serials that fail are read at
    /// every look, since a folder does not change when a certificate in it has been written to its end.
    pub fn refresh(&mut self) -> Vec<FeedError> {
        let mut errors = Vec::new();
        let mut changed = false;
        for source in &mut self.crls {
            let now = stamp(&source.path);
            if now == source.stamp {
                continue;
            }
            source.stamp = now;
            let taken = read_crl(
                &source.path,
                &self.issuer,
                source.distribution_point.as_deref(),
            )
            .and_then(|crl| match supersedes(&crl, &source.crl) {
                Ok(()) => Ok(crl),
                Err(error) => Err(FeedError::Crl {
                    path: source.path.clone(),
                    error,
                }),
            });
            match taken {
                Ok(crl) => {
                    source.crl = Arc::new(crl);
                    self.news.push(accepted(&self.issuer, source));
                    changed = true;
                }
                Err(error) => {
                    self.news.push(Event::CrlRefused {
                        issuer: self.issuer.subject_text(),
                        source: source.path.display().to_string(),
                        reason: error.to_string(),
                    });
                    errors.push(error);
                }
            }
        }
        let issued_stamp: Vec<_> = self.issued.iter().map(|path| stamp(path)).collect();
        if issued_stamp != self.issued_stamp {
            match read_issued(&self.issued) {
                Ok(listed) => {
                    self.listed = listed.map(Arc::new);
                    self.issued_stamp = issued_stamp;
                    self.issued_failure = None;
                    changed = true;
                }
                Err(error) => {
                    self.issued_stamp.clear();
                    let failure = Some(error.to_string());
                    if failure != self.issued_failure {
                        self.issued_failure = failure;
                        errors.push(error);
                    }
                }
            }
        }
        if changed {
            self.snapshot
                .store(Arc::new(merged(&self.crls, self.listed.as_ref())));
        }
        errors
    }
}

/// The thread that keeps feeds current; [`Follower::stop`] ends it.
#[derive(Debug)]
pub struct Follower {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Waits until the thread has ended, after what it is reading.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// Keeps `feeds` current, on a thread of its own, and puts on record what was accepted and refused.
pub fn follow(mut feeds: Vec<Feed>, journal: Journal) -> io::Result<Follower> {
    let (stop, stopped) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("feed".into())
        .spawn(move || {
            loop {
                for event in feeds.iter_mut().flat_map(|feed| feed.news.drain(..)) {
                    journal.note(&event);
                }
                if stopped.recv_timeout(INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
                for error in feeds.iter_mut().flat_map(Feed::refresh) {
                    tracing::error!("{error}; the old data stays in force");
                }
            }
        })?;
    Ok(Follower { stop, thread })
}

fn accepted(issuer: &Certificate, source: &Source) -> Event {
    Event::CrlAccepted {
        issuer: issuer.subject_text(),
        source: source.path.display().to_string(),
        number: source.crl.number().map(hex::encode),
        sha256: hex::encode(source.crl.digest()),
    }
}

fn merged(sources: &[Source], listed: Option<&Arc<Issued>>) -> Snapshot {
    Snapshot::new(
        sources
            .iter()
            .map(|source| Arc::clone(&source.crl))
            .collect(),
        listed.map(Arc::clone),
    )
}

fn read_crl(
    path: &Path,
    issuer: &Certificate,
    distribution_point: Option<&str>,
) -> Result<VerifiedCrl, FeedError> {
    let unreadable = |error| FeedError::Unreadable {
        path: path.to_owned(),
        error,
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
        return Err(FeedError::TooLarge {
            path: path.to_owned(),
        });
    }
    let content = std::fs::read(path).map_err(unreadable)?;
    verify(&content, issuer, distribution_point).map_err(|error| FeedError::Crl {
        path: path.to_owned(),
        error,
    })
}

/// The serials of all list files and of all certificates in all folders; `None` without any source.
fn read_issued(paths: &[PathBuf]) -> Result<Option<Issued>, FeedError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut serials = Vec::new();
    for path in paths {
        let unreadable = |error| FeedError::Unreadable {
            path: path.clone(),
            error,
        };
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.is_file() {
                    serials.extend(certificate_serials(&path)?);
                }
            }
        } else {
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            let listed = Issued::parse(&text).map_err(|error| FeedError::Issued {
                path: path.clone(),
                what: error.to_string(),
            })?;
            serials.extend(listed);
        }
    }
    Ok(Some(Issued::new(serials)))
}

fn certificate_serials(path: &Path) -> Result<Vec<Vec<u8>>, FeedError> {
    let content = std::fs::read(path).map_err(|error| FeedError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let certificates = Certificate::read_all(&content).map_err(|error| FeedError::Certificate {
        path: path.to_owned(),
        error,
    })?;
    Ok(certificates
        .iter()
        .map(|certificate| certificate.serial().to_vec())
        .collect())
}

/// A folder's stamp changes when entries come and go; files in it are written once.
fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.ino(),
        metadata.len(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        io::journal,
        revocation::{
            SerialStatus,
            testing::{Ca, Draft, entry},
        },
        wire::time::Seconds,
    };

    /// A folder that goes when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gnomon-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// Puts a file in place as a whole, as a CA's export does.
        fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let (written, path) = (self.0.join("new"), self.0.join(name));
            fs::write(&written, content).unwrap();
            fs::rename(&written, &path).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn status(feed: &Feed, serial: u8) -> SerialStatus {
        // 2026-01-02, within the drafts' dates.
        feed.snapshot()
            .load()
            .status(&[serial], Seconds::new(20_455 * 86_400))
    }

    fn is_revoked(feed: &Feed, serial: u8) -> bool {
        matches!(status(feed, serial), SerialStatus::Revoked { .. })
    }

    #[test]
    fn a_new_crl_is_taken_and_an_old_or_broken_one_is_not() {
        let folder = Folder::new("feed-crl");
        let ca = Ca::new("A");
        let numbered = |number: u8, serial: u8| {
            ca.crl(&Draft::new(&[entry(&[serial], None)]).number(&[number]))
        };
        let path = folder.put("crl", numbered(1, 1));
        let mut feed = Feed::open(ca.certificate.clone(), vec![(path, None)], vec![]).unwrap();
        assert!(is_revoked(&feed, 1) && feed.refresh().is_empty());
        folder.put("crl", numbered(3, 3));
        assert!(feed.refresh().is_empty());
        assert!(is_revoked(&feed, 3) && !is_revoked(&feed, 1));
        let whole = numbered(4, 4);
        for bad in [
            numbered(2, 2),
            numbered(3, 4),
            whole[..100].to_vec(),
            vec![],
        ] {
            folder.put("crl", bad);
            assert_eq!(feed.refresh().len(), 1);
            assert!(feed.refresh().is_empty(), "told once");
            assert!(is_revoked(&feed, 3));
        }
        fs::remove_file(folder.0.join("crl")).unwrap();
        assert_eq!((feed.refresh().len(), feed.refresh().len()), (1, 0));
        assert!(is_revoked(&feed, 3));
        folder.put("crl", whole);
        assert!(feed.refresh().is_empty() && is_revoked(&feed, 4));
    }

    #[test]
    fn at_the_start_every_file_that_fails_is_named() {
        let folder = Folder::new("feed-start");
        let list = folder.put("issued", "nonsense");
        let crls = vec![
            (folder.0.join("absent"), None),
            (folder.put("crl", "x"), None),
        ];
        let errors = Feed::open(Ca::new("A").certificate, crls, vec![list]).unwrap_err();
        let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(text[0].contains("absent: cannot be read"), "{text:?}");
        assert!(text[1].contains("crl: neither"), "{text:?}");
        assert!(text[2].contains("issued: line 1"), "{text:?}");
    }

    #[test]
    fn issued_serials_come_from_lists_and_from_certificates() {
        let (folder, certificates) = (Folder::new("feed-issued"), Folder::new("feed-certs"));
        let ca = Ca::new("A");
        let crl = folder.put("crl", ca.crl(&Draft::new(&[])));
        let list = folder.put("issued", "07\n");
        let sources = vec![list, certificates.0.clone()];
        let mut feed = Feed::open(ca.certificate.clone(), vec![(crl, None)], sources).unwrap();
        assert_eq!(status(&feed, 7), SerialStatus::Issued);
        assert_eq!(status(&feed, 1), SerialStatus::Unlisted);
        // Half a certificate is told once, and its second half is noticed.
        let der = ca.certificate.der();
        fs::write(certificates.0.join("1.der"), &der[..99]).unwrap();
        assert_eq!((feed.refresh().len(), feed.refresh().len()), (1, 0));
        assert_eq!(status(&feed, 7), SerialStatus::Issued);
        fs::write(certificates.0.join("1.der"), der).unwrap();
        assert!(feed.refresh().is_empty());
        assert_eq!(status(&feed, 1), SerialStatus::Issued);
        folder.put("issued", "08\n");
        assert!(feed.refresh().is_empty());
        assert_eq!(status(&feed, 7), SerialStatus::Unlisted);
    }

    #[test]
    fn following_ends_when_it_is_stopped() {
        let folder = Folder::new("follow");
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
        follow(vec![], opened.journal.clone()).unwrap().stop();
        opened.threads.close();
    }
}
