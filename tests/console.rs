//! What an operator sees: `/status`, `gnomon status` and the console say the same, and say what is so.

mod support;

use std::fs;

use serde_json::Value;
use support::{
    Folder, Gnomon, Response, gnomon, http, issue_tsu, prepare, run, text, timestamp_query,
    token::{SOFTHSM, Token},
    wait_for,
};

/// What the admin listener answers.
fn asked(gnomon: &Gnomon, method: &str, path: &str, headers: &str) -> Response {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    http(gnomon.admin, head.as_bytes())
}

fn status(gnomon: &Gnomon) -> Value {
    let answer = asked(gnomon, "GET", "/status", "");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

fn page(gnomon: &Gnomon) -> String {
    String::from_utf8(asked(gnomon, "GET", "/console", "").body).unwrap()
}

/// What `gnomon status` prints, and whether it succeeds.
fn said(gnomon_: &Gnomon, options: &[&str]) -> (bool, String) {
    let config = gnomon_.dir.path("gnomon.toml");
    let arguments = [&["status", "--config", &config][..], options].concat();
    let output = gnomon(&arguments).output().unwrap();
    (output.status.success(), text(&output))
}

fn count(status: &Value, over: &str, name: &str) -> u64 {
    status["requests"][over][name].as_u64().unwrap()
}

#[test]
fn the_facts_are_the_demos_in_all_three_forms() {
    let gnomon = Gnomon::demo();
    let status = wait_for("the first records and the first look at the disk", || {
        let status = status(&gnomon);
        let (records, free) = (
            &status["journal"]["records"],
            &status["journal"]["free_bytes"],
        );
        (records.as_u64() > Some(0) && free.is_u64()).then_some(status)
    });
    assert_eq!(status["ready"], true);
    assert_eq!(status["troubles"], Value::Array(vec![]));
    let services = status["services"].as_array().unwrap();
    let names: Vec<_> = services.iter().map(|one| one["service"].as_str()).collect();
    assert_eq!(names, ["timestamping", "ocsp", "journal"].map(Some));
    assert_eq!(status["clock"]["basis"], "demo");
    assert_eq!(status["tsus"][0]["tsu"], "ecdsa");
    assert_eq!(status["tsus"][1]["keys"][0]["algorithm"], "rsa-sha256");
    let key = &status["tsus"][0]["keys"][0];
    // A year from the second in which the demo was made, which may not be over.
    assert!(key["days_left"] == 364 || key["days_left"] == 365, "{key}");
    assert_eq!(key["signs_now"], true);
    let certificate = gnomon.dir.path("tsu-ecdsa.pem");
    let serial = run(
        "openssl",
        &["x509", "-in", &certificate, "-noout", "-serial"],
    );
    let serial = serial.trim().trim_start_matches("serial=").to_lowercase();
    assert_eq!(key["serial"].as_str().unwrap(), serial);
    let issuer = &status["issuers"][0];
    assert_eq!(issuer["issuer"], "demo");
    assert_eq!(issuer["keys"][0]["signs_now"], true);
    assert_eq!(issuer["crls"][0]["entries"], 2);
    let left = issuer["crls"][0]["seconds_left"].as_i64().unwrap();
    assert!((6 * 86_400..=7 * 86_400).contains(&left), "{left}");
    assert!(issuer["crls"][0]["age_seconds"].as_u64().unwrap() < 600);
    assert!(status["journal"]["segment_bytes"].as_u64().unwrap() > 0);
    assert_eq!(status["devices"], Value::Null);

    let (ready, json) = said(&gnomon, &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(ready);
    for part in ["services", "tsus", "version"] {
        assert_eq!(
            json[part].as_array().map(Vec::len),
            status[part].as_array().map(Vec::len)
        );
    }
    let (ready, screen) = said(&gnomon, &[]);
    assert!(ready);
    assert!(screen.lines().count() <= 40, "{screen}");
    let page = page(&gnomon);
    let subject = key["subject"].as_str().unwrap();
    let crl = issuer["crls"][0]["source"].as_str().unwrap();
    for fact in [
        "ready",
        subject,
        crl,
        "issued serials",
        "a demo&#39;s clock",
        "last checkpoint",
    ] {
        assert!(page.contains(fact), "{fact}");
        assert!(screen.contains(&fact.replace("&#39;", "'")), "{fact}");
    }
}

#[test]
fn what_is_answered_and_refused_is_counted_and_drawn() {
    let gnomon = Gnomon::demo();
    let (_, query) = timestamp_query(&gnomon.dir);
    let stamp = |body: &[u8]| gnomon.post("/tsa", "application/timestamp-query", body);
    for _ in 0..3 {
        assert_eq!(stamp(&query).status, 200);
    }
    stamp(b"no DER");
    assert!(gnomon.ask("good.pem", &[]).contains("good"));
    gnomon.post("/ocsp", "application/ocsp-request", b"no DER");
    assert_eq!(gnomon.get("/nothing", "").status, 404);
    let wanted = [
        ("tokens", 3),
        ("timestamp_refusals", 1),
        ("ocsp_answers", 1),
        ("ocsp_refusals", 1),
        ("http_refusals", 1),
        ("device_signatures", 0),
    ];
    let now = status(&gnomon);
    for (name, number) in wanted {
        for over in ["since_start", "last_5_minutes", "last_30_minutes"] {
            assert_eq!(count(&now, over, name), number, "{name} {over}");
        }
    }
    // They are drawn once their ten seconds are over.
    let page = wait_for("the end of the interval", || {
        let page = page(&gnomon);
        page.contains("time-stamps issued: 3 in all")
            .then_some(page)
    });
    assert_eq!(
        page.matches("<svg").count(),
        5,
        "one for each but devices, of which there are none"
    );
    let now = status(&gnomon);
    let intervals = now["requests"]["intervals"]["tokens"].as_array().unwrap();
    assert_eq!(intervals.iter().filter_map(Value::as_u64).sum::<u64>(), 3);
    assert_eq!(
        count(&now, "last_5_minutes", "tokens"),
        3,
        "counted once only"
    );
    assert!(now["journal"]["checkpoint_age_seconds"].as_u64().unwrap() < 30);
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_runs_nothing() {
    let gnomon = Gnomon::demo();
    let answer = asked(&gnomon, "GET", "/console", "");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'; "),
        "{policy}"
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let page = String::from_utf8(answer.body).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    assert!(page.contains("<meta http-equiv=\"refresh\" content=\"10\">"));
    for foreign in [
        "<script", "style=", "://", " on", "<img", "<form", "@import",
    ] {
        let in_tags = page
            .split('<')
            .skip(1)
            .filter_map(|tag| tag.split_once('>'));
        let tags: Vec<_> = in_tags.map(|(tag, _)| format!("<{tag}")).collect();
        assert!(!tags.iter().any(|tag| tag.contains(foreign)), "{foreign}");
    }
    assert_eq!(page.matches("<h1").count(), 1);
    assert_eq!(
        page.matches("<thead><tr><th scope=\"col\">").count(),
        page.matches("<table").count()
    );
    assert!(page.contains("<tr class=\"good\"><th scope=\"row\">timestamping</th><td>ready</td>"));
    let css = asked(&gnomon, "GET", "/console.css", "");
    assert_eq!(css.header("content-type"), Some("text/css; charset=utf-8"));
    let css = String::from_utf8(css.body).unwrap();
    assert!(css.contains("prefers-color-scheme: dark") && !css.contains("url("));
}

#[test]
fn a_browser_gets_the_console_at_the_root_and_reading_is_all_there_is() {
    let gnomon = Gnomon::demo();
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let root = asked(&gnomon, "GET", "/", browser);
    assert_eq!(
        root.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(root.header("vary"), Some("Accept"));
    for accept in ["", "Accept: */*\r\n", "Accept: text/html;q=0, */*\r\n"] {
        let root = asked(&gnomon, "GET", "/", accept);
        assert_eq!(
            root.header("content-type"),
            Some("text/plain; charset=utf-8"),
            "{accept}"
        );
        assert_eq!(root.header("vary"), Some("Accept"));
        let text = String::from_utf8(root.body).unwrap();
        assert!(
            text.contains("/console") && text.contains("/status"),
            "{text}"
        );
    }
    for path in ["/", "/console", "/console.css", "/status"] {
        for method in ["POST", "PUT", "DELETE"] {
            let answer = asked(&gnomon, method, path, browser);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
        let head = asked(&gnomon, "HEAD", path, browser);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    for path in ["/console/", "/consoles", "/status/x"] {
        assert_eq!(asked(&gnomon, "GET", path, browser).status, 404, "{path}");
    }
    // The public side has none of it.
    for path in ["/console", "/console.css", "/status"] {
        assert_eq!(gnomon.get(path, browser).status, 404, "{path}");
    }
}

#[test]
fn hostile_names_are_text() {
    const NAME: &str = "<script>alert(1)<";
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    issue_tsu(
        &dir,
        NAME,
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    );
    let crl = "<img src=x onerror=alert(2)>.crl";
    fs::rename(dir.join("issuing.crl"), dir.join(crl)).unwrap();
    let file = dir.path("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    let edited = config
        .replace("tsu-ecdsa.key", &format!("{NAME}.key"))
        .replace("tsu-ecdsa.pem", &format!("{NAME}.pem"))
        .replace("issuing.crl", crl);
    assert_ne!(edited, config);
    fs::write(&file, edited).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);
    let facts = status(&gnomon).to_string();
    assert!(
        facts.contains("<script") && facts.contains("<img"),
        "{facts}"
    );
    let page = page(&gnomon);
    assert!(
        !page.contains("<script") && !page.contains("<img"),
        "{page}"
    );
    assert!(
        page.contains("CN=\\&lt;script\\&gt;alert(1)\\&lt;"),
        "{page}"
    );
    assert!(
        page.contains("&lt;img src=x onerror=alert(2)&gt;.crl"),
        "{page}"
    );
}

#[test]
fn what_is_not_ready_says_why_and_fails() {
    let gnomon = Gnomon::edited(|config| {
        assert!(config.contains("[journal]\n"));
        let journal = "stop_free = \"900000GiB\"\nwarn_free = \"900000GiB\"\n";
        config.replace("[journal]\n", &format!("[journal]\n{journal}"))
    });
    let why = "too little space is left for it";
    let status = wait_for("the first look at the disk", || {
        Some(status(&gnomon)).filter(|status| status["ready"] == false)
    });
    let troubles = status["troubles"].to_string();
    assert!(troubles.contains(why), "{troubles}");
    assert_eq!(gnomon.ready().0, 503);
    assert_eq!(asked(&gnomon, "GET", "/status", "").status, 200);
    let (ready, screen) = said(&gnomon, &[]);
    assert!(
        !ready && screen.contains("NOT READY") && screen.contains(why),
        "{screen}"
    );
    let (ready, _) = said(&gnomon, &["--json"]);
    assert!(!ready);
    let page = page(&gnomon);
    assert!(
        page.contains("<title>Gnomon: NOT READY</title>") && page.contains(why),
        "{page}"
    );
    assert!(page.contains("<tr class=\"bad\"><th scope=\"row\">journal</th><td>NOT READY</td>"));
}

#[test]
fn a_token_shows_its_sessions_and_signatures() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.import(&dir, "tsu-ecdsa", "01");
    let key = format!(
        "key = {{ module = \"{SOFTHSM}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_file = \"pin\" }}"
    );
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let config = config.replace("key = \"tsu-ecdsa.key\"", &key);
    let (_, query) = timestamp_query(&dir);
    let gnomon = token.serve(dir, &config);
    for _ in 0..4 {
        let answer = gnomon.post("/tsa/ecdsa", "application/timestamp-query", &query);
        assert_eq!(answer.status, 200);
    }
    let status = status(&gnomon);
    let devices = &status["devices"];
    assert!(
        devices["sessions_serving"].as_u64().unwrap() >= 1,
        "{devices}"
    );
    assert_eq!(devices["signatures_total"], 4);
    assert_eq!(devices["failures_total"], 0);
    assert_eq!(
        status["tsus"][0]["keys"][0]["device"]["signatures_total"],
        4
    );
    assert_eq!(count(&status, "last_5_minutes", "device_signatures"), 4);
    let page = page(&gnomon);
    assert!(page.contains(">HSM sessions</h2>") && page.matches("<svg").count() == 6);
    assert!(said(&gnomon, &[]).1.contains("hsm sessions"));
}

#[test]
fn pages_from_elsewhere_are_turned_away() {
    let gnomon = Gnomon::edited(|config| format!("admin_names = [\"TSA1.example\"]\n{config}"));
    let (port, admin) = (gnomon.admin.port(), gnomon.admin);
    let curl = |name: &str, path: &str, options: &[&str]| {
        let (resolve, url) = (
            format!("{name}:{port}:{}", admin.ip()),
            format!("http://{name}:{port}{path}"),
        );
        let always = [
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ];
        let ours = ["--resolve", &resolve, &url];
        run("curl", &[&always[..], &ours, options].concat())
    };
    let address = admin.ip().to_string();
    for name in [&address, "localhost", "tsa1.example", "TSA1.example."] {
        assert_eq!(curl(name, "/status", &[]), "200", "{name}");
    }
    for name in ["evil.example", "tsa1.example.evil.example"] {
        for path in ["/", "/console", "/status", "/clock", "/crl"] {
            assert_eq!(curl(name, path, &[]), "421", "{name} {path}");
        }
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(curl(name, path, &[]), "200", "{name} {path}");
        }
    }
    let origin = ["--data", "", "--header", "Origin: http://evil.example"];
    assert_eq!(curl("localhost", "/crl/refresh", &origin), "403");
    assert_eq!(curl("localhost", "/crl/refresh", &origin[..2]), "200");
}
