//! `journal verify`: the whole record against itself, the signed checkpoints, and what others have stamped.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{JournalCommandError, Place, negative, read};
use crate::{
    audit::checkpoint::Checkpoint,
    io::journal::verify::{Head, Report, verify},
};

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    place: Place,
    /// The log's public key, from whoever vouches for it; that of the journal's folder unless given.
    #[arg(long)]
    key: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere: the journal must still have everything under it. May be repeated.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let stored = self.place.open()?;
        let key = stored.key(self.key.as_deref())?;
        let mut heads = Vec::new();
        for path in &self.checkpoint {
            let note = read(path)?;
            let name = path.display().to_string();
            let opened = Checkpoint::open(&String::from_utf8_lossy(&note), &key);
            let Checkpoint { size, root, .. } =
                opened.map_err(|error| negative(format!("{name}: {error}")))?;
            heads.push(Head { name, size, root });
        }
        let report = verify(&stored, &key, heads)?;
        if self.json {
            println!("{:#}", as_json(&report));
        } else {
            self.print(&report);
        }
        match report.harms.len() {
            0 => Ok(()),
            1 => Err(negative("the journal does not hold: 1 finding")),
            count => Err(negative(format!(
                "the journal does not hold: {count} findings"
            ))),
        }
    }

    fn print(&self, report: &Report) {
        for harm in &report.harms {
            println!("{harm}");
        }
        for note in &report.notes {
            println!("note: {note}");
        }
        println!(
            "{}: {} records, {} of them tokens read; {} under the last checkpoint; {} checkpoints hold",
            self.place.dir.display(),
            report.records,
            report.tokens,
            report.signed,
            report.checkpoints
        );
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let harms = report.harms.iter().map(
        |harm| json!({ "kind": harm.kind(), "record": harm.record(), "what": harm.to_string() }),
    );
    json!({
        "holds": report.harms.is_empty(),
        "records": report.records,
        "archived": report.archived,
        "tokens": report.tokens,
        "octets": report.octets,
        "signed": report.signed,
        "checkpoints": report.checkpoints,
        "notes": report.notes,
        "harms": harms.collect::<Vec<_>>(),
    })
}

/// The error for a record whose parts do not belong together.
pub fn refuse_altered(record: Option<u64>) -> Result<(), JournalCommandError> {
    match record {
        None => Ok(()),
        Some(record) => Err(negative(format!(
            "record {record}: altered in its private part; see `gnomon journal verify`"
        ))),
    }
}
