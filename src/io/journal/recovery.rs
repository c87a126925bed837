//! What a start does with what the last one left: [`recover`] takes the tree up at its last checkpoint and reads
//! only the records behind it, so that it takes no longer with a hundred million of them.

use std::sync::Arc;

use super::{
    disk::Disk,
    log::{self, Log, LogError, LogKey},
    segments::{Segments, SegmentsError},
};
use crate::audit::{checkpoint::Checkpoint, record::Parts, tree::leaf_hash};

/// Why a journal cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Segments(#[from] SegmentsError),
    #[error(
        "the records do not give the root that the checkpoint of size {0} has: records were altered; see \
         `gnomon journal verify`"
    )]
    Altered(u64),
}

/// The ends of the journal and of its log, and what had to be mended, in words.
pub fn recover(
    disk: &Arc<dyn Disk>,
    key: &Arc<LogKey>,
    segment_size: u64,
) -> Result<(Segments, Log, Vec<String>), RecoveryError> {
    let mut mended = Vec::new();
    let (mut log, sealed) = match Log::open(Arc::clone(disk), Arc::clone(key)) {
        Ok(log) => (log, None),
        Err(error @ LogError::Checkpoint(_)) => return Err(error.into()),
        // The tree can be made anew from the records, and must then give the root that was signed.
        Err(error) => match checkpoint(&**disk, key)? {
            Some(sealed) => {
                mended.push(format!("{error}; the tree is made anew from all records"));
                (Log::empty(Arc::clone(disk), Arc::clone(key)), Some(sealed))
            }
            None => return Err(error.into()),
        },
    };
    let from = log.size();
    let mut holds = true;
    let visit = |record: Parts<'_>| {
        log.add(record.public, leaf_hash(record.public))?;
        if let Some(sealed) = &sealed
            && log.size() == sealed.size
        {
            holds = log.root() == sealed.root;
        }
        Ok(())
    };
    let (segments, cut) = Segments::open(Arc::clone(disk), segment_size, from, visit)?;
    let size = sealed.as_ref().map_or(0, |sealed| sealed.size);
    if segments.next() < size {
        let next = segments.next();
        return Err(SegmentsError::Lost { next, size }.into());
    }
    if !holds {
        return Err(RecoveryError::Altered(size));
    }
    if sealed.is_some() {
        // The full tiles, before the next checkpoint puts partial ones: a start that finds those trusts the others.
        let name = log::FOLDER.to_owned();
        disk.sync_all()
            .map_err(|error| LogError::File { name, error })?;
    }
    mended.extend(cut);
    Ok((segments, log, mended))
}

/// The checkpoint alone, whatever became of the tiles.
fn checkpoint(disk: &dyn Disk, key: &LogKey) -> Result<Option<Checkpoint>, LogError> {
    let note = log::checkpoint(disk).map_err(|error| LogError::File {
        name: log::name("checkpoint"),
        error,
    })?;
    let open = |note: String| Checkpoint::open(&note, &key.public);
    note.map(open).transpose().map_err(LogError::Checkpoint)
}
