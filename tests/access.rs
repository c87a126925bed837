//! Who may ask, and how much, as clients meet it: passwords, tokens, certificates, addresses and quotas, by curl; and
//! what nobody learns who has shown nothing.

mod support;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use support::{
    Gnomon, Response,
    access::{Setup, client_ca, client_certificate, curl, is_token, stamp},
    http,
    raw::process,
    run, said,
};

/// The challenges of an answer, sorted.
fn challenges(answer: &Response) -> Vec<&str> {
    let headers = answer.headers.iter();
    let mut found: Vec<_> = headers
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| value.split(' ').next().unwrap())
        .collect();
    found.sort_unstable();
    found
}

/// All of an answer that does not change from one second to the next.
fn told(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| name != "date");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status, headers.cloned().collect(), body)
}

fn bearer(gnomon: &Gnomon, file: &str) -> String {
    let token = fs::read_to_string(gnomon.dir.join(format!("{file}.secret"))).unwrap();
    format!("Authorization: Bearer {}", token.trim())
}

#[test]
fn a_listener_asks_for_a_password_or_a_token() {
    let gnomon = Setup::new()
        .users("users", &["alice", "bob"])
        .token("tokens", "ci")
        .rule("people", "users = \"users\"")
        .rule("robots", "tokens = \"tokens\"")
        .http("access = [\"people\", \"robots\"]")
        .serve();
    let dir = &gnomon.dir;
    let url = gnomon.url("/tsa");
    let authorization = bearer(&gnomon, "tokens");
    for good in [
        &["--user", "alice:alice!"][..],
        &["--user", "bob:bob!"],
        &["--header", &authorization],
        &["--header", &authorization.replace("Bearer", "bearer")],
    ] {
        let answer = stamp(dir, &url, good);
        assert!(is_token(dir, &answer), "{good:?}");
    }
    // Who asks without first is told how, on the same connection.
    let how = [
        "--anyauth",
        "--user",
        "bob:bob!",
        "--silent",
        "--verbose",
        &url,
    ];
    let said = said("curl", &how);
    assert!(
        said.contains("401 Unauthorized") && said.contains("405 Method"),
        "{said}"
    );
    assert_eq!(said.matches("Connected to").count(), 1, "{said}");
    for wrong in [
        &[][..],
        &["--user", "alice:bob!"],
        &["--user", "alice:"],
        &["--user", ":"],
        &["--user", "nobody:nobody!"],
        &["--header", "Authorization: Basic"],
        &["--header", "Authorization: Basic !!!!"],
        &["--header", "Authorization: Basic YWxpY2U="],
        &["--header", "Authorization: Digest x"],
        &["--header", "Authorization: Bearer 0123456789abcdef"],
        &["--header", &format!("{authorization}x")],
        &["--user", &format!("alice:{}", "x".repeat(5000))],
    ] {
        let answer = stamp(dir, &url, wrong);
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert_eq!(challenges(&answer), ["Basic", "Bearer"], "{wrong:?}");
    }
    // Two of them are none.
    let authorizations = format!("{authorization}\r\n{authorization}\r\n");
    assert_eq!(gnomon.get("/", &authorizations).status, 401);
    assert_eq!(gnomon.get("/", &format!("{authorization}\r\n")).status, 200);

    // The listener is all of it: certificate status, the page, and what is not there.
    for path in ["/", "/ocsp/MFE", "/log/checkpoint", "/nothing"] {
        assert_eq!(gnomon.get(path, "").status, 401, "{path}");
    }
    assert!(gnomon.ask("good.pem", &[]).contains("401"));
    assert_eq!(
        gnomon.metric(&["gnomon_http_refusals_total", "unauthorized"]),
        19.0
    );
    // No secret, and nobody's name, went into the log.
    let log = fs::read_to_string(dir.join("log")).unwrap();
    for secret in [
        "alice",
        "bob!",
        "argon2",
        authorization.split(' ').nth(2).unwrap(),
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn clients_show_certificates_by_tls() {
    let setup = Setup::new();
    let dir = &setup.dir;
    client_ca(dir, "ours");
    client_ca(dir, "others");
    client_certificate(dir, "ours", "key", "/CN=by key");
    client_certificate(dir, "ours", "subject", "/O=Gnomon/CN=by subject");
    client_certificate(dir, "ours", "stranger", "/O=Gnomon/CN=by subject, or not");
    client_certificate(dir, "others", "forged", "/O=Gnomon/CN=by subject");
    let line = |arguments: &[&str]| {
        let arguments = [&["access", "certificate"], arguments].concat();
        run(env!("CARGO_BIN_EXE_gnomon"), &arguments)
    };
    let lines = line(&["one", &dir.path("key.pem")])
        + &line(&["two", &dir.path("subject.pem"), "--subject"]);
    assert!(
        lines.starts_with("one spki=") && lines.ends_with("two subject=CN=by subject,O=Gnomon\n"),
        "{lines}"
    );
    // What no handshake takes is not let into the file: version 1, as without extensions.
    let (csr, key, old) = (
        dir.path("key.csr"),
        dir.path("ours.key"),
        dir.path("old.pem"),
    );
    let issue = [
        "x509",
        "-req",
        "-in",
        &csr,
        "-CA",
        &dir.path("ours.pem"),
        "-CAkey",
        &key,
    ];
    run("openssl", &[&issue[..], &["-out", &old]].concat());
    let refused = support::gnomon(&["access", "certificate", "one", &old])
        .output()
        .unwrap();
    let said = support::text(&refused);
    assert!(
        !refused.status.success() && said.contains("old.pem: the certificate is not of version 3"),
        "{said}"
    );
    let gnomon = setup
        .file("devices", &lines)
        .users("users", &["alice"])
        .rule(
            "devices",
            "certificates = \"devices\"\nclient_ca = \"ours.pem\"",
        )
        .rule("people", "users = \"users\"")
        // Its CA is asked for in the handshake as well, and does not stand for the other.
        .rule(
            "others",
            "certificates = \"devices\"\nclient_ca = \"others.pem\"",
        )
        .tls("access = \"devices\"")
        .tsu("rsa", "[\"people\", \"others\"]")
        .tsu("ecdsa", "[\"devices\", \"people\"]");
    let https = gnomon.https;
    let gnomon = gnomon.serve();
    let dir = &gnomon.dir;
    let url = |path: &str| format!("https://{https}{path}");
    for version in ["--http1.1", "--http2"] {
        for tls in ["1.2", "1.3"] {
            let how = [version, "--tls-max", tls];
            for name in ["key", "subject"] {
                let pem = dir.path(&format!("{name}.pem"));
                let show = [&how[..], &["--cert", &pem]].concat();
                let answer = stamp(dir, &url("/tsa"), &show);
                assert!(is_token(dir, &answer), "{name} {how:?}");
                assert_eq!(stamp(dir, &url("/tsa/rsa"), &show).status, 404);
            }
            // No certificate, and one that is not listed: an answer, not a broken handshake.
            let stranger = dir.path("stranger.pem");
            let show = [&how[..], &["--cert", &stranger]].concat();
            for show in [&how[..], &show] {
                let answer = stamp(dir, &url("/tsa"), show);
                assert_eq!(answer.status, 403, "{show:?}");
                // Another handshake may be held against other CAs.
                let closes = answer.header("connection") == Some("close");
                let certified = show.contains(&"--cert");
                assert_eq!(closes, certified && version == "--http1.1", "{show:?}");
            }
        }
    }
    // The same name by another CA.
    let forged = dir.path("forged.pem");
    assert_eq!(stamp(dir, &url("/tsa"), &["--cert", &forged]).status, 403);
    // A session that is resumed is still that client's.
    for version in ["-tls1_2", "-tls1_3"] {
        let script = format!(
            "printf 'GET / HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n' |\
             openssl s_client {version} -connect {https} -CAfile {} -ign_eof",
            dir.path("ca.pem")
        );
        let session = dir.path("session");
        let shown = dir.path("key.pem");
        let first = run(
            "sh",
            &[
                "-c",
                &format!("{script} -cert {shown} -sess_out {session} 2>&1"),
            ],
        );
        assert!(
            first.contains("HTTP/1.1 200") && first.contains("New, "),
            "{first}"
        );
        let second = run("sh", &["-c", &format!("{script} -sess_in {session} 2>&1")]);
        assert!(
            second.contains("HTTP/1.1 200") && second.contains("Reused, "),
            "{second}"
        );
        let without = run("sh", &["-c", &format!("{script} 2>&1")]);
        assert!(without.contains("HTTP/1.1 403"), "{without}");
    }
    // By plain HTTP the TSU asks for a password.
    let answer = stamp(dir, &gnomon.url("/tsa"), &[]);
    assert_eq!((answer.status, challenges(&answer)), (401, vec!["Basic"]));
    let answer = stamp(dir, &gnomon.url("/tsa/rsa"), &["--user", "alice:alice!"]);
    assert!(is_token(dir, &answer));
    assert_eq!(curl(dir, &[&gnomon.url("/")]).status, 200);
}

#[test]
fn who_shows_a_certificate_is_still_asked_for_a_password() {
    let setup = Setup::new();
    client_ca(&setup.dir, "ours");
    client_certificate(&setup.dir, "ours", "device", "/CN=device");
    let setup = setup
        .file("devices", "device subject=CN=device\n")
        .users("users", &["alice"])
        .rule("people", "users = \"users\"")
        .rule(
            "devices",
            "certificates = \"devices\"\nclient_ca = \"ours.pem\"",
        )
        .tls("access = \"people\"")
        .tsu("rsa", "\"devices\"");
    let https = setup.https;
    let gnomon = setup.serve();
    let (dir, url) = (&gnomon.dir, format!("https://{https}/tsa/rsa"));
    let device = dir.path("device.pem");
    let (device, alice) = (["--cert", &device], ["--user", "alice:alice!"]);
    for show in [&[][..], &device] {
        let answer = stamp(dir, &url, show);
        assert_eq!((answer.status, challenges(&answer)), (401, vec!["Basic"]));
    }
    assert_eq!(stamp(dir, &url, &alice).status, 404);
    let both = [device, alice].concat();
    assert!(is_token(dir, &stamp(dir, &url, &both)));
}

#[test]
fn a_tsu_that_is_not_for_a_client_is_not_there() {
    let gnomon = Setup::new()
        .users("users", &["alice"])
        .users("others", &["bob"])
        .rule("alice", "users = \"users\"")
        .rule("bob", "users = \"others\"")
        .tsu("rsa", "\"alice\"")
        .tsu("ecdsa", "[\"alice\", \"bob\"]")
        .serve();
    let dir = &gnomon.dir;
    let ask = |path: &str, options: &[&str]| stamp(dir, &gnomon.url(path), options);
    let (alice, bob) = (["--user", "alice:alice!"], ["--user", "bob:bob!"]);
    // Nothing shown, or nothing valid: the same for what is there and what is not.
    for show in [&[][..], &["--user", "bob:wrong"], &["--user", "eve:wrong"]] {
        let expected = told(&ask("/tsa/rsa", show));
        assert_eq!(expected.0, 401);
        for path in ["/tsa", "/tsa/", "/tsa/ecdsa", "/tsa/nothing", "/tsa/a/b"] {
            assert_eq!(told(&ask(path, show)), expected, "{path} {show:?}");
        }
    }
    // What is valid shows no more than what it is for.
    let absent = told(&ask("/tsa/nothing", &bob));
    assert_eq!(absent.0, 404);
    assert_eq!(told(&ask("/tsa/rsa", &bob)), absent);
    for (path, show) in [
        ("/tsa", bob),
        ("/tsa/ecdsa", bob),
        ("/tsa/rsa", alice),
        ("/tsa", alice),
    ] {
        assert!(is_token(dir, &ask(path, &show)), "{path} {show:?}");
    }
    let page = |show: &[&str]| {
        let url = gnomon.url("/");
        let answer = curl(dir, &[&[&*url], show].concat());
        String::from_utf8(answer.body).unwrap()
    };
    assert!(!page(&[]).contains("/tsa/"));
    assert!(page(&bob).contains("/tsa/ecdsa") && !page(&bob).contains("/tsa/rsa"));
    assert!(page(&alice).contains("/tsa/rsa"));

    // By its policy, too.
    let by_policy = |policy: &str, show: &[&str]| {
        let query = dir.path("p.tsq");
        let digest = "00".repeat(32);
        run(
            "openssl",
            &[
                "ts",
                "-query",
                "-digest",
                &digest,
                "-sha256",
                "-tspolicy",
                policy,
                "-no_nonce",
                "-out",
                &query,
            ],
        );
        let data = format!("@{query}");
        let url = gnomon.url("/tsa");
        let answer = curl(dir, &[&["--data-binary", &data, &url], show].concat());
        assert_eq!(answer.status, 200, "{policy}");
        fs::write(dir.join("p.tsr"), answer.body).unwrap();
        said(
            "openssl",
            &["ts", "-reply", "-in", &dir.path("p.tsr"), "-text"],
        )
    };
    assert!(by_policy("2.999.3161.2", &alice).contains("Status: Granted"));
    let refused = by_policy("2.999.3161.2", &bob);
    assert!(refused.contains("policy is not supported"), "{refused}");
    assert_eq!(refused, by_policy("2.999.3161.77", &bob));

    // Certificate status is for everybody.
    assert!(gnomon.ask("good.pem", &[]).contains("good.pem: good"));
}

#[test]
fn a_listener_tells_nothing_of_who_may_pass_elsewhere() {
    let setup = Setup::new()
        .users("users", &["alice"])
        .users("staff", &["bob"])
        .token("tokens", "ci")
        .token("others", "cd")
        .rule("robots", "tokens = \"tokens\"")
        .rule("people", "users = \"users\"")
        .rule("staff", "users = \"staff\"\ntokens = \"others\"")
        .http("access = \"robots\"")
        .tls("access = \"people\"")
        .tsu("rsa", "\"staff\"");
    let https = setup.https;
    let gnomon = setup.serve();
    let dir = &gnomon.dir;
    let token = bearer(&gnomon, "others");
    let shown = [
        &["--user", "bob:bob!"][..],
        &["--user", "bob:wrong"],
        &["--user", "nobody:nobody!"],
        &["--header", &token],
        &["--header", "Authorization: Bearer 0123456789abcdef"],
    ];
    let alike = |url: &str, shown: &[&[&str]], challenge: &str| {
        let expected = stamp(dir, url, &[]);
        assert_eq!(expected.status, 401, "{url}");
        assert_eq!(challenges(&expected), [challenge], "{url}");
        for show in shown {
            let answer = stamp(dir, url, show);
            assert_eq!(told(&answer), told(&expected), "{url} {show:?}");
        }
    };
    alike(&gnomon.url("/ocsp/MFE"), &shown, "Bearer");
    // Nobody here has a password, so that none was checked.
    let tasks = fs::read_dir(format!("/proc/{}/task", gnomon.pid())).unwrap();
    let mut names =
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    assert!(names.all(|name| !name.starts_with("password")));
    alike(&format!("https://{https}/ocsp/MFE"), &shown, "Basic");
    // A TSU's clients must match the listener as well.
    alike(&gnomon.url("/tsa/rsa"), &shown, "Bearer");
    alike(&format!("https://{https}/tsa/rsa"), &shown, "Basic");
}

#[test]
fn a_refusal_does_not_wait_for_the_body() {
    let gnomon = Setup::new()
        .users("users", &["alice"])
        .rule("alice", "users = \"users\"")
        .tsu("rsa", "\"alice\"")
        .serve();
    let mut stream = TcpStream::connect(gnomon.listen).unwrap();
    let (head, start) = (
        b"POST /tsa/rsa HTTP/1.1\r\nHost: t\r\nContent-Length: 60000\r\n\r\n",
        Instant::now(),
    );
    stream.write_all(head).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "body_timeout is 10 s"
    );
    // Larger than is taken anywhere, and nothing of it is the next request.
    let large = "x".repeat(200_000);
    let request =
        format!("POST /tsa/rsa HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n{large}");
    let mut stream = TcpStream::connect(gnomon.listen).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let _ = stream.write_all(request.as_bytes());
    let mut answers = Vec::new();
    // What it did not read, its end of the connection may say.
    if let Err(error) = stream.read_to_end(&mut answers) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    let answers = String::from_utf8(answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 401"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
}

#[test]
fn clients_come_from_the_right_place_or_not_at_all() {
    let setup = Setup::new()
        .users("users", &["alice"])
        .rule("home", "addresses = [\"127.0.0.0/8\", \"::1\"]")
        .rule("elsewhere", "addresses = [\"192.0.2.0/24\"]")
        .rule(
            "alice elsewhere".replace(' ', "-").as_str(),
            "addresses = [\"192.0.2.0/24\"]\nusers = \"users\"",
        )
        .tls("access = [\"elsewhere\", \"alice-elsewhere\"]")
        .http("access = [\"elsewhere\", \"home\"]")
        .tsu("rsa", "\"alice-elsewhere\"");
    let https = setup.https;
    let gnomon = setup.serve();
    let dir = &gnomon.dir;
    let alice = ["--user", "alice:alice!"];
    assert!(is_token(dir, &stamp(dir, &gnomon.url("/tsa"), &[])));
    for show in [&[][..], &alice] {
        let url = format!("https://{https}/tsa");
        let answer = stamp(dir, &url, show);
        assert_eq!((answer.status, challenges(&answer)), (403, vec![]));
        let absent = told(&stamp(dir, &gnomon.url("/tsa/nothing"), show));
        assert_eq!(absent.0, 404);
        assert_eq!(told(&stamp(dir, &gnomon.url("/tsa/rsa"), show)), absent);
    }
    assert_eq!(
        gnomon.metric(&["gnomon_http_refusals_total", "forbidden"]),
        2.0
    );
}

#[test]
fn quotas_are_by_client() {
    let gnomon = Setup::new()
        .users("users", &["alice", "bob"])
        .users("few", &["carol"])
        .rule("people", "users = \"users\"\nrate = \"3/min\"")
        .rule("few", "users = \"few\"\ndaily = 2")
        .rule("everybody", "rate = \"2/h\"")
        .http("access = [\"people\", \"few\", \"everybody\"]")
        // The same rule again counts once.
        .tsu("rsa", "\"people\"")
        .serve();
    let dir = &gnomon.dir;
    let ask = |show: &[&str]| stamp(dir, &gnomon.url("/tsa/rsa"), show);
    let wait = |answer: &Response| {
        answer
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    for user in ["alice:alice!", "bob:bob!"] {
        for _ in 0..3 {
            assert_eq!(ask(&["--user", user]).status, 200, "{user}");
        }
        let answer = ask(&["--user", user]);
        assert_eq!(answer.status, 429);
        assert!((1..=20).contains(&wait(&answer)), "{answer:?}");
    }
    let page = |show: &[&str]| curl(dir, &[&[&*gnomon.url("/")], show].concat());
    let statuses = [(); 3].map(|()| page(&["--user", "carol:carol!"]).status);
    assert_eq!(statuses, [200, 200, 429]);
    let answer = page(&["--user", "carol:carol!"]);
    assert!((1..=86_400).contains(&wait(&answer)));
    // Who has no name is counted by address; a wrong password has no name.
    assert_eq!(page(&[]).status, 200);
    assert_eq!(page(&["--user", "alice:wrong"]).status, 200);
    assert_eq!(page(&[]).status, 429);
    assert_eq!(gnomon.metric(&["gnomon_http_refusals_total", "quota"]), 5.0);
}

#[test]
fn a_flood_of_wrong_passwords_holds_up_nobody_else() {
    let gnomon = Setup::new()
        .users("users", &["alice"])
        .token("tokens", "ci")
        .rule("people", "users = \"users\"")
        .rule("robots", "tokens = \"tokens\"")
        .http("access = [\"people\", \"robots\"]")
        .serve();
    let (dir, url) = (&gnomon.dir, gnomon.url("/tsa"));
    let alice = ["--user", "alice:alice!"];
    assert_eq!(stamp(dir, &url, &alice).status, 200);
    let authorization = bearer(&gnomon, "tokens");
    let before = process::threads(gnomon.pid());
    let (busy, wrong) = std::thread::scope(|scope| {
        let flood: Vec<_> = (0..40)
            .map(|client| {
                let listen = gnomon.listen;
                scope.spawn(move || {
                    let mut counts = (0, 0);
                    for attempt in 0..25 {
                        let secret = format!("alice:{client}-{attempt}");
                        let request = format!(
                            "POST /tsa HTTP/1.1\r\nHost: t\r\nAuthorization: Basic {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                            base64(&secret)
                        );
                        let answer = http(listen, request.as_bytes());
                        match answer.status {
                            503 => {
                                assert_eq!(answer.header("retry-after"), Some("1"));
                                counts.0 += 1;
                            }
                            401 => counts.1 += 1,
                            other => panic!("{other}"),
                        }
                    }
                    counts
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        while !flood.iter().all(|thread| thread.is_finished()) {
            for show in [&alice[..], &["--header", &authorization]] {
                let start = Instant::now();
                assert_eq!(stamp(dir, &url, show).status, 200, "{show:?}");
                slowest = slowest.max(start.elapsed());
            }
        }
        assert!(slowest < Duration::from_secs(3), "{slowest:?}");
        let counts = flood.into_iter().map(|thread| thread.join().unwrap());
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    assert_eq!(busy + wrong, 1000);
    assert!(busy > 0 && wrong > 0, "{busy} {wrong}");
    let counted = gnomon.metric(&["gnomon_http_refusals_total", "password_queue"]);
    assert_eq!(counted, f64::from(busy));
    assert!(process::threads(gnomon.pid()) <= before);
    let memory = process::resident(gnomon.pid());
    assert!(memory < 200 << 20, "{memory} octets");
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}
