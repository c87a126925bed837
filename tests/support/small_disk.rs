//! A disk that is full when a test wants it to be: [`SmallDisk`].

use std::{fs, path::PathBuf, process::Command};

use super::run;

/// A file system in memory; it goes with its holder.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of this size where a folder is or will be.
    pub fn mount(folder: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let (size, path) = (format!("size={size}"), folder.to_str().unwrap());
        as_root(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", path]);
        Self(folder)
    }

    /// Fills it but for so many octets.
    pub fn fill_but(&self, octets: usize) {
        let state = rustix::fs::statvfs(&self.0).unwrap();
        let free = usize::try_from(state.f_bavail * state.f_frsize).unwrap();
        fs::write(self.filler(), vec![1; free - octets]).unwrap();
    }

    pub fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", self.0.to_str().unwrap()]);
    }
}

/// Mounting is root's; CI is that, and others have sudo.
fn as_root(command: &[&str]) {
    let id = Command::new("id").arg("-u").output().unwrap();
    match id.stdout.starts_with(b"0\n") {
        true => run(command[0], &command[1..]),
        false => run("sudo", command),
    };
}
