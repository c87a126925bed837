//! What tells that a file has changed: [`stamp`].

use std::{os::unix::fs::MetadataExt, path::Path};

/// Inode, length, and the time of its last change, which unlike the modification time no copying tool sets back and a
/// repaired permission moves too. None: there is no file.
pub type Stamp = Option<(u64, u64, i64, i64)>;

/// A folder's stamp changes when entries come and go.
pub fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.ino(),
        metadata.len(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}
