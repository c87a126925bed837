//! Records for people and for scripts: [`line`] is one line of text, [`json`] everything that a record holds.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    audit::record::{Parts, Private, Record, Token},
    wire::{algorithm::DigestAlgorithm, oid::PolicyOid, time::Seconds},
};

/// `2026-11-25T03:05:50.123Z`, with as many digits as the time has.
pub fn time_text(time: Duration) -> String {
    let whole = Seconds::new(time.as_secs()).to_string();
    if time.subsec_nanos() == 0 {
        return whole;
    }
    let nanos = format!("{:09}", time.subsec_nanos());
    let whole = whole.trim_end_matches('Z');
    format!("{whole}.{}Z", nanos.trim_end_matches('0'))
}

/// Reads what [`time_text`] writes, and whole dates.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is no time in UTC such as 2026-11-25T03:05:50Z, and no date such as 2026-11-25"
        )
    };
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    let (whole, fraction) = match full.split_once('.') {
        None => (full.clone(), "0Z"),
        Some((whole, fraction)) => (format!("{whole}Z"), fraction),
    };
    let whole: der::DateTime = whole.parse().map_err(|_| wrong())?;
    let digits = fraction.strip_suffix('Z').ok_or_else(wrong)?;
    let digits = Some(digits).filter(|digits| (1..=9).contains(&digits.len()));
    let nanos = digits.and_then(|digits| format!("{digits:0<9}").parse().ok());
    Ok(whole.unix_duration() + Duration::from_nanos(nanos.ok_or_else(wrong)?))
}

/// The name of a digest algorithm, or its OID.
fn algorithm(token: &Token<'_>) -> String {
    match DigestAlgorithm::from_oid(token.imprint_algorithm) {
        Some(known) => known.to_string(),
        None => PolicyOid::from_content(token.imprint_algorithm).to_string(),
    }
}

/// One line.
pub fn line(number: u64, parts: Parts<'_>) -> String {
    let record = match Record::parse(parts.public) {
        Ok(record) => record,
        Err(error) => return format!("{number} unreadable: {error}"),
    };
    let head = format!("{number} {} {}", time_text(record.time), record.kind_name());
    match (&record.token, record.private(parts.private)) {
        (Some(token), _) => format!(
            "{head} serial {} tsu {} {} {}",
            hex::encode(token.serial),
            token.tsu,
            algorithm(token),
            hex::encode(token.imprint)
        ),
        (None, Ok(Private::Event(details))) => format!("{head} {details}"),
        (None, Ok(Private::Token { .. })) => head,
        (None, Err(error)) => format!("{head}: {error}"),
    }
}

/// Everything; without the private part where `public_only`.
pub fn json(number: u64, parts: Parts<'_>, public_only: bool) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("record", json!(number));
    let record = match Record::parse(parts.public) {
        Ok(record) => record,
        Err(error) => {
            put("error", json!(error.to_string()));
            return Value::Object(out);
        }
    };
    put("kind", json!(record.kind_name()));
    put("time", json!(time_text(record.time)));
    if let Some(token) = &record.token {
        let policy = PolicyOid::from_content(token.policy).to_string();
        put("serial", json!(hex::encode(token.serial)));
        put("bound_us", json!(token.bound.map(micros)));
        put("tsu", json!(token.tsu));
        put("policy", json!(policy));
        put("imprint_algorithm", json!(algorithm(token)));
        put("imprint", json!(hex::encode(token.imprint)));
        put("token_sha256", json!(hex::encode(token.digest)));
    }
    if public_only {
        return Value::Object(out);
    }
    match record.private(parts.private) {
        Ok(Private::Token {
            reading,
            clock,
            nonce_digest,
            token,
        }) => {
            put("clock_reading", json!(time_text(reading)));
            put("clock", json!(clock));
            if !nonce_digest.is_empty() {
                put("nonce_sha256", json!(hex::encode(nonce_digest)));
            }
            if !token.is_empty() {
                put("token", json!(STANDARD.encode(token)));
            }
        }
        Ok(Private::Event(details)) => put("details", details),
        Err(error) => put("error", json!(error.to_string())),
    }
    Value::Object(out)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in [
            "2026-11-25T03:05:50Z",
            "2026-11-25T03:05:50.123Z",
            "1970-01-01T00:00:00.000000001Z",
        ] {
            assert_eq!(time_text(parse_time(text).unwrap()), text);
        }
        assert_eq!(
            parse_time("1970-01-02").unwrap(),
            Duration::from_secs(86_400)
        );
        for wrong in [
            "",
            "now",
            "2026-11-25T03:05:50",
            "2026-11-25T03:05:50.Z",
            "2026-13-01",
        ] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
