//! What the journal wants of a disk: [`Disk`], a folder of files under names with slashes. [`Folder`] is the
//! real one; the simulation of power losses has another, which forgets what was not synced.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, fchown},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// A folder of files. What was written is durable only after a sync that says so.
pub trait Disk: Send + Sync + fmt::Debug {
    /// The names of the files in a folder; none where there is no such folder.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;

    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Opens a file for writing, or makes it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Writes a whole file, over the one of this name if there is one. Not yet durable.
    fn write(&self, name: &str, octets: &[u8]) -> io::Result<()>;

    /// Gives a file another name, in the place of the one that had it. Not yet durable.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Puts a whole file in place, so that a reader sees the old one or the new one. Not yet durable: a power loss
    /// may leave the name with any part of the contents.
    fn put(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        self.write(&new, octets)?;
        self.rename(&new, name)
    }

    /// Puts a whole file in place durably: whenever the power fails, the old one or the new one is there, whole.
    fn put_durably(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        self.write(&new, octets)?;
        // Before it has the name: a file system may bring the name to the disk before the contents.
        self.sync(&new)?;
        self.rename(&new, name)?;
        self.sync(name)
    }

    /// Brings the file of this name, and its name, to stable storage.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Removes a folder of files that nobody needs any more, as far as that goes.
    fn forget(&self, folder: &str);

    /// Brings everything written before to stable storage.
    fn sync_all(&self) -> io::Result<()>;

    /// Octets that can still be written.
    fn free(&self) -> io::Result<u64>;
}

/// A file that is written in place.
pub trait DiskFile: Send + fmt::Debug {
    fn length(&self) -> io::Result<u64>;

    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()>;

    /// Brings the octets written to stable storage.
    fn sync(&mut self) -> io::Result<()>;

    /// Ends the file here, durably.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// A folder of a file system.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Makes the name of a file or folder durable.
pub fn sync_name(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Gives what was made at `path` to the user whose `folder` is, as far as we may: root's umask may let nobody else read it.
pub fn hand_over(path: &Path, folder: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    if fs::symlink_metadata(path)?.uid() == owner.uid() {
        return Ok(());
    }
    let given = open_itself(path, OFlags::RDONLY | OFlags::NONBLOCK).and_then(|file| {
        let metadata = file.metadata()?;
        if metadata.is_file() && metadata.nlink() > 1 {
            return Err(io::Error::other("it has other names, too"));
        }
        fchown(&file, Some(owner.uid()), Some(owner.gid()))
    });
    match given {
        // Who is neither root nor that user may still be of its group.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

/// Opens no other file by a link: root writes to folders of the daemon's user, who is not to get at more by that.
pub fn open_itself(path: &Path, how: OFlags) -> io::Result<File> {
    let how = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, how, Mode::from_raw_mode(0o666))?.into())
}

impl Folder {
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Puts a whole file in place durably, for the user whose the folder is that it lies in, whoever we are.
    pub fn hand_in(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        self.write(&new, octets)?;
        let path = self.at(&new)?;
        hand_over(&path, path.parent().unwrap_or(&self.0))?;
        self.sync(&new)?;
        self.rename(&new, name)?;
        self.sync(name)
    }

    fn at(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(path)
    }
}

impl Disk for Folder {
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.0.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.at(name)?)?;
        Ok(Box::new(file))
    }

    fn write(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let how = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        open_itself(&self.at(name)?, how)?.write_all(octets)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let path = self.at(name)?;
        File::open(&path)?.sync_all()?;
        // A name is durable with its folder, and that with the folder's own name.
        let folders = path.ancestors().skip(1);
        for folder in folders.take_while(|folder| folder.starts_with(&self.0)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn forget(&self, folder: &str) {
        let _ = fs::remove_dir_all(self.0.join(folder));
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.0)?)?)
    }

    fn free(&self) -> io::Result<u64> {
        let state = rustix::fs::statvfs(&self.0)?;
        Ok(state.f_bavail.saturating_mul(state.f_frsize))
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(octets, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.sync_all()
    }
}
