//! `journal archive`: room on the signing host's disk, while the log still vouches for what was moved.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::{JournalCommandError, negative, print};
use crate::{
    audit::{checkpoint::Checkpoint, record::Record},
    io::journal::{
        archive::archive,
        reader::{ReadError, Stored},
    },
};

#[derive(Debug, Args)]
pub struct Archive {
    /// The journal's folder.
    dir: PathBuf,
    /// Where the segments go: a folder on another disk.
    #[arg(long)]
    to: PathBuf,
    /// Only segments that end before this time (UTC): a date, or 2026-11-25T03:05:50Z.
    #[arg(long, value_parser = print::parse_time)]
    before: Option<Duration>,
}

impl Archive {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let stored = Stored::open(&self.dir, &[])?;
        // What no checkpoint covers yet is read again by the next start.
        let note = stored.checkpoint()?.ok_or(ReadError::NoCheckpoint)?;
        let checkpoint = Checkpoint::open(&note, &stored.key(None)?);
        let signed = checkpoint.map_err(ReadError::Checkpoint)?.size;
        let end = match self.before {
            None => signed,
            Some(before) => self
                .first_at(&stored, before)?
                .unwrap_or(signed)
                .min(signed),
        };
        let moved = archive(&self.dir, &self.to, end)?;
        match moved.as_slice() {
            [] => say!("no closed segment is to be moved"),
            [first, ..] => say!(
                "{} segments with the records {} to {} are in {} now",
                moved.len(),
                first.first,
                moved.last().map_or(0, |last| last.end - 1),
                self.to.display()
            ),
        }
        Ok(())
    }

    /// The number of the first record of this time or later.
    fn first_at(
        &self,
        stored: &Stored,
        time: Duration,
    ) -> Result<Option<u64>, JournalCommandError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        if now.is_ok_and(|now| time > now) {
            return Err(negative("--before: this time has not come yet"));
        }
        let mut found = None;
        stored.each(0, |number, parts| {
            let late = Record::parse(parts.public).is_ok_and(|record| record.time >= time);
            found = late.then_some(number);
            !late
        })?;
        Ok(found)
    }
}
