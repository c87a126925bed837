//! `journal prove` and `check-proof`: that a token's record is in the log, shown to somebody who has neither the
//! journal nor trust in its operator.

use std::path::PathBuf;

use clap::Args;

use super::{JournalCommandError, Place, negative, print::time_text, query, read};
use crate::{
    audit::{proof::Proof, record::Record},
    io::journal::reader::read_key,
    wire::{
        algorithm::sha256,
        oid::PolicyOid,
        tlv::{DerError, Reader, tag},
    },
};

#[derive(Debug, Args)]
pub struct Prove {
    #[command(flatten)]
    place: Place,
    /// The token's serial, hexadecimal.
    #[arg(value_parser = query::parse_serial, required_unless_present = "record")]
    serial: Option<String>,
    /// The record's number, where that is known: no search is needed then.
    #[arg(long, conflicts_with = "serial")]
    record: Option<u64>,
    /// The log's public key; that of the journal's folder unless given.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Where the proof goes; to standard output unless given.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Prove {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let stored = self.place.open()?;
        let key = stored.key(self.key.as_deref())?;
        let mut found = None;
        stored.each(self.record.unwrap_or(0), |number, parts| {
            let is_it = match &self.serial {
                None => Some(number) == self.record,
                Some(serial) => Record::parse(parts.public)
                    .is_ok_and(|record| query::has_serial(&record, serial)),
            };
            if is_it {
                found = Some((number, parts.public.to_vec()));
            }
            !is_it && self.record.is_none_or(|record| number < record)
        })?;
        let (number, entry) = found.ok_or_else(|| {
            negative(match (&self.serial, self.record) {
                (Some(serial), _) => format!(
                    "no token with the serial {serial} is on record here; if its segment was archived, name the folder \
                     with --archive"
                ),
                (None, record) => format!("there is no record {}", record.unwrap_or(0)),
            })
        })?;
        let proof = stored.prove(number, &entry, &key)?.to_string();
        let Some(path) = &self.out else {
            crate::cli::out::say(format_args!("{proof}"));
            return Ok(());
        };
        std::fs::write(path, proof).map_err(|error| JournalCommandError::File {
            path: path.clone(),
            action: "written",
            error,
        })?;
        say!("record {number}: proof written to {}", path.display());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct CheckProof {
    /// The proof's file.
    proof: PathBuf,
    /// The token, or the whole response that it came in (DER).
    #[arg(long)]
    token: PathBuf,
    /// The log's public key, from whoever vouches for it (the journal's file log.pub).
    #[arg(long)]
    key: PathBuf,
}

impl CheckProof {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let key = read_key(&self.key)?;
        let content = read(&self.proof)?;
        let wrong = |error| JournalCommandError::Proof {
            path: self.proof.clone(),
            error,
        };
        let proof = Proof::parse(&String::from_utf8_lossy(&content)).map_err(wrong)?;
        let checkpoint = proof.check(&key).map_err(wrong)?;
        let token = read(&self.token)?;
        let token = token_in(&token).map_err(|error| {
            let path = self.token.display();
            negative(format!(
                "{path}: neither a token nor a response with one: {error}"
            ))
        })?;
        let digest = sha256(&[token]);
        let record = Record::parse(&proof.entry);
        let record = record.map_err(|error| negative(format!("the proved entry: {error}")))?;
        let Some(proved) = &record.token else {
            return Err(negative(format!(
                "the proof is that of no token, but of a record `{}`",
                record.kind_name()
            )));
        };
        let serial = hex::encode(proved.serial);
        if proved.digest != digest {
            return Err(negative(format!(
                "the proof is that of another token: of serial {serial} with SHA-256 {}, while {} has SHA-256 {}",
                hex::encode(proved.digest),
                self.token.display(),
                hex::encode(digest)
            )));
        }
        say!(
            "proved: the token is record {} of the log `{}`, under the checkpoint of {} records",
            proof.index,
            checkpoint.origin,
            checkpoint.size
        );
        let clock = match proved.bound {
            Some(bound) => format!("at most {} us from UTC", bound.as_micros()),
            None => "by a demo's clock, which nobody vouches for".to_owned(),
        };
        say!(
            "serial {serial}, genTime {}, {clock}, tsu {}, policy {}",
            time_text(record.time),
            proved.tsu,
            PolicyOid::from_content(proved.policy)
        );
        Ok(())
    }
}

/// The token: the file itself, or what follows the status of a TimeStampResp (RFC 3161 2.4.2).
fn token_in(der: &[u8]) -> Result<&[u8], DerError> {
    let mut fields = Reader::whole(der, tag::SEQUENCE)?.reader();
    if fields.peek() == Some(tag::OID) {
        return Ok(der);
    }
    fields.expect(tag::SEQUENCE)?;
    let token = fields.rest();
    Reader::whole(token, tag::SEQUENCE)?;
    Ok(token)
}
