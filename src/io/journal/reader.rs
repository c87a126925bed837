//! Reading a journal without holding it: a live one, a closed one, or a copy. [`Stored`] is its folder,
//! [`Stored::each`] goes through its records, [`Stored::prove`] shows that one is in the log.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::{
    archive::ArchiveError,
    disk::Folder,
    log::{self, LogError, Tiles},
    segments,
};
use crate::audit::{
    checkpoint::{Checkpoint, NoteError, VerifierKey},
    frame::{self, Frame, FrameError, Head, SEGMENT_HEADER},
    proof::Proof,
    record::Parts,
    tree::inclusion_proof,
};

/// A journal's folder, and those that segments were moved to.
#[derive(Debug)]
pub struct Stored {
    dir: PathBuf,
    disk: Folder,
    archives: Vec<PathBuf>,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{dir}: it is no journal's folder: it has no folder `segments`", dir = .0.display())]
    NoJournal(PathBuf),
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{path}: {error}", path = .path.display())]
    Key { path: PathBuf, error: NoteError },
    #[error("log/checkpoint: {0}")]
    Checkpoint(NoteError),
    #[error("there is no checkpoint yet; one is signed some seconds after the first record")]
    NoCheckpoint,
    #[error(
        "record {record} is not yet under a checkpoint, which covers {size}; ask again in some seconds"
    )]
    NotSigned { record: u64, size: u64 },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("{path}: record {record} at octet {at}: {error}; see `gnomon journal verify`", path = .path.display())]
    Frame {
        path: PathBuf,
        at: usize,
        record: u64,
        error: FrameError,
    },
}

/// A segment file by its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub first: u64,
    pub path: PathBuf,
}

impl Segment {
    pub fn read(&self) -> Result<Vec<u8>, ReadError> {
        std::fs::read(&self.path).map_err(|error| ReadError::File {
            path: self.path.clone(),
            error,
        })
    }
}

/// What stands at a place of a segment.
#[derive(Debug)]
pub enum Piece<'a> {
    /// With the octet that it begins at.
    Frame(usize, Frame<'a>),
    /// No frame, though more than zeros. `next` is where a later one begins, if one does.
    Broken {
        at: usize,
        error: FrameError,
        next: Option<usize>,
    },
}

/// Goes through a segment's octets. Frames of any number are given: who asks judges the order.
pub fn pieces(octets: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let head = Head::decode(octets);
    let mut at = Some(SEGMENT_HEADER);
    std::iter::from_fn(move || {
        let here = at.take()?;
        let seed = match &head {
            Ok(head) => &head.seed,
            // Just begun, and not yet on the disk.
            Err(_) if octets.iter().all(|octet| *octet == 0) => return None,
            // Without the seed no frame can be told.
            Err(error) => {
                return Some(Piece::Broken {
                    at: 0,
                    error: *error,
                    next: None,
                });
            }
        };
        let rest = octets.get(here..)?;
        match Frame::decode(rest, seed) {
            Ok((frame, length)) => {
                at = Some(here + length);
                Some(Piece::Frame(here, frame))
            }
            Err(FrameError::Empty) if rest.iter().all(|octet| *octet == 0) => None,
            Err(error) => {
                let next = frame::find_later(rest, seed, 0).map(|(more, _)| here + more);
                at = next;
                Some(Piece::Broken {
                    at: here,
                    error,
                    next,
                })
            }
        }
    })
}

impl Stored {
    /// The journal in `dir`; segments that were archived are read in `archives`.
    pub fn open(dir: &Path, archives: &[PathBuf]) -> Result<Self, ReadError> {
        if !dir.join(segments::FOLDER).is_dir() {
            return Err(ReadError::NoJournal(dir.to_owned()));
        }
        Ok(Self {
            dir: dir.to_owned(),
            disk: Folder::new(dir),
            archives: archives.to_vec(),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub const fn disk(&self) -> &Folder {
        &self.disk
    }

    /// The segments that are there, in order; where one is in the journal and in an archive, the journal's.
    pub fn segments(&self) -> Result<Vec<Segment>, ReadError> {
        let mut found = BTreeMap::new();
        let own = [(
            self.dir.join(segments::FOLDER),
            self.disk.clone(),
            segments::FOLDER,
        )];
        let archives = self.archives.iter();
        let archives = archives.map(|path| (path.clone(), Folder::new(path), ""));
        for (path, disk, folder) in archives.chain(own) {
            let failed = |error| ReadError::File {
                path: path.clone(),
                error,
            };
            if !path.is_dir() {
                return Err(failed(io::ErrorKind::NotFound.into()));
            }
            for first in segments::firsts_in(&disk, folder).map_err(failed)? {
                found.insert(first, path.join(segments::file_name(first)));
            }
        }
        let segments = found.into_iter();
        Ok(segments
            .map(|(first, path)| Segment { first, path })
            .collect())
    }

    /// The log's public key: from a file, or the journal's own `log.pub`.
    pub fn key(&self, file: Option<&Path>) -> Result<VerifierKey, ReadError> {
        let path = file.map_or_else(|| self.dir.join("log.pub"), Path::to_owned);
        read_key(&path)
    }

    /// The last checkpoint as it was signed, if there is one.
    pub fn checkpoint(&self) -> Result<Option<String>, ReadError> {
        log::checkpoint(&self.disk).map_err(|error| ReadError::File {
            path: self.dir.join("log/checkpoint"),
            error,
        })
    }

    /// Hands every record from number `from` on to `visit`, with its number, until that says enough. An
    /// unfinished frame at the very end, which a live journal may have, is passed over.
    pub fn each(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, Parts<'_>) -> bool,
    ) -> Result<(), ReadError> {
        let segments = self.segments()?;
        let start = segments.iter().rposition(|segment| segment.first <= from);
        for (index, segment) in segments.iter().enumerate().skip(start.unwrap_or(0)) {
            let octets = segment.read()?;
            let mut number = segment.first;
            for piece in pieces(&octets) {
                let broken = |at, error| ReadError::Frame {
                    path: segment.path.clone(),
                    at,
                    record: number,
                    error,
                };
                let (at, frame) = match piece {
                    Piece::Frame(at, frame) => (at, frame),
                    Piece::Broken { next: None, .. } if index + 1 == segments.len() => break,
                    Piece::Broken { at, error, .. } => return Err(broken(at, error)),
                };
                let records = frame.records().map_err(|error| broken(at, error))?;
                number = frame.first;
                for parts in records {
                    if number >= from && !visit(number, parts) {
                        return Ok(());
                    }
                    number += 1;
                }
            }
        }
        Ok(())
    }

    /// The proof that record `number`, whose public part is `entry`, is under the last checkpoint.
    pub fn prove(&self, number: u64, entry: &[u8], key: &VerifierKey) -> Result<Proof, ReadError> {
        let note = self.checkpoint()?.ok_or(ReadError::NoCheckpoint)?;
        let size = Checkpoint::open(&note, key)
            .map_err(ReadError::Checkpoint)?
            .size;
        if number >= size {
            let record = number;
            return Err(ReadError::NotSigned { record, size });
        }
        Ok(Proof {
            index: number,
            entry: entry.to_vec(),
            path: inclusion_proof(&mut Tiles::new(&self.disk, size), number, size)?,
            checkpoint: note,
        })
    }
}

/// A log's public key from its file.
pub fn read_key(path: &Path) -> Result<VerifierKey, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|error| ReadError::File {
        path: path.to_owned(),
        error,
    })?;
    VerifierKey::parse(&text).map_err(|error| ReadError::Key {
        path: path.to_owned(),
        error,
    })
}
