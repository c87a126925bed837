//! Where anchors are kept: in the journal's folder `anchors/SIZE.checkpoint`, the signed checkpoint as it was,
//! and `SIZE.tsr`, what the other TSA replied. [`read`] gives all of them, [`put`] adds one.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::io::journal::disk::{Disk, Folder};

/// The folder below the journal's.
const FOLDER: &str = "anchors";

/// Octets of a reply, and of a note: both have a few thousand at most.
pub const LONGEST: usize = 64 << 10;

/// A checkpoint and the time-stamp over it, neither verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Records under the checkpoint, by the files' name.
    pub size: u64,
    /// The signed checkpoint, as it was sent.
    pub note: Vec<u8>,
    /// The TimeStampResp.
    pub reply: Vec<u8>,
    /// The file of the reply; the checkpoint's has the same name but for its end.
    pub path: PathBuf,
}

/// Why an anchor cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("{path}: cannot be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path}: has more than {LONGEST} octets; no anchor has")]
    TooLong { path: PathBuf },
}

/// The anchors in the journal's folder `dir`, the oldest first, read one by one. None where there is no folder
/// for them.
pub fn read(
    dir: &Path,
) -> Result<impl Iterator<Item = Result<Stored, StoredError>> + use<>, StoredError> {
    let sizes = sizes(dir)?;
    let dir = dir.to_owned();
    Ok(sizes.into_iter().map(move |size| read_one(&dir, size)))
}

/// Stores an anchor durably. The reply comes last: what has one is whole.
pub fn put(disk: &Folder, size: u64, note: &[u8], reply: &[u8]) -> io::Result<()> {
    for (kind, octets) in [("checkpoint", note), ("tsr", reply)] {
        disk.put_durably(&name(size, kind), octets)?;
    }
    Ok(())
}

fn name(size: u64, kind: &str) -> String {
    format!("{FOLDER}/{size:020}.{kind}")
}

/// The sizes that there are replies for, in order. Other files are not ours, or of a crash before the reply.
pub fn sizes(dir: &Path) -> Result<Vec<u64>, StoredError> {
    let names = Folder::new(dir).names(FOLDER);
    let names = names.map_err(|error| StoredError::Unreadable {
        path: dir.join(FOLDER),
        error,
    })?;
    let size = |file: &String| {
        let size = file.strip_suffix(".tsr")?.parse().ok()?;
        (name(size, "tsr") == format!("{FOLDER}/{file}")).then_some(size)
    };
    let mut sizes: Vec<_> = names.iter().filter_map(size).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

/// The anchor of this size.
pub fn read_one(dir: &Path, size: u64) -> Result<Stored, StoredError> {
    let path = dir.join(name(size, "tsr"));
    Ok(Stored {
        size,
        note: bounded(&dir.join(name(size, "checkpoint")))?,
        reply: bounded(&path)?,
        path,
    })
}

fn bounded(path: &Path) -> Result<Vec<u8>, StoredError> {
    let unreadable = |error| StoredError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut octets = Vec::new();
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    let mut file = File::open(path).map_err(unreadable)?.take(limit + 1);
    file.read_to_end(&mut octets).map_err(unreadable)?;
    match octets.len() > LONGEST {
        true => Err(StoredError::TooLong {
            path: path.to_owned(),
        }),
        false => Ok(octets),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_put_is_read_and_what_cannot_be_read_is_named() {
        let dir = std::env::temp_dir().join(format!("gnomon-stored-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let all = || -> Vec<_> { read(&dir).unwrap().collect() };
        assert!(all().is_empty());
        let disk = Folder::new(&dir);
        for size in [300, 7] {
            put(&disk, size, b"note", &[1, 2, 3]).unwrap();
        }
        // A crash before the reply; a file of somebody else's.
        fs::write(dir.join(name(400, "checkpoint")), "note").unwrap();
        fs::write(dir.join("anchors/8.tsr"), "").unwrap();
        let sizes: Vec<_> = all().iter().map(|one| one.as_ref().unwrap().size).collect();
        assert_eq!(sizes, [7, 300]);
        let newest = read_one(&dir, 300).unwrap();
        assert_eq!(
            (newest.size, newest.note, newest.reply),
            (300, b"note".to_vec(), vec![1, 2, 3])
        );
        fs::remove_file(dir.join(name(7, "checkpoint"))).unwrap();
        fs::write(dir.join(name(300, "tsr")), vec![0; LONGEST + 1]).unwrap();
        let errors: Vec<_> = all()
            .into_iter()
            .map(|one| one.unwrap_err().to_string())
            .collect();
        assert!(errors[0].contains(&name(7, "checkpoint")), "{errors:?}");
        assert!(errors[1].contains(&name(300, "tsr")), "{errors:?}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
