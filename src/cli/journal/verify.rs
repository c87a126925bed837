//! `journal verify`: the whole record against itself, the signed checkpoints, and what others have stamped.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{JournalCommandError, Place, negative, read};
use crate::{
    audit::{
        self,
        checkpoint::{Checkpoint, VerifierKey},
    },
    io::{
        anchor::{self, Stored},
        journal::verify::{Harm, Head, Report, verify},
    },
    wire::certificate::Certificate,
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
    /// CA certificates (PEM) that the TSAs lead to which stamped the checkpoints in the journal's folder `anchors`.
    #[arg(long, value_name = "FILE")]
    anchor_trust: Option<PathBuf>,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let stored = self.place.open()?;
        let key = stored.key(self.key.as_deref())?;
        let mut anchors = self.anchors(&key)?;
        let mut heads = std::mem::take(&mut anchors.heads);
        for path in &self.checkpoint {
            let note = read(path)?;
            let name = path.display().to_string();
            let opened = Checkpoint::open(&String::from_utf8_lossy(&note), &key);
            let Checkpoint { size, root, .. } =
                opened.map_err(|error| negative(format!("{name}: {error}")))?;
            heads.push(Head { name, size, root });
        }
        let mut report = verify(&stored, &key, heads)?;
        report.harms.append(&mut anchors.harms);
        report.notes.append(&mut anchors.notes);
        if self.json {
            say!("{:#}", as_json(&report));
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

    /// Checks what other TSAs have stamped. The dates of their certificates are judged at the time of the stamp.
    fn anchors(&self, key: &VerifierKey) -> Result<Anchors, JournalCommandError> {
        let trust = match &self.anchor_trust {
            None => None,
            Some(path) => {
                let read = Certificate::read_all(&read(path)?);
                let wrong = |error| negative(format!("{}: {error}", path.display()));
                Some(read.map_err(wrong)?)
            }
        };
        let mut found = Anchors::default();
        let mut unchained = 0;
        for stored in anchor::read(&self.place.dir)? {
            let Stored {
                size,
                note,
                reply,
                path,
            } = stored?;
            let name = format!(
                "anchors/{}",
                path.file_name().unwrap_or_default().to_string_lossy()
            );
            let verified = match &trust {
                Some(trust) => audit::anchor::verify(&reply, &note, trust),
                None => audit::anchor::verify_unchained(&reply, &note),
            };
            let checkpoint = Checkpoint::open(&String::from_utf8_lossy(&note), key);
            match (verified, checkpoint) {
                (Ok(anchored), Ok(checkpoint)) if checkpoint.size == size => {
                    unchained += u64::from(anchored.trusted.is_none());
                    found.heads.push(Head {
                        name,
                        size,
                        root: checkpoint.root,
                    });
                }
                (Err(error), _) => found.harm(name, error.to_string()),
                (_, Err(error)) => found.harm(name, format!("its checkpoint: {error}")),
                (_, Ok(checkpoint)) => {
                    let what = format!("its checkpoint is of {} records", checkpoint.size);
                    found.harm(name, what);
                }
            }
        }
        if unchained > 0 {
            found.notes.push(format!(
                "{unchained} anchors are whole, but whose TSA made them was not checked; name its CA with --anchor-trust"
            ));
        }
        Ok(found)
    }

    fn print(&self, report: &Report) {
        for harm in &report.harms {
            say!("{harm}");
        }
        for note in &report.notes {
            say!("note: {note}");
        }
        say!(
            "{}: {} records, {} of them tokens read; {} under the last checkpoint; {} checkpoints hold",
            self.place.dir.display(),
            report.records,
            report.tokens,
            report.signed,
            report.checkpoints
        );
    }
}

/// What the stored anchors say.
#[derive(Default)]
struct Anchors {
    heads: Vec<Head>,
    harms: Vec<Harm>,
    notes: Vec<String>,
}

impl Anchors {
    fn harm(&mut self, name: String, what: String) {
        self.harms.push(Harm::Anchor { name, what });
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
