//! The public log over HTTP, read-only (C2SP tlog-tiles): [`PublicLog`] serves the checkpoint, tiles and entries
//! just as the journal keeps them.

use std::{io, path::PathBuf};

use bytes::Bytes;
use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, HeaderValue},
};
use tokio::sync::Semaphore;

use super::{Answer, plain, whole};
use crate::{audit::tile::Tile, io::journal::log};

/// Files read at once. Each is 84 KB at most, and the disk is the journal's: who reads the log must not keep it
/// from being written.
const READERS: usize = 8;

/// A full tile never changes, and neither does a partial one of its width.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// A checkpoint is replaced within seconds.
const FRESH: HeaderValue = HeaderValue::from_static("no-cache");

/// The log of a journal.
#[derive(Debug)]
pub struct PublicLog {
    dir: PathBuf,
    readers: Semaphore,
}

impl PublicLog {
    /// That of the journal in this folder.
    pub const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            readers: Semaphore::const_new(READERS),
        }
    }

    /// What stands at a path below `/log/`; `None` where nothing can stand there.
    pub async fn respond(&self, path: &str) -> Option<Answer> {
        let (media_type, cache) = match path {
            "checkpoint" => ("text/plain; charset=utf-8", FRESH),
            _ => {
                // Only the one spelling of a tile's path gets to the disk.
                Tile::parse(path)?;
                ("application/octet-stream", FOR_EVER)
            }
        };
        // Nothing closes the semaphore. How many wait is bounded by the connections there are.
        let _reader = self.readers.acquire().await.ok()?;
        let file = self.dir.join(log::name(path));
        let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
        let octets = match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => {
                let what = "the log cannot be read at present\n";
                return Some(plain(StatusCode::INTERNAL_SERVER_ERROR, what));
            }
        };
        let mut answer = whole(Bytes::from(octets), media_type);
        answer.headers_mut().insert(CACHE_CONTROL, cache);
        Some(answer)
    }
}
