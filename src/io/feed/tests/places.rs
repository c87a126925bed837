//! The feed against places that are no plain files, servers that say odd things, and mirrors.

use std::{path::Path, sync::mpsc, thread};

use super::*;
use crate::io::feed::source::read_bounded;

fn numbered(ca: &Ca, number: u8) -> Vec<u8> {
    ca.crl(&Draft::new(&[entry(&[number], None)]).number(&[number]))
}

fn pipe(path: &Path) -> PathBuf {
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), 0).unwrap();
    path.to_owned()
}

#[test]
fn nobody_waits_for_a_pipe() {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let (folder, published) = (Folder::new("feed-pipe"), Folder::new("feed-pipes"));
        let ca = Ca::new("A");
        pipe(&published.0.join("1.crl"));
        published.put("2.crl", numbered(&ca, 2));
        let feed = open(&ca, &folder, published.0.clone(), vec![]).unwrap();
        assert!(is_revoked(&feed, 2));
        let crl = pipe(&folder.0.join("crl"));
        let text = open(&ca, &folder, crl, vec![]).unwrap_err()[0].to_string();
        assert!(text.contains("cannot be read: it is a pipe"), "{text}");
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_file_that_grows_is_read_within_bounds() {
    // It has no length of its own.
    let endless = Path::new("/proc/self/maps");
    let cut = read_bounded(endless, 100);
    assert!(matches!(cut, Err(FeedError::TooLarge { .. })));
    assert!(read_bounded(endless, 1 << 26).is_ok());
}
