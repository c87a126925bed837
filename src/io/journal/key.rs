//! The log's key: read from its file, or made at the first start. Its public half is kept beside the journal as
//! `log.pub`, for whoever checks proofs.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    signature::{Ed25519KeyPair, KeyPair},
};
use der::pem::{LineEnding, encode_string};
use zeroize::Zeroizing;

use super::{disk::sync_name, log::LogKey};
use crate::{
    audit::checkpoint::VerifierKey,
    io::softkey::{SoftKeyError, pkcs8},
    wire::algorithm::sha256,
};

/// Why there is no log key.
#[derive(Debug, thiserror::Error)]
pub enum LogKeyError {
    #[error(transparent)]
    Form(#[from] SoftKeyError),
    #[error("{path}: the log's key cannot be {action}: {error}")]
    File {
        path: PathBuf,
        action: &'static str,
        error: io::Error,
    },
    #[error(
        "{path}: it is missing, but the journal has checkpoints that it signed; restore it, or give the appliance a new \
         journal folder"
    )]
    Missing { path: PathBuf },
    #[error(
        "{path}: it is no Ed25519 key in PKCS #8 form; `openssl genpkey -algorithm ed25519` makes one"
    )]
    Kind { path: PathBuf },
    #[error("`{0}` cannot be the log's name: it must be without white space and `+`")]
    Name(String),
}

/// Reads the key. Where there is none and the log is `new`, makes one that only its owner can read.
pub fn open(path: &Path, origin: Option<&str>, new: bool) -> Result<LogKey, LogKeyError> {
    let content = match fs::read(path) {
        Ok(content) => Zeroizing::new(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound && new => make(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LogKeyError::Missing {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(failed(path, "read")(error)),
    };
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8(&content, path)?);
    let pair = pair.map_err(|_| LogKeyError::Kind {
        path: path.to_owned(),
    })?;
    let name = origin.map_or_else(|| default_name(&pair), str::to_owned);
    match VerifierKey::of(&name, &pair) {
        Some(public) => Ok(LogKey { pair, public }),
        None => Err(LogKeyError::Name(name)),
    }
}

/// A name that no other log has, for whoever has not chosen one.
fn default_name(pair: &Ed25519KeyPair) -> String {
    let [a, b, c, d, e, f, ..] = sha256(&[pair.public_key().as_ref()]);
    format!("gnomon/{}", hex::encode([a, b, c, d, e, f]))
}

fn make(path: &Path) -> Result<Zeroizing<Vec<u8>>, LogKeyError> {
    let crypto = |_| failed(path, "made")(io::Error::other("no Ed25519 key was generated"));
    let pair = Ed25519KeyPair::generate().map_err(crypto)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(crypto)?;
    let pem = encode_string("PRIVATE KEY", LineEnding::LF, der.as_ref());
    let pem = Zeroizing::new(
        pem.map_err(|error| io::Error::other(error.to_string()))
            .map_err(failed(path, "made"))?,
    );
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        // Whole, or not at all, and durable before there is a checkpoint that no other key can go on from.
        fs::rename(&new, path)?;
        sync_name(path)
    };
    write().map_err(failed(path, "written"))?;
    tracing::info!(
        "{}: made the key that signs the log's checkpoints",
        path.display()
    );
    Ok(Zeroizing::new(pem.as_bytes().to_vec()))
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> LogKeyError {
    let path = path.to_owned();
    move |error| LogKeyError::File {
        path,
        action,
        error,
    }
}
