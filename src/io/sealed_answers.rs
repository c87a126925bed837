//! The file that carries sealed answers over a restart: [`save`] writes it at an orderly stop, [`take`] reads and
//! removes it at the start. Removed, since what a later crash leaves must not bring back answers that have been
//! superseded since; such a start only has to sign again. What an entry is worth is judged where it is asked for.
//!
//! A line that names the format; for each answer the key after its length (2 octets), the second it was signed and
//! the end it could not pass (8 octets each), the signature after its length (2 octets); SHA-256 of all before.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::whole_file;
use crate::{
    ocsp::{saved::Saved, sealed::LONGEST_KEY},
    wire::{algorithm::sha256, time::Seconds},
};

/// A later form has another number.
const FORMAT: &[u8] = b"gnomon sealed answers 1\n";

const DIGEST: usize = 32;

/// Octets of a signature by RSA of 8192 bits.
const LONGEST_SIGNATURE: u64 = 1_024;

/// An answer by what was asked.
pub type Entry = (Box<[u8]>, Saved);

/// Why nothing is taken up.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error("{path}: cannot be read and removed: {error}; every answer is signed again")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "{0}: is no whole file of sealed answers, and was removed; every answer is signed again"
    )]
    Harmed(PathBuf),
}

/// Where the file is, in the folder of the revocation data.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("sealed-answers")
}

/// Puts the file there, whole or not at all.
pub fn save(path: &Path, answers: &[Entry]) -> io::Result<()> {
    whole_file::put(path, &encode(answers))
}

/// What was saved, at most about `most` answers; nothing where there is no file.
pub fn take(path: &Path, most: usize) -> Result<Vec<Entry>, TakeError> {
    let content = match read(path, most) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(TakeError::Unreadable {
                path: path.to_owned(),
                error,
            });
        }
    };
    decode(&content).ok_or_else(|| TakeError::Harmed(path.to_owned()))
}

fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let largest_entry = 2 + u64::from(LONGEST_KEY) + 8 + 8 + 2 + LONGEST_SIGNATURE;
    let mut content = Vec::new();
    // What is cut off here makes the digest wrong.
    file.take(most.saturating_mul(largest_entry).saturating_add(1_024))
        .read_to_end(&mut content)?;
    fs::remove_file(path)?;
    Ok(content)
}

fn encode(answers: &[Entry]) -> Vec<u8> {
    let mut content = FORMAT.to_vec();
    for (key, saved) in answers {
        let (Ok(key_length), Ok(length)) = (
            u16::try_from(key.len()),
            u16::try_from(saved.signature.len()),
        ) else {
            continue;
        };
        content.extend_from_slice(&key_length.to_be_bytes());
        content.extend_from_slice(key);
        content.extend_from_slice(&saved.signed.get().to_be_bytes());
        content.extend_from_slice(&saved.limit.get().to_be_bytes());
        content.extend_from_slice(&length.to_be_bytes());
        content.extend_from_slice(&saved.signature);
    }
    let digest = sha256(&[&content]);
    content.extend_from_slice(&digest);
    content
}

fn decode(content: &[u8]) -> Option<Vec<Entry>> {
    let (content, digest) = content.split_last_chunk::<DIGEST>()?;
    if sha256(&[content]) != *digest {
        return None;
    }
    let mut rest = content.strip_prefix(FORMAT)?;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let key = octets(&mut rest)?.into();
        let (signed, limit) = (seconds(&mut rest)?, seconds(&mut rest)?);
        let signature = octets(&mut rest)?.to_vec();
        answers.push((
            key,
            Saved {
                signed,
                limit,
                signature,
            },
        ));
    }
    Some(answers)
}

fn octets<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (octets, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
    *rest = after;
    Some(octets)
}

fn seconds(rest: &mut &[u8]) -> Option<Seconds> {
    let (seconds, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(Seconds::new(u64::from_be_bytes(*seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |number: u8| {
            let saved = Saved {
                signed: Seconds::new(1_800_000_000),
                limit: Seconds::END,
                signature: vec![number; 71],
            };
            (vec![number; usize::from(number) + 1].into(), saved)
        };
        (0..=255).map(entry).collect()
    }

    #[test]
    fn what_was_saved_is_taken_once() {
        let dir = std::env::temp_dir().join(format!("gnomon-sealed-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let path = path(&dir);
        assert!(take(&path, 1_000).unwrap().is_empty());
        save(&path, &entries()).unwrap();
        assert_eq!(take(&path, 256).unwrap(), entries());
        assert!(take(&path, 256).unwrap().is_empty());
        // More than is wanted is not even read.
        save(&path, &entries()).unwrap();
        assert!(matches!(take(&path, 8), Err(TakeError::Harmed(_))));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_harmed_file_is_nothing() {
        let whole = encode(&entries()[..3]);
        assert_eq!(decode(&whole).unwrap().len(), 3);
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), None, "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut harmed = whole.clone();
            harmed[at] ^= 1;
            assert_eq!(decode(&harmed), None, "changed at {at}");
        }
        // With a digest that fits: no panic, and no half of it.
        let content = &whole[..whole.len() - DIGEST];
        for end in 0..content.len() {
            let mut cut = content[..end].to_vec();
            cut.extend_from_slice(&sha256(&[&content[..end]]));
            if let Some(entries) = decode(&cut) {
                assert!(entries.len() < 3, "cut at {end}");
            }
        }
    }
}
