//! `gnomon crl show` and `diff`: what stands in CRLs of any size. Nothing is verified: that is `check`'s.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead, BufReader, BufWriter, Cursor, Read, Write, stdout},
    path::Path,
};

use super::stream::{CrlStream, StreamError};
use crate::{
    config::Problem,
    revocation::Scope,
    wire::{
        algorithm::SignatureAlgorithm,
        certificate::pem_blocks,
        crl::{CertificateList, Entry, reason_name},
        distribution_point::{names_of_issuing_point, names_of_points},
        name::name_text,
        oid,
        time::Seconds,
        tlv::{Reader, tag},
    },
};

/// Octets of a PEM file, which unlike DER is read as a whole.
const LONGEST_PEM: u64 = 1 << 30;

type Stream = CrlStream<Box<dyn Read>>;

/// What of the entries is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    Count,
    All,
    /// That of one serial, given by its content octets' hexadecimal digits without leading zeros.
    One(String),
}

/// Prints what the file holds.
pub fn show(path: &Path, entries: &Entries) -> Result<(), Problem> {
    let wrong = |error: StreamError| Problem::new(path, "", error.to_string());
    let mut stream = open(path)?;
    let mut out = BufWriter::new(stdout().lock());
    let (mut count, mut reasons) = (0_u64, BTreeMap::new());
    let mut lines = Vec::new();
    let mut found = false;
    loop {
        let more = stream.entry(|entry| {
            count += 1;
            *reasons.entry(reason_name(entry.reason)).or_insert(0_u64) += 1;
            let shown = match entries {
                Entries::Count => false,
                Entries::All => true,
                Entries::One(serial) => hex::encode(entry.serial).trim_start_matches('0') == serial,
            };
            if shown {
                lines.push(line(entry));
            }
        });
        // Entries come before what is at the end of the file, and there may be too many to keep.
        for line in lines.drain(..) {
            found = true;
            if writeln!(out, "{line}").is_err() {
                return Ok(());
            }
        }
        if !more.map_err(wrong)? {
            break;
        }
    }
    let facts = stream.rest(facts).map_err(wrong)?;
    if let (Entries::One(serial), false) = (entries, found) {
        let _ = writeln!(out, "{serial} is not on it");
    }
    for (name, value) in facts {
        let _ = writeln!(out, "{name:<11} {value}");
    }
    let reasons: Vec<_> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let reasons = if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    };
    let _ = writeln!(out, "entries     {count}{reasons}");
    let _ = out.flush();
    Ok(())
}

/// Prints which serials are in one of the two alone, or in both with another reason or time. Whether they differ.
pub fn diff(old: &Path, new: &Path) -> Result<bool, Problem> {
    let mut known: HashMap<Vec<u8>, (Seconds, Option<u8>)> = HashMap::new();
    let mut before = open(old)?;
    let wrong = |path: &Path, error: StreamError| Problem::new(path, "", error.to_string());
    let put = |entry: &Entry<'_>| (entry.serial.to_vec(), (entry.revoked, entry.reason));
    let mut read = None;
    while before
        .entry(|entry| read = Some(put(entry)))
        .map_err(|error| wrong(old, error))?
    {
        known.extend(read.take());
    }
    let mut after = open(new)?;
    let mut out = BufWriter::new(stdout().lock());
    let mut differ = false;
    let mut lines = Vec::new();
    loop {
        let more = after.entry(|entry| match known.remove(entry.serial) {
            None => lines.push(format!("+ {}", line(entry))),
            Some(same) if same == (entry.revoked, entry.reason) => {}
            Some((time, reason)) => {
                let was = format!("{time} {}", reason_name(reason));
                lines.push(format!("~ {} (was {was})", line(entry)));
            }
        });
        differ |= !lines.is_empty();
        for line in lines.drain(..) {
            let _ = writeln!(out, "{line}");
        }
        if !more.map_err(|error| wrong(new, error))? {
            break;
        }
    }
    let mut gone: Vec<_> = known.into_iter().collect();
    gone.sort();
    for (serial, (revoked, reason)) in &gone {
        let entry = Entry {
            serial,
            revoked: *revoked,
            reason: *reason,
        };
        let _ = writeln!(out, "- {}", line(&entry));
    }
    let _ = out.flush();
    Ok(differ || !gone.is_empty())
}

fn line(entry: &Entry<'_>) -> String {
    let Entry {
        serial,
        revoked,
        reason,
    } = entry;
    format!("{} {revoked} {}", hex::encode(serial), reason_name(*reason))
}

fn open(path: &Path) -> Result<Stream, Problem> {
    let wrong = |what: String| Problem::new(path, "", what);
    let unreadable = |error| wrong(format!("cannot be read: {error}"));
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(unreadable)?);
    let source: Box<dyn Read> = match file.fill_buf().map_err(unreadable)?.first() {
        Some(&tag::SEQUENCE) => Box::new(file),
        _ => {
            let mut text = Vec::new();
            let mut all = file.take(LONGEST_PEM);
            all.read_to_end(&mut text).map_err(unreadable)?;
            let blocks = pem_blocks(&text, "X509 CRL").map_err(&wrong)?;
            let der = blocks.into_iter().next();
            let der = der.ok_or_else(|| wrong("holds no CRL, neither DER nor PEM".to_owned()))?;
            Box::new(Cursor::new(der))
        }
    };
    CrlStream::open(source).map_err(|error| wrong(error.to_string()))
}

/// What a CRL says beside its entries.
fn facts(list: &CertificateList<'_>) -> Vec<(&'static str, String)> {
    let number = |value: &[u8]| {
        let mut reader = Reader::new(value);
        reader
            .integer()
            .map_or("unreadable".to_owned(), hex::encode)
    };
    let extension = |id| {
        list.extensions
            .into_iter()
            .find(|extension| extension.is(id))
    };
    let mut facts = vec![(
        "issuer",
        name_text(list.issuer).unwrap_or_else(|| hex::encode(list.issuer)),
    )];
    let crl_number = extension(oid::CRL_NUMBER).map(|extension| number(extension.value));
    facts.push(("number", crl_number.unwrap_or_else(|| "none".to_owned())));
    if let Some(base) = extension(oid::DELTA_CRL_INDICATOR) {
        facts.push(("delta to", number(base.value)));
    }
    facts.push(("thisUpdate", list.this_update.to_string()));
    let next = list.next_update.map(|time| time.to_string());
    facts.push(("nextUpdate", next.unwrap_or_else(|| "none".to_owned())));
    let algorithm = SignatureAlgorithm::from_identifier(list.algorithm);
    let algorithm = algorithm.ok().flatten().map(SignatureAlgorithm::name);
    facts.push((
        "signed with",
        algorithm.unwrap_or("an unsupported algorithm").to_owned(),
    ));
    if let Some(idp) = extension(oid::ISSUING_DISTRIBUTION_POINT) {
        let names = names_of_issuing_point(idp.value, list.issuer);
        let names = names.map_or_else(|error| error.to_string(), |names| names.join(", "));
        if !names.is_empty() {
            facts.push(("dist. point", names));
        }
        // Of any name.
        let scope = Scope::read(
            Some(idp.value),
            list.issuer,
            Some(&names_first(idp.value, list)),
        );
        let scope = scope.or_else(|_| Scope::read(Some(idp.value), list.issuer, None));
        facts.push((
            "covers",
            scope.map_or_else(|error| error.to_string(), |scope| scope.to_string()),
        ));
    }
    if let Some(freshest) = extension(oid::FRESHEST_CRL) {
        let names = names_of_points(freshest.value, list.issuer);
        let names = names.map_or_else(|error| error.to_string(), |names| names.join(", "));
        facts.push(("freshestCRL", names));
    }
    facts
}

fn names_first(idp: &[u8], list: &CertificateList<'_>) -> String {
    let names = names_of_issuing_point(idp, list.issuer).unwrap_or_default();
    names.into_iter().next().unwrap_or_default()
}
