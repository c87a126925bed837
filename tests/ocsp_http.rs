//! Certificate status over HTTP: every way a request can come in a path, the headers that caches live by,
//! nonces, and the requests that get no status. Requests are made and answers read by OpenSSL.

mod support;

use std::fs;

use der::{Decode, Encode};
use gnomon::wire::{
    algorithm::DigestAlgorithm,
    certificate::Certificate,
    tlv::{self, tag},
};
use support::{Gnomon, Response, http, run, said};

/// An OCSPRequest about one of the demo's certificates, without a nonce unless `options` ask for one.
fn request(gnomon: &Gnomon, name: &str, options: &[&str]) -> Vec<u8> {
    let (file, issuer) = (
        gnomon.dir.path("request.der"),
        gnomon.dir.path("issuing.pem"),
    );
    let certificate = gnomon.dir.path(name);
    let nonce = if options.is_empty() {
        &["-no_nonce"][..]
    } else {
        options
    };
    let arguments = [
        &[
            "ocsp",
            "-issuer",
            &issuer,
            "-cert",
            &certificate,
            "-reqout",
            &file,
        ],
        nonce,
    ]
    .concat();
    run("openssl", &arguments);
    fs::read(&file).unwrap()
}

fn base64(octets: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(octets)
}

/// What `openssl ocsp` says of a response, without checking it.
fn describe(gnomon: &Gnomon, response: &Response) -> String {
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/ocsp-response")
    );
    // What another decoder reads is, encoded again, the same octets: DER, and nothing left over.
    let decoded = x509_ocsp::OcspResponse::from_der(&response.body).unwrap();
    assert_eq!(decoded.to_der().unwrap(), response.body);
    let file = gnomon.dir.path("response.der");
    fs::write(&file, &response.body).unwrap();
    said(
        "openssl",
        &["ocsp", "-noverify", "-resp_text", "-respin", &file],
    )
}

#[test]
fn every_form_of_get_finds_the_same_answer() {
    let gnomon = Gnomon::demo();
    let plain = base64(&request(&gnomon, "good.pem", &[]));
    let escaped = plain
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let lower = escaped
        .replace("%2B", "%2b")
        .replace("%2F", "%2f")
        .replace("%3D", "%3d");
    let all: String = plain.bytes().map(|octet| format!("%{octet:02X}")).collect();
    let for_urls = plain.replace('+', "-").replace('/', "_");
    let unpadded = plain.trim_end_matches('=').to_owned();
    let first = gnomon.get(&format!("/ocsp/{plain}"), "");
    assert!(describe(&gnomon, &first).contains("Cert Status: good"));
    for form in [plain, escaped, lower, for_urls, unpadded] {
        for prefix in ["/ocsp/", "/", "//", "/ocsp//", "///"] {
            let response = gnomon.get(&format!("{prefix}{form}"), "");
            assert_eq!(response.status, 200, "{prefix}{form}");
            assert_eq!(response.body, first.body, "{prefix}{form}");
        }
    }
    // Fully escaped, the path does not start with M and so is none of ours.
    assert_eq!(gnomon.get(&format!("/ocsp/{all}"), "").status, 404);
}

#[test]
fn caches_get_what_rfc_9919_promises() {
    let gnomon = Gnomon::demo();
    let path = format!("/ocsp/{}", base64(&request(&gnomon, "revoked.pem", &[])));
    let response = gnomon.get(&path, "");
    let text = describe(&gnomon, &response);
    let (file, etag) = (
        gnomon.dir.path("response.der"),
        response.header("etag").unwrap(),
    );
    let digest = run("openssl", &["dgst", "-sha256", "-r", &file]);
    assert_eq!(etag, format!("\"{}\"", digest.split(' ').next().unwrap()));
    // "Nov 24 11:52:39 2026 GMT" on one side, "Tue, 24 Nov 2026 11:52:39 GMT" on the other.
    for (field, header) in [
        ("This Update: ", "last-modified"),
        ("Next Update: ", "expires"),
    ] {
        let theirs = text.split(field).nth(1).unwrap().lines().next().unwrap();
        let [month, day, time, year, "GMT"] = theirs.split_whitespace().collect::<Vec<_>>()[..]
        else {
            panic!("{theirs}");
        };
        let ours = response.header(header).unwrap();
        assert!(
            ours.ends_with(&format!(" {day:0>2} {month} {year} {time} GMT")),
            "{ours} {theirs}"
        );
    }
    let cache_control = response.header("cache-control").unwrap();
    let max_age = cache_control.strip_prefix("max-age=").unwrap();
    let (max_age, rest) = max_age.split_once(", ").unwrap();
    assert_eq!(rest, "public, no-transform, must-revalidate");
    assert!((1..8 * 3600).contains(&max_age.parse::<u64>().unwrap()));

    for condition in [
        etag.to_owned(),
        "*".into(),
        format!("\"x\", {etag}"),
        format!("W/{etag}"),
    ] {
        let unchanged = gnomon.get(&path, &format!("If-None-Match: {condition}\r\n"));
        assert_eq!(
            (unchanged.status, unchanged.body.len()),
            (304, 0),
            "{condition}"
        );
        for header in ["etag", "last-modified", "expires"] {
            assert_eq!(unchanged.header(header), response.header(header));
        }
        assert!(
            unchanged
                .header("cache-control")
                .unwrap()
                .starts_with("max-age=")
        );
    }
    assert_eq!(gnomon.get(&path, "If-None-Match: \"x\"\r\n").status, 200);

    let head = format!("HEAD {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let head = http(gnomon.listen, head.as_bytes());
    assert_eq!((head.status, head.body.len()), (200, 0));
    for header in ["etag", "content-length", "content-type", "expires"] {
        assert_eq!(head.header(header), response.header(header));
    }
    // The same answer again, not a new signature.
    assert_eq!(gnomon.get(&path, "").body, response.body);
    assert!(gnomon.metric(&["gnomon_ocsp_responses_total", "sealed"]) >= 8.0);
}

#[test]
fn http_1_0_and_any_media_type_will_do() {
    let gnomon = Gnomon::demo();
    let body = request(&gnomon, "good.pem", &[]);
    let path = format!("/{}", base64(&body));
    for host in ["", "Host: test\r\n"] {
        let request = format!("GET {path} HTTP/1.0\r\n{host}\r\n");
        let response = http(gnomon.listen, request.as_bytes());
        assert!(describe(&gnomon, &response).contains("good"));
        assert!(response.header("transfer-encoding").is_none());
    }
    for media_type in [
        "application/ocsp-request",
        "Application/OCSP-Request; x=y",
        "application/octet-stream",
        "",
    ] {
        for path in ["/", "/ocsp", "/ocsp/"] {
            let response = gnomon.post(path, media_type, &body);
            assert!(
                describe(&gnomon, &response).contains("good"),
                "{media_type} {path}"
            );
            assert_eq!(response.header("etag"), None, "a POST is not cached");
        }
    }
    assert_eq!(
        gnomon
            .post("/ocsp", "application/timestamp-query", &body)
            .status,
        415
    );
    assert_eq!(
        gnomon
            .post("/tsa", "application/ocsp-request", &body)
            .status,
        415
    );
}

#[test]
fn a_nonce_is_echoed_for_this_request_alone() {
    let gnomon = Gnomon::demo();
    let body = request(&gnomon, "good.pem", &["-nonce"]);
    let first = gnomon.get(&format!("/ocsp/{}", base64(&body)), "");
    assert!(describe(&gnomon, &first).contains("OCSP Nonce"));
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.header("etag"), None);
    assert_ne!(
        gnomon.post("/ocsp", "application/ocsp-request", &body).body,
        first.body
    );

    let off = Gnomon::edited(|config| config.replacen("# nonce = true", "nonce = false", 1));
    let body = request(&off, "good.pem", &["-nonce"]);
    let response = off.get(&format!("/ocsp/{}", base64(&body)), "");
    let text = describe(&off, &response);
    assert!(
        text.contains("Cert Status: good") && !text.contains("OCSP Nonce"),
        "{text}"
    );
    assert!(
        response.header("etag").is_some(),
        "without a nonce it is like any other"
    );
}

/// A request with these CertIDs, each of a name, a key and a serial.
fn by_hand(cert_ids: &[(&Certificate, &[u8])], extensions: &[u8]) -> Vec<u8> {
    let octets = |octets: &[u8]| tlv::wrap(tag::OCTET_STRING, &[octets]);
    let single = |(issuer, serial): &(&Certificate, &[u8])| {
        let digest = DigestAlgorithm::Sha256;
        let name = octets(digest.digest(issuer.subject()).as_ref());
        let key = octets(issuer.public_key().key_hash(digest).as_ref());
        let serial = tlv::wrap(tag::INTEGER, &[serial]);
        let cert_id = tlv::wrap(tag::SEQUENCE, &[&digest.identifier(), &name, &key, &serial]);
        tlv::wrap(tag::SEQUENCE, &[&cert_id])
    };
    let list = cert_ids.iter().map(single).collect::<Vec<_>>().concat();
    let list = tlv::wrap(tag::SEQUENCE, &[&list]);
    let tbs = tlv::wrap(tag::SEQUENCE, &[&list, extensions]);
    tlv::wrap(tag::SEQUENCE, &[&tbs])
}

fn certificate(gnomon: &Gnomon, name: &str) -> Certificate {
    Certificate::read_all(&fs::read(gnomon.dir.join(name)).unwrap())
        .unwrap()
        .remove(0)
}

#[test]
fn requests_that_get_no_status_get_the_right_error() {
    let gnomon = Gnomon::demo();
    let issuing = certificate(&gnomon, "issuing.pem");
    let root = certificate(&gnomon, "ca.pem");
    let good = certificate(&gnomon, "good.pem");
    let serial: &[u8] = good.serial();
    let expect = |body: &[u8], error: &str| {
        let get = gnomon.get(&format!("/ocsp/{}", base64(body)), "");
        let post = gnomon.post("/ocsp", "application/ocsp-request", body);
        for response in [post, get] {
            // An empty request leaves a GET path that is no request.
            if body.first() != Some(&0x30) && response.status != 200 {
                continue;
            }
            let text = describe(&gnomon, &response);
            assert!(text.contains(error), "{error}: {text}");
            assert_eq!(response.body.len(), 5);
        }
    };
    expect(b"", "malformedrequest");
    expect(b"0", "malformedrequest");
    expect(&[0x30, 0], "malformedrequest");
    expect(&by_hand(&[], &[]), "malformedrequest");
    expect(&by_hand(&[(&issuing, serial); 11], &[]), "malformedrequest");
    let trailing = [by_hand(&[(&issuing, serial)], &[]), vec![0]].concat();
    expect(&trailing, "malformedrequest");
    expect(&by_hand(&[(&good, serial)], &[]), "unauthorized");
    expect(&by_hand(&[(&root, serial)], &[]), "unauthorized");
    expect(
        &by_hand(&[(&issuing, serial), (&root, serial)], &[]),
        "unauthorized",
    );
    expect(&by_hand(&[(&issuing, &[1, 2, 3])], &[]), "unauthorized");
    for broken in ["/ocsp/M", "/M***", "/ocsp/MAA", "/MFEwTzBN"] {
        let text = describe(&gnomon, &gnomon.get(broken, ""));
        assert!(text.contains("malformedrequest"), "{broken}: {text}");
    }
    // An unknown extension: only a critical one matters.
    for (flag, error) in [
        (&[][..], None),
        (&[1, 1, 0xff][..], Some("malformedrequest")),
    ] {
        let oid: &[u8] = &[6, 3, 0x2a, 3, 4];
        let extension = tlv::wrap(tag::SEQUENCE, &[oid, flag, &[4, 0]]);
        let list = tlv::wrap(tag::SEQUENCE, &[&extension]);
        let extensions = tlv::wrap(tag::context_constructed(2), &[&list]);
        let body = by_hand(&[(&issuing, serial)], &extensions);
        let response = gnomon.post("/ocsp", "application/ocsp-request", &body);
        let text = describe(&gnomon, &response);
        assert!(
            text.contains(error.unwrap_or("Cert Status: good")),
            "{text}"
        );
    }
}

#[test]
fn odd_serials_get_an_answer() {
    let gnomon = Gnomon::edited(|config| {
        config.replacen("[[issuer]]", "[[issuer]]\nunlisted = \"unknown\"", 1)
    });
    let issuing = certificate(&gnomon, "issuing.pem");
    for serial in [&[0xff][..], &[0], &[0x7f; 21], &[0x80; 30]] {
        let body = by_hand(&[(&issuing, serial)], &[]);
        let response = gnomon.post("/ocsp", "application/ocsp-request", &body);
        assert!(
            describe(&gnomon, &response).contains("Cert Status: unknown"),
            "{serial:02x?}"
        );
    }
}
