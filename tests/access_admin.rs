//! The operator's side behind TLS and rules: scraping, `gnomon status`, a CA that pushes, and a certificate that is
//! renewed.

mod support;

use std::{fs, process::Command};

use support::{
    Gnomon,
    access::{Setup, client_ca, client_certificate, curl},
    gnomon,
    https::P256,
    server_certificate::ServerCa,
    text, wait_for,
};

/// With `admin` as a table.
fn setup() -> Setup {
    let setup = Setup::new();
    let admin = setup.admin;
    ServerCa::new(&setup.dir).issue("console", 86_400, &P256);
    setup
        .with(
            &format!("admin = \"{admin}\""),
            &format!("admin = {{ listen = \"{admin}\", certificate = \"console.pem\", key = \"console.key\", access = [\"operators\", \"prometheus\"] }}"),
        )
        .token("tokens", "operator")
        .users("users", &["prometheus"])
        .rule("operators", "tokens = \"tokens\"")
        .rule("prometheus", "users = \"users\"")
}

fn gnomon_says(gnomon_: &Gnomon, command: &[&str], token: Option<&str>) -> (bool, String) {
    let config = gnomon_.dir.path("gnomon.toml");
    let mut command: Command = gnomon(&[command, &["--config", &config]].concat());
    if let Some(token) = token {
        command.env("GNOMON_TOKEN_FILE", gnomon_.dir.path(token));
    }
    let output = command.output().unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn the_operators_side_has_tls_and_rules() {
    let gnomon = setup().serve();
    assert!(
        gnomon
            .banner
            .contains(&format!("admin on https://{}\n", gnomon.admin))
    );
    let who = format!(
        "  operator https://{}; only for operators, prometheus\n",
        gnomon.admin
    );
    assert!(gnomon.banner.contains(&who), "{}", gnomon.banner);
    let url = |path: &str| format!("https://{}{path}", gnomon.admin);
    let get = |path: &str, options: &[&str]| {
        let url = url(path);
        curl(&gnomon.dir, &[options, &[&*url]].concat())
    };
    for path in [
        "/", "/console", "/livez", "/readyz", "/metrics", "/status", "/nothing",
    ] {
        let answer = get(path, &[]);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.body.starts_with(b"show a user name"), "{path}");
    }
    let prometheus = ["--user", "prometheus:prometheus!"];
    let metrics = String::from_utf8(get("/metrics", &prometheus).body).unwrap();
    assert!(metrics.contains("gnomon_http_refusals_total{reason=\"unauthorized\"} 7"));
    assert!(metrics.contains("gnomon_tls_end_timestamp_seconds{listener=\"admin\"} "));
    assert_eq!(get("/livez", &prometheus).status, 200);

    // The program knows the appliance by its certificate, whatever name that has.
    for command in [&["status"][..], &["clock"], &["crl", "status"]] {
        let (good, said) = gnomon_says(&gnomon, command, Some("tokens.secret"));
        assert!(good, "{command:?}: {said}");
        let (good, said) = gnomon_says(&gnomon, command, None);
        assert!(
            !good && said.contains("a bearer token that may ask in GNOMON_TOKEN_FILE"),
            "{said}"
        );
        let (good, said) = gnomon_says(&gnomon, command, Some("users"));
        assert!(
            !good && said.contains("the token in the file of GNOMON_TOKEN_FILE"),
            "{said}"
        );
    }
    // The public side is as it was.
    assert_eq!(gnomon.get("/", "").status, 200);

    // Another's certificate in its place, and the program does not talk to it.
    let ca = ServerCa::new(&gnomon.dir);
    ca.issue("other", 86_400, &P256);
    let (kept, other) = (
        fs::read(gnomon.dir.join("console.pem")),
        fs::read(gnomon.dir.join("other.pem")),
    );
    fs::write(gnomon.dir.join("console.pem"), other.unwrap()).unwrap();
    let (good, said) = gnomon_says(&gnomon, &["status"], Some("tokens.secret"));
    assert!(!good && !said.contains("HTTP"), "{said}");
    fs::write(gnomon.dir.join("console.pem"), kept.unwrap()).unwrap();

    // A renewal, which is said by section.
    fs::copy(gnomon.dir.join("other.key"), gnomon.dir.join("console.key")).unwrap();
    fs::copy(gnomon.dir.join("other.pem"), gnomon.dir.join("console.pem")).unwrap();
    wait_for("the renewal", || {
        let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
        log.contains("admin: the certificate of CN=other is in force")
            .then_some(())
    });
    assert!(gnomon_says(&gnomon, &["status"], Some("tokens.secret")).0);
}

#[test]
fn a_ca_pushes_by_its_own_token() {
    let setup = setup();
    let line = "certificate = \"issuing.pem\"\n";
    let push = format!("{line}issued_push = {{ token_file = \"push.token\" }}\n");
    let gnomon = setup
        .with(line, &push)
        .file("push.token", "0123456789abcdef0123456789abcdef\n")
        .serve();
    let push = |name: &str, options: &[&str]| {
        let url = format!("https://{}/issued/{name}", gnomon.admin);
        let push = ["--data-binary", "0a0b\n", &*url];
        curl(&gnomon.dir, &[&push[..], options].concat()).status
    };
    let name = fs::read_to_string(gnomon.dir.join("gnomon.toml")).unwrap();
    let name = name.split("[[issuer]]").nth(1).unwrap();
    let name = name.split('"').nth(1).unwrap();
    let token = ["--oauth2-bearer", "0123456789abcdef0123456789abcdef"];
    assert_eq!(push(name, &token), 204);
    assert_eq!(push("nobody", &token), 401);
    assert_eq!(push(name, &[]), 401);
    assert_eq!(
        push(
            name,
            &["--oauth2-bearer", "0123456789abcdef0123456789abcdee"]
        ),
        401
    );
    // It opens nothing else; and who may see everything cannot push without it.
    let url = format!("https://{}/status", gnomon.admin);
    assert_eq!(
        curl(&gnomon.dir, &[&[&*url][..], &token].concat()).status,
        401
    );
    assert_eq!(push(name, &["--user", "prometheus:prometheus!"]), 401);
    assert_eq!(push("nobody", &["--user", "prometheus:prometheus!"]), 404);
}

#[test]
fn a_certificate_that_does_not_do_ends_its_connection() {
    let setup = Setup::new();
    let (dir, admin) = (&setup.dir, setup.admin);
    ServerCa::new(dir).issue("console", 86_400, &P256);
    client_ca(dir, "ours");
    client_certificate(dir, "ours", "device", "/CN=device");
    client_certificate(dir, "ours", "stranger", "/CN=stranger");
    let gnomon = setup
        .with(
            &format!("admin = \"{admin}\""),
            &format!("admin = {{ listen = \"{admin}\", certificate = \"console.pem\", key = \"console.key\", access = \"devices\" }}"),
        )
        .file("devices", "device subject=CN=device\n")
        .rule(
            "devices",
            "certificates = \"devices\"\nclient_ca = \"ours.pem\"",
        )
        .serve();
    let url = format!("https://{admin}/livez");
    let get = |name: &str| {
        let pem = gnomon.dir.path(&format!("{name}.pem"));
        let answer = curl(&gnomon.dir, &["--http1.1", "--cert", &pem, &url]);
        let closes = answer.header("connection") == Some("close");
        (answer.status, closes)
    };
    assert_eq!(
        (get("device"), get("stranger")),
        ((200, false), (403, true))
    );
}

#[test]
fn rules_without_tls_serve_this_host() {
    let setup = Setup::new();
    let admin = setup.admin;
    let gnomon = setup
        .with(
            &format!("admin = \"{admin}\""),
            &format!("admin = {{ listen = \"{admin}\", access = \"host\" }}"),
        )
        .rule("host", "addresses = [\"127.0.0.1\"]")
        // Which counts for the public side only.
        .http("forwarded_from = [\"127.0.0.1\"]")
        .serve();
    assert_eq!(gnomon.ready().0, 200);
    assert!(gnomon_says(&gnomon, &["status"], None).0);
    let url = format!("http://{admin}/livez");
    let get = |options: &[&str]| curl(&gnomon.dir, &[options, &[&*url]].concat()).status;
    assert_eq!(get(&["--interface", "127.0.0.2"]), 403);
    assert_eq!(get(&["--header", "X-Forwarded-For: 192.0.2.1"]), 200);
    // What the program says of refusals that no token helps against.
    for (rule, says) in [
        (
            "addresses = [\"192.0.2.1\"]",
            &["HTTP 403", "from this address"][..],
        ),
        ("daily = 1", &["HTTP 429", "quota"]),
    ] {
        let setup = Setup::new();
        let admin = setup.admin;
        let gnomon = setup
            .with(
                &format!("admin = \"{admin}\""),
                &format!("admin = {{ listen = \"{admin}\", access = \"some\" }}"),
            )
            .rule("some", rule)
            .serve();
        // The first may be let in.
        gnomon_says(&gnomon, &["status"], None);
        let (good, said) = gnomon_says(&gnomon, &["status"], None);
        assert!(!good && !said.contains("running"), "{said}");
        for what in says {
            assert!(said.contains(what), "{what} in {said}");
        }
    }
    for (admin, what) in [
        (
            "{ listen = \"127.0.0.1:0\", certificate = \"x.pem\" }",
            "admin.key: missing",
        ),
        (
            "{ listen = \"127.0.0.1:0\", key = \"x.key\" }",
            "admin.certificate: missing",
        ),
        (
            "{ listen = \"127.0.0.1:0\", acces = \"x\" }",
            "an address such as",
        ),
        ("\"localhost\"", "an address such as"),
    ] {
        let setup = Setup::new();
        let old = format!("admin = \"{}\"", setup.admin);
        let (good, said) = setup.with(&old, &format!("admin = {admin}")).check();
        assert!(!good && said.contains(what), "{admin}: {said}");
    }
}
