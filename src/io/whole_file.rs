//! Files that are there whole or not at all, whenever the power fails: [`put`] writes one beside its place, syncs it, and
//! renames it. [`Staged`] is one that waits for that.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::journal::disk::sync_name;

/// Octets written at once.
const CHUNK: usize = 32 << 20;

/// Puts `content` in the place of what was there: wholly, or not at all.
pub fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    put_written(path, |file| write(file, content))
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
