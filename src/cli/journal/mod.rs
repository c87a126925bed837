//! `gnomon journal`: what an auditor asks of the record, of a live journal or of a copy. Nothing here holds the
//! journal or writes to it, but for `archive`, which moves closed segments out.

mod archive;
mod print;
mod prove;
pub mod query;
mod verify;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use crate::{
    audit::proof::ProofError,
    io::{
        anchor::StoredError,
        journal::{
            archive::ArchiveError,
            reader::{ReadError, Stored},
        },
    },
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check everything: checksums, order, tree, checkpoints, anchors. Names each record that is wrong, and how.
    Verify(verify::Verify),
    /// Find records by serial, imprint, or time.
    Find(query::Find),
    /// Show records by number, with everything that is in them.
    Show(query::Show),
    /// Write the proof that a token's record is in the log.
    Prove(prove::Prove),
    /// Check such a proof: wants nothing but the proof, the token and the log's public key.
    CheckProof(prove::CheckProof),
    /// Print all records, or some, as JSON, one a line.
    Export(query::Export),
    /// Move closed segments to another folder; the log keeps their leaves.
    Archive(archive::Archive),
}

/// Which journal.
#[derive(Debug, Args)]
struct Place {
    /// The journal's folder (`journal.dir` in the configuration), or a copy of it.
    dir: PathBuf,
    /// A folder that closed segments were archived to. May be repeated.
    #[arg(long, value_name = "DIR")]
    archive: Vec<PathBuf>,
}

impl Place {
    fn open(&self) -> Result<Stored, ReadError> {
        Stored::open(&self.dir, &self.archive)
    }
}

/// Why a journal command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JournalCommandError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Anchor(#[from] StoredError),
    #[error("{path}: {error}", path = .path.display())]
    Proof { path: PathBuf, error: ProofError },
    #[error("{path}: cannot be {action}: {error}", path = .path.display())]
    File {
        path: PathBuf,
        action: &'static str,
        error: io::Error,
    },
    #[error("{0}")]
    Negative(String),
}

/// Does one of the commands. Status 1: it was not done, or what was to be proved does not hold.
pub fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Verify(verify) => verify.run(),
        Command::Find(find) => find.run(),
        Command::Show(show) => show.run(),
        Command::Prove(prove) => prove.run(),
        Command::CheckProof(check) => check.run(),
        Command::Export(export) => export.run(),
        Command::Archive(archive) => archive.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("error: {error}\n");
            ExitCode::FAILURE
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, JournalCommandError> {
    std::fs::read(path).map_err(|error| JournalCommandError::File {
        path: path.to_owned(),
        action: "read",
        error,
    })
}

fn negative(what: impl Into<String>) -> JournalCommandError {
    JournalCommandError::Negative(what.into())
}
