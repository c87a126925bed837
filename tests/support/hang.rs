//! System calls that do not come back, as on a dead disk or in a thread that hangs: [`Hang`].

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use super::{Gnomon, wait_for};

/// Holds calls of a process for as long as it lives.
pub struct Hang(Child);

impl Hang {
    /// These calls, in all threads.
    pub fn of(gnomon: &Gnomon, calls: &str) -> Self {
        Self::begin(&["-f", "-p", &gnomon.pid().to_string()], calls, || {
            threads(gnomon).iter().all(|thread| is_held(thread))
        })
    }

    /// These calls, in the thread of this name alone.
    pub fn of_thread(gnomon: &Gnomon, name: &str, calls: &str) -> Self {
        let is_it = |thread: &PathBuf| {
            let named = fs::read_to_string(thread.join("comm"));
            named.is_ok_and(|named| named.trim_end() == name)
        };
        let thread = threads(gnomon).into_iter().find(is_it).unwrap();
        let number = thread.file_name().unwrap().to_str().unwrap();
        Self::begin(&["-p", number], calls, || is_held(&thread))
    }

    fn begin(of: &[&str], calls: &str, is_begun: impl Fn() -> bool) -> Self {
        let child = Command::new("strace")
            .args(["-q", "-o", "/dev/null"])
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:delay_enter=600s")])
            .args(of)
            .spawn()
            .unwrap();
        wait_for("strace to hold it", || is_begun().then_some(()));
        Self(child)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        // With its tracer the process is rid of what held it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn threads(gnomon: &Gnomon) -> Vec<PathBuf> {
    let threads = fs::read_dir(format!("/proc/{}/task", gnomon.pid())).unwrap();
    threads.map(|thread| thread.unwrap().path()).collect()
}

fn is_held(thread: &Path) -> bool {
    let status = fs::read_to_string(thread.join("status"));
    status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
}
