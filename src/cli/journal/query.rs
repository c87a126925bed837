//! `journal find`, `show` and `export`: records picked out and printed.

use std::{
    io::{BufWriter, Write, stdout},
    time::Duration,
};

use clap::Args;

use super::{JournalCommandError, Place, negative, print, verify::refuse_altered};
use crate::audit::record::{Parts, Record};

#[derive(Debug, Args)]
pub struct Find {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wanted: Wanted,
    /// For scripts: one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Conditions, all of which must hold.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// The token's serial, hexadecimal, as `openssl ts -reply -text` shows it.
    #[arg(long, value_parser = parse_serial)]
    serial: Option<String>,
    /// The imprint that was stamped, hexadecimal.
    #[arg(long, value_parser = parse_hex)]
    imprint: Option<String>,
    /// Records of this time or later (UTC): a date, or 2026-11-25T03:05:50Z.
    #[arg(long, value_parser = print::parse_time)]
    from: Option<Duration>,
    /// Records before this time.
    #[arg(long, value_parser = print::parse_time)]
    to: Option<Duration>,
}

/// Hexadecimal of a serial's octets, without leading zeros; `0x` and colons are allowed.
pub fn parse_serial(text: &str) -> Result<String, String> {
    let digits = parse_hex(text)?;
    Ok(digits.trim_start_matches('0').to_owned())
}

fn parse_hex(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let digits = digits.replace(':', "").to_ascii_lowercase();
    match !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        true => Ok(digits),
        false => Err(format!("`{text}` is not hexadecimal")),
    }
}

impl Wanted {
    fn fits(&self, record: &Record<'_>) -> bool {
        let in_time = self.from.is_none_or(|from| record.time >= from)
            && self.to.is_none_or(|to| record.time < to);
        let serial = self
            .serial
            .as_ref()
            .is_none_or(|serial| has_serial(record, serial));
        let imprint = self.imprint.as_ref().is_none_or(|imprint| {
            let token = record.token.as_ref();
            token.is_some_and(|token| hex::encode(token.imprint) == *imprint)
        });
        in_time && serial && imprint
    }
}

/// Whether a record is that of the token with this serial, as [`parse_serial`] gives it.
pub fn has_serial(record: &Record<'_>, serial: &str) -> bool {
    let token = record.token.as_ref();
    token.is_some_and(|token| hex::encode(token.serial).trim_start_matches('0') == serial)
}

impl Find {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let mut out = Out::new();
        let mut found = 0;
        self.place.open()?.each(0, |number, parts| {
            let fits = Record::parse(parts.public).is_ok_and(|record| self.wanted.fits(&record));
            found += u64::from(fits);
            !fits || out.record(number, parts, self.json.then_some(Json::Whole))
        })?;
        out.end();
        if found == 0 {
            return Err(negative("no record fits"));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    place: Place,
    /// The record's number.
    record: u64,
    /// How many records from this one on.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// For scripts: one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let mut out = Out::new();
        let mut shown = 0;
        let end = self.record.saturating_add(self.count);
        let form = if self.json { Json::Whole } else { Json::Pretty };
        self.place.open()?.each(self.record, |number, parts| {
            if number >= end {
                return false;
            }
            shown += 1;
            out.record(number, parts, Some(form)) && number + 1 < end
        })?;
        out.end();
        if shown == 0 {
            return Err(negative(format!("there is no record {}", self.record)));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    place: Place,
    /// The number of the first record.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The number after the last record.
    #[arg(long, default_value_t = u64::MAX)]
    to: u64,
    /// Only what is public in the log.
    #[arg(long)]
    public: bool,
}

impl Export {
    pub fn run(&self) -> Result<(), JournalCommandError> {
        let mut out = Out::new();
        let form = if self.public {
            Json::Public
        } else {
            Json::Whole
        };
        let mut altered = None;
        self.place.open()?.each(self.from, |number, parts| {
            if number >= self.to {
                return false;
            }
            // What leaves as the record must at least be whole in itself.
            altered = (!parts.belong()).then_some(number);
            altered.is_none() && out.record(number, parts, Some(form))
        })?;
        out.end();
        refuse_altered(altered)
    }
}

#[derive(Debug, Clone, Copy)]
enum Json {
    Whole,
    Public,
    /// Over several lines, for people.
    Pretty,
}

/// Standard output, which may be a pipe that somebody closes.
struct Out(BufWriter<std::io::StdoutLock<'static>>);

impl Out {
    fn new() -> Self {
        Self(BufWriter::new(stdout().lock()))
    }

    /// Prints a record; false where nobody reads any more.
    fn record(&mut self, number: u64, parts: Parts<'_>, form: Option<Json>) -> bool {
        let text = match form {
            None => print::line(number, parts),
            Some(Json::Pretty) => format!("{:#}", print::json(number, parts, false)),
            Some(Json::Whole) => print::json(number, parts, false).to_string(),
            Some(Json::Public) => print::json(number, parts, true).to_string(),
        };
        writeln!(self.0, "{text}").is_ok()
    }

    fn end(mut self) {
        let _ = self.0.flush();
    }
}
