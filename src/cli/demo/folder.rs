//! The demo's files: [`Folder`] reads them and puts each in place whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::wire::certificate::{Certificate, pem_blocks};

use super::{DemoError, pki::Key};

/// Modes of files: for everyone, and for keys.
pub const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;

/// A folder that exists.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder where it is missing.
    pub fn open(dir: &Path) -> Result<Self, DemoError> {
        fs::create_dir_all(dir).map_err(failed(dir, "made"))?;
        Ok(Self(dir.to_owned()))
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The name of an entry that is neither the journal nor what a cut-short write left.
    pub fn foreign(&self) -> Result<Option<String>, DemoError> {
        let listed = |error| failed(&self.0, "listed")(error);
        for entry in fs::read_dir(&self.0).map_err(listed)? {
            let name = entry.map_err(listed)?.file_name();
            let name = name.to_string_lossy();
            if name != "journal" && !(name.starts_with('.') && name.ends_with(".new")) {
                return Ok(Some(name.into_owned()));
            }
        }
        Ok(None)
    }

    /// The content; `None` where there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DemoError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, "read")(error)),
        }
    }

    /// The key; `None` where there is no such file or it holds no key.
    pub fn read_key(&self, name: &str) -> Result<Option<Key>, DemoError> {
        let content = Zeroizing::new(self.read(name)?.unwrap_or_default());
        let blocks = pem_blocks(&content, "PRIVATE KEY").unwrap_or_default();
        let first = blocks.into_iter().next().map(Zeroizing::new);
        Ok(first.and_then(|der| Key::from_pkcs8(&der).ok()))
    }

    pub fn write_key(&self, name: &str, key: &Key) -> Result<(), DemoError> {
        let pem = Zeroizing::new(pem("PRIVATE KEY", &key.to_pkcs8()?));
        self.write(name, pem.as_bytes(), PRIVATE)
    }

    pub fn write_certificate(&self, name: &str, content: &Certificate) -> Result<(), DemoError> {
        self.write(name, pem("CERTIFICATE", content.der()).as_bytes(), PUBLIC)
    }

    /// Writes under another name, syncs, renames: a crash leaves the old content or the new.
    pub fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), DemoError> {
        let (path, new) = (self.path(name), self.path(&format!(".{name}.new")));
        let write = || {
            // A left-over could have another mode, so it is not written into.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(failed(&path, "written"))
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> DemoError {
    move |error| DemoError::File {
        path: path.to_owned(),
        action,
        error,
    }
}

/// A PEM block with lines of 64 characters (RFC 7468 2).
pub fn pem(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut out);
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}
