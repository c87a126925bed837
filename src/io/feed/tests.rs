//! The feed against files that come, go, break and go back.

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

fn open(
    ca: &Ca,
    folder: &Folder,
    crl: PathBuf,
    issued: Vec<PathBuf>,
) -> Result<Feed, Vec<FeedError>> {
    open_all(ca, folder, vec![crl], issued)
}

fn open_all(
    ca: &Ca,
    folder: &Folder,
    crls: Vec<PathBuf>,
    issued: Vec<PathBuf>,
) -> Result<Feed, Vec<FeedError>> {
    let wanted = |path| Wanted {
        place: Place::File(path),
        distribution_point: None,
    };
    let kept = Kept::new(folder.0.join("kept"));
    let crls = crls.into_iter().map(wanted).collect();
    Feed::open(
        ca.certificate.clone(),
        crls,
        issued,
        &kept,
        Duration::from_secs(9),
    )
}

fn refresh(feed: &mut Feed) -> Vec<FeedError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(feed.refresh())
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
    let numbered =
        |number: u8, serial: u8| ca.crl(&Draft::new(&[entry(&[serial], None)]).number(&[number]));
    let path = folder.put("crl", numbered(1, 1));
    let mut feed = open(&ca, &folder, path, vec![]).unwrap();
    assert!(is_revoked(&feed, 1) && refresh(&mut feed).is_empty());
    folder.put("crl", numbered(3, 3));
    assert!(refresh(&mut feed).is_empty());
    assert!(is_revoked(&feed, 3) && !is_revoked(&feed, 1));
    let whole = numbered(4, 4);
    for bad in [
        numbered(2, 2),
        numbered(3, 4),
        whole[..100].to_vec(),
        vec![],
    ] {
        folder.put("crl", bad);
        assert_eq!(refresh(&mut feed).len(), 1);
        assert!(refresh(&mut feed).is_empty(), "told once");
        assert!(is_revoked(&feed, 3));
    }
    fs::remove_file(folder.0.join("crl")).unwrap();
    assert_eq!((refresh(&mut feed).len(), refresh(&mut feed).len()), (1, 0));
    assert!(is_revoked(&feed, 3));
    folder.put("crl", whole);
    assert!(refresh(&mut feed).is_empty() && is_revoked(&feed, 4));
}

#[test]
fn at_the_start_every_file_that_fails_is_named() {
    let folder = Folder::new("feed-start");
    let list = folder.put("issued", "nonsense");
    let crls = vec![folder.0.join("absent"), folder.put("crl", "x")];
    let errors = open_all(&Ca::new("A"), &folder, crls, vec![list]).unwrap_err();
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
    let mut feed = open(&ca, &folder, crl, sources).unwrap();
    assert_eq!(status(&feed, 7), SerialStatus::Issued);
    assert_eq!(status(&feed, 1), SerialStatus::Unlisted);
    // Half a certificate is most likely being written, and its second half is noticed.
    let der = ca.certificate.der();
    fs::write(certificates.0.join("1.der"), &der[..99]).unwrap();
    assert!(refresh(&mut feed).is_empty());
    assert_eq!(status(&feed, 7), SerialStatus::Issued);
    fs::write(certificates.0.join("1.der"), der).unwrap();
    assert!(refresh(&mut feed).is_empty());
    assert_eq!(status(&feed, 1), SerialStatus::Issued);
    folder.put("issued", "08\n");
    assert!(refresh(&mut feed).is_empty());
    assert_eq!(status(&feed, 7), SerialStatus::Unlisted);
}

#[test]
fn what_was_accepted_outlives_the_process_and_cannot_be_rolled_back() {
    let folder = Folder::new("feed-kept");
    let ca = Ca::new("A");
    let numbered =
        |number: u8, serial: u8| ca.crl(&Draft::new(&[entry(&[serial], None)]).number(&[number]));
    let path = folder.put("crl", numbered(2, 2));
    let mut feed = open(&ca, &folder, path.clone(), vec![]).unwrap();
    assert!(refresh(&mut feed).is_empty());
    // The file is put back to an older one, broken, and removed while nobody looks.
    folder.put("crl", numbered(1, 1));
    let mut feed = open(&ca, &folder, path.clone(), vec![]).unwrap();
    assert!(is_revoked(&feed, 2) && !is_revoked(&feed, 1));
    let text = refresh(&mut feed)[0].to_string();
    assert!(
        text.contains("from 02 to 01") && text.contains("remove "),
        "{text}"
    );
    fs::remove_file(&path).unwrap();
    assert!(is_revoked(
        &open(&ca, &folder, path.clone(), vec![]).unwrap(),
        2
    ));
    // What was kept is damaged: told, and not used.
    folder.put("crl", numbered(3, 3));
    let kept = fs::read_dir(folder.0.join("kept"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::write(kept.path(), &numbered(2, 2)[..50]).unwrap();
    let mut feed = open(&ca, &folder, path, vec![]).unwrap();
    assert!(is_revoked(&feed, 3));
    let text = refresh(&mut feed)[0].to_string();
    assert!(text.contains("was kept cannot be used"), "{text}");
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
    follow(
        vec![],
        &opened.journal,
        &Arc::new(Metrics::new(&[]).unwrap()),
    )
    .unwrap()
    .stop();
    opened.threads.close();
}
