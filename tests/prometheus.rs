//! A real Prometheus with what `deploy/prometheus` gives it: it scrapes the daemon, has every metric of the table and
//! every recorded series, is silent while all is well, and raises the alarm when something happens.

mod support;

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    Folder,
    crls::{Served, make},
    free_port, run,
    server::Server,
    timestamp_query, wait_for,
};

/// Prometheus, at work.
struct Prometheus {
    address: SocketAddr,
    _server: Server,
    _dir: Folder,
}

impl Prometheus {
    /// Scrapes there each second by the examples, with the rules as they are but for how long things must last: what is
    /// a minute there is a second here.
    fn start(admin: SocketAddr) -> Self {
        let (dir, address) = (Folder::new(), free_port());
        let example = |name: &str| fs::read_to_string(format!("deploy/prometheus/{name}")).unwrap();
        let scrape = example("scrape.yml");
        assert!(scrape.contains("15s") && scrape.contains("127.0.0.1:3181"));
        let scrape = scrape
            .replace("15s", "1s")
            .replace("127.0.0.1:3181", &admin.to_string());
        let rules = example("gnomon.rules.yml");
        assert!(rules.contains("for: 1m\n"));
        fs::write(
            dir.join("gnomon.rules.yml"),
            rules.replace("for: 1m\n", "for: 1s\n"),
        )
        .unwrap();
        let global = "global: {evaluation_interval: 1s}\nrule_files: [gnomon.rules.yml]\n";
        let config = dir.path("prometheus.yml");
        fs::write(&config, format!("{global}scrape_configs:\n{scrape}")).unwrap();
        run("promtool", &["check", "config", &config]);
        let mut command = Command::new("prometheus");
        command.args([
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={}", dir.path("data")),
            format!("--web.listen-address={address}"),
        ]);
        Self {
            address,
            _server: Server::start(command, address),
            _dir: dir,
        }
    }

    fn api(&self, path: &str, options: &[&str]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let always = ["--silent", "--get", &url];
        let answer = run("curl", &[&always[..], options].concat());
        // While it starts it says so in words.
        serde_json::from_str::<Value>(&answer).map_or(Value::Null, |mut all| all["data"].take())
    }

    /// Each series that a query gives, and its value.
    fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let query = format!("query={query}");
        let mut data = self.api("query", &["--data-urlencode", &query]);
        let series = data["result"].take();
        let series = series.as_array().into_iter().flatten();
        series
            .map(|one| {
                let value = one["value"][1].as_str().unwrap().parse().unwrap();
                (one["metric"].clone(), value)
            })
            .collect()
    }

    /// The names of alerts in this state.
    fn alerts(&self, state: &str) -> Vec<String> {
        let data = self.api("alerts", &[]);
        let alerts = data["alerts"].as_array().into_iter().flatten();
        let alerts = alerts.filter(|alert| alert["state"] == state);
        alerts
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
            .collect()
    }

    fn until_fires(&self, alert: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let firing = self.alerts("firing");
            if firing.iter().any(|name| name == alert) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{alert} does not fire, but {firing:?}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A gnomon whose CRL can be replaced.
fn followed() -> Served {
    Served::start(
        "\"ca.crl\"",
        |config| config,
        |dir| {
            make(dir, &[json!({"out": "ca.crl", "number": 1})]);
        },
    )
}

#[test]
fn every_metric_arrives_and_nothing_is_alarmed() {
    let gnomon = followed();
    let prometheus = Prometheus::start(gnomon.admin);
    wait_for("the target", || {
        let up = prometheus.query("up{job=\"gnomon\"}");
        (up.len() == 1 && up[0].1 == 1.0).then_some(())
    });
    let (_, query) = timestamp_query(&gnomon.dir);
    // A rate wants two scrapes that differ.
    wait_for("the recorded series", || {
        let answer = gnomon.post("/tsa", "application/timestamp-query", &query);
        assert_eq!(answer.status, 200);
        [
            "instance_outcome:gnomon_timestamp_responses:rate5m{outcome=\"granted\"} > 0",
            "instance:gnomon_timestamp_duration_seconds:p99_5m > 0",
        ]
        .iter()
        .all(|query| !prometheus.query(query).is_empty())
        .then_some(())
    });
    let table = fs::read_to_string("docs/metrics.md").unwrap();
    let always = table.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, _, _, "", _] = cells[..] else {
            return None;
        };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        Some(match kind {
            "histogram" => format!("{name}_bucket"),
            _ => name.to_owned(),
        })
    });
    let always: Vec<_> = always.collect();
    assert!(always.len() > 20);
    for name in always {
        let name = format!("{name}{{job=\"gnomon\"}}");
        wait_for(&name, || {
            (!prometheus.query(&name).is_empty()).then_some(())
        });
    }
    // Every rule can be evaluated.
    let rules = prometheus.api("rules", &[]);
    let groups = rules["groups"].as_array().unwrap().iter();
    let all = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let unwell: Vec<_> = all.clone().filter(|rule| rule["health"] != "ok").collect();
    assert!(all.count() > 20 && unwell.is_empty(), "{unwell:?}");
    assert_eq!(prometheus.alerts("firing"), Vec::<String>::new());
}

#[test]
fn a_crl_that_runs_out_and_an_appliance_that_ends_raise_the_alarm() {
    let gnomon = followed();
    let prometheus = Prometheus::start(gnomon.admin);
    wait_for("the target", || {
        (prometheus.query("up == 1").len() == 1).then_some(())
    });
    assert_eq!(prometheus.alerts("firing"), Vec::<String>::new());
    gnomon.publish(&[json!({"out": "ca.crl", "number": 2, "until": 5})]);
    prometheus.until_fires("GnomonCrlStale");
    prometheus.until_fires("GnomonNotReady");
    // A new one ends it.
    gnomon.publish(&[json!({"out": "ca.crl", "number": 3})]);
    wait_for("the end of the alarm", || {
        (prometheus.alerts("firing").is_empty()).then_some(())
    });
    gnomon.signal("KILL");
    prometheus.until_fires("GnomonDown");
}
