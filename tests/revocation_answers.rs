//! What is answered follows the CRLs and the configuration: new CRLs show at once, bad ones change nothing,
//! stale ones silence the answer; unlisted serials, several issuers, several responders, the CA's own key.

mod support;

use std::fs;

use support::{Folder, Gnomon, ca::Ca, issue_responder, ocsp_query, run, said, wait_for};

/// What `openssl ocsp` says of one certificate, verified where there is something to verify.
fn ask(gnomon: &Gnomon, options: &[&str]) -> String {
    let path = |name: &str| gnomon.dir.path(name);
    let (issuer, chain) = (path("issuing.pem"), path("chain.pem"));
    said(
        "openssl",
        &[
            &[
                "ocsp",
                "-issuer",
                &issuer,
                "-CAfile",
                &chain,
                "-no_nonce",
                "-url",
                &gnomon.url("/ocsp"),
            ],
            options,
        ]
        .concat(),
    )
}

fn ask_about(gnomon: &Gnomon, name: &str) -> String {
    ask(gnomon, &["-cert", &gnomon.dir.path(name)])
}

fn until(gnomon: &Gnomon, name: &str, expected: &str) {
    wait_for(expected, || {
        ask_about(gnomon, name).contains(expected).then_some(())
    });
}

#[test]
fn a_new_crl_shows_and_a_bad_one_changes_nothing() {
    let gnomon = Gnomon::demo();
    let ca = Ca::new(&gnomon.dir);
    assert!(ask_about(&gnomon, "good.pem").contains("good.pem: good"));
    // The demo's CRLNumber is the time, so this one is higher.
    ca.revoke("good.pem", "superseded");
    ca.revoke("revoked.pem", "keyCompromise");
    ca.publish(&ca.crl("7FFFFFFF01", &[]));
    until(&gnomon, "good.pem", "good.pem: revoked");
    assert!(ask_about(&gnomon, "good.pem").contains("Reason: superseded"));
    assert!(
        ask_about(&gnomon, "held.pem").contains("held.pem: good"),
        "the hold was lifted"
    );

    // Truncated, foreign, older: the last good one stays. A good one after them shows that they were seen.
    let text = fs::read(ca.crl("7FFFFFFF02", &[])).unwrap();
    for bad in [
        &text[..text.len() / 2],
        b"",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    ] {
        fs::write(gnomon.dir.join("bad"), bad).unwrap();
        ca.publish(&gnomon.dir.path("bad"));
        assert!(ask_about(&gnomon, "good.pem").contains("good.pem: revoked"));
    }
    ca.publish(&ca.crl("01", &[]));
    assert!(ask_about(&gnomon, "good.pem").contains("good.pem: revoked"));
    ca.revoke("held.pem", "CACompromise");
    ca.publish(&ca.crl("7FFFFFFF03", &[]));
    until(&gnomon, "held.pem", "Reason: cACompromise");
}

#[test]
fn a_stale_crl_is_try_later_and_never_good() {
    let gnomon = Gnomon::demo();
    let ca = Ca::new(&gnomon.dir);
    assert!(ask_about(&gnomon, "good.pem").contains("good.pem: good"));
    ca.publish(&ca.crl("7FFFFFFF01", &["-crlsec", "8"]));
    until(&gnomon, "held.pem", "held.pem: good");
    until(&gnomon, "good.pem", "trylater");
    assert!(ask_about(&gnomon, "held.pem").contains("trylater"));
    let ready = support::http(
        gnomon.admin,
        b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let why = String::from_utf8(ready.body).unwrap();
    assert!(
        ready.status == 503 && why.contains("its CRL ran out at"),
        "{why}"
    );
    ca.publish(&ca.crl("7FFFFFFF02", &[]));
    until(&gnomon, "good.pem", "good.pem: good");
}

#[test]
fn serials_issued_later_are_good_when_they_are_listed() {
    let gnomon = Gnomon::demo();
    assert!(ask(&gnomon, &["-serial", "0xABCDEF"]).contains("unauthorized"));
    let list = gnomon.dir.join("issued.txt");
    let text = fs::read_to_string(&list).unwrap() + "ab:cd:ef\n";
    fs::write(gnomon.dir.join("longer"), text).unwrap();
    fs::rename(gnomon.dir.join("longer"), &list).unwrap();
    wait_for("the longer list", || {
        ask(&gnomon, &["-serial", "0xABCDEF"])
            .contains("0xABCDEF: good")
            .then_some(())
    });
}

#[test]
fn unlisted_serials_follow_the_policy() {
    for (policy, expected) in [
        ("unauthorized", "unauthorized"),
        ("unknown", "0xABCDEF: unknown"),
        ("good", "0xABCDEF: good"),
        ("revoked", "0xABCDEF: revoked"),
    ] {
        let setting = format!("[[issuer]]\nunlisted = \"{policy}\"");
        let gnomon = Gnomon::edited(|config| config.replacen("[[issuer]]", &setting, 1));
        let text = ask(&gnomon, &["-serial", "0xABCDEF", "-resp_text"]);
        assert!(text.contains(expected), "{policy}: {text}");
        if policy == "revoked" {
            assert!(
                text.contains("Revocation Time: Jan  1 00:00:00 1970 GMT"),
                "{text}"
            );
            assert!(text.contains("Reason: certificateHold"), "{text}");
            // extended-revoke, which OpenSSL calls so; ": critical" would follow the colon.
            assert!(
                text.contains("Response Extensions:\n        valid: \n"),
                "{text}"
            );
        }
        assert!(
            ask_about(&gnomon, "good.pem").contains("good.pem: good"),
            "{policy}"
        );
        assert!(
            ask_about(&gnomon, "revoked.pem").contains("revoked.pem: revoked"),
            "{policy}"
        );
    }
}

#[test]
fn several_issuers_the_cas_own_key_and_archive_cutoff() {
    let dir = Folder::new();
    let (listen, admin) = support::prepare(&dir);
    // The root answers for itself, with a CRL that OpenSSL makes and a folder of what it issued.
    let root = dir.path("");
    let config = format!(
        "[ca]\ndefault_ca=d\n[d]\ndatabase={root}root.txt\ncrlnumber={root}root.number\n\
         certificate={root}ca.pem\nprivate_key={root}ca.key\ndefault_md=sha384\ndefault_crl_days=7\n"
    );
    fs::write(dir.join("root.cnf"), config).unwrap();
    fs::write(dir.join("root.txt"), "").unwrap();
    fs::write(dir.join("root.number"), "01\n").unwrap();
    run(
        "openssl",
        &[
            "ca",
            "-config",
            &dir.path("root.cnf"),
            "-gencrl",
            "-out",
            &dir.path("root.crl"),
        ],
    );
    fs::create_dir(dir.join("published")).unwrap();
    fs::copy(dir.join("issuing.pem"), dir.join("published/issuing.pem")).unwrap();
    let file = dir.join("gnomon.toml");
    let text = fs::read_to_string(&file).unwrap()
        + "\n[[issuer]]\nname = \"root\"\ncertificate = \"ca.pem\"\ncrl = [\"root.crl\"]\n\
           issued = [\"published\"]\narchive_cutoff = true\nresponder = { key = \"ca.key\" }\n";
    fs::write(&file, text).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);
    let path = |name: &str| gnomon.dir.path(name);
    let (ca, issuing, url) = (path("ca.pem"), path("issuing.pem"), gnomon.url("/ocsp"));
    let text = run(
        "openssl",
        &[
            "ocsp",
            "-issuer",
            &ca,
            "-cert",
            &issuing,
            "-url",
            &url,
            "-CAfile",
            &ca,
            "-resp_text",
        ],
    );
    assert!(
        text.contains("Response verify OK") && text.contains("issuing.pem: good"),
        "{text}"
    );
    assert!(
        !text.contains("BEGIN CERTIFICATE"),
        "the CA's own certificate is with every client"
    );
    let not_before = run("openssl", &["x509", "-in", &ca, "-noout", "-startdate"]);
    let not_before = not_before.trim().strip_prefix("notBefore=").unwrap();
    assert!(text.contains("OCSP Archive Cutoff"), "{text}");
    assert!(text.contains(not_before), "{not_before}: {text}");
    assert!(ask_about(&gnomon, "good.pem").contains("good.pem: good"));
    // No signer may answer for both.
    let text = said(
        "openssl",
        &[
            "ocsp",
            "-issuer",
            &ca,
            "-cert",
            &issuing,
            "-issuer",
            &issuing,
            "-cert",
            &path("good.pem"),
            "-url",
            &url,
            "-CAfile",
            &ca,
        ],
    );
    assert!(text.contains("unauthorized"), "{text}");
}

#[test]
fn clients_choose_among_the_responders_by_algorithm() {
    let dir = Folder::new();
    let (listen, admin) = support::prepare(&dir);
    let algorithm = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"];
    issue_responder(&dir, "rsa", &algorithm);
    let file = dir.join("gnomon.toml");
    let text = fs::read_to_string(&file).unwrap();
    let one = "responder = { key = \"ocsp.key\", certificate = \"ocsp.pem\" }";
    assert!(text.contains(one));
    let several = "responder = [\n  { key = \"ocsp.key\", certificate = \"ocsp.pem\" },\n  \
                   { key = \"rsa.key\", certificate = \"rsa.pem\" },\n]";
    fs::write(&file, text.replace(one, several)).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);

    // OpenSSL cannot ask for an algorithm, so the extension is put behind its request by hand.
    use gnomon::wire::{
        algorithm::SignatureAlgorithm,
        oid,
        tlv::{self, Reader, tag},
    };
    let (issuer, good) = (gnomon.dir.path("issuing.pem"), gnomon.dir.path("good.pem"));
    let (_, plain) = ocsp_query(&gnomon.dir, "good.pem");
    let tbs = Reader::whole(&plain, tag::SEQUENCE)
        .unwrap()
        .reader()
        .expect(tag::SEQUENCE)
        .unwrap();
    let preferring = |algorithms: &[SignatureAlgorithm]| {
        let list: Vec<_> = algorithms
            .iter()
            .flat_map(|algorithm| tlv::wrap(tag::SEQUENCE, &[&algorithm.identifier()]))
            .collect();
        let value = tlv::wrap(tag::OCTET_STRING, &[&tlv::wrap(tag::SEQUENCE, &[&list])]);
        let id = tlv::wrap(tag::OID, &[oid::OCSP_PREF_SIG_ALGS.as_bytes()]);
        let list = tlv::wrap(tag::SEQUENCE, &[&tlv::wrap(tag::SEQUENCE, &[&id, &value])]);
        let extensions = tlv::wrap(tag::context_constructed(2), &[&list]);
        tlv::wrap(
            tag::SEQUENCE,
            &[&tlv::wrap(tag::SEQUENCE, &[tbs.value, &extensions])],
        )
    };
    use SignatureAlgorithm::{EcdsaSha256, EcdsaSha384, Ed25519, RsaSha256};
    for (algorithms, expected) in [
        (&[][..], "ecdsa-with-SHA256"),
        (&[RsaSha256][..], "sha256WithRSAEncryption"),
        (&[EcdsaSha256, RsaSha256], "ecdsa-with-SHA256"),
        (
            &[Ed25519, RsaSha256, EcdsaSha256],
            "sha256WithRSAEncryption",
        ),
        (&[EcdsaSha384], "ecdsa-with-SHA256"),
    ] {
        let body = if algorithms.is_empty() {
            plain.clone()
        } else {
            preferring(algorithms)
        };
        for _ in 0..2 {
            let response = gnomon.post("/ocsp", "application/ocsp-request", &body);
            let file = gnomon.dir.path("response.der");
            fs::write(&file, response.body).unwrap();
            let text = run(
                "openssl",
                &[
                    "ocsp",
                    "-respin",
                    &file,
                    "-CAfile",
                    &gnomon.dir.path("chain.pem"),
                    "-issuer",
                    &issuer,
                    "-cert",
                    &good,
                    "-resp_text",
                ],
            );
            assert!(text.contains("Response verify OK"), "{text}");
            let algorithm = text.split("Signature Algorithm: ").nth(1).unwrap();
            assert!(
                algorithm.starts_with(expected),
                "{algorithms:?}: {algorithm}"
            );
        }
    }
}
