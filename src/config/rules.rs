//! What a configuration must keep to beyond its syntax: [`problems`] holds every setting against the others and against
//! what can be served at all. It reads no file.

use std::{collections::HashSet, time::Duration};

use super::{
    ClockConfig, Config, JournalConfig, KeyConfig, KeyPlace, PinSource, Problem, TsuConfig, access,
};
use crate::wire::algorithm::DigestAlgorithm;

/// The least that a segment of the journal may be limited to.
const SMALLEST_SEGMENT: u64 = 64 << 10;

/// The least time between two checkpoints.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Every problem of `config`, as far as the file alone shows it.
pub fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong =
        |field: String, what: &str| problems.push(Problem::new(&config.file, field, what));
    check_listeners(config, &mut wrong);
    if config.tsus.is_empty() && config.issuers.is_empty() {
        wrong(
            "tsu, issuer".into(),
            "neither is configured, so there is nothing to serve; add a [[tsu]] or an [[issuer]]",
        );
    }
    check_limits(config, &mut wrong);
    check_journal(&config.journal, &mut wrong);
    check_clock(&config.clock, &mut wrong);
    access::problems(config, &mut wrong);
    let mut names = HashSet::new();
    for (index, rule) in config.access.iter().enumerate() {
        let field = format!("access[{index}].name");
        check_name(&rule.name, &mut names, field, &mut wrong);
    }
    check_tsus(&config.tsus, &mut wrong);
    check_issuers(config, &mut wrong);
    problems
}

fn check_listeners(config: &Config, wrong: &mut impl FnMut(String, &str)) {
    if config.listen.is_empty() && config.tls.is_none() {
        wrong(
            "listen".into(),
            "no address; name at least one, such as \"0.0.0.0:3180\"",
        );
    }
    if config.tls.as_ref().is_some_and(|tls| tls.listen.is_empty()) {
        wrong(
            "tls.listen".into(),
            "no address; name at least one, such as \"0.0.0.0:443\", or leave [tls] out",
        );
    }
    for address in config.tls.iter().flat_map(|tls| &tls.listen) {
        if address.port() != 0 && config.listen.contains(address) {
            let what = format!("{address}: plain HTTP is spoken there; choose another port");
            wrong("tls.listen".into(), &what);
        }
    }
    for (index, name) in config.admin_names.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            let what =
                "must be a host's name alone, without scheme and port, such as \"tsa1.example\"";
            wrong(format!("admin_names[{index}]"), what);
        }
    }
}

fn check_limits(config: &Config, wrong: &mut impl FnMut(String, &str)) {
    for (field, value) in [
        ("http.workers", config.http.workers),
        ("http.connections", config.http.connections),
        ("http.body", config.http.body),
    ] {
        if value == 0 {
            wrong(field.into(), "must be at least 1");
        }
    }
    for (field, time) in [
        ("http.header_timeout", config.http.header_timeout),
        ("http.body_timeout", config.http.body_timeout),
        ("http.write_timeout", config.http.write_timeout),
        ("revocation.fetch_timeout", config.revocation.fetch_timeout),
    ] {
        if time.is_zero() {
            wrong(field.into(), "must be longer, or nobody is ever in time");
        }
    }
    if config.log.request_lines == 0 {
        let what = "must be at least 1; to have none, set requests = false";
        wrong("log.request_lines".into(), what);
    }
}

fn check_journal(journal: &JournalConfig, wrong: &mut impl FnMut(String, &str)) {
    if journal.segment_size < SMALLEST_SEGMENT {
        let what = "must be at least 64KiB, or the journal becomes thousands of files";
        wrong("journal.segment_size".into(), what);
    }
    if journal.checkpoint_interval < SHORTEST_INTERVAL {
        let what = "must be at least 10ms: each checkpoint is a sync of the whole file system";
        wrong("journal.checkpoint_interval".into(), what);
    }
    if journal.warn_free < journal.stop_free {
        let what = "must not be less than stop_free, or the warning comes too late";
        wrong("journal.warn_free".into(), what);
    }
    if let Some(origin) = &journal.origin
        && (origin.is_empty() || origin.contains(|c: char| c.is_whitespace() || c == '+'))
    {
        let what = "must be a name without white space and `+`, such as \"tsa.example/log\"";
        wrong("journal.origin".into(), what);
    }
    let anchor = journal.anchor.as_ref();
    if anchor.is_some_and(|anchor| anchor.interval < Duration::from_secs(1)) {
        let what = "must be at least 1s: the other TSA is asked that often";
        wrong("journal.anchor.interval".into(), what);
    }
}

fn check_clock(clock: &ClockConfig, wrong: &mut impl FnMut(String, &str)) {
    if clock.usable_sources > clock.sources {
        let what = "must not be more than clock.sources";
        wrong("clock.usable_sources".into(), what);
    }
    if clock.usable_sources == 0 {
        wrong("clock.usable_sources".into(), "must be at least 1");
    }
}

fn check_tsus(tsus: &[TsuConfig], wrong: &mut impl FnMut(String, &str)) {
    let defaults = tsus.iter().filter(|tsu| tsu.default).count();
    if defaults > 1 {
        wrong(
            "tsu.default".into(),
            "more than one TSU is the default; leave `default = true` at one",
        );
    } else if defaults == 0 && tsus.len() > 1 {
        wrong(
            "tsu.default".into(),
            "there are several TSUs and none is the default; set `default = true` at one",
        );
    }
    let mut names = HashSet::new();
    for (index, tsu) in tsus.iter().enumerate() {
        let field = |name: &str| format!("tsu[{index}].{name}");
        check_name(&tsu.name, &mut names, field("name"), wrong);
        check_key(&tsu.key, &field("key"), wrong);
        if let Some(successor) = &tsu.successor {
            check_key(&successor.key, &field("successor.key"), wrong);
        }
        if tsu.policies.is_empty() {
            wrong(
                field("policies"),
                "no policy; name at least one OID, the first is the default",
            );
        }
        if tsu.digests.is_empty() {
            wrong(
                field("digests"),
                "no digest; leave the field out for all that are accepted",
            );
        }
        if tsu.digests.contains(&DigestAlgorithm::Sha1) {
            wrong(
                field("digests"),
                "sha1 is not accepted for imprints by any profile; remove it",
            );
        }
    }
}

fn check_issuers(config: &Config, wrong: &mut impl FnMut(String, &str)) {
    let mut names = HashSet::new();
    for (index, issuer) in config.issuers.iter().enumerate() {
        let field = |name: &str| format!("issuer[{index}].{name}");
        check_name(&issuer.name, &mut names, field("name"), wrong);
        if issuer.crls.is_empty() {
            wrong(
                field("crl"),
                "no CRL; without one nothing can be said about any certificate",
            );
        }
        if issuer.responders.is_empty() {
            wrong(
                field("responder"),
                "no responder; give its key and certificate",
            );
        }
        if issuer.issued_push.is_some() && config.admin.is_none() {
            wrong(
                field("issued_push"),
                "serials are pushed to the admin address, and there is none; set `admin`",
            );
        }
        for (number, responder) in issuer.responders.iter().enumerate() {
            let field = field(&format!("responder[{number}]"));
            check_key(&responder.key, &format!("{field}.key"), wrong);
            if let Some(successor) = &responder.successor {
                check_key(&successor.key, &format!("{field}.successor.key"), wrong);
            }
        }
        const HOUR: Duration = Duration::from_secs(3600);
        if !(HOUR * 8..=HOUR * 240).contains(&issuer.validity) {
            wrong(
                field("validity"),
                "must be 8 hours to 10 days (CA/B Forum BR 4.9.10)",
            );
        }
    }
}

fn check_key(key: &KeyConfig, field: &str, wrong: &mut impl FnMut(String, &str)) {
    let KeyPlace::Token(key) = &key.place else {
        return;
    };
    if key.tokens.is_empty() {
        wrong(
            field.into(),
            "no token; name it by token, token_serial or slot",
        );
    }
    if key.pin == PinSource::Several {
        wrong(
            field.into(),
            "several of pin_file, pin_credential and pin_env; keep the one that has the PIN",
        );
    }
    if key.label.is_none() && key.id.is_none() {
        wrong(
            field.into(),
            "neither label nor id, so that no key is named",
        );
    }
    if !(1..=256).contains(&key.sessions) {
        wrong(format!("{field}.sessions"), "must be 1 to 256");
    }
    if key.queue > 65_536 {
        wrong(format!("{field}.queue"), "must be 0 to 65536");
    }
    if key.deadline < Duration::from_millis(1) {
        wrong(format!("{field}.deadline"), "must be at least 1 ms");
    }
}

fn check_name(
    name: &str,
    seen: &mut HashSet<String>,
    field: String,
    wrong: &mut impl FnMut(String, &str),
) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        wrong(
            field,
            "must be 1 to 64 of the characters A-Z a-z 0-9 - _ . since it stands in URLs and metrics",
        );
    } else if !seen.insert(name.to_owned()) {
        wrong(field, "stands twice; names are unique");
    }
}
