//! What operators watch by: promtool takes the rules and their tests, every alert is tested and explained, the table
//! in docs/metrics.md is what the program has, and rules and dashboard name nothing that it has not.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use support::{
    Folder, Gnomon,
    chrony::{Chronyd, Clockwatch, FAST},
    free_port, http, prepare, run,
    token::{SOFTHSM, Token},
    wait_for,
};

const RULES: &str = "deploy/prometheus/gnomon.rules.yml";
const TESTS: &str = "deploy/prometheus/gnomon.rules.test.yml";
const DASHBOARD: &str = "deploy/grafana/gnomon.json";
const TABLE: &str = "docs/metrics.md";

/// What is known of a metric: type, labels, and what it is.
type Metrics = BTreeMap<String, (String, BTreeSet<String>, String)>;

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The table's metrics, and those that are always there.
fn table() -> (Metrics, BTreeSet<String>) {
    let (mut all, mut always) = (Metrics::new(), BTreeSet::new());
    for line in read(TABLE).lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, help, only_if, _] = cells[..] else {
            continue;
        };
        let Some(name) = plain(name) else { continue };
        let labels = labels.split(", ").filter_map(plain).map(str::to_owned);
        let row = (kind.to_owned(), labels.collect(), help.to_owned());
        assert_eq!(
            all.insert(name.to_owned(), row),
            None,
            "{name} stands twice"
        );
        if only_if.is_empty() {
            always.insert(name.to_owned());
        }
    }
    assert!(always.len() > 20, "{always:?}");
    (all, always)
}

/// What stands between two backticks.
fn plain(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// What `/metrics` shows.
fn shown(gnomon: &Gnomon) -> Metrics {
    let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let text = String::from_utf8(http(gnomon.admin, request).body).unwrap();
    let mut metrics = Metrics::new();
    let mut help = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap().1.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let row = (kind.to_owned(), BTreeSet::new(), help.clone());
            metrics.insert(name.to_owned(), row);
        } else if let Some((name, rest)) = line.split_once('{') {
            let (labels, _) = rest.rsplit_once('}').unwrap();
            // A label's value may hold a comma, but none here an equals sign before a quote.
            let names = labels.split("=\"").map(|part| {
                let start = part.rfind([',', '"']).map_or(0, |at| at + 1);
                part[start..].to_owned()
            });
            let names = names.filter(|name| !name.is_empty() && name != "le");
            let (_, known, _) = metrics.get_mut(&base(name)).unwrap();
            known.extend(names);
        }
    }
    metrics
}

/// A histogram's name without what its series end in.
fn base(series: &str) -> String {
    let ends = ["_bucket", "_sum", "_count"];
    let histogram = ends.iter().find_map(|end| series.strip_suffix(end));
    match histogram.filter(|name| name.ends_with("_seconds")) {
        Some(name) => name.to_owned(),
        None => series.to_owned(),
    }
}

/// The metrics of ours that a text names. What is recorded has a colon before it.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !word(c));
    let ours = words.filter(|word| word.starts_with("gnomon_") || word.starts_with("process_"));
    ours.map(base).collect()
}

/// Sources of the metrics.
fn sources() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("src/io/metrics").unwrap();
    entries.map(|entry| entry.unwrap().path())
}

fn alerts(file: &str, key: &str) -> BTreeSet<String> {
    let text = read(file);
    let lines = text
        .lines()
        .map(|line| line.trim().trim_start_matches("- "));
    let names = lines.filter_map(|line| line.strip_prefix(key));
    names.map(|name| name.trim().to_owned()).collect()
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    run("promtool", &["check", "rules", RULES]);
    run("promtool", &["test", "rules", TESTS]);
}

#[test]
fn every_alert_is_tested_and_explained() {
    let alerts_of_rules = alerts(RULES, "alert:");
    assert!(alerts_of_rules.len() > 20);
    assert_eq!(alerts_of_rules, alerts(TESTS, "alertname:"));
    let text = read(TESTS);
    for alert in &alerts_of_rules {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n");
        let silent = format!("alertname: {alert}\n        exp_alerts: []\n");
        assert!(text.contains(&fires) && text.contains(&silent), "{alert}");
    }
    let explained = read(TABLE);
    let rows = explained
        .lines()
        .filter_map(|line| line.strip_prefix("| `Gnomon"));
    let rows = rows.map(|row| format!("Gnomon{}", row.split('`').next().unwrap()));
    assert_eq!(alerts_of_rules, rows.collect());
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_exist() {
    let (known, _) = table();
    for file in [RULES, DASHBOARD] {
        // The dashboard's own name and the rules' groups have no underscore, and so are no metrics.
        for name in named(&read(file)) {
            assert!(known.contains_key(&name), "{file}: {name}");
        }
    }
    let dashboard = named(&read(DASHBOARD));
    let unseen: Vec<_> = known
        .keys()
        .filter(|name| !dashboard.contains(*name))
        .collect();
    assert!(unseen.is_empty(), "the dashboard does not show {unseen:?}");
}

#[test]
fn prometheus_understands_every_expression_of_the_dashboard() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, target) in targets.flatten().enumerate() {
        let expression = target["expr"].as_str().unwrap();
        let expression = expression.replace("$__rate_interval", "5m");
        let quoted = serde_json::to_string(&expression).unwrap();
        rules += &format!("      - {{record: 'panel:{number}', expr: {quoted}}}\n");
    }
    let dir = Folder::new();
    fs::write(dir.join("dashboard.yml"), rules).unwrap();
    run("promtool", &["check", "rules", &dir.path("dashboard.yml")]);
}

#[test]
fn the_table_has_what_the_code_has() {
    let mut in_code = BTreeSet::new();
    for path in sources() {
        let text = fs::read_to_string(path).unwrap();
        let literals = text.split('"').skip(1).step_by(2);
        let names = literals.filter(|text| !text.contains(' '));
        in_code.extend(names.flat_map(named));
    }
    assert_eq!(in_code, table().0.into_keys().collect());
}

#[test]
fn the_table_has_what_a_demo_shows() {
    let gnomon = Gnomon::demo();
    let (known, always) = table();
    let shown = wait_for("the clock's and the CRLs' first figures", || {
        let shown = shown(&gnomon);
        let complete = |name: &String| shown.get(name).is_some_and(|row| row.1 == known[name].1);
        always.iter().all(complete).then_some(shown)
    });
    for (name, row) in shown {
        assert_eq!(Some(&row), known.get(&name), "{name}");
    }
    assert_eq!(gnomon.metric(&["gnomon_ready"]), 1.0);
}

#[test]
fn the_table_has_what_is_there_only_with_tokens_chrony_anchors_tls_and_pushes() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.import(&dir, "tsu-ecdsa", "01");
    fs::write(dir.join("push.token"), "0123456789abcdef\n").unwrap();
    let server = Chronyd::server(2);
    let client = Chronyd::client(&[server.source(FAST)]);
    let watch = Clockwatch::start(client.command_port);
    let config = edited(&read(&dir.path("gnomon.toml")), &dir, &watch.socket);
    let gnomon = token.serve(dir, &config);
    let push =
        b"POST /issued/demo HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer 0123456789abcdef\r\n\
        Content-Length: 5\r\nConnection: close\r\n\r\n4FA36";
    assert_eq!(http(gnomon.admin, push).status, 204);
    let (known, _) = table();
    let shown = wait_for("every metric", || {
        let shown = shown(&gnomon);
        known
            .keys()
            .all(|name| shown.contains_key(name))
            .then_some(shown)
    });
    for (name, row) in shown {
        assert_eq!(Some(&row), known.get(&name), "{name}");
    }
    assert!(gnomon.metric(&["gnomon_pkcs11_sessions", "tsa", "ecdsa"]) >= 1.0);
    assert_eq!(gnomon.metric(&["gnomon_pkcs11_failures_total"]), 0.0);
}

/// The space before `listen` keeps it from being taken for the other one.
/// The demo with a key on a token, chronyd, an anchor that nobody answers, HTTPS, and a CA that pushes.
fn edited(config: &str, dir: &Folder, socket: &Path) -> String {
    let clock = format!(
        "source = \"chrony\"\nsocket = \"{}\"\nhelper = \"{}\"\nkernel_gate = false\nsources = 1\nusable_sources = 1\n",
        socket.display(),
        run("id", &["-u"]).trim()
    );
    let key = format!(
        "key = {{ module = \"{SOFTHSM}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_file = \"pin\" }}"
    );
    let anchor_and_tls = format!(
        "[journal.anchor]\nurl = \"http://127.0.0.1:1/\"\ntrust = \"{}\"\n\n[tls]\n listen = [\"{}\"]\n\
         certificate = \"good.pem\"\nkey = \"good.key\"\n\n[ocsp]\n",
        dir.path("chain.pem"),
        free_port()
    );
    let edits = [
        ("source = \"unproven\"\n", clock.as_str()),
        ("key = \"tsu-ecdsa.key\"", &key),
        ("[ocsp]\n", &anchor_and_tls),
        (
            "issued = [\"issued.txt\"]\n",
            "issued_push = { token_file = \"push.token\" }\n",
        ),
    ];
    edits.iter().fold(config.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    })
}
