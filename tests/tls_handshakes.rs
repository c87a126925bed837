//! TLS handshakes that fail: what the operator has of them, in the metrics and in the log.

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use support::{
    Gnomon,
    access::{Setup, client_ca, client_certificate, curl},
    http,
    https::P256,
    server_certificate::ServerCa,
    text, wait_for,
};

const REASONS: [&str; 7] = [
    "client_certificate",
    "server_certificate",
    "incompatible",
    "plain_http",
    "protocol",
    "closed",
    "timeout",
];

/// Clients with certificates at both listeners.
fn setup(log: &str) -> Setup {
    let setup = Setup::new();
    let (dir, admin) = (&setup.dir, setup.admin);
    for ca in ["ours", "others"] {
        client_ca(dir, ca);
    }
    ServerCa::new(dir).issue("console", 86_400, &P256);
    client_certificate(dir, "ours", "device", "/CN=device");
    client_certificate(dir, "others", "forged", "/CN=device");
    setup
        .with(
            &format!("admin = \"{admin}\""),
            &format!(
                "admin = {{ listen = \"{admin}\", certificate = \"console.pem\", key = \"console.key\", access = \"devices\" }}"
            ),
        )
        .file("devices", "device subject=CN=device\n")
        .rule(
            "devices",
            "certificates = \"devices\"\nclient_ca = \"ours.pem\"",
        )
        .http("header_timeout = \"2s\"")
        .tls("access = \"devices\"")
        .with("[clock]", &format!("[log]\n{log}\n[clock]"))
}

/// What has failed for each reason.
fn failed(gnomon: &Gnomon, listener: &str) -> [u64; 7] {
    let device = gnomon.dir.path("device.pem");
    let url = format!("https://{}/metrics", gnomon.admin);
    let answer = curl(&gnomon.dir, &["--cert", &device, &url]);
    let text = String::from_utf8(answer.body).unwrap();
    REASONS.map(|reason| {
        let series = format!(
            "gnomon_tls_handshakes_failed_total{{listener=\"{listener}\",reason=\"{reason}\"}} "
        );
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series}: {text}"))
            .parse()
            .unwrap()
    })
}

/// Waits until `reason` has so many at this listener, and no other that is not `known` has any.
fn counts(gnomon: &Gnomon, listener: &str, known: &[(&str, u64)]) {
    let wanted = REASONS.map(|reason| {
        let known = known.iter().find(|(name, _)| *name == reason);
        known.map_or(0, |(_, count)| *count)
    });
    wait_for(&format!("{listener}: {known:?}"), || {
        (failed(gnomon, listener) == wanted).then_some(())
    });
}

/// OpenSSL's client, which sends a request and waits for the end.
fn s_client(gnomon: &Gnomon, to: SocketAddr, options: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string(), "-ign_eof"])
        .args(options)
        .current_dir(gnomon.dir.join(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    // It may be gone already.
    let _ = child.stdin.take().unwrap().write_all(request);
    text(&child.wait_with_output().unwrap())
}

fn log(gnomon: &Gnomon) -> String {
    fs::read_to_string(gnomon.dir.join("log")).unwrap()
}

#[test]
fn each_failure_has_its_reason_at_both_listeners() {
    let setup = setup("requests = true\nlevel = \"debug\"");
    let https = setup.https;
    let gnomon = setup.serve();
    for (listener, to) in [("tls", https), ("admin", gnomon.admin)] {
        let ours = ["-CAfile", "ca.pem", "-verify_return_error"];
        let with = |options: &[&str]| s_client(&gnomon, to, &[&ours[..], options].concat());
        let device = ["-cert", "device.pem", "-key", "device.pem"];
        let said = with(&device);
        assert!(said.contains("HTTP/1.1 "), "{said}");
        counts(&gnomon, listener, &[]);
        // Both versions: the server refuses a certificate after its own Finished in 1.3, and before it in 1.2.
        for version in ["-tls1_2", "-tls1_3"] {
            let said = with(&[version, "-cert", "forged.pem", "-key", "forged.pem"]);
            assert!(said.contains("alert"), "{said}");
        }
        let mut known = vec![("client_certificate", 2)];
        counts(&gnomon, listener, &known);
        for version in ["-tls1_2", "-tls1_3"] {
            let options = [version, "-CAfile", "others.pem", "-verify_return_error"];
            let said = s_client(&gnomon, to, &options);
            assert!(said.contains("verify failed"), "{said}");
        }
        known.push(("server_certificate", 2));
        counts(&gnomon, listener, &known);
        with(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
        let said = with(&["-alpn", "imap"]);
        assert!(said.contains("alert no application protocol"), "{said}");
        known.push(("incompatible", 2));
        counts(&gnomon, listener, &known);
        let plain = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        assert_eq!(http(to, plain).status, 400);
        known.push(("plain_http", 1));
        counts(&gnomon, listener, &known);
        let mut stream = TcpStream::connect(to).unwrap();
        stream
            .write_all(&[&[22, 3, 1, 2, 0, 1][..], &[0xff; 600]].concat())
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        known.push(("protocol", 1));
        counts(&gnomon, listener, &known);
        // One that says nothing, and one that hangs up within its ClientHello.
        for beginning in [&[][..], &[22, 3, 1, 2, 0, 1]] {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(beginning).unwrap();
        }
        known.push(("closed", 2));
        counts(&gnomon, listener, &known);
        let mut silent = TcpStream::connect(to).unwrap();
        let _ = silent.read_to_end(&mut Vec::new());
        known.push(("timeout", 1));
        counts(&gnomon, listener, &known);
    }
    // The operator's side has no lines of requests.
    let lines = log(&gnomon);
    let refused = "TLS handshake failed client=127.0.0.1 outcome=client_certificate \
                   error=invalid peer certificate: UnknownIssuer";
    assert_eq!(lines.matches(refused).count(), 2, "{lines}");
    for reason in REASONS {
        let line = format!("a TLS handshake failed client=127.0.0.1 reason={reason}");
        assert!(lines.contains(&line), "{line}: {lines}");
    }
}

#[test]
fn refused_certificates_share_the_limit_of_lines() {
    let setup = setup("requests = true\nrequest_lines = 1");
    let https = setup.https;
    let gnomon = setup.serve();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            Command::new("openssl")
                .args(["s_client", "-connect", &https.to_string(), "-ign_eof"])
                .args(["-cert", "forged.pem", "-key", "forged.pem"])
                .current_dir(gnomon.dir.join(""))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut client in clients {
        client.wait().unwrap();
    }
    wait_for("what was left out", || {
        let log = log(&gnomon);
        let lines = log.matches("TLS handshake failed client=").count();
        (lines < 4 && log.contains("left_out=")).then_some(())
    });
    assert!(!log(&gnomon).contains("a TLS handshake failed"));
}
