//! A disk that forgets: [`Simulated`] keeps what is on stable storage apart from what the running system sees. At a
//! power loss each sector of 512 octets, each length, and each change of names that was not synced is kept or lost
//! by chance. Renaming is atomic, as on ext4 and XFS, but says nothing about the contents.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use super::super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// Random numbers that are the same for the same seed (splitmix64).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// True `of_eight` times in eight.
    fn chance(&mut self, of_eight: usize) -> bool {
        self.below(8) < of_eight
    }

    /// Mostly extremes: what is unsynced is often kept or lost as a whole.
    fn share(&mut self) -> usize {
        [0, 0, 1, 4, 7, 8, 8][self.below(7)]
    }
}

/// Which syncs return at once and do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    None,
    /// Of a file's octets.
    Octets,
    /// Of a file with its name.
    Names,
    /// Of everything.
    All,
    Every,
}

#[derive(Debug, Default, Clone)]
struct Contents {
    /// What the running system sees.
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that differ.
    unsynced: BTreeSet<usize>,
    /// The lengths it had since the last sync.
    lengths: Vec<usize>,
}

/// A change of names that is not yet durable.
#[derive(Debug)]
enum Change {
    Add(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

#[derive(Debug)]
struct State {
    random: Random,
    files: Vec<Contents>,
    seen: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    changes: Vec<Change>,
    /// Operations until the power fails.
    left: Option<usize>,
    is_off: bool,
    lies: Lies,
}

/// The disk. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Simulated(Arc<Mutex<State>>);

#[derive(Debug)]
struct Handle {
    disk: Simulated,
    file: usize,
}

impl Contents {
    fn resize(&mut self, length: usize) {
        let from = length.min(self.seen.len());
        let to = length.max(self.seen.len());
        self.seen.resize(length, 0);
        self.lengths.push(length);
        self.touch(from, to);
    }

    fn touch(&mut self, from: usize, to: usize) {
        self.unsynced.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    fn write_at(&mut self, octets: &[u8], at: usize) {
        let end = at + octets.len();
        if end > self.seen.len() {
            self.resize(end);
        }
        self.seen[at..end].copy_from_slice(octets);
        self.touch(at, end);
    }

    /// Takes over `sectors`, as far as the new length goes. What no sector has brought is zeros.
    fn keep(&mut self, length: usize, sectors: impl Iterator<Item = usize>) {
        self.durable.resize(length, 0);
        for sector in sectors {
            let end = (sector * SECTOR + SECTOR).min(length);
            let start = (sector * SECTOR).min(end);
            // Behind the end that the running system sees there are zeros.
            let middle = self.seen.len().clamp(start, end);
            if let Some(seen) = self.seen.get(start..middle) {
                self.durable[start..middle].copy_from_slice(seen);
            }
            self.durable[middle..end].fill(0);
        }
    }

    fn sync(&mut self) {
        let sectors = std::mem::take(&mut self.unsynced);
        self.keep(self.seen.len(), sectors.into_iter());
        self.lengths.clear();
    }

    fn lose(&mut self, random: &mut Random) {
        let share = random.share();
        let mut lengths = std::mem::take(&mut self.lengths);
        lengths.push(self.durable.len());
        let mut length = lengths[random.below(lengths.len())];
        // A long write may have come to the disk in pieces.
        if random.chance(1) && length > self.durable.len() {
            length -= random.below(length - self.durable.len());
        }
        let sectors = std::mem::take(&mut self.unsynced);
        let kept = sectors.into_iter().filter(|_| random.chance(share));
        let kept: Vec<_> = kept.collect();
        self.keep(length, kept.into_iter());
        self.seen = self.durable.clone();
    }
}

fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Change {
    fn folder(&self) -> &str {
        let (Self::Add(name, _) | Self::Rename(name, ..) | Self::Remove(name)) = self;
        folder(name)
    }

    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, file) => {
                names.insert(name, file);
            }
            Self::Rename(from, to, file) => {
                if names.get(&from) == Some(&file) {
                    names.remove(&from);
                }
                names.insert(to, file);
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

impl State {
    /// Counts an operation. An error: the power has failed before it was done, or with it half done.
    fn step(&mut self) -> io::Result<()> {
        let off = || io::Error::other("the power is off");
        if self.is_off {
            return Err(off());
        }
        let Some(left) = &mut self.left else {
            return Ok(());
        };
        if *left == 0 {
            self.is_off = true;
            return Err(off());
        }
        *left -= 1;
        Ok(())
    }

    /// Whether an operation comes to be: it may, although the power failed in it.
    fn changes_something(&mut self, was_off: bool, step: &io::Result<()>) -> bool {
        step.is_ok() || (!was_off && self.random.chance(4))
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        let file = self.seen.get(name).copied();
        file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such file"))
    }

    fn change(&mut self, change: impl Fn() -> Change) {
        change().apply(&mut self.seen);
        self.changes.push(change());
    }

    fn make(&mut self, name: &str) -> usize {
        if let Ok(file) = self.file(name) {
            return file;
        }
        let file = self.files.len();
        self.files.push(Contents::default());
        self.change(|| Change::Add(name.to_owned(), file));
        file
    }

    fn sync_names(&mut self, is_synced: impl Fn(&str) -> bool) {
        for change in std::mem::take(&mut self.changes) {
            if is_synced(change.folder()) {
                change.apply(&mut self.durable);
            } else {
                self.changes.push(change);
            }
        }
    }
}

impl Simulated {
    pub fn new(seed: u64, lies: Lies) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random(seed),
            files: Vec::new(),
            seen: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            left: None,
            is_off: false,
            lies,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets the power fail in the operation after the next `left` ones; never with `None`. Gives what was left.
    pub fn fail_after(&self, left: Option<usize>) -> Option<usize> {
        std::mem::replace(&mut self.state().left, left)
    }

    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Brings the power back, with what survived.
    pub fn restart(&self) {
        let mut state = self.state();
        let state = &mut *state;
        state.is_off = false;
        state.left = None;
        let share = state.random.share();
        // With a journal of metadata changes come to the disk in order; without one, in any.
        let in_order = state.random.chance(4);
        for change in std::mem::take(&mut state.changes) {
            if state.random.chance(share) {
                change.apply(&mut state.durable);
            } else if in_order {
                break;
            }
        }
        state.seen = state.durable.clone();
        let named: BTreeSet<_> = state.seen.values().copied().collect();
        for (number, file) in state.files.iter_mut().enumerate() {
            if named.contains(&number) {
                file.lose(&mut state.random);
            } else {
                *file = Contents::default();
            }
        }
    }

    /// Starts again after the process alone was killed: what it wrote is there, synced or not.
    pub fn restart_after_kill(&self) {
        let mut state = self.state();
        state.is_off = false;
        state.left = None;
    }

    /// Alters the octets of files for good.
    pub fn alter(&self, which: impl Fn(&str) -> bool, alter: impl Fn(&mut Vec<u8>)) {
        let mut state = self.state();
        let state = &mut *state;
        let files = state.seen.iter().filter(|(name, _)| which(name));
        for (_, file) in files {
            let file = &mut state.files[*file];
            alter(&mut file.seen);
            file.touch(0, file.seen.len());
            file.sync();
        }
    }

    /// Removes files for good.
    pub fn remove(&self, which: impl Fn(&str) -> bool) {
        let mut state = self.state();
        state.sync_names(|_| true);
        state.seen.retain(|name, _| !which(name));
        state.durable.retain(|name, _| !which(name));
    }
}

impl Disk for Simulated {
    fn names(&self, wanted: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.step()?;
        let names = state.seen.keys().filter(|name| folder(name) == wanted);
        Ok(names
            .map(|name| name.rsplit('/').next().unwrap().to_owned())
            .collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.step()?;
        let file = state.file(name)?;
        Ok(state.files[file].seen.clone())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let was_off = state.is_off;
        let step = state.step();
        if state.changes_something(was_off, &step) {
            let file = state.make(name);
            step?;
            return Ok(Box::new(Handle {
                disk: self.clone(),
                file,
            }));
        }
        Err(step.unwrap_err())
    }

    fn write(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let was_off = state.is_off;
        let step = state.step();
        if state.changes_something(was_off, &step) {
            let file = state.make(name);
            let contents = &mut state.files[file];
            if !contents.seen.is_empty() {
                contents.resize(0);
            }
            contents.write_at(octets, 0);
        }
        step
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let was_off = state.is_off;
        let step = state.step();
        if state.changes_something(was_off, &step) {
            let file = state.file(from)?;
            state.change(|| Change::Rename(from.to_owned(), to.to_owned(), file));
        }
        step
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        // The octets first, the folders then: the power may fail between.
        state.step()?;
        let is_lie = matches!(state.lies, Lies::Names | Lies::Every);
        let file = state.file(name)?;
        if !is_lie {
            state.files[file].sync();
        }
        state.step()?;
        if !is_lie {
            let within = |folder: &str| {
                folder.is_empty()
                    || name
                        .strip_prefix(folder)
                        .is_some_and(|rest| rest.starts_with('/'))
            };
            state.sync_names(within);
        }
        Ok(())
    }

    fn forget(&self, folder: &str) {
        let mut state = self.state();
        let inside = format!("{folder}/");
        let names: Vec<_> = state
            .seen
            .keys()
            .filter(|name| name.starts_with(&inside))
            .cloned()
            .collect();
        for name in names {
            if state.step().is_err() {
                return;
            }
            state.change(|| Change::Remove(name.clone()));
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if !matches!(state.lies, Lies::All | Lies::Every) {
            state.files.iter_mut().for_each(Contents::sync);
            state.sync_names(|_| true);
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl DiskFile for Handle {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.step()?;
        let length = state.files[self.file].seen.len();
        Ok(u64::try_from(length).unwrap())
    }

    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let was_off = state.is_off;
        let step = state.step();
        if state.changes_something(was_off, &step) {
            let end = match step {
                Ok(()) => octets.len(),
                Err(_) => state.random.below(octets.len() + 1),
            };
            let at = usize::try_from(at).unwrap();
            state.files[self.file].write_at(&octets[..end], at);
        }
        step
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        if !matches!(state.lies, Lies::Octets | Lies::Every) {
            state.files[self.file].sync();
        }
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let was_off = state.is_off;
        let step = state.step();
        if state.changes_something(was_off, &step) {
            let length = usize::try_from(length).unwrap();
            state.files[self.file].resize(length);
        }
        step?;
        state.step()?;
        if state.lies != Lies::Every {
            state.files[self.file].sync();
        }
        Ok(())
    }
}
