//! osslsigncode, which speaks HTTP/1.0 and stamps code, and GnuTLS' ocsptool.

mod support;

use std::fs;

use support::{Gnomon, run, said};

#[test]
fn osslsigncode_stamps_and_verifies() {
    let version = said("osslsigncode", &["--version"]);
    assert!(
        version.contains("osslsigncode 2.9"),
        "{version}; tests/run installs 2.9"
    );
    let gnomon = Gnomon::demo();
    let path = |name: &str| gnomon.dir.path(name);
    let (script, signed) = (path("script.ps1"), path("signed.ps1"));
    fs::write(&script, "Write-Host \"hello\"\r\n").unwrap();
    let (certificate, issuing, key, chain) = (
        path("signer.pem"),
        path("issuing.pem"),
        path("signer.key"),
        path("chain.pem"),
    );
    for tsa in ["/tsa", "/tsa/rsa"] {
        for digest in ["sha256", "sha384", "sha512"] {
            let _ = fs::remove_file(&signed);
            run(
                "osslsigncode",
                &[
                    "sign",
                    "-certs",
                    &certificate,
                    "-ac",
                    &issuing,
                    "-key",
                    &key,
                    "-h",
                    digest,
                    "-ts",
                    &gnomon.url(tsa),
                    "-in",
                    &script,
                    "-out",
                    &signed,
                ],
            );
            let said = run(
                "osslsigncode",
                &[
                    "verify",
                    "-CAfile",
                    &chain,
                    "-TSA-CAfile",
                    &chain,
                    "-in",
                    &signed,
                ],
            );
            assert!(
                said.contains("Timestamp Server Signature verification: ok"),
                "{said}"
            );
            assert!(said.contains("Signature verification: ok"), "{said}");
        }
    }
}

#[test]
fn gnutls_verifies_every_status() {
    let gnomon = Gnomon::demo();
    let path = |name: &str| gnomon.dir.path(name);
    let (issuing, chain) = (path("issuing.pem"), path("chain.pem"));
    for (name, status) in [
        ("good", "good"),
        ("revoked", "revoked"),
        ("held", "revoked"),
    ] {
        for nonce in ["--nonce", "--no-nonce"] {
            let said = run(
                "ocsptool",
                &[
                    &format!("--ask={}", gnomon.url("/ocsp")),
                    nonce,
                    "--load-issuer",
                    &issuing,
                    "--load-cert",
                    &path(&format!("{name}.pem")),
                    "--load-trust",
                    &chain,
                ],
            );
            assert!(said.contains("Verifying OCSP Response: Success."), "{said}");
            assert!(
                said.contains(&format!("Certificate Status: {status}")),
                "{said}"
            );
        }
    }
}
