//! Responses judged as a client does, for stapling: ours and OpenSSL's hold, and none does that was altered by an octet,
//! cut, is of another certificate or another time.

mod support;

use std::fs;

use gnomon::{
    ocsp::verify::{VerifyError, verify},
    wire::{certificate::Certificate, ocsp_client, time::Seconds},
};
use support::{Folder, Gnomon, ca::Ca, https::P256, issue_responder, prepare, run};

fn certificate(dir: &Folder, name: &str) -> Certificate {
    let content = fs::read(dir.join(name)).unwrap();
    Certificate::read_all(&content).unwrap().remove(0)
}

fn now() -> Seconds {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    Seconds::new(now.as_secs())
}

fn asked(gnomon: &Gnomon, name: &str) -> Vec<u8> {
    let issuer = certificate(&gnomon.dir, "issuing.pem");
    let request = ocsp_client::request(&certificate(&gnomon.dir, name), &issuer);
    gnomon
        .post("/ocsp", "application/ocsp-request", &request)
        .body
}

/// The line of `openssl ca`'s index about a certificate that is not revoked.
fn entry(certificate: &Certificate) -> String {
    let serial = hex::encode_upper(certificate.serial());
    let serial = serial.trim_start_matches("00");
    format!("V\t350101000000Z\t\t{serial}\tunknown\t/CN=good\n")
}

/// What OpenSSL says to `request.der` by this index, signed by a certificate and key of these names.
fn responded(dir: &Folder, index: &str, signer: (&str, &str), options: &[&str]) -> Vec<u8> {
    fs::write(dir.join("other.txt"), index).unwrap();
    let path = |name: &str| dir.path(name);
    let (request, index, ca) = (path("request.der"), path("other.txt"), path("issuing.pem"));
    let (certificate, key) = (
        path(&format!("{}.pem", signer.0)),
        path(&format!("{}.key", signer.1)),
    );
    let out = path("response.der");
    run(
        "openssl",
        &[
            &["ocsp", "-reqin", &request, "-index", &index, "-CA", &ca][..],
            &["-rsigner", &certificate, "-rkey", &key, "-respout", &out],
            options,
        ]
        .concat(),
    );
    fs::read(dir.join("response.der")).unwrap()
}

#[test]
fn only_what_was_signed_holds_and_only_in_its_time() {
    let gnomon = Gnomon::demo();
    let dir = &gnomon.dir;
    let (issuer, good) = (
        certificate(dir, "issuing.pem"),
        certificate(dir, "good.pem"),
    );
    let response = asked(&gnomon, "good.pem");
    let holds = verify(&response, &good, &issuer, now()).unwrap();
    assert!(holds.from <= now() && now() < holds.until);
    for index in 0..response.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut altered = response.clone();
            altered[index] ^= bit;
            assert!(
                verify(&altered, &good, &issuer, now()).is_err(),
                "octet {index} by {bit:x}"
            );
        }
        assert!(verify(&response[..index], &good, &issuer, now()).is_err());
    }
    assert!(verify(&[&response[..], &[0]].concat(), &good, &issuer, now()).is_err());

    let at = |when| verify(&response, &good, &issuer, when);
    assert!(matches!(at(holds.until), Err(VerifyError::NotNow { .. })));
    assert!(at(holds.from.minus(3_600)).is_err());
    let revoked = certificate(dir, "revoked.pem");
    assert_eq!(
        verify(&response, &revoked, &issuer, now()),
        Err(VerifyError::Other)
    );
    let said = asked(&gnomon, "revoked.pem");
    let judged = verify(&said, &revoked, &issuer, now());
    assert!(matches!(judged, Err(VerifyError::Revoked(_))), "{judged:?}");
    let root = certificate(dir, "ca.pem");
    assert_eq!(
        verify(&response, &good, &root, now()),
        Err(VerifyError::Other)
    );
    // What is signed for nobody.
    let refused = gnomon.post("/ocsp", "application/ocsp-request", b"0").body;
    let judged = verify(&refused, &good, &issuer, now()).unwrap_err();
    assert_eq!(judged.to_string(), "the responder says `malformedRequest`");
}

#[test]
fn openssl_reads_our_requests_and_we_its_responses() {
    let gnomon = Gnomon::demo();
    let dir = &gnomon.dir;
    let (issuer, good) = (
        certificate(dir, "issuing.pem"),
        certificate(dir, "good.pem"),
    );
    fs::write(
        dir.join("request.der"),
        ocsp_client::request(&good, &issuer),
    )
    .unwrap();
    Ca::new(dir);
    let entry = entry(&good);
    let minutes = ["-nmin", "5"];
    for (index, signer, expected) in [
        (entry.as_str(), "issuing", Ok(())),
        (&entry, "ocsp", Ok(())),
        // It belongs to the CA, but is not for OCSP.
        (&entry, "good", Err(VerifyError::Signer)),
        ("", "ocsp", Err(VerifyError::Unknown)),
    ] {
        let response = responded(dir, index, (signer, signer), &minutes);
        let judged = verify(&response, &good, &issuer, now());
        assert_eq!(judged.map(|_| ()), expected, "{signer}");
    }
    // It is named by its key where that is wanted.
    let by_key = [&minutes[..], &["-resp_key_id"]].concat();
    let response = responded(dir, &entry, ("ocsp", "ocsp"), &by_key);
    assert!(verify(&response, &good, &issuer, now()).is_ok());
    // Without a nextUpdate nobody knows when to let it go.
    let response = responded(dir, &entry, ("ocsp", "ocsp"), &[]);
    assert_eq!(
        verify(&response, &good, &issuer, now()),
        Err(VerifyError::Endless)
    );
}

#[test]
fn a_responder_whose_certificate_has_ended_is_not_heard() {
    let dir = Folder::new();
    prepare(&dir);
    issue_responder(&dir, "own", &P256);
    let path = |name: &str| dir.path(name);
    let (issuer, good) = (
        certificate(&dir, "issuing.pem"),
        certificate(&dir, "good.pem"),
    );
    fs::write(
        dir.join("request.der"),
        ocsp_client::request(&good, &issuer),
    )
    .unwrap();
    // The same key in a certificate that is over, and under another name.
    run(
        "openssl",
        &[
            "req",
            "-new",
            "-key",
            &path("own.key"),
            "-subj",
            "/CN=ended",
            "-out",
            &path("ended.csr"),
        ],
    );
    let (ca, key) = (path("issuing.pem"), path("issuing.key"));
    run(
        "faketime",
        &[
            &["2020-01-01", "openssl", "x509", "-req", "-days", "30"][..],
            &["-in", &path("ended.csr"), "-CA", &ca, "-CAkey", &key],
            &["-extfile", &path("own.ext"), "-out", &path("ended.pem")],
        ]
        .concat(),
    );
    let judged = |signer: &str, options: &[&str]| {
        let options = [&["-nmin", "5"], options].concat();
        let response = responded(&dir, &entry(&good), (signer, "own"), &options);
        verify(&response, &good, &issuer, now()).map(|_| ())
    };
    assert_eq!(judged("own", &[]), Ok(()));
    assert_eq!(judged("ended", &[]), Err(VerifyError::Signer));
    // The other certificate of the key beside it helps only where the response is by the key.
    let own = path("own.pem");
    assert_eq!(
        judged("ended", &["-rother", &own]),
        Err(VerifyError::Signer)
    );
    assert_eq!(judged("ended", &["-rother", &own, "-resp_key_id"]), Ok(()));
}
