//! Closed segments that were moved out of the journal: [`archive`] moves them, [`read`] says which are gone. Their
//! leaves stay in the log, so that the tree over all records can still be made, and each one is known by its
//! digest. The list is the file `archived` in the journal's folder: a line of FIRST END SHA-256 for each.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{self, SHA256};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::{
    disk::{Disk, Folder, hand_over, open_itself},
    segments,
};
use crate::audit::tree::Hash;

/// The list's file.
pub const LIST: &str = "archived";

/// A segment that was moved out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Its first record.
    pub first: u64,
    /// The first record of the next segment.
    pub end: u64,
    /// SHA-256 of the file.
    pub digest: Hash,
}

/// Why segments could not be moved out.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{path}: line {line} is not FIRST END SHA256", path = .path.display())]
    List { path: PathBuf, line: usize },
    #[error("{path}: another `gnomon journal archive` is at work on this journal", path = .0.display())]
    Held(PathBuf),
    #[error(
        "{path}: there is a file of this name with other contents; name another folder", path = .0.display()
    )]
    Other(PathBuf),
    #[error("{path}: it must lie outside the journal's folder", path = .0.display())]
    Inside(PathBuf),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |error| ArchiveError::File { path, error }
}

/// The segments that were moved out of the journal in `dir`, in order.
pub fn read(dir: &Path) -> Result<Vec<Archived>, ArchiveError> {
    let path = dir.join(LIST);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(failed(&path))?,
    };
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (first, end) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let digest = hex::decode(words.next()?).ok()?.try_into().ok()?;
        (first < end && words.next().is_none()).then_some(Archived { first, end, digest })
    };
    let lines = (1..).zip(text.lines());
    let parsed = lines.map(|(line, content)| {
        let path = path.clone();
        parse(content).ok_or(ArchiveError::List { path, line })
    });
    let mut parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    parsed.sort_by_key(|archived| archived.first);
    Ok(parsed)
}

/// Moves closed segments whose records all have numbers under `before` from the journal in `dir` to the folder
/// `to`, the oldest first, and gives what was moved. The daemon may run meanwhile: it writes the last segment
/// alone, which stays. A segment is gone only when its copy and its line in the list are durable.
///
/// Root may say so too: what is left in the journal is its user's, and so is `to` where it was not there; a copy is
/// theirs whose `to` is.
pub fn archive(dir: &Path, to: &Path, before: u64) -> Result<Vec<Archived>, ArchiveError> {
    let absolute = |path: &Path| fs::canonicalize(path).map_err(failed(path));
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made: Vec<_> = to.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(to).map_err(failed(to))?;
    if absolute(to)?.starts_with(absolute(dir)?) {
        return Err(ArchiveError::Inside(to.to_owned()));
    }
    for folder in made {
        hand_over(folder, dir).map_err(failed(folder))?;
    }
    let path = dir.join("archived.lock");
    let lock = open_itself(&path, OFlags::RDWR | OFlags::CREATE).map_err(failed(&path))?;
    hand_over(&path, dir).map_err(failed(&path))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| ArchiveError::Held(path.clone()))?;
    let (journal, target) = (Folder::new(dir), Folder::new(to));
    let folder = dir.join(segments::FOLDER);
    let firsts = segments::firsts(&journal).map_err(failed(&folder))?;
    let list = dir.join(LIST);
    if list.exists() {
        // Root may have left it before this was seen to.
        hand_over(&list, dir).map_err(failed(&list))?;
    }
    let mut listed = read(dir)?;
    let mut moved = Vec::new();
    for (first, end) in firsts.iter().copied().zip(firsts.iter().copied().skip(1)) {
        if end > before {
            break;
        }
        let name = segments::name(first);
        let source = dir.join(&name);
        let file_name = source.file_name().unwrap_or_default().to_string_lossy();
        let copy = to.join(&*file_name);
        let digest = digest_of(&source).map_err(failed(&source))?;
        if !copy.exists() {
            let part = to.join(format!("{file_name}.new"));
            fs::copy(&source, &part).map_err(failed(&part))?;
            hand_over(&part, to).map_err(failed(&part))?;
            fs::rename(&part, &copy).map_err(failed(&copy))?;
        }
        target.sync(&file_name).map_err(failed(&copy))?;
        if digest_of(&copy).map_err(failed(&copy))? != digest {
            return Err(ArchiveError::Other(copy));
        }
        let archived = Archived { first, end, digest };
        if !listed.contains(&archived) {
            listed.push(archived.clone());
            let lines = listed.iter().map(|Archived { first, end, digest }| {
                format!("{first} {end} {}\n", hex::encode(digest))
            });
            journal
                .hand_in(LIST, lines.collect::<String>().as_bytes())
                .map_err(failed(&list))?;
        }
        fs::remove_file(&source).map_err(failed(&source))?;
        moved.push(archived);
    }
    Ok(moved)
}

fn digest_of(path: &Path) -> io::Result<Hash> {
    let mut file = fs::File::open(path)?;
    let mut context = digest::Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => context.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    let mut hash = Hash::default();
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Ok(hash)
}
