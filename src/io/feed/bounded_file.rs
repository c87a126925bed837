//! A file on this host that must not be larger than wanted: [`read_bounded`].

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use super::FeedError;

/// What stands in the file, however long it becomes meanwhile.
pub fn read_bounded(path: &Path, largest: u64) -> Result<Vec<u8>, FeedError> {
    let unreadable = |error| FeedError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let too_large = || FeedError::TooLarge {
        path: path.to_owned(),
        largest,
    };
    let file = open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > largest {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    let mut file = file.take(largest.saturating_add(1));
    file.read_to_end(&mut content).map_err(unreadable)?;
    match file.limit() {
        0 => Err(too_large()),
        _ => Ok(content),
    }
}

/// Opens what can be read to its end: nobody may ever write to a pipe, and a look at one would be the last.
fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a pipe; give a file"));
    }
    File::open(path)
}
