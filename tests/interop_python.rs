//! What Python's clients make of the answers: rfc3161-client, pyHanko (a PDF, signed, stamped, with OCSP
//! answers embedded), the cryptography package and its test vectors, pkilint. tests/run installs them.

mod support;

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use support::{Gnomon, Response, python_script, python_tool, run};

fn script(name: &str) -> String {
    let gnomon = Gnomon::demo();
    let script = python_script(name);
    run(
        &python_tool("python"),
        &[&script, &gnomon.url(""), &gnomon.dir.path("")],
    )
}

#[test]
fn rfc3161_client_accepts_the_tokens() {
    assert!(script("stamp.py").contains("accepts all 16 tokens"));
}

#[test]
fn pyhanko_signs_stamps_and_validates_a_pdf() {
    assert!(script("pdf.py").contains("pyHanko accepts"));
}

#[test]
fn cryptography_accepts_every_status_and_its_vectors_get_their_answers() {
    assert!(script("status.py").contains("cryptography accepts every answer"));
}

/// The body of an OCSP answer with a status in it. pkilint has nothing against an unsigned `unauthorized`.
fn successful(response: Response) -> Vec<u8> {
    assert_eq!(response.status, 200);
    // OCSPResponse, its length in two octets, then responseStatus successful (RFC 6960 4.2.1).
    assert!(
        matches!(response.body.as_slice(), [0x30, 0x82, _, _, 0x0a, 1, 0, ..]),
        "no successful answer: {:02x?}",
        response.body
    );
    response.body
}

#[test]
fn pkilint_finds_nothing_to_say() {
    let gnomon = Gnomon::demo();
    let nothing = |name: &str, arguments: &[&str], file: &str| {
        let said = run(
            &python_tool(name),
            &[&["lint", "-s", "NOTICE"], arguments, &[file]].concat(),
        );
        assert_eq!(said.trim(), "", "{name} {file}");
    };
    let (issuer, request, answer) = (
        gnomon.dir.path("issuing.pem"),
        gnomon.dir.path("q.der"),
        gnomon.dir.path("r.der"),
    );
    for name in ["good", "revoked", "held"] {
        let certificate = gnomon.dir.path(&format!("{name}.pem"));
        for nonce in ["-nonce", "-no_nonce"] {
            run(
                "openssl",
                &[
                    "ocsp",
                    "-issuer",
                    &issuer,
                    "-cert",
                    &certificate,
                    "-reqout",
                    &request,
                    nonce,
                ],
            );
            let body = fs::read(&request).unwrap();
            // A sealed answer comes by GET, without a nonce.
            let path = STANDARD
                .encode(&body)
                .replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D");
            for response in [
                gnomon.post("/ocsp", "application/ocsp-request", &body),
                gnomon.get(&format!("/ocsp/{path}"), ""),
            ] {
                fs::write(&answer, successful(response)).unwrap();
                nothing("lint_ocsp_response", &[], &answer);
            }
        }
    }
    nothing(
        "lint_crl",
        &["-t", "CRL", "-p", "PKIX"],
        &gnomon.dir.path("issuing.crl"),
    );
    for name in [
        "ca",
        "issuing",
        "tsu-ecdsa",
        "tsu-rsa",
        "ocsp",
        "good",
        "revoked",
        "held",
        "signer",
    ] {
        nothing(
            "lint_pkix_cert",
            &[],
            &gnomon.dir.path(&format!("{name}.pem")),
        );
    }
}
