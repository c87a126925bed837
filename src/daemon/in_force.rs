//! What is in force when the appliance begins to serve: [`InForce`], facts for programs and one screen for people. Of
//! secrets it has the place at most, never the content.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::Addresses;
use crate::{
    config::{ClockSource, Config, IssuerConfig, KeyPlace, TokenName, TsuConfig},
    io::{http_client, logging::harmless},
    tsa::Accuracy,
};

/// CRL sources of one issuer that are named; a CA may have hundreds of shards.
const SOURCES: usize = 4;

/// The same twice.
#[derive(Debug)]
pub struct InForce {
    /// Lines without the last one's end.
    pub screen: String,
    pub facts: BTreeMap<&'static str, Value>,
}

impl InForce {
    /// `status` is what the appliance tells of itself at this moment (`io::appliance_status`); `connections`, how many it
    /// takes, which may be less than is configured.
    pub fn new(config: &Config, addresses: &Addresses, status: &Value, connections: usize) -> Self {
        let of = |list: &str, kind: &str, name: &str| {
            let all = status.get(list).and_then(Value::as_array);
            let mut all = all.into_iter().flatten();
            all.find(|one| text(one, kind) == name).cloned()
        };
        let tsus = config.tsus.iter().map(|tsu| {
            let running = of("tsus", "tsu", &tsu.name).unwrap_or_default();
            of_tsu(tsu, &running)
        });
        let issuers = config.issuers.iter().map(|issuer| {
            let running = of("issuers", "issuer", &issuer.name).unwrap_or_default();
            of_issuer(issuer, &running)
        });
        let facts = BTreeMap::from([
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("config", config.file.display().to_string().into()),
            ("listeners", listeners(config, addresses)),
            ("tsus", tsus.collect()),
            ("issuers", issuers.collect()),
            ("clock", clock(config)),
            ("journal", journal(config, status)),
            ("limits", limits(config, connections)),
            ("log", log(config)),
        ]);
        let screen = screen(&facts);
        Self { screen, facts }
    }
}

fn listeners(config: &Config, addresses: &Addresses) -> Value {
    let urls = |scheme: &str, addresses: &[std::net::SocketAddr]| {
        let urls = addresses.iter().map(|at| format!("{scheme}://{at}"));
        urls.collect::<Vec<_>>()
    };
    json!({
        "http": urls("http", &addresses.public),
        "https": urls("https", &addresses.tls),
        "tls_certificate": config.tls.as_ref().map(|tls| tls.certificate.display().to_string()),
        "http_access": config.http.access,
        "https_access": config.tls.as_ref().map(|tls| &tls.access),
        "admin_access": config.admin.as_ref().map(|admin| &admin.access),
        "admin": urls(if addresses.admin_tls { "https" } else { "http" }, addresses.admin.as_slice()),
    })
}

fn of_tsu(tsu: &TsuConfig, running: &Value) -> Value {
    let policies: Vec<_> = tsu.policies.iter().map(ToString::to_string).collect();
    let accuracy = match tsu.accuracy {
        Accuracy::Fixed(accuracy) => span(accuracy),
        Accuracy::Measured(worst) => format!("measured, {} at worst", span(worst)),
    };
    let place = place(&tsu.key.place);
    let successor = tsu.successor.as_ref();
    json!({
        "tsu": tsu.name,
        "default": tsu.default,
        "demo": tsu.demo,
        "policies": policies,
        "accuracy": accuracy,
        "access": tsu.access,
        "key": place,
        "keys": keys(running),
        "successor_from": successor.map(|successor| successor.from.to_string()),
    })
}

fn of_issuer(issuer: &IssuerConfig, running: &Value) -> Value {
    let responders = issuer.responders.iter().map(|one| place(&one.key.place));
    let sources = running.get("crls").and_then(Value::as_array);
    let sources = sources.into_iter().flatten().map(|source| {
        let fields = ["source", "kind", "number", "next_update", "entries"];
        let field = |name: &str| {
            (
                name.to_owned(),
                source.get(name).cloned().unwrap_or_default(),
            )
        };
        Value::Object(fields.into_iter().map(field).collect())
    });
    json!({
        "issuer": issuer.name,
        "subject": running.get("subject"),
        "responder_keys": responders.collect::<Vec<_>>(),
        "keys": keys(running),
        "crls": sources.collect::<Vec<_>>(),
        "issued_serials": running.get("issued_serials"),
        "unlisted": format!("{:?}", issuer.unlisted).to_lowercase(),
        "validity": span(issuer.validity),
    })
}

/// What of the running keys is worth a line: how they sign, and until when.
fn keys(running: &Value) -> Value {
    let keys = running.get("keys").and_then(Value::as_array);
    let keys = keys.into_iter().flatten().map(|key| {
        let fields = [
            "subject",
            "algorithm",
            "signs_until",
            "signs_now",
            "trouble",
        ];
        let field = |name: &str| (name.to_owned(), key.get(name).cloned().unwrap_or_default());
        Value::Object(fields.into_iter().map(field).collect())
    });
    keys.collect()
}

/// Where a key lives; of its PIN nothing.
fn place(place: &KeyPlace) -> String {
    let token = match place {
        KeyPlace::File(path) => return path.display().to_string(),
        KeyPlace::Token(token) => token,
    };
    let tokens = token.tokens.iter().map(|name| match name {
        TokenName::Label(label) => format!("token {label}"),
        TokenName::Serial(serial) => format!("token with serial {serial}"),
        TokenName::Slot(slot) => format!("slot {slot}"),
    });
    let module = token.module.file_name().unwrap_or_default();
    let mut parts = vec![module.display().to_string()];
    parts.extend(tokens);
    parts.extend(token.label.as_ref().map(|label| format!("label {label}")));
    parts.extend(
        token
            .id
            .as_ref()
            .map(|id| format!("id {}", hex::encode(id))),
    );
    parts.push(format!("{} sessions", token.sessions));
    parts.join(", ")
}

fn clock(config: &Config) -> Value {
    let clock = &config.clock;
    match clock.source {
        ClockSource::Chrony => json!({
            "source": "chrony",
            "socket": clock.socket.display().to_string(),
            "kernel_gate": clock.kernel_gate,
            "sources": clock.sources,
            "usable_sources": clock.usable_sources,
            "max_stratum": clock.max_stratum,
            "silence": span(clock.silence),
            "settle": span(clock.settle),
        }),
        ClockSource::Kernel => json!({"source": "kernel"}),
        ClockSource::Unproven => json!({"source": "unproven"}),
    }
}

fn journal(config: &Config, status: &Value) -> Value {
    let running = status.get("journal").unwrap_or(&Value::Null);
    let anchor = config.journal.anchor.as_ref();
    let anchor = anchor.and_then(|anchor| http_client::url(&anchor.url).ok());
    let anchor = anchor.map(|mut url| {
        // A query may hold a token.
        url.set_query(None);
        http_client::shown(&url).to_string()
    });
    json!({
        "dir": config.journal.dir.display().to_string(),
        "records": running.get("records"),
        "segment_bytes": running.get("segment_bytes"),
        "free_bytes": running.get("free_bytes"),
        "warn_free_bytes": config.journal.warn_free,
        "stop_free_bytes": config.journal.stop_free,
        "publish": config.journal.publish,
        "anchor": anchor,
    })
}

fn limits(config: &Config, connections: usize) -> Value {
    let http = &config.http;
    json!({
        "workers": http.workers,
        "connections": connections,
        "header_timeout": span(http.header_timeout),
        "body_timeout": span(http.body_timeout),
        "body_bytes": http.body,
        "write_timeout": span(http.write_timeout),
        "grace": span(http.grace),
        "sealed_answers": config.sealed_answers,
    })
}

fn log(config: &Config) -> Value {
    let log = &config.log;
    json!({
        "format": format!("{:?}", log.format).to_lowercase(),
        "level": format!("{:?}", log.level).to_lowercase(),
        "requests": log.requests,
        "request_lines": log.request_lines,
    })
}

/// The facts in columns.
fn screen(facts: &BTreeMap<&'static str, Value>) -> String {
    let none = Value::Null;
    let fact = |name: &str| facts.get(name).unwrap_or(&none);
    let mut lines = Lines::default();
    let listeners = fact("listeners");
    let who = |access: &str| only_for(listeners, access);
    let (urls, who_by_http) = (listed(listeners, "http"), who("http_access"));
    lines.say("clients", format!("{urls}{who_by_http}"));
    if !list(listeners, "https").is_empty() {
        let (urls, certificate) = (
            listed(listeners, "https"),
            text(listeners, "tls_certificate"),
        );
        let who = who("https_access");
        lines.say("", format!("{urls}, by {certificate}{who}"));
    }
    let (urls, who) = (listed(listeners, "admin"), who("admin_access"));
    lines.say("operator", format!("{urls}{who}"));
    for tsu in list(fact("tsus"), "") {
        lines.say_tsu(tsu);
    }
    for issuer in list(fact("issuers"), "") {
        lines.say_issuer(issuer);
    }
    lines.say("clock", of_clock(fact("clock")));
    lines.say("journal", of_journal(fact("journal")));
    let limits = fact("limits");
    lines.say(
        "limits",
        format!(
            "{} connections on {} workers; header {}, body {} of {}, write {}; {} to finish at a stop",
            number(limits, "connections"),
            number(limits, "workers"),
            text(limits, "header_timeout"),
            text(limits, "body_timeout"),
            octets(number(limits, "body_bytes")),
            text(limits, "write_timeout"),
            text(limits, "grace"),
        ),
    );
    let log = fact("log");
    let requests = match flag(log, "requests") {
        true => format!("at most {} requests a second", number(log, "request_lines")),
        false => "no requests".to_owned(),
    };
    lines.say(
        "log",
        format!(
            "{}, level {}, {requests}",
            text(log, "format"),
            text(log, "level")
        ),
    );
    let head = format!(
        "gnomon {} serves what {} says",
        fact("version").as_str().unwrap_or_default(),
        fact("config").as_str().unwrap_or_default()
    );
    harmless(&head) + &lines.0
}

/// How the key that signs now does so, and what of it is wrong.
fn signs(of: &Value) -> String {
    let keys = list(of, "keys");
    let Some(key) = keys
        .iter()
        .find(|key| flag(key, "signs_now"))
        .or(keys.first())
    else {
        return "no key".to_owned();
    };
    let mut said = format!(
        "{} by {} until {}",
        text(key, "algorithm"),
        text(key, "subject"),
        text(key, "signs_until")
    );
    if let Some(trouble) = key.get("trouble").and_then(Value::as_str) {
        said += &format!(", BUT {trouble}");
    }
    if let Some(from) = of.get("successor_from").and_then(Value::as_str) {
        said += &format!(", from {from} its successor");
    }
    said
}

fn of_source(source: &Value) -> String {
    let kind = match text(source, "kind") {
        "delta" => "delta ",
        _ => "",
    };
    let name = text(source, "source");
    match source.get("next_update").and_then(Value::as_str) {
        Some(end) => {
            let number = match source.get("number").and_then(Value::as_str) {
                Some(number) => format!("number {number}"),
                None => "without number".to_owned(),
            };
            format!(
                "{kind}{name}: {number}, {} revoked, until {end}",
                self::number(source, "entries")
            )
        }
        None => format!("{kind}{name}: none yet"),
    }
}

fn of_clock(clock: &Value) -> String {
    match text(clock, "source") {
        "chrony" => format!(
            "chrony by {}: {} sources, {} usable, stratum {} at most, silent for {} at most{}",
            text(clock, "socket"),
            number(clock, "sources"),
            number(clock, "usable_sources"),
            number(clock, "max_stratum"),
            text(clock, "silence"),
            match flag(clock, "kernel_gate") {
                true => ", and the kernel agrees",
                false => "",
            }
        ),
        "kernel" => "the kernel's word".to_owned(),
        _ => "UNPROVEN: for demo TSUs only".to_owned(),
    }
}

fn of_journal(journal: &Value) -> String {
    let anchor = journal.get("anchor").and_then(Value::as_str);
    format!(
        "{}: {} records in {}; {} free, warns under {}, stops under {}{}{}",
        text(journal, "dir"),
        number(journal, "records"),
        octets(number(journal, "segment_bytes")),
        octets(number(journal, "free_bytes")),
        octets(number(journal, "warn_free_bytes")),
        octets(number(journal, "stop_free_bytes")),
        match flag(journal, "publish") {
            true => "; published",
            false => "",
        },
        anchor
            .map(|url| format!("; anchored at {url}"))
            .unwrap_or_default(),
    )
}

/// Lines of a label and a text.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn say(&mut self, label: &str, what: impl AsRef<str>) {
        let line = format!("  {label:8} {}", what.as_ref());
        self.0.push('\n');
        self.0.push_str(&harmless(&line));
    }

    fn say_tsu(&mut self, tsu: &Value) {
        let mark = |name: &str, word: &'static str| match flag(tsu, name) {
            true => word,
            false => "",
        };
        let (default, demo) = (mark("default", ", the default"), mark("demo", ", DEMO"));
        self.say(
            "TSU",
            format!("{}{default}{demo}: {}", text(tsu, "tsu"), signs(tsu)),
        );
        let (policies, accuracy) = (listed(tsu, "policies"), text(tsu, "accuracy"));
        self.say(
            "",
            format!(
                "  policy {policies}; accuracy {accuracy}; key {}{}",
                text(tsu, "key"),
                only_for(tsu, "access")
            ),
        );
    }

    fn say_issuer(&mut self, issuer: &Value) {
        self.say(
            "issuer",
            format!("{}: {}", text(issuer, "issuer"), text(issuer, "subject")),
        );
        let keys = listed(issuer, "responder_keys");
        self.say("", format!("  responder {}; key {keys}", signs(issuer)));
        let sources = list(issuer, "crls");
        for source in sources.iter().take(SOURCES) {
            self.say("", format!("  CRL {}", of_source(source)));
        }
        if let Some(more @ 1..) = sources.len().checked_sub(SOURCES) {
            self.say("", format!("  {more} more CRLs: `gnomon crl status`"));
        }
        let issued = match issuer.get("issued_serials").and_then(Value::as_u64) {
            Some(issued) => format!("{issued} issued serials, any other is"),
            None => "no list of issued serials, what is on no CRL is".to_owned(),
        };
        let (unlisted, validity) = (text(issuer, "unlisted"), text(issuer, "validity"));
        self.say(
            "",
            format!("  {issued} {unlisted}; answers hold for {validity}"),
        );
    }
}

/// A field's elements; those of the value itself where the name is empty.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = match name {
        "" => Some(value),
        name => value.get(name),
    };
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A list of texts in one.
fn listed(value: &Value, name: &str) -> String {
    let all: Vec<_> = list(value, name).iter().filter_map(Value::as_str).collect();
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join(", "),
    }
}

/// Which rules let somebody in there, where there are any.
fn only_for(of: &Value, access: &str) -> String {
    match list(of, access).is_empty() {
        true => String::new(),
        false => format!("; only for {}", listed(of, access)),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name) == Some(&Value::Bool(true))
}

/// As the configuration has it.
fn span(time: Duration) -> String {
    let millis = time.as_millis();
    match millis {
        0 => format!("{}us", time.as_micros()),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}min", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// Roughly.
fn octets(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{} KiB", count >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}
