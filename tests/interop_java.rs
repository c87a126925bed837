//! What Java makes of the answers: jarsigner (which stamps, verifies, and asks for status by GET), Bouncy
//! Castle, and the JDK's PKIXRevocationChecker.

mod support;

use std::fs;

use support::{Folder, Gnomon, fails, run};

/// Runs a source of tests/java against the demo.
fn java(source: &str) -> String {
    let gnomon = Gnomon::demo();
    let source = format!("{}/tests/java/{source}", env!("CARGO_MANIFEST_DIR"));
    let classes = ["bcpkix", "bcprov", "bcutil"]
        .map(|jar| format!("/usr/share/java/{jar}.jar"))
        .join(":");
    run(
        "java",
        &[
            "-cp",
            &classes,
            &source,
            &gnomon.url(""),
            &gnomon.dir.path(""),
        ],
    )
}

#[test]
fn bouncy_castle_accepts_every_digest_and_nonce() {
    assert!(java("Stamp.java").contains("Bouncy Castle accepts 120 tokens"));
}

#[test]
fn bouncy_castle_and_the_jdk_accept_every_status() {
    assert!(java("Status.java").contains("accept every answer"));
}

/// A keystore of the demo's signer, and one that trusts the CA certificate `trusted`.
fn keystores(dir: &Folder, trusted: &str) -> (String, String) {
    let (signer, trust) = (dir.path("signer.p12"), dir.path("trust.p12"));
    let _ = (fs::remove_file(&signer), fs::remove_file(&trust));
    let (key, certificate, chain) = (
        dir.path("signer.key"),
        dir.path("signer.pem"),
        dir.path("chain.pem"),
    );
    run(
        "openssl",
        &[
            "pkcs12",
            "-export",
            "-inkey",
            &key,
            "-in",
            &certificate,
            "-certfile",
            &chain,
            "-name",
            "signer",
            "-passout",
            "pass:secret",
            "-out",
            &signer,
        ],
    );
    run(
        "keytool",
        &[
            "-importcert",
            "-noprompt",
            "-file",
            &dir.path(trusted),
            "-alias",
            "root",
            "-keystore",
            &trust,
            "-storepass",
            "secret",
        ],
    );
    (signer, trust)
}

fn jar(dir: &Folder) -> String {
    let (file, jar) = (dir.path("file.txt"), dir.path("file.jar"));
    let _ = fs::remove_file(&jar);
    fs::write(&file, "hello").unwrap();
    run("jar", &["cf", &jar, "-C", &dir.path(""), "file.txt"]);
    jar
}

fn sign<'a>(jar: &'a str, store: &'a str, tsa: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [
        &["-keystore", store, "-storepass", "secret", "-tsa", tsa],
        more,
        &[jar, "signer"],
    ]
    .concat()
}

#[test]
fn jarsigner_stamps_and_verifies() {
    let gnomon = Gnomon::demo();
    let (signer, trust) = keystores(&gnomon.dir, "ca.pem");
    let verify = [
        "-verify",
        "-strict",
        "-verbose",
        "-certs",
        "-keystore",
        &trust,
        "-storepass",
        "secret",
    ];
    let (default, rsa) = (gnomon.url("/tsa"), gnomon.url("/tsa/rsa"));
    for (tsa, policy, tsu) in [
        (&default, None, "tsu-ecdsa"),
        (&rsa, None, "tsu-rsa"),
        (&default, Some("2.999.3161.1"), "tsu-ecdsa"),
        (&default, Some("2.999.3161.2"), "tsu-rsa"),
    ] {
        for digest in ["SHA-256", "SHA-384", "SHA-512"] {
            let jar = jar(&gnomon.dir);
            let mut more = vec!["-tsadigestalg", digest];
            more.extend(policy.iter().flat_map(|policy| ["-tsapolicyid", policy]));
            run("jarsigner", &sign(&jar, &signer, tsa, &more));
            let said = run("jarsigner", &[&verify[..], &[&jar]].concat());
            assert!(said.contains("jar verified."), "{said}");
            assert!(
                said.contains(&format!("Timestamped by \"CN=Gnomon demo {tsu}")),
                "{said}"
            );
            assert!(
                said.contains(&format!("Timestamp digest algorithm: {digest}")),
                "{said}"
            );
        }
    }
    let jar = jar(&gnomon.dir);
    let said = fails(
        "jarsigner",
        &sign(&jar, &signer, &default, &["-tsapolicyid", "1.2.3.4"]),
    );
    assert!(
        said.contains("The requested TSA policy is not supported by the TSA"),
        "{said}"
    );
}

#[test]
fn jarsigner_asks_for_the_status_of_signer_and_tsu() {
    let gnomon = Gnomon::demo();
    // Nobody answers for the demo's root, so the CA below it is what is trusted.
    let (signer, trust) = keystores(&gnomon.dir, "issuing.pem");
    let jar = jar(&gnomon.dir);
    run("jarsigner", &sign(&jar, &signer, &gnomon.url("/tsa"), &[]));
    let said = run(
        "jarsigner",
        &[
            "-verify",
            "-strict",
            "-revCheck",
            "-keystore",
            &trust,
            "-storepass",
            "secret",
            &jar,
        ],
    );
    assert!(said.contains("jar verified."), "{said}");
    assert!(
        said.contains(&format!(
            "Contacting OCSP server at {}",
            gnomon.url("/ocsp")
        )),
        "{said}"
    );
    assert!(gnomon.metric(&["gnomon_ocsp_responses_total", "sealed"]) >= 2.0);
}
