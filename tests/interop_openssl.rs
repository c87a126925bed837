//! Time-stamps and certificate status as OpenSSL sees them: every digest, both TSUs, with and without
//! certificates, by path and by policy; every kind of key; every status.

mod support;

use std::fs;

use support::{Folder, Gnomon, fails, issue_tsu, run};

/// Makes a query with OpenSSL, POSTs it to `path`, and gives the files of query and reply.
fn stamp(gnomon: &Gnomon, path: &str, options: &[&str]) -> (String, String) {
    let (data, query, reply) = (
        gnomon.dir.path("data"),
        gnomon.dir.path("q.tsq"),
        gnomon.dir.path("r.tsr"),
    );
    fs::write(&data, "what is to be stamped").unwrap();
    let mut arguments = vec!["ts", "-query", "-data", &data, "-out", &query];
    arguments.extend(options);
    run("openssl", &arguments);
    let response = gnomon.post(
        path,
        "application/timestamp-query",
        &fs::read(&query).unwrap(),
    );
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/timestamp-reply")
    );
    fs::write(&reply, &response.body).unwrap();
    (query, reply)
}

fn verify(gnomon: &Gnomon, query: &str, reply: &str, untrusted: Option<&str>) {
    let (data, ca) = (gnomon.dir.path("data"), gnomon.dir.path("chain.pem"));
    let untrusted: Vec<_> = untrusted
        .iter()
        .flat_map(|file| ["-untrusted", file])
        .collect();
    for by in [["-queryfile", query], ["-data", &data]] {
        let arguments = [
            &["ts", "-verify", "-in", reply, "-CAfile", &ca],
            &by[..],
            &untrusted[..],
        ]
        .concat();
        assert!(run("openssl", &arguments).contains("Verification: OK"));
    }
}

fn describe(reply: &str) -> String {
    run("openssl", &["ts", "-reply", "-in", reply, "-text"])
}

#[test]
fn every_digest_and_both_tsus_verify_with_and_without_certificates() {
    let gnomon = Gnomon::demo();
    let mut serials = Vec::new();
    for (path, tsu) in [("/tsa", "tsu-ecdsa.pem"), ("/tsa/rsa", "tsu-rsa.pem")] {
        for digest in [
            "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512",
        ] {
            let option = format!("-{digest}");
            let (query, reply) = stamp(&gnomon, path, &[&option, "-cert"]);
            verify(&gnomon, &query, &reply, None);
            let (query, reply) = stamp(&gnomon, path, &[&option]);
            verify(&gnomon, &query, &reply, Some(&gnomon.dir.path(tsu)));
            let without = fails(
                "openssl",
                &[
                    "ts",
                    "-verify",
                    "-in",
                    &reply,
                    "-queryfile",
                    &query,
                    "-CAfile",
                    &gnomon.dir.path("ca.pem"),
                ],
            );
            assert!(
                without.contains("certificate"),
                "no certificate was asked for: {without}"
            );
            let (_, reply) = stamp(&gnomon, path, &[&option, "-no_nonce"]);
            let text = describe(&reply);
            assert!(text.contains("Nonce: unspecified"), "{text}");
            assert!(text.contains("Status: Granted."), "{text}");
            assert!(
                text.contains("Accuracy: 0x01 seconds, unspecified millis, unspecified micros")
            );
            assert!(
                text.contains("Ordering: no") && text.contains("TSA: unspecified"),
                "{text}"
            );
            let serial = text
                .lines()
                .find(|line| line.starts_with("Serial number:"))
                .unwrap();
            serials.push(serial.to_owned());
        }
    }
    let all = serials.len();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), all, "a serial came twice");
}

#[test]
fn a_policy_picks_its_tsu_on_the_default_path_and_a_name_is_that_tsu_alone() {
    let gnomon = Gnomon::demo();
    let (ecdsa, rsa) = ("2.999.3161.1", "2.999.3161.2");
    for (path, policy, granted) in [
        ("/tsa", ecdsa, true),
        ("/tsa", rsa, true),
        ("/tsa", "1.2.3.4", false),
        ("/tsa/ecdsa", ecdsa, true),
        ("/tsa/ecdsa", rsa, false),
        ("/tsa/rsa", rsa, true),
        ("/tsa/rsa", ecdsa, false),
    ] {
        let (query, reply) = stamp(&gnomon, path, &["-sha256", "-cert", "-tspolicy", policy]);
        let text = describe(&reply);
        if granted {
            assert!(
                text.contains(&format!("Policy OID: {policy}")),
                "{path} {policy}: {text}"
            );
            verify(&gnomon, &query, &reply, None);
        } else {
            assert!(
                text.contains("Status: Rejected."),
                "{path} {policy}: {text}"
            );
            assert!(
                text.contains("the requested TSA policy is not supported"),
                "{path} {policy}: {text}"
            );
        }
    }
    assert_eq!(
        gnomon
            .post("/tsa/nobody", "application/timestamp-query", b"")
            .status,
        404
    );
}

#[test]
fn every_kind_of_key_signs_tokens_that_openssl_verifies() {
    let kinds: [(&str, &[&str], Option<&str>); 7] = [
        (
            "p384",
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            None,
        ),
        ("ed25519", &["-algorithm", "ED25519"], None),
        (
            "rsa4096",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
            None,
        ),
        (
            "rsa384",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
            Some("rsa-sha384"),
        ),
        (
            "pss256",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
            Some("rsa-pss-sha256"),
        ),
        (
            "pss384",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
            Some("rsa-pss-sha384"),
        ),
        (
            "pss512",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
            Some("rsa-pss-sha512"),
        ),
    ];
    let dir = Folder::new();
    let (listen, admin) = support::prepare(&dir);
    let mut config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    for (index, (name, algorithm, signature)) in kinds.iter().enumerate() {
        issue_tsu(&dir, name, algorithm);
        let signature = signature
            .map(|signature| format!("signature = \"{signature}\"\n"))
            .unwrap_or_default();
        config = config.replacen(
            "[[issuer]]",
            &format!(
                "[[tsu]]\nname = \"{name}\"\ndemo = true\nkey = \"{name}.key\"\n{signature}\
                 certificate = \"{name}.pem\"\nchain = \"issuing.pem\"\n\
                 policies = [\"1.3.6.1.4.1.99999.{index}\"]\ntsa_field = true\nqualified = true\n\
                 precision = \"us\"\n\n[[issuer]]"
            ),
            1,
        );
    }
    fs::write(dir.join("gnomon.toml"), config).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);
    for (name, _, _) in kinds {
        let (query, reply) = stamp(&gnomon, &format!("/tsa/{name}"), &["-sha512", "-cert"]);
        // `openssl ts` of 3.0 can verify neither PSS nor Ed25519; `openssl cms` can PSS.
        if name.starts_with("p384") || name.starts_with("rsa") {
            verify(&gnomon, &query, &reply, None);
        }
        let token = gnomon.dir.path("token.der");
        run(
            "openssl",
            &["ts", "-reply", "-in", &reply, "-token_out", "-out", &token],
        );
        if *name == *"ed25519" {
            verify_ed25519(&gnomon, &token);
        } else {
            let chain = gnomon.dir.path("chain.pem");
            let tst_info = gnomon.dir.path("tst_info.der");
            run(
                "openssl",
                &[
                    "cms",
                    "-verify",
                    "-inform",
                    "DER",
                    "-in",
                    &token,
                    "-CAfile",
                    &chain,
                    "-purpose",
                    "timestampsign",
                    "-binary",
                    "-out",
                    &tst_info,
                ],
            );
        }
        let text = describe(&reply);
        assert!(text.contains(&format!("TSA: DirName:/CN={name}")), "{text}");
        assert!(text.contains("qcStatements:"), "{text}");
        assert!(!text.contains("qcStatements: critical"), "{text}");
    }
}

/// The parts by the cms crate's decoder, the signature by `openssl pkeyutl`.
fn verify_ed25519(gnomon: &Gnomon, token: &str) {
    use cms::{content_info::ContentInfo, signed_data::SignedData};
    use der::{Decode, Encode};
    let info = ContentInfo::from_der(&fs::read(token).unwrap()).unwrap();
    let signed = info.content.decode_as::<SignedData>().unwrap();
    let signer = &signed.signer_infos.0.as_slice()[0];
    let (attributes, signature, key) = (
        gnomon.dir.path("attributes"),
        gnomon.dir.path("signature"),
        gnomon.dir.path("ed25519.pub"),
    );
    fs::write(
        &attributes,
        signer.signed_attrs.as_ref().unwrap().to_der().unwrap(),
    )
    .unwrap();
    fs::write(&signature, signer.signature.as_bytes()).unwrap();
    let certificate = gnomon.dir.path("ed25519.pem");
    fs::write(
        &key,
        run(
            "openssl",
            &["x509", "-in", &certificate, "-noout", "-pubkey"],
        ),
    )
    .unwrap();
    run(
        "openssl",
        &[
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            &key,
            "-rawin",
            "-in",
            &attributes,
            "-sigfile",
            &signature,
        ],
    );
}

#[test]
fn openssl_ocsp_accepts_every_status_by_every_hash() {
    let gnomon = Gnomon::demo();
    let (issuer, chain, url) = (
        gnomon.dir.path("issuing.pem"),
        gnomon.dir.path("chain.pem"),
        gnomon.url("/ocsp"),
    );
    for hash in ["-sha1", "-sha256", "-sha384", "-sha512"] {
        for nonce in ["-nonce", "-no_nonce"] {
            let files =
                ["good", "revoked", "held"].map(|name| gnomon.dir.path(&format!("{name}.pem")));
            let mut arguments = vec![
                "ocsp", "-issuer", &issuer, "-url", &url, "-CAfile", &chain, nonce, hash,
            ];
            for file in &files {
                arguments.extend(["-cert", file]);
            }
            // Three in one request, and each alone.
            let text = run("openssl", &arguments);
            assert!(text.contains("Response verify OK"), "{text}");
            assert!(!text.contains("WARNING"), "{text}");
            assert!(text.contains("good.pem: good"), "{text}");
            assert!(text.contains("revoked.pem: revoked") && text.contains("keyCompromise"));
            assert!(text.contains("held.pem: revoked") && text.contains("certificateHold"));
            let text = run(
                "openssl",
                &[&arguments[..9], &["-cert", &files[0]]].concat(),
            );
            assert!(
                text.contains("Response verify OK") && text.contains("good.pem: good"),
                "{text}"
            );
        }
    }
    // A bare host is the OCSP URL in many certificates.
    let text = run(
        "openssl",
        &[
            "ocsp",
            "-issuer",
            &issuer,
            "-url",
            &gnomon.url("/"),
            "-CAfile",
            &chain,
            "-cert",
            &gnomon.dir.path("good.pem"),
        ],
    );
    assert!(text.contains("good.pem: good"), "{text}");
}

#[test]
fn the_commands_that_the_demo_prints_work_as_printed() {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };
    let parent = Folder::new();
    let (listen, admin) = (
        support::free_port().to_string(),
        support::free_port().to_string(),
    );
    let mut demo = support::gnomon(&[
        "demo",
        "--dir",
        "./it's a demo",
        "--listen",
        &listen,
        "--admin",
        &admin,
    ])
    .current_dir(&*parent)
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut commands = Vec::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        commands.extend(line.strip_prefix("  $ ").map(str::to_owned));
        if line.contains("held.pem' -url") {
            break;
        }
    }
    assert_eq!(commands.len(), 10, "{commands:?}");
    for command in &commands {
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(&*parent)
            .output()
            .unwrap();
        let text = support::text(&output);
        assert!(output.status.success(), "{command}\n{text}");
        assert!(
            !command.contains("-verify") || text.contains("Verification: OK"),
            "{text}"
        );
        assert!(
            !command.contains("ocsp") || text.contains("Response verify OK"),
            "{text}"
        );
    }
    run("kill", &["-INT", &demo.id().to_string()]);
    assert!(demo.wait().unwrap().success(), "Ctrl-C ends it cleanly");
}
