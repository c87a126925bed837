//! Replies of other TSAs as anchors: those that `openssl ts` makes are taken, and not with a single octet
//! altered; what a TSA or a CA may not do is refused, each by its name. Keys and certificates are OpenSSL's.

mod support;

use std::{
    fs,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use gnomon::{
    audit::anchor::{AnchorError, Anchored, NONCE, check_nonce, request, verify, verify_unchained},
    audit::path::PathError,
    wire::{
        algorithm::SignatureAlgorithm,
        certificate::{Certificate, pem_blocks},
        cms::TokenTemplate,
        tlv::{self, tag},
        tsp,
        tst_info::{Precision, TstInfo},
    },
};
use support::{Folder, Gnomon, run, wait_for};

const NOTE: &[u8] = b"log.example/a\n70000\nAwMD\n\n\xe2\x80\x94 log.example/a AAAA\n";
const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign";
const TSA: &str = "extendedKeyUsage=critical,timeStamping";

/// Certificates made by OpenSSL, in a folder.
struct Pki(Folder);

impl Pki {
    /// A root, with nothing below it yet.
    fn new(algorithm: &[&str]) -> Self {
        let pki = Self(Folder::new());
        pki.issue("root", "root", algorithm, CA, &[]);
        pki
    }

    /// Makes `NAME.key` and `NAME.pem`, issued by another or by itself.
    fn issue(
        &self,
        name: &str,
        issuer: &str,
        algorithm: &[&str],
        extensions: &str,
        options: &[&str],
    ) {
        let path = |end: &str| self.0.path(&format!("{name}.{end}"));
        let (key, csr, pem, ext) = (path("key"), path("csr"), path("pem"), path("ext"));
        fs::write(&ext, extensions).unwrap();
        run(
            "openssl",
            &[&["genpkey", "-out", &key][..], algorithm].concat(),
        );
        let subject = format!("/O=Other/CN={name}");
        run(
            "openssl",
            &["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr],
        );
        let (ca, ca_key) = (
            self.0.path(&format!("{issuer}.pem")),
            self.0.path(&format!("{issuer}.key")),
        );
        let by: &[&str] = match name == issuer {
            true => &["-signkey", &key],
            false => &["-CA", &ca, "-CAkey", &ca_key],
        };
        let fixed = [
            "x509", "-req", "-in", &csr, "-extfile", &ext, "-out", &pem, "-days", "30",
        ];
        run("openssl", &[&fixed, by, options].concat());
    }

    fn certificate(&self, name: &str) -> Certificate {
        let content = fs::read(self.0.join(format!("{name}.pem"))).unwrap();
        Certificate::read_all(&content).unwrap().remove(0)
    }

    fn trust(&self) -> Vec<Certificate> {
        vec![self.certificate("root")]
    }

    /// `openssl ts -reply` to our own request, by `tsa.key`.
    fn openssl(&self, binding: &str, digest: &str) -> Vec<u8> {
        let path = |name: &str| self.0.path(name);
        fs::write(path("q.tsq"), request(NOTE, &[0, 0x80, 1, 2, 3, 4, 5, 6])).unwrap();
        let chain = fs::read_to_string(path("ca.pem")).unwrap();
        fs::write(path("chain.pem"), chain).unwrap();
        let config = format!(
            "[tsa]\ndefault_tsa = it\n[it]\nserial = {}\nsigner_cert = {}\ncerts = {}\nsigner_key = {}\n\
             signer_digest = {digest}\ndefault_policy = 1.2.3.4\ndigests = sha256\naccuracy = secs:1\n\
             ordering = yes\ntsa_name = yes\ness_cert_id_chain = no\ness_cert_id_alg = {binding}\n\
             clock_precision_digits = 3\n",
            path("serial"),
            path("tsa.pem"),
            path("chain.pem"),
            path("tsa.key"),
        );
        fs::write(path("ts.cnf"), config).unwrap();
        let (config, query, reply) = (path("ts.cnf"), path("q.tsq"), path("r.tsr"));
        run(
            "openssl",
            &[
                "ts",
                "-reply",
                "-config",
                &config,
                "-queryfile",
                &query,
                "-out",
                &reply,
            ],
        );
        fs::read(path("r.tsr")).unwrap()
    }

    /// A reply that `openssl ts` would not make: by the P-256 key of `signer`, with these certificates.
    fn reply(&self, signer: &str, with: &[&str], edit: impl FnOnce(&mut TstInfo<'_>)) -> Vec<u8> {
        let pem = fs::read(self.0.join(format!("{signer}.key"))).unwrap();
        let key = pem_blocks(&pem, "PRIVATE KEY").unwrap().remove(0);
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key).unwrap();
        let chain: Vec<_> = with.iter().map(|name| self.certificate(name)).collect();
        let template = TokenTemplate::new(
            &self.certificate(signer),
            &chain,
            SignatureAlgorithm::EcdsaSha256,
        );
        let imprint = request(NOTE, &[1; NONCE]);
        let imprint = tsp::TimeStampReq::parse(&imprint).unwrap().imprint.to_vec();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut info = TstInfo {
            policy: &[0x2a, 3],
            imprint: &imprint,
            serial: &[1],
            gen_time: now.unwrap(),
            precision: Precision::Millis,
            accuracy: &[],
            nonce: None,
            tsa: &[],
            extensions: &[],
        };
        edit(&mut info);
        let info = info.encode();
        let attributes = template.attributes(&info);
        let signature = key.sign(&SystemRandom::new(), &attributes).unwrap();
        tsp::granted(&template.token(&info, &attributes, signature.as_ref(), true))
    }

    /// The reply of `tsa`, which `ca` has issued, and what is wrong with it.
    fn refusal(&self, with: &[&str]) -> String {
        let reply = self.reply("tsa", with, |_| {});
        let error = verify(&reply, NOTE, &self.trust()).unwrap_err();
        error.to_string()
    }
}

fn taken(reply: &[u8], trust: &[Certificate]) -> Anchored {
    verify(reply, NOTE, trust).unwrap_or_else(|error| panic!("{error}"))
}

/// No octet of the reply can be another; the root is not among its certificates, so all of it counts. With all
/// 255 other values (some minutes) there is one exception: the last octet of rsaEncryption's OID can become that
/// of shaNWithRSAEncryption or the other way round, two names of the same signature.
fn check_every_octet(reply: &[u8], trust: &[Certificate]) {
    taken(reply, trust);
    let mut altered = reply.to_vec();
    for at in 0..reply.len() {
        for mask in [0x01, 0x02, 0x20, 0x80, 0xff] {
            altered[at] ^= mask;
            let verified = verify(&altered, NOTE, trust);
            assert!(
                verified.is_err(),
                "octet {at} with {mask:#04x}: {verified:?}"
            );
            altered[at] ^= mask;
        }
        assert!(verify(&reply[..at], NOTE, trust).is_err(), "cut at {at}");
    }
}

#[test]
fn replies_of_openssl_are_taken_and_not_with_any_octet_altered() {
    for (algorithm, digest, binding) in [
        (RSA, "sha256", "sha256"),
        (RSA, "sha512", "sha384"),
        (P256, "sha256", "sha256"),
        (P256, "sha384", "sha1"),
    ] {
        let pki = Pki::new(algorithm);
        pki.issue("ca", "root", algorithm, CA, &[]);
        pki.issue("tsa", "ca", algorithm, TSA, &[]);
        let reply = pki.openssl(binding, digest);
        let trust = pki.trust();
        let anchored = taken(&reply, &trust);
        assert!(anchored.tsa.contains("CN=tsa"), "{anchored:?}");
        assert!(anchored.trusted.unwrap().contains("CN=root"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        assert!(now.unwrap().abs_diff(anchored.gen_time) < Duration::from_secs(60));
        check_nonce(&reply, &[0, 0x80, 1, 2, 3, 4, 5, 6]).unwrap();
        for nonce in [[0, 0x80, 1, 2, 3, 4, 5, 7], [0; NONCE]] {
            assert_eq!(check_nonce(&reply, &nonce), Err(AnchorError::Nonce));
        }
        check_every_octet(&reply, &trust);

        let other = [NOTE, b"\n"].concat();
        assert_eq!(verify(&reply, &other, &trust), Err(AnchorError::Imprint));
        let stranger = Pki::new(P256);
        for trust in [stranger.trust(), vec![]] {
            let error = verify(&reply, NOTE, &trust).unwrap_err();
            assert!(matches!(
                error,
                AnchorError::Path(PathError::NoIssuer { .. })
            ));
        }
        // Nobody is trusted, and the answer says so.
        let unchained = verify_unchained(&reply, NOTE).unwrap();
        assert_eq!(unchained.trusted, None);
        assert_eq!(verify_unchained(&reply, &other), Err(AnchorError::Imprint));
        // An issuing CA or the TSA's own certificate may be trusted as well.
        for name in ["ca", "tsa"] {
            let anchored = taken(&reply, &[pki.certificate(name)]);
            assert!(anchored.trusted.unwrap().contains(name));
        }
    }
}

#[test]
fn our_own_tokens_are_taken_and_not_with_any_octet_altered() {
    let gnomon = Gnomon::demo();
    let root = fs::read(gnomon.dir.join("ca.pem")).unwrap();
    let trust = Certificate::read_all(&root).unwrap();
    for path in ["/tsa", "/tsa/rsa"] {
        let query = request(NOTE, &[9; NONCE]);
        let reply = gnomon.post(path, "application/timestamp-query", &query);
        check_nonce(&reply.body, &[9; NONCE]).unwrap();
        check_every_octet(&reply.body, &trust);
    }
}

#[test]
fn only_a_tsa_certificate_of_rfc_3161_will_do() {
    for (extensions, expected) in [
        (TSA, None),
        ("extendedKeyUsage=timeStamping", Some("is no TSA's")),
        (
            "extendedKeyUsage=critical,timeStamping,clientAuth",
            Some("is no TSA's"),
        ),
        ("extendedKeyUsage=critical,clientAuth", Some("is no TSA's")),
        ("subjectKeyIdentifier=hash", Some("is no TSA's")),
        (
            "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,keyAgreement",
            Some("is no TSA's"),
        ),
        (
            "extendedKeyUsage=critical,timeStamping\n1.2.3.4=critical,DER:0500",
            Some("critical extension 1.2.3.4"),
        ),
    ] {
        let pki = Pki::new(P256);
        pki.issue("tsa", "root", P256, extensions, &[]);
        match expected {
            None => drop(taken(&pki.reply("tsa", &[], |_| {}), &pki.trust())),
            Some(expected) => {
                let said = pki.refusal(&[]);
                assert!(said.contains(expected), "{extensions}: {said}");
            }
        }
    }
}

#[test]
fn every_certificate_was_valid_at_gen_time() {
    let pki = Pki::new(P256);
    pki.issue("tsa", "root", P256, TSA, &[]);
    let days = Duration::from_secs(86_400 * 31);
    for (early, late) in [(days, Duration::ZERO), (Duration::ZERO, days)] {
        let reply = pki.reply("tsa", &[], |info| {
            info.gen_time = info.gen_time + late - early;
        });
        let said = verify(&reply, NOTE, &pki.trust()).unwrap_err().to_string();
        assert!(
            said.contains("CN=tsa") && said.contains("and not at"),
            "{said}"
        );
    }
    let pki = Pki::new(P256);
    pki.issue("ca", "root", P256, CA, &["-days", "1"]);
    pki.issue("tsa", "ca", P256, TSA, &[]);
    let reply = pki.reply("tsa", &["ca"], |info| {
        info.gen_time += Duration::from_secs(2 * 86_400);
    });
    let said = verify(&reply, NOTE, &pki.trust()).unwrap_err().to_string();
    assert!(
        said.contains("CN=ca") && said.contains("and not at"),
        "{said}"
    );
}

#[test]
fn only_cas_stand_above_the_tsa() {
    for (extensions, expected) in [
        (CA, None),
        ("basicConstraints=critical,CA:TRUE", None),
        ("keyUsage=critical,keyCertSign", Some("is no CA's")),
        ("basicConstraints=critical,CA:FALSE", Some("is no CA's")),
        (
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign",
            Some("may not sign certificates"),
        ),
        (
            "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=clientAuth",
            Some("for this purpose"),
        ),
        (
            "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=clientAuth,timeStamping",
            None,
        ),
        (
            "basicConstraints=critical,CA:TRUE\nnameConstraints=critical,excluded;dirName:ex\n[ex]\nO=X",
            Some("critical extension 2.5.29.30"),
        ),
    ] {
        let pki = Pki::new(P256);
        pki.issue("ca", "root", P256, extensions, &[]);
        pki.issue("tsa", "ca", P256, TSA, &[]);
        match expected {
            None => drop(taken(&pki.reply("tsa", &["ca"], |_| {}), &pki.trust())),
            Some(expected) => {
                let said = pki.refusal(&["ca"]);
                assert!(said.contains(expected), "{extensions}: {said}");
            }
        }
        let said = pki.refusal(&[]);
        assert!(said.contains("nobody in the trust file"), "{said}");
    }
    let pki = Pki::new(P256);
    let limited = format!("{CA}\n").replace("TRUE", "TRUE,pathlen:0");
    pki.issue("upper", "root", P256, &limited, &[]);
    pki.issue("ca", "upper", P256, CA, &[]);
    pki.issue("tsa", "ca", P256, TSA, &[]);
    let said = pki.refusal(&["ca", "upper"]);
    assert!(said.contains("path length"), "{said}");
}

#[test]
fn a_path_is_found_among_many_and_never_searched_for_without_end() {
    // The same name for all: every certificate might have issued every other.
    let pki = Pki::new(P256);
    let same = |name: &str, issuer: &str, extensions: &str| {
        pki.issue(name, issuer, P256, extensions, &["-set_serial", "7"]);
    };
    for name in ["a", "b", "c"] {
        same(name, "root", CA);
    }
    pki.issue("ca", "b", P256, CA, &[]);
    pki.issue("tsa", "ca", P256, TSA, &[]);
    let reply = pki.reply("tsa", &["a", "c", "b", "ca", "root"], |_| {});
    taken(&reply, &pki.trust());
    // A ring of two that issued one another leads nowhere.
    let ring = Pki::new(P256);
    ring.issue("x", "root", P256, CA, &[]);
    let cross = |to: &str, by: &str, out: &str| {
        let path = |name: &str| ring.0.path(name);
        fs::write(path("ring.ext"), CA).unwrap();
        let (csr, ca, key) = (
            path(&format!("{to}.csr")),
            path(&format!("{by}.pem")),
            path(&format!("{by}.key")),
        );
        let (ext, out) = (path("ring.ext"), path(out));
        run(
            "openssl",
            &[
                "x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &key, "-extfile", &ext, "-out",
                &out,
            ],
        );
    };
    ring.issue("y", "x", P256, CA, &[]);
    cross("x", "y", "x-by-y.pem");
    ring.issue("tsa", "y", P256, TSA, &[]);
    let reply = ring.reply("tsa", &["y", "x-by-y"], |_| {});
    let error = verify(&reply, NOTE, &pki.trust()).unwrap_err();
    assert_eq!(error, AnchorError::Path(PathError::TooLong));
}

#[test]
fn what_the_stamp_says_is_judged() {
    let pki = Pki::new(P256);
    pki.issue("tsa", "root", P256, TSA, &[]);
    let trust = pki.trust();
    const CRITICAL: [u8; 11] = [0xa1, 9, 0x30, 7, 6, 2, 0x2a, 3, 1, 1, 0xff];
    let reply = pki.reply("tsa", &[], |info| info.extensions = &CRITICAL);
    assert_eq!(verify(&reply, NOTE, &trust), Err(AnchorError::Extension));
    // An imprint by SHA-1 proves nothing any more.
    let sha1 = tlv::wrap(tag::SEQUENCE, &[&[6, 5, 0x2b, 14, 3, 2, 26]]);
    let digest = gnomon::wire::algorithm::DigestAlgorithm::Sha1.digest(NOTE);
    let hashed = tlv::wrap(tag::OCTET_STRING, &[digest.as_ref()]);
    let imprint: &'static [u8] = tlv::wrap(tag::SEQUENCE, &[&sha1, &hashed]).leak();
    let reply = pki.reply("tsa", &[], |info| info.imprint = imprint);
    assert_eq!(verify(&reply, NOTE, &trust), Err(AnchorError::Imprint));
    // No nonce, or a negative one, is not ours.
    let reply = pki.reply("tsa", &[], |_| {});
    assert_eq!(check_nonce(&reply, &[1; NONCE]), Err(AnchorError::Nonce));
    let reply = pki.reply("tsa", &[], |info| info.nonce = Some(&[0x80; NONCE]));
    assert_eq!(check_nonce(&reply, &[0x80; NONCE]), Err(AnchorError::Nonce));
}

#[test]
fn the_signers_certificate_is_there_and_the_one_that_was_signed_for() {
    let pki = Pki::new(P256);
    let numbered = ["-set_serial", "7"];
    pki.issue("tsa", "root", P256, TSA, &numbered);
    let reply = pki.reply("tsa", &[], |_| {});
    taken(&reply, &pki.trust());
    let der = pki.certificate("tsa").der().clone();
    // Of the same issuer, with the same number, and so long that no length around it changes.
    let other = wait_for("a certificate of the same length", || {
        pki.issue("tsb", "root", P256, TSA, &numbered);
        Some(pki.certificate("tsb").der().clone()).filter(|other| other.len() == der.len())
    });
    let at = reply.windows(der.len()).position(|window| window == der);
    let mut forged = reply.clone();
    forged[at.unwrap()..][..der.len()].copy_from_slice(&other);
    let error = verify(&forged, NOTE, &pki.trust()).unwrap_err();
    assert!(
        matches!(&error, AnchorError::Binding(name) if name.contains("CN=tsb")),
        "{error}"
    );
    // A token without certificates, as an authority gives it that passes over certReq.
    let gnomon = Gnomon::demo();
    let mut query = request(NOTE, &[9; NONCE]);
    query.truncate(query.len() - 3);
    query[1] -= 3;
    let reply = gnomon.post("/tsa", "application/timestamp-query", &query);
    assert_eq!(
        verify_unchained(&reply.body, NOTE),
        Err(AnchorError::NoCertificate)
    );
}
