//! Each kind of time-stamp request gets exactly its answer, read by `openssl ts -reply`. The requests are
//! written octet by octet, since no client makes them all.

mod support;

use std::fs;

use der::{Decode, Encode};
use gnomon::wire::{
    algorithm::DigestAlgorithm,
    tlv::{self, tag},
};
use support::{Gnomon, run};

const NULL: &[u8] = &[5, 0];
const VERSION: &[u8] = &[2, 1, 1];
const CERT_REQ: &[u8] = &[1, 1, 0xff];

fn imprint(oid: &str, parameters: &[u8], length: usize) -> Vec<u8> {
    let oid = der::oid::ObjectIdentifier::new_unwrap(oid);
    let oid = tlv::wrap(tag::OID, &[oid.as_bytes()]);
    let algorithm = tlv::wrap(tag::SEQUENCE, &[&oid, parameters]);
    let hashed = tlv::wrap(tag::OCTET_STRING, &[&vec![7; length]]);
    tlv::wrap(tag::SEQUENCE, &[&algorithm, &hashed])
}

const SHA256: &str = "2.16.840.1.101.3.4.2.1";

fn sha256() -> Vec<u8> {
    imprint(SHA256, &[], 32)
}

fn request(parts: &[&[u8]]) -> Vec<u8> {
    tlv::wrap(tag::SEQUENCE, parts)
}

/// What `openssl ts -reply -text` says of the answer.
fn ask(gnomon: &Gnomon, body: &[u8]) -> String {
    let response = gnomon.post("/tsa", "application/timestamp-query", body);
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/timestamp-reply")
    );
    let length: usize = response.header("content-length").unwrap().parse().unwrap();
    assert_eq!(length, response.body.len(), "nothing after the DER");
    let file = gnomon.dir.path("reply.tsr");
    fs::write(&file, &response.body).unwrap();
    // The whole body is one element: OpenSSL would not notice octets behind it.
    tlv::Reader::whole(&response.body, tag::SEQUENCE).unwrap();
    run("openssl", &["ts", "-reply", "-in", &file, "-text"])
}

fn granted(gnomon: &Gnomon, body: &[u8]) -> String {
    let text = ask(gnomon, body);
    assert!(
        text.contains(
            "Status: Granted.\nStatus description: unspecified\nFailure info: unspecified"
        ),
        "{text}"
    );
    // What another decoder reads is, encoded again, the same octets: DER, and nothing left over.
    let token = gnomon.dir.path("token.der");
    let reply = gnomon.dir.path("reply.tsr");
    run(
        "openssl",
        &["ts", "-reply", "-in", &reply, "-token_out", "-out", &token],
    );
    let token = fs::read(token).unwrap();
    let info = cms::content_info::ContentInfo::from_der(&token).unwrap();
    let signed = info
        .content
        .decode_as::<cms::signed_data::SignedData>()
        .unwrap();
    assert_eq!(info.to_der().unwrap(), token);
    assert_eq!(signed.to_der().unwrap(), info.content.to_der().unwrap());
    text
}

/// The words that OpenSSL has for the failInfo bits.
const BAD_ALG: &str = "unrecognized or unsupported algorithm identifier";
const BAD_REQUEST: &str = "transaction not permitted or supported";
const BAD_DATA_FORMAT: &str = "the data submitted has the wrong format";
const UNACCEPTED_POLICY: &str = "the requested TSA policy is not supported by the TSA";
const UNACCEPTED_EXTENSION: &str = "the requested extension is not supported by the TSA";

fn rejected(gnomon: &Gnomon, body: &[u8], failure: &str) {
    let text = ask(gnomon, body);
    assert!(
        text.contains("Status: Rejected.\nStatus description: "),
        "{text}"
    );
    assert!(
        !text.contains("Status description: unspecified"),
        "why, in words: {text}"
    );
    assert!(
        text.contains(&format!("Failure info: {failure}\n")),
        "{failure}: {text}"
    );
}

#[test]
fn each_row_of_the_request_table_gets_its_answer() {
    let gnomon = Gnomon::demo();
    let gnomon = &gnomon;
    let sha256 = sha256();
    // Version.
    for version in [&[2u8, 1, 2][..], &[2, 1, 0], &[2, 1, 0xff], &[2, 2, 1, 1]] {
        rejected(gnomon, &request(&[version, &sha256]), BAD_REQUEST);
    }
    // Digest: SHA-1, MD5, SHA-224, unknown, and parameters.
    for (oid, length) in [
        ("1.3.14.3.2.26", 20),
        ("1.2.840.113549.2.5", 16),
        ("2.16.840.1.101.3.4.2.4", 28),
        ("1.2.3.4", 32),
    ] {
        rejected(
            gnomon,
            &request(&[VERSION, &imprint(oid, &[], length)]),
            BAD_ALG,
        );
    }
    for parameters in [&[4u8, 0][..], &[0x30, 0], &[2, 1, 1]] {
        rejected(
            gnomon,
            &request(&[VERSION, &imprint(SHA256, parameters, 32)]),
            BAD_ALG,
        );
    }
    // Imprint length.
    for length in [0, 31, 33, 64] {
        rejected(
            gnomon,
            &request(&[VERSION, &imprint(SHA256, &[], length)]),
            BAD_DATA_FORMAT,
        );
    }
    // Not a request.
    let good = request(&[VERSION, &sha256]);
    let trailing = [&good[..], &[0]].concat();
    let ber_length = [
        &[0x30, 0x82, 0, u8::try_from(good.len() - 2).unwrap()],
        &good[2..],
    ]
    .concat();
    let two_parameters = request(&[VERSION, &imprint(SHA256, &[5, 0, 5, 0], 32)]);
    for body in [
        &b""[..],
        b"hello",
        &[0x30, 0],
        &trailing,
        &ber_length,
        &two_parameters,
        &good[..20],
    ] {
        rejected(gnomon, body, BAD_DATA_FORMAT);
    }
    // Policy, extension.
    let policy: &[u8] = &[6, 3, 0x2a, 3, 4];
    rejected(
        gnomon,
        &request(&[VERSION, &sha256, policy]),
        UNACCEPTED_POLICY,
    );
    for critical in [&[][..], CERT_REQ] {
        let oid: &[u8] = &[6, 3, 0x2a, 3, 4];
        let extension = tlv::wrap(tag::SEQUENCE, &[oid, critical, &[4, 0]]);
        let list = tlv::wrap(tag::context_constructed(0), &[&extension]);
        rejected(
            gnomon,
            &request(&[VERSION, &sha256, &list]),
            UNACCEPTED_EXTENSION,
        );
    }
    // Two faults: the first of version, digest, length, policy, extension.
    let sha1_short = imprint("1.3.14.3.2.26", &[], 5);
    rejected(
        gnomon,
        &request(&[&[2, 1, 2], &sha1_short, policy]),
        BAD_REQUEST,
    );
    rejected(gnomon, &request(&[VERSION, &sha1_short, policy]), BAD_ALG);
    rejected(
        gnomon,
        &request(&[VERSION, &imprint(SHA256, &[], 5), policy]),
        BAD_DATA_FORMAT,
    );
}

#[test]
fn what_is_echoed_is_echoed_byte_for_byte() {
    let gnomon = Gnomon::demo();
    let contains = |octets: &[u8], part: &[u8]| octets.windows(part.len()).any(|one| one == part);
    // The imprint with and without NULL.
    for parameters in [&[][..], NULL] {
        let imprint = imprint(SHA256, parameters, 32);
        let body = request(&[VERSION, &imprint, CERT_REQ]);
        granted(&gnomon, &body);
        let response = gnomon.post("/tsa", "application/timestamp-query", &body);
        assert!(contains(&response.body, &imprint));
    }
    // Nonces: zero, negative, 8, 9, 32, 128 octets; one more is refused.
    let nonces: [&[u8]; 6] = [
        &[0],
        &[0xff],
        &[0x7f; 8],
        &[0x80; 9],
        &[0x11; 32],
        &[0x11; 128],
    ];
    for nonce in nonces {
        let nonce = tlv::wrap(tag::INTEGER, &[nonce]);
        let body = request(&[VERSION, &sha256(), &nonce]);
        granted(&gnomon, &body);
        let response = gnomon.post("/tsa", "application/timestamp-query", &body);
        assert!(contains(&response.body, &nonce));
    }
    let long = tlv::wrap(tag::INTEGER, &[&[0x11; 129]]);
    rejected(
        &gnomon,
        &request(&[VERSION, &sha256(), &long]),
        BAD_DATA_FORMAT,
    );
}

#[test]
fn cert_req_decides_over_the_certificates_field() {
    let gnomon = Gnomon::demo();
    let certificates = |cert_req: &[u8]| {
        let body = request(&[VERSION, &sha256(), cert_req]);
        granted(&gnomon, &body);
        let response = gnomon.post("/tsa", "application/timestamp-query", &body);
        let (file, token) = (gnomon.dir.path("c.tsr"), gnomon.dir.path("c.der"));
        fs::write(&file, &response.body).unwrap();
        run(
            "openssl",
            &["ts", "-reply", "-in", &file, "-token_out", "-out", &token],
        );
        let text = run(
            "openssl",
            &["pkcs7", "-inform", "DER", "-in", &token, "-print_certs"],
        );
        text.matches("BEGIN CERTIFICATE").count()
    };
    assert_eq!(
        certificates(CERT_REQ),
        2,
        "the TSU's and the intermediate, no root"
    );
    assert_eq!(certificates(&[]), 0);
    assert_eq!(certificates(&[1, 1, 0]), 0, "FALSE written out");
}

#[test]
fn gen_time_has_the_configured_precision_and_digests_follow_the_configuration() {
    let gnomon = Gnomon::edited(|config| {
        config.replacen(
            "policies = [\"2.999.3161.1\"]",
            "policies = [\"2.999.3161.1\"]\nprecision = \"s\"\naccuracy = \"2500ms\"\ndigests = [\"sha512\"]",
            1,
        )
    });
    let sha512 = imprint(
        "2.16.840.1.101.3.4.2.3",
        &[],
        DigestAlgorithm::Sha512.output_len(),
    );
    let text = granted(&gnomon, &request(&[VERSION, &sha512]));
    let time = text
        .lines()
        .find_map(|line| line.strip_prefix("Time stamp: "))
        .unwrap();
    assert!(!time.contains('.'), "{time}");
    assert!(
        text.contains("Accuracy: 0x02 seconds, 0x01F4 millis, unspecified micros"),
        "{text}"
    );
    rejected(&gnomon, &request(&[VERSION, &sha256()]), BAD_ALG);
}
