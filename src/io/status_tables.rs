//! What [`super::appliance_status`] tells, as tables for people: [`tables`]. `gnomon status` and the console both show
//! these, so that they say the same in the same words. Whatever is wrong is said in capitals, not by colour alone.

use serde_json::Value;

/// Some facts under a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub title: &'static str,
    pub head: Vec<&'static str>,
    pub rows: Vec<Row>,
}

/// As many cells as the head has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub cells: Vec<String>,
    pub mark: Mark,
}

/// How good a row's news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Plain,
    Good,
    /// Soon to be seen to.
    Warning,
    Bad,
}

/// How many days before its end a key is worth a warning.
const ENDS_SOON: i64 = 30;

/// All of it, in the order of how much it matters.
pub fn tables(status: &Value) -> Vec<Table> {
    let mut tables = vec![services(status), clock(status), keys(status)];
    tables.extend(devices(status));
    tables.extend(crls(status));
    tables.extend([journal(status), requests(status)]);
    tables
}

/// One line: whether it is ready, since when it runs, and what it is.
pub fn headline(status: &Value) -> String {
    let ready = if is_ready(status) {
        "ready"
    } else {
        "NOT READY"
    };
    format!(
        "gnomon {}: {ready}, up for {}, at {}",
        text(status, "version"),
        roughly(number(status, "uptime_seconds")),
        text(status, "time")
    )
}

pub fn is_ready(status: &Value) -> bool {
    status.get("ready") == Some(&Value::Bool(true))
}

/// Seconds roughly, for people.
pub fn roughly(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn services(status: &Value) -> Table {
    let row = |service: &Value| match string(service, "trouble") {
        Some(trouble) => Row::new(Mark::Bad, [text(service, "service"), "NOT READY", trouble]),
        None => Row::new(Mark::Good, [text(service, "service"), "ready", ""]),
    };
    Table {
        title: "Services",
        head: vec!["service", "state", "why"],
        rows: list(status, "services").iter().map(row).collect(),
    }
}

fn clock(status: &Value) -> Table {
    let clock = status.get("clock").unwrap_or(&Value::Null);
    let mut rows = Vec::new();
    let proven = clock.get("proven") == Some(&Value::Bool(true));
    let state = string(clock, "state").unwrap_or("proven");
    if !proven {
        let reason = string(clock, "reason").unwrap_or("for an unknown reason");
        rows.push(Row::new(Mark::Bad, ["state", "LOST", reason]));
    } else if string(clock, "basis") == Some("demo") {
        let what = "a demo's clock: nobody vouches for it";
        rows.push(Row::new(Mark::Warning, ["state", "UNPROVEN", what]));
    } else {
        let mark = match state {
            "proven" => Mark::Good,
            _ => Mark::Warning,
        };
        let bound = format!("within {} us of UTC", number(clock, "bound_us"));
        rows.push(Row::new(mark, ["state", state, &bound]));
    }
    if let Some(fault) =
        string(clock, "fault").filter(|fault| Some(*fault) != string(clock, "reason"))
    {
        rows.push(Row::new(
            Mark::Warning,
            ["at the last poll", "FAULT", fault],
        ));
    }
    if let Some(last) = string(clock, "last_proven") {
        rows.push(Row::new(Mark::Plain, ["last proven", last, ""]));
    }
    let parts = [
        ("total_us", "bound at the last poll", "in all"),
        ("correction_us", "part", "what chronyd still has to correct"),
        ("root_dispersion_us", "part", "root dispersion"),
        ("half_root_delay_us", "part", "half of the root delay"),
        ("drift_us", "part", "drift since the last update"),
        ("step_us", "part", "steps since the last update"),
    ];
    if let Some(bound) = clock.get("bound_at_poll").filter(|bound| bound.is_object()) {
        for (name, what, meaning) in parts {
            let value = format!("{} us", number(bound, name));
            rows.push(Row::new(Mark::Plain, [what, &value, meaning]));
        }
    }
    if let Some(chronyd) = clock.get("chronyd").filter(|chronyd| chronyd.is_object()) {
        let stratum = format!("stratum {}", number(chronyd, "stratum"));
        let sources = format!(
            "{} of {} sources usable, last heard from one {} ago",
            number(chronyd, "usable_sources"),
            number(chronyd, "sources"),
            roughly(number(chronyd, "reference_age_us") / 1_000_000)
        );
        rows.push(Row::new(Mark::Plain, ["chronyd", &stratum, &sources]));
        for source in list(chronyd, "source") {
            let reach = format!("reach {:o}", number(source, "reach"));
            let cells = [text(source, "name"), text(source, "state"), &reach];
            rows.push(Row::new(Mark::Plain, cells));
        }
    }
    if let Some(leap) = string(clock, "leap_second_before") {
        let what = "a leap second is announced before it";
        rows.push(Row::new(Mark::Warning, ["leap second", leap, what]));
    }
    Table {
        title: "Clock",
        head: vec!["what", "value", "remark"],
        rows,
    }
}

fn keys(status: &Value) -> Table {
    let mut rows = Vec::new();
    for (of, owner) in owners(status) {
        rows.extend(list(owner, "keys").iter().map(|key| of_key(&of, key)));
    }
    rows.extend(list(status, "issuers").iter().map(of_ca));
    Table {
        title: "Keys and certificates",
        head: vec![
            "of",
            "certificate",
            "algorithm",
            "until",
            "days left",
            "state",
        ],
        rows,
    }
}

/// The CA's own certificate; it may be that its key signs nothing here.
fn of_ca(issuer: &Value) -> Row {
    let days = issuer.get("days_left").and_then(Value::as_i64).unwrap_or(0);
    let (mark, state) = match days {
        ..0 => (Mark::Warning, "the CA itself; HAS ENDED"),
        0..ENDS_SOON => (Mark::Warning, "the CA itself; ENDS SOON"),
        _ => (Mark::Plain, "the CA itself"),
    };
    let of = format!("issuer {}", text(issuer, "issuer"));
    let (subject, end) = (text(issuer, "subject"), text(issuer, "not_after"));
    Row::new(mark, [&of, subject, "", end, &days.to_string(), state])
}

fn of_key(of: &str, key: &Value) -> Row {
    let days = key.get("days_left").and_then(Value::as_i64).unwrap_or(0);
    let reachable = key.get("reachable") != Some(&Value::Bool(false));
    let signs = key.get("signs_now") == Some(&Value::Bool(true));
    let (mark, state) = match string(key, "trouble") {
        Some(trouble) => (Mark::Bad, format!("CANNOT SIGN: {trouble}")),
        None if !reachable => (Mark::Bad, "CANNOT BE REACHED".to_owned()),
        None if days < ENDS_SOON => (Mark::Warning, "ENDS SOON".to_owned()),
        None if signs => (Mark::Good, "signs".to_owned()),
        None => (Mark::Plain, "waits for its turn".to_owned()),
    };
    let days = days.to_string();
    let cells = [
        of,
        text(key, "subject"),
        text(key, "algorithm"),
        text(key, "signs_until"),
        &days,
        &state,
    ];
    Row::new(mark, cells)
}

/// Only where keys are on devices.
fn devices(status: &Value) -> Option<Table> {
    let all = status
        .get("devices")
        .filter(|devices| devices.is_object())?;
    let row = |of: &str, device: &Value, rate: &str| {
        let (serving, wanted) = (
            number(device, "sessions_serving"),
            number(device, "sessions"),
        );
        let (mark, sessions) = match serving {
            0 => (Mark::Bad, format!("NONE of {wanted}")),
            some if some < wanted => (Mark::Warning, format!("ONLY {some} of {wanted}")),
            some => (Mark::Good, format!("{some} of {wanted}")),
        };
        let count = |name: &str| number(device, name).to_string();
        let (signatures, failures) = (count("signatures_total"), count("failures_total"));
        Row::new(mark, [of, &sessions, &signatures, rate, &failures])
    };
    let mut rows = Vec::new();
    for (of, owner) in owners(status) {
        for key in list(owner, "keys") {
            if let Some(device) = key.get("device").filter(|device| device.is_object()) {
                rows.push(row(&of, device, ""));
            }
        }
    }
    let rate = all.get("signatures_per_second").and_then(Value::as_f64);
    let rate = rate.map_or_else(|| "not known yet".to_owned(), |rate| format!("{rate:.1}"));
    rows.push(row("all", all, &rate));
    Some(Table {
        title: "HSM sessions",
        head: vec!["of", "sessions", "signatures", "a second", "failures"],
        rows,
    })
}

/// Only where certificates' status is answered.
fn crls(status: &Value) -> Option<Table> {
    let issuers = list(status, "issuers");
    let mut rows = Vec::new();
    for issuer in issuers {
        for source in list(issuer, "crls") {
            rows.push(of_source(text(issuer, "issuer"), source));
        }
        if let Some(issued) = issuer.get("issued_serials").and_then(Value::as_u64) {
            let serials = issued.to_string();
            let cells = [
                text(issuer, "issuer"),
                "issued serials",
                "",
                &serials,
                "",
                "",
                "",
            ];
            rows.push(Row::new(Mark::Plain, cells));
        }
    }
    (!issuers.is_empty()).then_some(Table {
        title: "CRL sources",
        head: vec![
            "issuer", "source", "number", "entries", "age", "left", "state",
        ],
        rows,
    })
}

fn of_source(issuer: &str, source: &Value) -> Row {
    let left = source.get("seconds_left").and_then(Value::as_i64);
    let age = source.get("age_seconds").and_then(Value::as_u64);
    let is_delta = text(source, "kind") == "delta";
    let (mut mark, mut state) = match left {
        Some(left) if left > 0 => (Mark::Good, "in force".to_owned()),
        Some(_) => (Mark::Bad, "RAN OUT".to_owned()),
        // Without a delta the complete CRL answers.
        None if is_delta => (Mark::Plain, "none in force".to_owned()),
        None => (Mark::Bad, "NONE YET".to_owned()),
    };
    if let Some(error) = string(source, "error") {
        let failures = number(source, "failures");
        state = format!("{state}; FAILED {failures} times, last: {error}");
        if mark != Mark::Bad {
            mark = Mark::Warning;
        }
    }
    let name = match is_delta {
        true => format!("{} (delta)", text(source, "source")),
        false => text(source, "source").to_owned(),
    };
    let entries = source.get("entries").and_then(Value::as_u64);
    let cells = [
        issuer,
        &name,
        string(source, "number").unwrap_or(""),
        &entries
            .map(|entries| entries.to_string())
            .unwrap_or_default(),
        &age.map(roughly).unwrap_or_default(),
        &left
            .map(|left| roughly(u64::try_from(left).unwrap_or(0)))
            .unwrap_or_default(),
        &state,
    ];
    Row::new(mark, cells)
}

fn journal(status: &Value) -> Table {
    let journal = status.get("journal").unwrap_or(&Value::Null);
    let state = text(journal, "state");
    let (mark, state) = match state {
        "running" => (Mark::Good, state.to_owned()),
        other => (Mark::Bad, other.to_uppercase()),
    };
    let mib = |name: &str| number(journal, name) >> 20;
    let is_known = journal.get("free_bytes").is_some_and(Value::is_u64);
    let (free, warn) = (mib("free_bytes"), mib("warn_free_bytes"));
    let free_text = match is_known {
        true => format!("{free} MiB"),
        false => "not known yet".to_owned(),
    };
    let limits = format!(
        "{}warned below {warn} MiB, stopped below {} MiB",
        if is_known && free < warn {
            "TOO LITTLE: "
        } else {
            ""
        },
        mib("stop_free_bytes")
    );
    let low = if is_known && free < warn {
        Mark::Warning
    } else {
        Mark::Plain
    };
    let (records, signed) = (
        number(journal, "records"),
        number(journal, "checkpoint_records"),
    );
    let behind = format!("{} records since", records.saturating_sub(signed));
    let age = journal
        .get("checkpoint_age_seconds")
        .and_then(Value::as_u64);
    let age = age.map_or_else(
        || "none since the start".to_owned(),
        |age| format!("{} ago", roughly(age)),
    );
    let size = format!("{} MiB in segments", mib("segment_bytes"));
    Table {
        title: "Journal",
        head: vec!["what", "value", "remark"],
        rows: vec![
            Row::new(mark, ["state", &state, ""]),
            Row::new(Mark::Plain, ["records", &records.to_string(), &size]),
            Row::new(Mark::Plain, ["last checkpoint", &age, &behind]),
            Row::new(low, ["free space", &free_text, &limits]),
        ],
    }
}

fn requests(status: &Value) -> Table {
    let requests = status.get("requests").unwrap_or(&Value::Null);
    let row = |(name, what): (&str, &str)| {
        let count = |over: &str| {
            let counts = requests.get(over).unwrap_or(&Value::Null);
            number(counts, name).to_string()
        };
        let cells = [
            what,
            &count("last_5_minutes"),
            &count("last_30_minutes"),
            &count("since_start"),
        ];
        Row::new(Mark::Plain, cells)
    };
    let mut rows: Vec<_> = counted(status).map(row).collect();
    let count = |name: &str| number(requests, name).to_string();
    let open = count("connections_open");
    rows.push(Row::new(
        Mark::Plain,
        ["connections open now", &open, "", ""],
    ));
    let refused = count("connections_refused_total");
    rows.push(Row::new(
        Mark::Plain,
        ["connections turned away", "", "", &refused],
    ));
    Table {
        title: "Requests",
        head: vec!["what", "last 5 min", "last 30 min", "since the start"],
        rows,
    }
}

/// What is counted, as the JSON calls it and as people do; what is not configured is left out.
pub fn counted(status: &Value) -> impl Iterator<Item = (&'static str, &'static str)> {
    let has = |name: &str| !list(status, name).is_empty();
    let devices = status.get("devices").is_some_and(Value::is_object);
    let all = [
        ("tokens", "time-stamps issued", has("tsus")),
        ("timestamp_refusals", "time-stamps refused", has("tsus")),
        ("ocsp_answers", "OCSP requests answered", has("issuers")),
        ("ocsp_refusals", "OCSP requests refused", has("issuers")),
        ("http_refusals", "HTTP requests refused", true),
        ("device_signatures", "signatures by HSMs", devices),
    ];
    let wanted = all.into_iter().filter(|(_, _, wanted)| *wanted);
    wanted.map(|(name, what, _)| (name, what))
}

impl Row {
    fn new<const N: usize>(mark: Mark, cells: [&str; N]) -> Self {
        Self {
            cells: cells.map(str::to_owned).to_vec(),
            mark,
        }
    }
}

/// TSUs and issuers, which have keys.
fn owners(status: &Value) -> impl Iterator<Item = (String, &Value)> {
    let named = |list: &'_ [Value], name: &'static str| -> Vec<String> {
        let of = |owner: &Value| format!("{name} {}", text(owner, name));
        list.iter().map(of).collect()
    };
    let (tsus, issuers) = (list(status, "tsus"), list(status, "issuers"));
    let names = named(tsus, "tsu")
        .into_iter()
        .chain(named(issuers, "issuer"));
    names.zip(tsus.iter().chain(issuers))
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let list = of.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn string<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str)
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    string(of, name).unwrap_or("?")
}

fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or(0)
}
