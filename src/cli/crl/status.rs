//! `gnomon crl status`: what every CRL source of the running appliance has, and what was accepted and refused lately.

use serde_json::Value;

use crate::{
    cli::admin::ask_json,
    config::{Config, Problem},
    io::{status_tables::roughly, wall_clock::wall_clock},
    wire::time::Seconds,
};

/// Prints it. Whether every source that an answer rests on has a CRL that is in date.
pub fn status(config: &Config, json: bool, ledger: bool) -> Result<bool, Vec<Problem>> {
    let state = ask_json(config, "/crl")?;
    if json {
        say!("{state:#}");
    }
    let now = wall_clock();
    let mut all_current = true;
    let issuers = state.get("issuers").and_then(Value::as_array);
    for issuer in issuers.into_iter().flatten() {
        if !json {
            say!("{} ({})", text(issuer, "issuer"), text(issuer, "subject"));
            if let Some(issued) = issuer.get("issued").and_then(Value::as_u64) {
                say!("  {issued} issued serials are known");
            }
        }
        let sources = issuer.get("sources").and_then(Value::as_array);
        for source in sources.into_iter().flatten() {
            let decides = source.get("decides").and_then(Value::as_bool) == Some(true);
            let begun = time(source, "this_update").is_some_and(|this| this <= now);
            let over = time(source, "next_update").is_none_or(|next| next <= now);
            all_current &= !decides || (begun && !over);
            if !json {
                print(source, now);
            }
        }
    }
    if ledger && !json {
        say!("ledger, the newest first:");
        let entries = state.get("ledger").and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let reason = match entry.get("reason").and_then(Value::as_str) {
                Some(reason) => format!(": {reason}"),
                None => format!(" number {}", text(entry, "number")),
            };
            let (time, what) = (text(entry, "time"), text(entry, "what"));
            let source = entry.get("source").or(entry.get("issuer"));
            let source = source.and_then(Value::as_str).unwrap_or_default();
            say!("  {time} {what} {source}{reason}");
        }
    }
    Ok(all_current)
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or("none")
}

fn time(of: &Value, name: &str) -> Option<Seconds> {
    let text = of.get(name).and_then(Value::as_str)?;
    let time: der::DateTime = text.parse().ok()?;
    Some(time.into())
}

fn print(source: &Value, now: Seconds) {
    let count = |name: &str| source.get(name).and_then(Value::as_u64).unwrap_or(0);
    say!("  {} ({})", text(source, "source"), text(source, "kind"));
    if text(source, "place") != text(source, "source") {
        say!("    looked for at {}", text(source, "place"));
    }
    match (time(source, "this_update"), time(source, "next_update")) {
        (Some(this), Some(next)) => {
            let left = if now < next {
                format!("{} left", roughly(next.since(now)))
            } else {
                format!("RAN OUT {} ago", roughly(now.since(next)))
            };
            let age = roughly(now.since(this));
            let entries = count("entries");
            say!(
                "    number {}, {entries} entries, {age} old, {left}",
                text(source, "number")
            );
        }
        _ if text(source, "kind") == "delta" => say!("    none in force"),
        _ => say!("    NONE YET"),
    }
    if count("retained") > 0 {
        say!(
            "    {} more stay revoked though it no longer shows them",
            count("retained")
        );
    }
    if let Some(next) = time(source, "next") {
        say!("    looked for next in {}", roughly(next.since(now)));
    }
    if let Some(error) = source.get("error").and_then(Value::as_str) {
        say!("    FAILED {} times, last: {error}", count("failures"));
    }
}
