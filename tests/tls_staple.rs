//! The OCSP response in the TLS handshake, as OpenSSL, GnuTLS and curl see and verify it: by our own OCSP service where
//! the certificate's CA is one of ours, by the responder that the certificate names where it is not, and none that is
//! wrong.

mod support;

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use support::{
    Folder,
    ca::Ca,
    free_port, gnomon, http,
    https::{MONTH, P256, RSA, Server, folder, put},
    run, said,
    server_certificate::ServerCa,
    text, wait_for,
};

/// Puts a certificate's serial on the list of what was issued.
fn list(dir: &Folder, name: &str) {
    let serial = run(
        "openssl",
        &["x509", "-noout", "-serial", "-in", &dir.path(name)],
    );
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let issued = fs::read_to_string(dir.join("issued.txt")).unwrap();
    fs::write(dir.join("new"), issued + &serial + "\n").unwrap();
    fs::rename(dir.join("new"), dir.join("issued.txt")).unwrap();
}

/// What `openssl s_client` says of the staple.
fn staple(server: &Server) -> String {
    server.s_client(&["-status"])
}

fn is_good(server: &Server) -> bool {
    let said = staple(server);
    said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good")
}

fn has_none(server: &Server) -> bool {
    staple(server).contains("OCSP response: no response sent")
}

#[test]
fn our_own_service_says_what_is_stapled() {
    let own = folder(MONTH);
    let dir = &own.0;
    put(dir, "first.pem", "first.key");
    list(dir, "first.pem");
    let server = Server::serve(own, "", "");
    let dir = server.dir();
    wait_for("a staple", || is_good(&server).then_some(()));
    for option in ["-tls1_2", "-tls1_3"] {
        let said = server.s_client(&["-status", option]);
        assert!(said.contains("Cert Status: good"), "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
    let end = server
        .gnomon
        .metric(&["gnomon_tls_staple_end_timestamp_seconds"]);
    assert!(end > 1.7e9, "{end}");
    // curl and GnuTLS verify it.
    for option in ["--http1.1", "--http2"] {
        let said = server.curl(&["--cert-status", option]);
        assert!(said.contains("200 HTTP/"), "{said}");
    }
    let (port, ca) = (server.https.port().to_string(), dir.path("ca.pem"));
    let response = dir.path("staple.der");
    let _ = fs::remove_file(&response);
    let said = said(
        "gnutls-cli",
        &[
            "--x509cafile",
            &ca,
            "--save-ocsp",
            &response,
            "-p",
            &port,
            "127.0.0.1",
        ],
    );
    assert!(
        said.contains("Status: The certificate is trusted."),
        "{said}"
    );
    assert!(said.contains("OCSP status request"), "{said}");
    let issuing = dir.path("issuing.pem");
    let said = run(
        "openssl",
        &[
            "ocsp",
            "-respin",
            &response,
            "-issuer",
            &issuing,
            "-cert",
            &dir.path("first.pem"),
            "-CAfile",
            &dir.path("chain.pem"),
            "-no_nonce",
        ],
    );
    assert!(said.contains("Response verify OK"), "{said}");
    assert!(said.contains("first.pem: good"), "{said}");

    // A renewed certificate has its own, with any kind of key.
    ServerCa::new(dir).issue("second", MONTH, &RSA);
    list(dir, "second.pem");
    put(dir, "second.pem", "second.key");
    wait_for("the second's", || {
        (server.serves("second") && is_good(&server)).then_some(())
    });

    // A revocation takes it away at once.
    let ca = Ca::new(dir);
    ca.revoke("second.pem", "superseded");
    ca.publish(&ca.crl("7FFFFFFF01", &[]));
    wait_for("no staple", || has_none(&server).then_some(()));
    server.log_says("tls.staple: the certificate of CN=second: the certificate was revoked at ");
    let end = ["gnomon_tls_staple_end_timestamp_seconds"];
    assert_eq!(server.gnomon.metric(&end), 0.0);
    let said = server.curl(&["--cert-status"]);
    assert!(!said.contains("200 HTTP/"), "{said}");

    let ends = || {
        server
            .log()
            .matches("tls.staple: stapled again, until ")
            .count()
    };
    // A new certificate is its cure, and said to be.
    let before = ends();
    ServerCa::new(dir).issue("third", MONTH, &P256);
    list(dir, "third.pem");
    put(dir, "third.pem", "third.key");
    wait_for("the third's", || {
        (server.serves("third") && is_good(&server)).then_some(())
    });
    wait_for("the end of it", || (ends() > before).then_some(()));

    // And one that is on no list has none. A reload neither says it again nor keeps its end back.
    ServerCa::new(dir).issue("fourth", MONTH, &P256);
    put(dir, "fourth.pem", "fourth.key");
    let unlisted = "the certificate of CN=fourth: our own OCSP service says `unauthorized` of it";
    server.log_says(unlisted);
    assert!(server.serves("fourth") && has_none(&server));
    let before = ends();
    server.gnomon.signal("HUP");
    server.log_says("reload: in force");
    list(dir, "fourth.pem");
    wait_for("the fourth's", || is_good(&server).then_some(()));
    wait_for("the end of it", || (ends() == before + 1).then_some(()));
    assert_eq!(server.log().matches(unlisted).count(), 1);
}

#[test]
fn a_service_that_cannot_sign_takes_no_staple_away() {
    let own = folder(MONTH);
    put(&own.0, "first.pem", "first.key");
    list(&own.0, "first.pem");
    let server = Server::serve(own, "", "");
    wait_for("a staple", || is_good(&server).then_some(()));
    let ca = Ca::new(server.dir());
    ca.revoke("ocsp.pem", "superseded");
    ca.publish(&ca.crl("7FFFFFFF01", &[]));
    // The stapler is the only one who asks.
    server.log_says("ocsp: refused: the responder's certificate cannot be used now: ");
    assert!(is_good(&server));
    assert!(!server.log().contains("our own OCSP service says"));
}

#[test]
fn off_is_off() {
    let own = folder(MONTH);
    put(&own.0, "first.pem", "first.key");
    list(&own.0, "first.pem");
    let server = Server::serve(own, "", "staple = \"off\"");
    assert!(has_none(&server));
    // By then the other thread would have stapled, which looks as often.
    ServerCa::new(server.dir()).issue("second", MONTH, &P256);
    list(server.dir(), "second.pem");
    put(server.dir(), "second.pem", "second.key");
    wait_for("the second pair", || server.serves("second").then_some(()));
    assert!(has_none(&server));
    let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let metrics = String::from_utf8(http(server.gnomon.admin, request).body).unwrap();
    assert!(metrics.contains("gnomon_tls_end_timestamp_seconds"));
    assert!(!metrics.contains("gnomon_tls_staple_end_timestamp_seconds"));
}

#[test]
fn a_reload_keeps_the_staple_or_ends_it() {
    let own = folder(MONTH);
    put(&own.0, "first.pem", "first.key");
    list(&own.0, "first.pem");
    let server = Server::serve(own, "", "");
    wait_for("a staple", || is_good(&server).then_some(()));
    let config = server.dir().join("gnomon.toml");
    let with = fs::read_to_string(&config).unwrap();
    let without = with.replace("key = \"tls.key\"", "key = \"tls.key\"\nstaple = \"off\"");
    let mut reloads = 0;
    let mut reload = |config_text: &str| {
        fs::write(&config, config_text).unwrap();
        server.gnomon.signal("HUP");
        reloads += 1;
        wait_for("the reload", || {
            (server.log().matches("reload: in force").count() == reloads).then_some(())
        });
    };
    // Nobody meets a handshake without it.
    for _ in 0..3 {
        reload(&with);
        assert!(is_good(&server));
    }
    reload(&without);
    assert!(has_none(&server));
    let metric = ["gnomon_tls_staple_end_timestamp_seconds"];
    assert_eq!(server.gnomon.metric(&metric), 0.0);
    reload(&with);
    wait_for("a staple again", || is_good(&server).then_some(()));
}

/// OpenSSL's OCSP responder for another CA, as the demo of `dir` is.
struct Responder(Child);

impl Responder {
    fn start(dir: &Folder, port: u16, signer: &str) -> Self {
        let path = |name: &str| dir.path(name);
        let child = Command::new("openssl")
            .args([
                "ocsp",
                "-port",
                &port.to_string(),
                "-index",
                &path("servers.txt"),
            ])
            .args(["-CA", &path("issuing.pem"), "-nmin", "5"])
            .args(["-rsigner", &path(&format!("{signer}.pem"))])
            .args(["-rkey", &path(&format!("{signer}.key"))])
            .stdout(fs::File::create(dir.join("responder")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A connection without a request would block it for ever.
        wait_for("openssl ocsp", || {
            let said = fs::read_to_string(dir.join("responder")).unwrap();
            said.contains("ACCEPT ").then_some(())
        });
        Self(child)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with a certificate of another CA, whose folder is the first of the two.
fn foreign(address: SocketAddr) -> (Folder, (Folder, SocketAddr, SocketAddr)) {
    let (other, own) = (folder(MONTH).0, folder(MONTH));
    let access = format!("OCSP;URI:http://{address}/");
    ServerCa::naming(&other, &access).issue("foreign", MONTH, &P256);
    for name in ["foreign.pem", "foreign.key"] {
        fs::copy(other.join(name), own.0.join(name)).unwrap();
    }
    put(&own.0, "foreign.pem", "foreign.key");
    fs::copy(other.join("ca.pem"), own.0.join("ca.pem")).unwrap();
    (other, own)
}

#[test]
fn the_responder_that_a_foreign_certificate_names_is_asked() {
    for (signer, is_taken) in [("issuing", true), ("ocsp", true), ("good", false)] {
        let address = free_port();
        let (other, own) = foreign(address);
        let responder = Responder::start(&other, address.port(), signer);
        let server = Server::serve(own, "", "");
        if is_taken {
            wait_for("a staple", || is_good(&server).then_some(()));
            let said = server.curl(&["--cert-status"]);
            assert!(said.contains("200 HTTP/"), "{signer}: {said}");
        } else {
            server.log_says("the response is signed neither by the CA nor by a responder");
            assert!(has_none(&server));
        }
        drop(responder);
        // What it has said holds on without it.
        assert_eq!(is_good(&server), is_taken);
    }
}

#[test]
fn a_responder_that_is_not_there_is_told_and_asked_again() {
    let address = free_port();
    let (other, own) = foreign(address);
    let server = Server::serve(own, "", "");
    server.log_says(
        "tls.staple: the certificate of CN=foreign: its OCSP responder cannot be asked: ",
    );
    assert!(server.serves("foreign") && has_none(&server));
    let _responder = Responder::start(&other, address.port(), "ocsp");
    wait_for("a staple", || is_good(&server).then_some(()));
    server.log_says("tls.staple: stapled again, until ");
}

#[test]
fn check_sees_a_chain_with_a_gap_and_an_end_that_is_near() {
    let own = folder(3_600);
    let dir = &own.0;
    let certificate = fs::read_to_string(dir.join("first.pem")).unwrap();
    let only = certificate
        .split_inclusive("-----END CERTIFICATE-----\n")
        .next()
        .unwrap();
    let wrong = only.to_owned() + &fs::read_to_string(dir.join("good.pem")).unwrap();
    fs::write(dir.join("only.pem"), only).unwrap();
    fs::write(dir.join("wrong.pem"), wrong).unwrap();
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let listen = free_port();
    let check = |certificate: &str| {
        let tls = format!(
            "[tls]\nlisten = [\"{listen}\"]\ncertificate = \"{certificate}\"\nkey = \"first.key\"\n\n[clock]"
        );
        fs::write(dir.join("tls.toml"), config.replacen("[clock]", &tls, 1)).unwrap();
        let output = gnomon(&["check", "--config", &dir.path("tls.toml")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let whole = check("first.pem");
    assert!(
        whole.contains("first.pem: ends at ") && whole.contains("; renew it"),
        "{whole}"
    );
    assert!(!whole.contains("behind"), "{whole}");
    let said = check("only.pem");
    assert!(
        said.contains("only.pem: only the certificate itself; unless clients trust CN="),
        "{said}"
    );
    let said = check("wrong.pem");
    assert!(
        said.contains("what stands behind the certificate of CN=first did not issue it"),
        "{said}"
    );
    ServerCa::new(dir).issue("second", MONTH, &P256);
    fs::copy(dir.join("second.key"), dir.join("first.key")).unwrap();
    let said = check("second.pem");
    assert!(!said.contains("tls.certificate"), "{said}");
}
