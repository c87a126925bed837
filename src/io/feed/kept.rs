//! CRLs that outlive the process: [`Kept`] is a folder with the last accepted CRL of each source, as it was
//! signed. A start needs no network, and a CRL that is older than the one kept is a rollback.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    audit::tree::sha256,
    io::journal::disk::sync_name,
    wire::{algorithm::DigestAlgorithm, certificate::Certificate},
};

/// The folder. It is made with the first CRL that is kept.
#[derive(Debug, Clone)]
pub struct Kept(PathBuf);

impl Kept {
    pub const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Where the CRL of this issuer from this place is kept: a re-keyed CA is another issuer.
    pub fn path(&self, issuer: &Certificate, place: &str) -> PathBuf {
        let key = issuer.public_key().key_hash(DigestAlgorithm::Sha256);
        let digest = sha256(&[issuer.subject(), key.as_ref(), place.as_bytes()]);
        let name: String = hex::encode(digest).chars().take(32).collect();
        self.0.join(name + ".crl")
    }
}

/// Puts `crl` in the place of what was kept: wholly, or not at all.
pub fn put(path: &Path, crl: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        sync_name(folder)?;
    }
    let written = path.with_extension("new");
    let mut file = File::create(&written)?;
    let put = file.write_all(crl).and_then(|()| file.sync_all());
    let put = put.and_then(|()| fs::rename(&written, path));
    if put.is_err() {
        // A full disk needs the room, and the next try makes the file anew.
        let _ = fs::remove_file(&written);
    }
    put?;
    sync_name(path)
}
