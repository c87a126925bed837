//! What outlives the process: [`Kept`] is a folder with the last accepted CRLs, as they were signed, and lists of
//! what they once revoked. A start needs no network, and a CRL that is older than the one kept is a rollback.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    io::journal::disk::sync_name,
    wire::{
        algorithm::{DigestAlgorithm, sha256},
        certificate::Certificate,
    },
};

/// Octets written at once.
const CHUNK: usize = 32 << 20;

/// The folder. It is made with the first CRL that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept(PathBuf);

/// Complete CRLs and deltas have high-water marks each of their own, since a CA may issue both with one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Complete,
    Delta,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Delta => "delta",
        }
    }
}

impl Kept {
    pub const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Where the CRL of this issuer is kept that is the `nth` of those configured for a distribution point; `.crl`,
    /// to which the others belong with their own endings. A re-keyed CA is another issuer.
    pub fn path(&self, issuer: &Certificate, distribution_point: &str, nth: usize) -> PathBuf {
        let nth = nth.to_string();
        self.0
            .join(named(issuer, &[distribution_point, &nth]) + ".crl")
    }
}

/// By what a high-water mark is known: issuer, key, issuing distribution point (its encoding), and kind.
pub fn scope(issuer: &Certificate, distribution_point: &[u8], kind: Kind) -> String {
    let of = named(issuer, &[kind.name(), &hex::encode(distribution_point)]);
    format!("{} {of}", of_issuer(issuer))
}

/// What the scopes of an issuer begin with.
pub fn of_issuer(issuer: &Certificate) -> String {
    named(issuer, &[])
}

fn named(issuer: &Certificate, parts: &[&str]) -> String {
    let key = issuer.public_key().key_hash(DigestAlgorithm::Sha256);
    let parts = parts.join("\n");
    let digest = sha256(&[issuer.subject(), key.as_ref(), parts.as_bytes()]);
    hex::encode(digest).chars().take(32).collect()
}

/// Puts `content` in the place of what was kept: wholly, or not at all.
pub fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    put_written(path, |file| write(file, content))
}

/// Writes what will hardly be read again: the kernel need not keep it in memory, where it would take the room of what
/// is read.
pub fn write(file: &mut File, content: &[u8]) -> io::Result<()> {
    for chunk in content.chunks(CHUNK) {
        file.write_all(chunk)?;
        if content.len() > CHUNK {
            file.sync_data()?;
            let _ = rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
    Ok(())
}

/// The same for content that `write` writes.
pub fn put_written(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    Staged::write(path, write)?.put_in_place()
}

/// What is on the disk, but not yet in its place.
#[derive(Debug)]
pub struct Staged {
    written: PathBuf,
    path: PathBuf,
    is_in_place: bool,
}

impl Staged {
    /// Writes what is to come to `path`, and syncs it.
    pub fn write(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            sync_name(folder)?;
        }
        let mut written = path.as_os_str().to_owned();
        written.push(".new");
        let staged = Self {
            written: written.into(),
            path: path.to_owned(),
            is_in_place: false,
        };
        let mut file = File::create(&staged.written)?;
        write(&mut file)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// What fails can be tried again.
    pub fn put_in_place(&mut self) -> io::Result<()> {
        if !self.is_in_place {
            fs::rename(&self.written, &self.path)?;
            self.is_in_place = true;
        }
        sync_name(&self.path)
    }
}

impl Drop for Staged {
    /// A full disk needs the room, and the next try makes the file anew.
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = fs::remove_file(&self.written);
        }
    }
}
