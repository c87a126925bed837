//! That one record stands in the log, on one page: [`Proof`] (C2SP tlog-proof). It can be checked with nothing
//! but the log's public key.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    checkpoint::{Checkpoint, NoteError, VerifierKey},
    tree::{Hash, leaf_hash, root_of_proof},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// An entry, its place, its path to the root, and the signed root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub index: u64,
    /// The record's public part, as `extra`.
    pub entry: Vec<u8>,
    pub path: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("it is no proof of inclusion: {0}")]
    Form(&'static str),
    #[error("its checkpoint is not taken: {0}")]
    Checkpoint(#[from] NoteError),
    #[error(
        "entry {index} is not in the checkpoint's tree of {size}: the path leads to another root"
    )]
    Path { index: u64, size: u64 },
}

impl Proof {
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(ProofError::Form("no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(ProofError::Form(
                "its first line is not c2sp.org/tlog-proof@v1",
            ));
        }
        let entry = lines.next().and_then(|line| line.strip_prefix("extra "));
        let entry = entry.and_then(|entry| STANDARD.decode(entry).ok());
        let entry = entry.ok_or(ProofError::Form("no entry in a line `extra`"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(|index| {
            let number: u64 = index.parse().ok()?;
            (number.to_string() == index).then_some(number)
        });
        let index = index.ok_or(ProofError::Form("no line `index`"))?;
        let path = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok());
        let path = path.collect::<Option<_>>();
        Ok(Self {
            index,
            entry,
            path: path.ok_or(ProofError::Form("a line of the path is no hash"))?,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The checkpoint that this proves the entry to stand under.
    pub fn check(&self, key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let leaf = leaf_hash(&self.entry);
        let root = root_of_proof(leaf, self.index, checkpoint.size, &self.path);
        if root == Some(checkpoint.root) {
            Ok(checkpoint)
        } else {
            Err(ProofError::Path {
                index: self.index,
                size: checkpoint.size,
            })
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "extra {}", STANDARD.encode(&self.entry))?;
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
