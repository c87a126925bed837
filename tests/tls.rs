//! HTTPS as clients and operators meet it: OpenSSL and curl in either version, certificates that are renewed while
//! requests are answered, pairs that are wrong, and clients that abort.

mod support;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use support::{
    Response, free_port, gnomon, http,
    https::{MONTH, P256, RSA, Server, folder, put, s_client},
    ocsp_query,
    raw::process,
    run, said,
    server_certificate::ServerCa,
    text, timestamp_query, wait_for,
};

#[test]
fn openssl_and_curl_are_served_in_both_versions() {
    let server = Server::start(MONTH, "");
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = server.s_client(&[option]);
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(
            said.contains(&format!("New, {version}, Cipher is ")),
            "{said}"
        );
    }
    for option in ["-tls1", "-tls1_1"] {
        let said = server.s_client(&[option, "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert!(
            said.contains("SSL alert number"),
            "the server refuses: {said}"
        );
        assert!(said.contains("New, (NONE), Cipher is (NONE)"), "{said}");
    }
    for (option, version) in [
        ("--http1.0", "200 HTTP/1"),
        ("--http1.1", "200 HTTP/1.1"),
        ("--http2", "200 HTTP/2"),
    ] {
        for tls in ["1.2", "1.3"] {
            let said = server.curl(&[option, "--tls-max", tls]);
            assert!(said.ends_with(version), "{option} {tls}: {said}");
        }
    }
    // More at once on one connection than it has streams.
    let (url, ca) = (server.url("/?[1-500]"), server.dir().path("ca.pem"));
    let said = run(
        "curl",
        &[
            "--silent",
            "--cacert",
            &ca,
            "--http2",
            "--parallel",
            "--parallel-max",
            "300",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{http_version}\n",
            &url,
        ],
    );
    assert_eq!(said.lines().filter(|line| *line == "200 2").count(), 500);
    // RST_STREAM comes behind the answer (RFC 9113 8.1), for which curl 7.88 does not show it.
    let big = server.dir().path("big");
    fs::write(&big, vec![0; 100_000]).unwrap();
    server.curl(&["--http2", "--data-binary", &format!("@{big}")]);
    let refused = ["gnomon_http_refusals_total", "size"];
    assert_eq!(server.gnomon.metric(&refused), 1.0);
    let said = server.s_client(&["-alpn", "gopher"]);
    assert!(said.contains("alert no application protocol"), "{said}");

    let (query, _) = timestamp_query(server.dir());
    let (reply, ca, chain) = (
        server.dir().path("r.tsr"),
        server.dir().path("ca.pem"),
        server.dir().path("issuing.pem"),
    );
    for version in ["--http1.1", "--http2"] {
        let (body, url) = (format!("@{query}"), server.url("/tsa"));
        run(
            "curl",
            &[
                "--silent",
                "--fail",
                "--cacert",
                &ca,
                version,
                "--data-binary",
                &body,
                "-H",
                "Content-Type: application/timestamp-query",
                "--output",
                &reply,
                &url,
            ],
        );
        let said = run(
            "openssl",
            &[
                "ts",
                "-verify",
                "-in",
                &reply,
                "-queryfile",
                &query,
                "-CAfile",
                &ca,
                "-untrusted",
                &chain,
            ],
        );
        assert!(said.contains("Verification: OK"), "{said}");
    }
    // The later of two -url counts.
    let said = server
        .gnomon
        .ask("good.pem", &["-url", &server.url("/ocsp")]);
    assert!(said.contains("good.pem: good"), "{said}");
    assert_eq!(
        server.gnomon.get("/", "").status,
        200,
        "plain HTTP as before"
    );
    let ends = server.gnomon.metric(&["gnomon_tls_end_timestamp_seconds"]);
    assert!(ends > 1e9, "{ends}");
}

#[test]
fn h2load_gets_every_answer() {
    let server = Server::start(MONTH, "");
    let (query, _) = timestamp_query(server.dir());
    let (about_good, _) = ocsp_query(server.dir(), "good.pem");
    // Ten connections, each with twice the requests at once that it may have.
    for (path, media_type, body) in [
        ("/tsa", "application/timestamp-query", query),
        ("/ocsp", "application/ocsp-request", about_good),
    ] {
        let (url, header) = (server.url(path), format!("content-type: {media_type}"));
        let load = ["-n", "2000", "-c", "10", "-m", "200", "-t", "1"];
        let request = ["-d", &body, "-H", &header, &url];
        let said = run("h2load", &[&load[..], &request].concat());
        assert!(said.contains("Application protocol: h2"), "{said}");
        let all = "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored";
        assert!(said.contains(all), "{path}: {said}");
        assert!(said.contains("status codes: 2000 2xx"), "{path}: {said}");
    }
    let granted = ["gnomon_timestamp_responses_total", "granted"];
    assert_eq!(server.gnomon.metric(&granted), 2000.0);
}

#[test]
fn an_rsa_pair_as_acme_clients_write_it_is_served() {
    let server = Server::start(MONTH, "");
    let (dir, other) = (server.dir(), ServerCa::new(server.dir()));
    other.issue("rsa", MONTH, &RSA);
    let (key, traditional) = (dir.path("rsa.key"), dir.path("rsa1.key"));
    run(
        "openssl",
        &["rsa", "-traditional", "-in", &key, "-out", &traditional],
    );
    assert!(
        fs::read_to_string(&traditional)
            .unwrap()
            .contains("BEGIN RSA PRIVATE KEY")
    );
    // A session is resumed, but not past a renewal.
    let session = dir.path("session");
    let resumed = || server.s_client(&["-tls1_2", "-sess_in", &session]);
    server.s_client(&["-tls1_2", "-sess_out", &session]);
    assert!(resumed().contains("Reused, TLSv1.2"), "{}", resumed());
    put(dir, "rsa.pem", "rsa1.key");
    wait_for("the RSA pair", || server.serves("rsa").then_some(()));
    assert!(resumed().contains("New, TLSv1.2"), "{}", resumed());
    for option in ["-tls1_2", "-tls1_3"] {
        let said = server.s_client(&[option]);
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
}

#[test]
fn a_pair_is_renewed_under_load_and_a_wrong_one_is_told_once() {
    let server = Server::start(MONTH, "");
    let (dir, ca) = (server.dir(), ServerCa::new(server.dir()));
    ca.issue("second", MONTH, &P256);
    ca.issue("third", MONTH, &P256);
    ca.issue("ended", -60, &P256);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = |option: &'static str| {
            let (server, done) = (&server, &done);
            move || {
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    let said = server.curl(&[option]);
                    assert!(said.contains("200 HTTP/"), "{said}");
                    count += 1;
                }
                count
            }
        };
        let loads = [scope.spawn(load("--http1.1")), scope.spawn(load("--http2"))];
        // Whatever fails here must not leave the loads running.
        let renewed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert!(server.serves("first"));
            put(dir, "second.pem", "second.key");
            wait_for("the second pair", || server.serves("second").then_some(()));

            put(dir, "third.pem", "second.key");
            server.log_says("does not belong to the first certificate");
            assert!(server.serves("second"));
            put(dir, "third.pem", "third.key");
            wait_for("the third pair", || server.serves("third").then_some(()));

            put(dir, "ended.pem", "ended.key");
            server.log_says("tls.certificate: ");
            server.log_says("the certificate of CN=ended ended at ");
            assert!(server.serves("third"));
            fs::remove_file(dir.join("tls.key")).unwrap();
            fs::copy(dir.join("second.pem"), dir.join("tls.pem")).unwrap();
            server.log_says("tls.key: ");
            assert!(server.serves("third"));
            put(dir, "second.pem", "second.key");
            wait_for("the second pair again", || {
                server.serves("second").then_some(())
            });
        }));
        done.store(true, Ordering::Relaxed);
        for load in loads {
            assert!(load.join().unwrap() > 0);
        }
        renewed.unwrap();
    });
    let log = server.log();
    let told = log
        .lines()
        .filter(|line| line.contains("the old certificate stays in force"))
        .count();
    assert_eq!(told, 3, "{log}");
}

#[test]
fn a_certificate_that_runs_out_is_told_once() {
    let server = Server::start(15, "");
    server.log_says("the certificate of CN=first ended at ");
    ServerCa::new(server.dir()).issue("second", MONTH, &P256);
    put(server.dir(), "second.pem", "second.key");
    wait_for("the second pair", || server.serves("second").then_some(()));
    assert_eq!(server.log().matches("CN=first ended at").count(), 1);
}

#[test]
fn a_reload_that_names_another_pair_is_the_end_of_what_was_said() {
    for (ends, trouble) in [
        (MONTH, "does not belong to the first certificate"),
        (15, "the certificate of CN=first ended at "),
    ] {
        let server = Server::start(ends, "");
        let dir = server.dir();
        ServerCa::new(dir).issue("second", MONTH, &P256);
        if ends == MONTH {
            put(dir, "second.pem", "first.key");
        }
        server.log_says(trouble);
        let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
        let config = config
            .replace("\"tls.pem\"", "\"second.pem\"")
            .replace("\"tls.key\"", "\"second.key\"");
        fs::write(dir.join("gnomon.toml"), config).unwrap();
        server.gnomon.signal("HUP");
        server.log_says("GN1503 tls: the certificate of CN=second is in force, until ");
        assert!(server.serves("second"));
    }
}

#[test]
fn what_is_wrong_with_the_pair_is_said_by_its_field() {
    let (dir, plain, _) = folder(MONTH);
    let ca = ServerCa::new(&dir);
    ca.issue("other", MONTH, &P256);
    ca.issue("ended", -60, &P256);
    let (key, encrypted) = (dir.path("other.key"), dir.path("encrypted.key"));
    run(
        "openssl",
        &[
            "pkcs8",
            "-topk8",
            "-in",
            &key,
            "-out",
            &encrypted,
            "-passout",
            "pass:secret",
        ],
    );
    fs::write(dir.join("empty"), "").unwrap();
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let listen = free_port().to_string();
    for (certificate, key, expected) in [
        ("first.pem", "other.key", "tls.certificate: "),
        (
            "first.pem",
            "other.key",
            "other.key does not belong to the first certificate",
        ),
        ("ended.pem", "ended.key", "tls.certificate: "),
        (
            "ended.pem",
            "ended.key",
            "the certificate of CN=ended ended at ",
        ),
        ("nowhere.pem", "first.key", "tls.certificate: "),
        ("empty", "first.key", "tls.certificate: "),
        ("first.pem", "nowhere.key", "tls.key: "),
        ("first.pem", "empty", "tls.key: "),
        ("first.pem", "encrypted.key", "the key is encrypted"),
    ] {
        let ours = format!(
            "[tls]\nlisten = [\"{listen}\"]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\n[clock]"
        );
        let wrong = dir.path("wrong.toml");
        fs::write(&wrong, config.replacen("[clock]", &ours, 1)).unwrap();
        for command in ["check", "serve"] {
            let output = gnomon(&[command, "--config", &wrong]).output().unwrap();
            let said = text(&output);
            let status = if command == "serve" { 78 } else { 1 };
            assert_eq!(output.status.code(), Some(status), "{command}: {said}");
            assert_eq!(said.lines().count(), 1, "{command}: {said}");
            assert!(said.contains(expected), "{command}: {expected}: {said}");
        }
    }
    let check = |config: &str| {
        fs::write(dir.join("gnomon.toml"), config).unwrap();
        said(
            env!("CARGO_BIN_EXE_gnomon"),
            &["check", "--config", &dir.path("gnomon.toml")],
        )
    };
    let with = |tls: &str| {
        let ours = format!(
            "[tls]\nlisten = [{tls}]\ncertificate = \"first.pem\"\nkey = \"first.key\"\n\n[clock]"
        );
        config.replacen("[clock]", &ours, 1)
    };
    let said = check(&with(""));
    assert!(said.contains("tls.listen: no address"), "{said}");
    let plain = format!("\"{plain}\"");
    let said = check(&with(&plain));
    assert!(said.contains("plain HTTP is spoken there"), "{said}");
    let alone = with(&format!("\"{listen}\"")).replacen(&plain, "", 1);
    let said = check(&alone);
    assert!(said.contains("can be served"), "{said}");
}

/// What OpenSSL sends first.
fn client_hello() -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = s_client(&["-connect", &address]);
    let (mut stream, _) = listener.accept().unwrap();
    let mut octets = vec![0; 5];
    stream.read_exact(&mut octets).unwrap();
    let length = usize::from(u16::from_be_bytes([octets[3], octets[4]]));
    octets.resize(5 + length, 0);
    stream.read_exact(&mut octets[5..]).unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    octets
}

#[test]
fn thousands_of_aborted_handshakes_leave_nothing_behind() {
    let server = Server::start(MONTH, "header_timeout = \"2s\"");
    let hello = client_hello();
    assert!(server.curl(&[]).contains("200 HTTP/"));
    let before = process::open_files(server.gnomon.pid());
    let garbage = [&[22, 3, 1, 2, 0, 1][..], &[0xff; 600]].concat();
    let beginnings: [&[u8]; 5] = [
        &[],
        &hello[..1],
        &hello[..hello.len() / 2],
        &hello,
        &garbage,
    ];
    for number in 0..3_000 {
        let mut stream = TcpStream::connect(server.https).unwrap();
        stream.write_all(beginnings[number % 5]).unwrap();
        if number % 2 == 0 {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }
    // And some who stay, silent in the middle of it.
    let silent: Vec<_> = beginnings[..4]
        .iter()
        .map(|beginning| {
            let mut stream = TcpStream::connect(server.https).unwrap();
            stream.write_all(beginning).unwrap();
            stream
        })
        .collect();
    assert!(server.curl(&[]).contains("200 HTTP/"));
    for mut stream in silent {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut octets = Vec::new();
        match stream.read_to_end(&mut octets) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the server kept the connection: {error}"),
        }
    }
    wait_for("as few open files as before", || {
        (process::open_files(server.gnomon.pid()) <= before).then_some(())
    });
    assert!(server.curl(&[]).contains("200 HTTP/"));
}

#[test]
fn plain_http_on_the_tls_port_is_told() {
    let server = Server::start(MONTH, "");
    let answer = http(
        server.https,
        b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, b"this port speaks https, not http://\n");
    // A POST with a body gets to read it, too.
    let head = b"POST /tsa HTTP/1.1\r\nHost: test\r\nContent-Length: 30000\r\n\r\n";
    let answer: Response = http(server.https, &[&head[..], &[0; 30_000]].concat());
    assert_eq!(answer.status, 400);
    assert!(server.curl(&[]).contains("200 HTTP/"));
}

#[test]
fn limits_hold_over_tls_and_http_2() {
    let server = Server::start(MONTH, "header_timeout = \"1s\"\nconnections = 3");
    let address = server.https.to_string();
    // Connections without a request are closed, also those that keep to HTTP/2.
    for alpn in ["http/1.1", "h2"] {
        for begun in [
            &b""[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ] {
            let mut client = s_client(&["-quiet", "-connect", &address, "-alpn", alpn]);
            let mut input = client.stdin.take().unwrap();
            input.write_all(begun).unwrap();
            wait_for("the end of an idle connection", || {
                client.try_wait().unwrap()
            });
        }
    }
    // Plain and TLS count together; who is too many is closed.
    let idle: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(server.https).unwrap())
        .collect();
    let said = server.curl(&[]);
    assert!(!said.contains("200 HTTP/"), "{said}");
    drop(idle);
    wait_for("a place", || {
        server.curl(&[]).contains("200 HTTP/").then_some(())
    });

    let long = format!("X-Long: {}", "x".repeat(20_000));
    let said = server.curl(&["--http2", "-H", &long]);
    assert!(said.ends_with("431 HTTP/2"), "{said}");
}
