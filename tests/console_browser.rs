//! The console in a real browser, headless Chromium: the facts are on the page with scripts and without, nothing is
//! complained of, nothing is asked of anybody else, and how it looks is kept in target/test-artifacts for people.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use support::{Folder, Gnomon, http, text, timestamp_query, wait_for};

/// What a visit to a page leaves.
struct Visit {
    /// The document as the browser had it in the end.
    dom: String,
    /// What pages said to the console, and what the browser said of them there.
    console: Vec<String>,
    /// What was asked for, each with the page's origin where a page wanted it.
    requests: Vec<(String, Option<String>)>,
}

impl Visit {
    fn new(url: &str, scripts: bool, options: &[&str]) -> Self {
        let profile = Folder::new();
        // 2 is "block".
        let preference = if scripts { 1 } else { 2 };
        fs::create_dir(profile.join("Default")).unwrap();
        fs::write(
            profile.join("Default/Preferences"),
            format!(
                "{{\"profile\":{{\"default_content_setting_values\":{{\"javascript\":{preference}}}}}}}"
            ),
        )
        .unwrap();
        let net = profile.path("net.json");
        let output = Command::new("timeout")
            .args(["120", "chromium", "--headless", "--no-sandbox"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--disable-sync"])
            // What it wants of its maker on its own account goes nowhere.
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .args([
                "--no-first-run",
                "--enable-logging=stderr",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.path("")))
            .arg(format!("--log-net-log={net}"))
            .args(options)
            .arg(url)
            .output()
            .unwrap_or_else(|error| {
                panic!("chromium cannot be run: {error}; tests/run installs it")
            });
        assert!(output.status.success(), "{}", text(&output));
        let log = String::from_utf8_lossy(&output.stderr);
        let console = log.lines().filter(|line| line.contains(":CONSOLE:"));
        Self {
            dom: String::from_utf8(output.stdout).unwrap(),
            console: console.map(str::to_owned).collect(),
            requests: requests(Path::new(&net)),
        }
    }
}

/// The requests of Chromium's NetLog.
fn requests(log: &Path) -> Vec<(String, Option<String>)> {
    let log: Value = serde_json::from_slice(&fs::read(log).unwrap()).unwrap();
    let start = &log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"];
    assert!(start.is_number());
    let events = log["events"].as_array().unwrap().iter();
    let begins = events.filter(|event| event["type"] == *start && event["phase"] == 1);
    begins
        .map(|event| {
            let url = event["params"]["url"].as_str().unwrap().to_owned();
            let initiator = event["params"]["initiator"].as_str().map(str::to_owned);
            (url, initiator.filter(|origin| origin.contains("://")))
        })
        .collect()
}

/// Where pictures are kept for people.
fn artifact(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("test-artifacts");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// A picture of the console; gives the octets.
fn picture(gnomon: &Gnomon, name: &str, [width, height]: [u32; 2], dark: bool) -> Vec<u8> {
    let file = artifact(name);
    let _ = fs::remove_file(&file);
    let scheme = format!(
        "--blink-settings=preferredColorScheme={}",
        if dark { 0 } else { 1 }
    );
    let (screenshot, size) = (
        format!("--screenshot={}", file.display()),
        format!("--window-size={width},{height}"),
    );
    let url = format!("http://{}/", gnomon.admin);
    let visit = Visit::new(&url, true, &[&screenshot, &size, &scheme]);
    assert_eq!(visit.console, Vec::<String>::new());
    let octets = fs::read(&file).unwrap();
    // The header of a PNG (W3C PNG 5.3, 11.2.2).
    assert_eq!(octets[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(octets[16..20], width.to_be_bytes());
    assert_eq!(octets[20..24], height.to_be_bytes());
    // An empty page is far less.
    assert!(octets.len() > 20_000, "{name}: {} octets", octets.len());
    octets
}

fn status(gnomon: &Gnomon) -> Value {
    let request = b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    serde_json::from_slice(&http(gnomon.admin, request).body).unwrap()
}

/// The demo after some requests, and once they are in the charts.
fn busy() -> (Gnomon, Value) {
    let gnomon = Gnomon::demo();
    let (_, query) = timestamp_query(&gnomon.dir);
    for _ in 0..5 {
        let answer = gnomon.post("/tsa", "application/timestamp-query", &query);
        assert_eq!(answer.status, 200);
    }
    let status = wait_for("the requests in the chart", || {
        let status = status(&gnomon);
        let counts = status["requests"]["intervals"]["tokens"].as_array();
        let sum: u64 = counts.into_iter().flatten().filter_map(Value::as_u64).sum();
        (sum == 5).then_some(status)
    });
    (gnomon, status)
}

#[test]
fn the_facts_are_there_with_scripts_and_without() {
    let (gnomon, status) = busy();
    let origin = format!("http://{}", gnomon.admin);
    for scripts in [true, false] {
        let visit = Visit::new(&format!("{origin}/"), scripts, &["--dump-dom"]);
        for fact in [
            "<title>Gnomon: ready</title>",
            status["version"].as_str().unwrap(),
            status["tsus"][0]["keys"][0]["subject"].as_str().unwrap(),
            status["issuers"][0]["crls"][0]["source"].as_str().unwrap(),
            "a demo's clock: nobody vouches for it",
            "time-stamps issued: 5 in all, at most ",
            "last checkpoint",
        ] {
            assert!(visit.dom.contains(fact), "{scripts}: {fact}: {}", visit.dom);
        }
        assert_eq!(visit.console, Vec::<String>::new());
        let wanted: Vec<_> = visit
            .requests
            .iter()
            .filter(|(_, initiator)| initiator.is_some())
            .collect();
        let style = (format!("{origin}/console.css"), Some(origin.clone()));
        assert_eq!(wanted, [&style], "the page wants its style sheet alone");
        let asked_here = |(url, _): &&(String, _)| url.starts_with(&origin);
        let here: Vec<_> = visit.requests.iter().filter(asked_here).collect();
        assert_eq!(here.len(), 2, "{here:?}");
    }
}

/// What the test above finds nothing of would be found.
#[test]
fn a_page_that_does_wrong_is_noticed() {
    let dir = Folder::new();
    let page = "<p id=a>as sent</p><script>document.getElementById('a').textContent = 'changed';\n\
        console.error('broken'); fetch('http://elsewhere.example/').catch(() => 0)</script>";
    fs::write(dir.join("page.html"), page).unwrap();
    let url = format!("file://{}", dir.path("page.html"));
    let visit = Visit::new(&url, true, &["--dump-dom"]);
    assert!(visit.dom.contains(">changed</p>"), "{}", visit.dom);
    let said = visit.console.join("\n");
    assert!(said.contains("broken"), "{said}");
    let elsewhere = |(url, _): &(String, _)| url.starts_with("http://elsewhere.example/");
    assert!(visit.requests.iter().any(elsewhere));
    let visit = Visit::new(&url, false, &["--dump-dom"]);
    assert!(visit.dom.contains(">as sent</p>"), "{}", visit.dom);
    assert_eq!(visit.console, Vec::<String>::new());
    assert!(!visit.requests.iter().any(elsewhere));
}

#[test]
fn pictures_are_kept_for_people() {
    let (gnomon, _) = busy();
    let [wide, narrow] = [[1280, 1700], [390, 3000]];
    let light = picture(&gnomon, "console-wide-light.png", wide, false);
    let dark = picture(&gnomon, "console-wide-dark.png", wide, true);
    assert_ne!(light, dark);
    picture(&gnomon, "console-narrow-light.png", narrow, false);
    picture(&gnomon, "console-narrow-dark.png", narrow, true);
}

#[test]
fn pictures_are_kept_of_trouble_too() {
    let gnomon = Gnomon::edited(|config| {
        let limits = "[journal]\nstop_free = \"900000GiB\"\nwarn_free = \"900000GiB\"\n";
        let config = config.replace("[journal]\n", limits);
        config.replace(
            "crl = [\"issuing.crl\"]",
            "crl = [\"http://127.0.0.1:1/ca.crl\"]",
        )
    });
    wait_for("the first look at the disk", || {
        (status(&gnomon)["ready"] == false).then_some(())
    });
    picture(&gnomon, "console-trouble-wide.png", [1280, 1700], false);
    picture(&gnomon, "console-trouble-narrow.png", [390, 3000], false);
}
