//! What the appliance says while it runs: the screen at the start, lines as text and JSON, levels, the lines of requests
//! and their limit, and that neither a flood nor a secret gets into any of them. What systemd's journal gets is tried by
//! `tests/package`, and that every code is explained by `tests/runbook.rs`.

mod support;

use std::{
    fs,
    io::Write,
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::fs::MetadataExt,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::Value;
use support::{
    Folder, gnomon, http, issue_tsu, prepare, run, timestamp_query,
    token::{SOFTHSM, Token},
    wait_for,
};

/// A daemon whose standard output and error are files, whatever it writes to them.
struct Logged {
    dir: Folder,
    listen: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

impl Logged {
    /// The demo with `edit` applied to its configuration, in an environment with `variables`.
    fn start(edit: impl FnOnce(String) -> String, variables: &[(&str, &str)]) -> Self {
        let dir = Folder::new();
        let (listen, admin) = prepare(&dir);
        let file = dir.join("gnomon.toml");
        let config = edit(fs::read_to_string(&file).unwrap());
        fs::write(file, config).unwrap();
        Self::serve(dir, (listen, admin), variables)
    }

    fn serve(
        dir: Folder,
        (listen, admin): (SocketAddr, SocketAddr),
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
        command
            .env_remove("GNOMON_LOG")
            .env_remove("JOURNAL_STREAM");
        command.envs(variables.iter().copied());
        let child = to_files(&mut command, &dir);
        let mut logged = Self {
            dir,
            listen,
            admin,
            child,
        };
        let alive = b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        wait_for("the daemon", || {
            let ended = logged.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", logged.log());
            TcpStream::connect(admin).ok()?;
            (http(admin, alive).status == 200).then_some(())
        });
        logged
    }

    fn out(&self) -> String {
        fs::read_to_string(self.dir.join("out")).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("err")).unwrap()
    }

    /// The log's lines as objects; every line must be one.
    fn objects(&self) -> Vec<Value> {
        let parse = |line: &str| {
            let object: Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            for name in ["time", "level", "message"] {
                assert!(object[name].is_string(), "{name}: {line}");
            }
            object
        };
        self.log().lines().map(parse).collect()
    }

    /// Waits until the log has a line with all of `parts`.
    fn wait_for_line(&self, parts: &[&str]) -> String {
        wait_for(&format!("a line with {parts:?}"), || {
            let log = self.log();
            let mut lines = log.lines();
            let found = lines.find(|line| parts.iter().all(|part| line.contains(part)));
            found.map(str::to_owned)
        })
    }

    fn stop(&mut self) {
        run("kill", &["-TERM", &self.child.id().to_string()]);
        let status = wait_for("the daemon's end", || self.child.try_wait().unwrap());
        assert!(status.success());
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn to_files(command: &mut Command, dir: &Folder) -> Child {
    let file = |name: &str| fs::File::create(dir.join(name)).unwrap();
    let command = command.stdin(Stdio::null());
    command
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .unwrap()
}

fn log_settings(settings: &str) -> impl FnOnce(String) -> String {
    move |config| format!("{config}\n[log]\n{settings}\n")
}

fn stamp_request(path: &str, query: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        query.len()
    );
    [head.as_bytes(), query].concat()
}

/// A CRL that cannot be read is an error that needs an operator, and a good one is its end.
fn spoil_and_mend_crl(logged: &Logged, code: &str) {
    let (crl, good) = (logged.dir.join("issuing.crl"), logged.dir.join("good.crl"));
    fs::copy(&crl, &good).unwrap();
    fs::write(&crl, "no CRL").unwrap();
    logged.wait_for_line(&[code]);
    fs::copy(good, crl).unwrap();
}

#[test]
fn json_lines_hold_level_code_and_message() {
    let mut logged = Logged::start(log_settings("format = \"json\""), &[]);
    spoil_and_mend_crl(&logged, "\"code\":\"GN1402\"");
    logged.stop();
    let objects = logged.objects();
    let error = objects
        .iter()
        .find(|line| line["code"] == "GN1402")
        .unwrap();
    assert_eq!(error["level"], "error");
    assert!(error["message"].as_str().unwrap().contains("issuing.crl"));
    let in_force = |line: &&Value| line["message"] == "what is in force";
    let in_force = objects.iter().find(in_force).unwrap();
    assert_eq!(in_force["level"], "info");
    assert_eq!(in_force["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(in_force["tsus"][0]["tsu"], "ecdsa");
    assert_eq!(in_force["tsus"][0]["keys"][0]["algorithm"], "ecdsa-sha256");
    assert_eq!(in_force["issuers"][0]["crls"][0]["entries"], 2);
    let admin = format!("http://{}", logged.admin);
    assert_eq!(in_force["listeners"]["admin"][0], admin.as_str());
    assert_eq!(objects.last().unwrap()["message"], "stopped");
    // Who reads both streams finds nothing but objects.
    assert_eq!(logged.out(), "");
}

#[test]
fn text_has_the_code_behind_the_level() {
    let logged = Logged::start(log_settings("format = \"text\""), &[]);
    spoil_and_mend_crl(&logged, "GN1402");
    let line = logged.wait_for_line(&["GN1402"]);
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1..3], ["ERROR", "GN1402"], "{line}");
    assert!(words[0].ends_with('Z') && words[0].len() == "2027-01-15T08:00:00.000042Z".len());
    assert!(!logged.log().contains('\u{1b}'), "colours in a file");
}

#[test]
fn the_start_shows_what_is_in_force_on_one_screen() {
    let dir = Folder::new();
    let addresses = prepare(&dir);
    issue_tsu(&dir, "third", &["-algorithm", "ED25519"]);
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let third = "[[tsu]]\nname = \"third\"\ndemo = true\nkey = \"third.key\"\ncertificate = \"third.pem\"\n\
        policies = [\"2.999.3161.3\"]\n";
    fs::write(dir.join("gnomon.toml"), format!("{config}\n{third}")).unwrap();
    let logged = Logged::serve(dir, addresses, &[]);
    let screen = wait_for("the screen", || {
        let out = logged.out();
        out.contains("admin on ").then_some(out)
    });
    assert!(screen.lines().count() <= 40, "{screen}");
    for part in [
        concat!("gnomon ", env!("CARGO_PKG_VERSION"), " serves what "),
        &format!("  clients  http://{}", logged.listen),
        &format!("  operator http://{}", logged.admin),
        "  TSU      ecdsa, the default, DEMO: ecdsa-sha256 by CN=",
        "  TSU      rsa, DEMO: rsa-sha256 by CN=",
        "  TSU      third, DEMO: ed25519 by CN=third until 20",
        "policy 2.999.3161.3; accuracy 1s; key ",
        "  issuer   demo: CN=",
        "responder ecdsa-sha256 by CN=",
        "issuing.crl: number ",
        ", 2 revoked, until 20",
        "issued serials, any other is unauthorized; answers hold for 8h",
        "  clock    UNPROVEN",
        "  journal  ",
        "  limits   10000 connections on ",
        " of 64 KiB, write 10s; ",
        "  log      auto, level info, no requests",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
}

#[test]
fn the_level_is_the_configurations_and_the_variable_overrides_it() {
    let quiet = "level = \"error\"";
    let mut logged = Logged::start(log_settings(quiet), &[]);
    spoil_and_mend_crl(&logged, "GN1402");
    logged.stop();
    assert!(!logged.log().contains(" INFO "), "{}", logged.log());

    let mut logged = Logged::start(log_settings(quiet), &[("GNOMON_LOG", "info")]);
    logged.stop();
    assert!(logged.log().contains(" INFO stopped"), "{}", logged.log());

    let logged = Logged::start(log_settings("level = \"warn\""), &[("GNOMON_LOG", "a=b=c")]);
    logged.wait_for_line(&["GN1006", "GNOMON_LOG"]);
    assert!(!logged.log().contains(" INFO "), "{}", logged.log());
}

#[test]
fn a_problem_before_the_log_is_known_is_text_on_standard_error() {
    let dir = Folder::new();
    fs::write(
        dir.join("gnomon.toml"),
        "[log]\nformat = \"json\"\nlisten = 1\n",
    )
    .unwrap();
    for (name, expected) in [("gnomon.toml", "error: "), ("nowhere.toml", "error: ")] {
        let mut command = gnomon(&["serve", "--config", &dir.path(name)]);
        assert!(!to_files(&mut command, &dir).wait().unwrap().success());
        let said = fs::read_to_string(dir.join("err")).unwrap();
        assert!(said.starts_with(expected), "{said}");
    }
    // Where standard error is the journal's, with the level that it is.
    let err = fs::File::create(dir.join("err")).unwrap();
    let stat = err.metadata().unwrap();
    let mut command = gnomon(&["serve", "--config", &dir.path("nowhere.toml")]);
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.dev(), stat.ino()));
    assert!(!command.stderr(err).status().unwrap().success());
    let said = fs::read_to_string(dir.join("err")).unwrap();
    assert!(said.starts_with("<3>error: "), "{said}");
}

#[test]
fn what_stops_a_start_is_said_as_everything_else() {
    let dir = Folder::new();
    prepare(&dir);
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let config = config
        .replace("tsu-ecdsa.key", "nowhere.key")
        .replace("ocsp.pem", "nowhere.pem");
    fs::write(
        dir.join("gnomon.toml"),
        config + "\n[log]\nformat = \"json\"\n",
    )
    .unwrap();
    let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    assert_eq!(
        to_files(&mut command, &dir).wait().unwrap().code(),
        Some(78)
    );
    let said = fs::read_to_string(dir.join("err")).unwrap();
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() >= 2, "{said}");
    for line in lines {
        assert_eq!(
            (&line["code"], &line["level"]),
            (&"GN1002".into(), &"error".into())
        );
    }
}

#[test]
fn each_request_has_a_line_where_that_is_wanted() {
    let logged = Logged::start(
        log_settings("format = \"json\"\nlevel = \"error\"\nrequests = true"),
        &[],
    );
    let (_, query) = timestamp_query(&logged.dir);
    let stamp = stamp_request("/tsa/rsa?token=hidden", &query);
    assert_eq!(http(logged.listen, &stamp).status, 200);
    let long = format!(
        "GET /ocsp/M{} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
        "A".repeat(500)
    );
    assert_eq!(http(logged.listen, long.as_bytes()).status, 200);
    let lost = b"DELETE /ocsp HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    assert_eq!(http(logged.listen, lost).status, 405);
    let page = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    assert_eq!(http(logged.listen, page).status, 200);
    let requests = wait_for("four lines", || {
        let mut objects = logged.objects();
        objects.retain(|line| line["message"] == "request");
        (objects.len() == 4).then_some(objects)
    });
    let [stamp, status, lost, page] = &requests[..] else {
        unreachable!()
    };
    for (name, value) in [
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("path", "/tsa/rsa"),
        ("service", "tsa"),
        ("tsu", "rsa"),
        ("outcome", "granted"),
    ] {
        assert_eq!(stamp[name], value, "{stamp}");
    }
    assert_eq!(stamp["status"], 200);
    assert!(stamp["duration_us"].as_u64().unwrap() > 0);
    assert_eq!(
        (&status["service"], &status["outcome"]),
        (&"ocsp".into(), &"malformedRequest".into())
    );
    assert!(status["path"].as_str().unwrap().len() < 100, "{status}");
    assert_eq!(
        (&lost["outcome"], &lost["status"]),
        (&"method".into(), &405.into())
    );
    assert_eq!(
        (&page["outcome"], &page["service"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_reload_turns_lines_of_requests_on_and_off() {
    let logged = Logged::start(|config| config, &[]);
    let file = logged.dir.join("gnomon.toml");
    let plain = fs::read_to_string(&file).unwrap();
    let page = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(http(logged.listen, request.as_bytes()).status, 404);
    };
    let reload = |config: String| {
        let from = logged.log().len();
        fs::write(&file, config).unwrap();
        run("kill", &["-HUP", &logged.child.id().to_string()]);
        wait_for("the reload", || {
            let log = logged.log()[from..].to_owned();
            log.contains("GN1007 reload: ").then_some(log)
        })
    };
    page("/before");
    assert!(
        reload(plain.clone() + "\n[log]\nrequests = true\n").contains("in force: [log] changed")
    );
    page("/logged");
    logged.wait_for_line(&["request ", "path=/logged"]);
    reload(plain.clone());
    page("/after");
    let refused = reload(plain + "\n[log]\nformat = \"json\"\n");
    assert!(
        refused.contains("ERROR GN1007 reload: ") && refused.contains("log.format"),
        "{refused}"
    );
    for path in ["/before", "/after"] {
        assert!(!logged.log().contains(path), "{}", logged.log());
    }
}

#[test]
fn who_hangs_up_has_a_line_too() {
    let logged = Logged::start(log_settings("requests = true"), &[]);
    let mut stream = TcpStream::connect(logged.listen).unwrap();
    let head = "POST /tsa HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    logged.wait_for_line(&["request client=127.0.0.1 method=POST path=/tsa outcome="]);
}

#[test]
fn lines_of_requests_are_limited_and_the_rest_is_counted() {
    let logged = Logged::start(
        log_settings("format = \"json\"\nrequests = true\nrequest_lines = 5"),
        &[],
    );
    const REQUESTS: usize = 400;
    let request = b"GET /nothing HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let begun = Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(http(logged.listen, request).status, 404);
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let (lines, left_out) = wait_for("the count of what was left out", || {
        let objects = logged.objects();
        let lines = objects
            .iter()
            .filter(|line| line["message"] == "request")
            .count();
        let counts = objects.iter().filter_map(|line| line["left_out"].as_u64());
        let left_out = usize::try_from(counts.sum::<u64>()).unwrap();
        (lines + left_out == REQUESTS).then_some((lines, left_out))
    });
    assert!(
        lines <= 5 * (seconds + 2),
        "{lines} lines in {seconds} s, {left_out} left out"
    );
    assert!(lines >= 5);
}

#[test]
fn no_client_can_fill_the_log_while_the_clock_is_lost() {
    let logged = Logged::start(
        |config| {
            let chrony = "source = \"chrony\"\nsocket = \"nowhere.sock\"\nhelper = \"0\"\n";
            config.replace("source = \"unproven\"\n", chrony)
        },
        &[],
    );
    let (_, query) = timestamp_query(&logged.dir);
    let request = stamp_request("/tsa", &query);
    for _ in 0..300 {
        assert_eq!(http(logged.listen, &request).status, 200);
    }
    logged.wait_for_line(&["ERROR GN1601", "tsa: refused: "]);
    assert!(logged.log().lines().count() < 20, "{}", logged.log());
}

#[test]
fn no_secret_is_in_any_line() {
    let dir = Folder::new();
    let addresses = prepare(&dir);
    let token = Token::new(&dir);
    let (pin, key) = ("hidden-pin-0123", dir.path("tsu-ecdsa.key"));
    let init = [
        "--init-token",
        "--free",
        "--label",
        "secret",
        "--so-pin",
        "5678",
        "--pin",
        pin,
    ];
    token.softhsm(&init);
    token.softhsm(&[
        "--import", &key, "--token", "secret", "--label", "tsu", "--id", "01", "--pin", pin,
    ]);
    fs::write(dir.join("pin"), pin).unwrap();
    fs::write(dir.join("push.token"), "push-token-01234\n").unwrap();
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let key = format!(
        "key = {{ module = \"{SOFTHSM}\", token = \"secret\", label = \"tsu\", pin_file = \"pin\" }}"
    );
    let push = "issued_push = { token_file = \"push.token\" }\n";
    let config = config
        .replace("key = \"tsu-ecdsa.key\"", &key)
        .replace("issued = [\"issued.txt\"]\n", push);
    let all = "\n[journal.anchor]\nurl = \"http://anchor:anchor-0123@127.0.0.1:9/tsa?key=query-0123\"\n\
        interval = \"1s\"\ntrust = \"ca.pem\"\n[log]\nformat = \"json\"\nlevel = \"trace\"\nrequests = true\n";
    fs::write(dir.join("gnomon.toml"), config + all).unwrap();
    let softhsm = dir.path("softhsm2.conf");
    let mut logged = Logged::serve(dir, addresses, &[("SOFTHSM2_CONF", &softhsm)]);
    let push = |secret: &str| {
        let request = format!(
            "POST /issued/demo?key={secret} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {secret}\r\n\
             Content-Length: 5\r\nConnection: close\r\n\r\n4FA36"
        );
        http(logged.admin, request.as_bytes()).status
    };
    assert_eq!(
        (push("push-token-01234"), push("wrong-token-0123")),
        (204, 401)
    );
    let asked = "GET http://user:password-0123@test/nothing?q=query-0123 HTTP/1.1\r\nHost: test\r\n\
        Authorization: Basic basic-0123\r\nCookie: cookie-0123\r\nConnection: close\r\n\r\n";
    assert_eq!(http(logged.listen, asked.as_bytes()).status, 404);
    let (_, query) = timestamp_query(&logged.dir);
    assert_eq!(
        http(logged.listen, &stamp_request("/tsa", &query)).status,
        200
    );
    logged.stop();
    let log = logged.log() + &logged.out();
    assert!(
        log.contains("\"path\":\"/nothing\"") && log.contains("token secret, label tsu"),
        "{log}"
    );
    assert!(
        log.contains("\"anchor\":\"http://anchor@127.0.0.1:9/tsa\""),
        "{log}"
    );
    for secret in [
        "pin",
        "push-token",
        "wrong-token",
        "password",
        "query",
        "basic",
        "cookie",
        "anchor",
    ] {
        assert!(!log.contains(&format!("{secret}-0123")), "{secret}: {log}");
    }
}
