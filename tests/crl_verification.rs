//! CRLs as OpenSSL makes them, by a CA of OpenSSL's: what is taken, and what is refused.
#![allow(clippy::disallowed_methods)] // runs a CA in a folder of its own

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use gnomon::{
    revocation::{
        CrlError, Part, Retained, Scope, ScopeError, SerialStatus, Snapshot, VerifiedCrl, verify,
    },
    wire::certificate::Certificate,
};

const POINT: &str = "http://ca.example/shard-1.crl";

const SETTINGS: &str = "
[ca]
default_ca = this
[this]
database = index.txt
crlnumber = number
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 7
[plain]
authorityKeyIdentifier = keyid:always
[shard]
authorityKeyIdentifier = keyid:always
issuingDistributionPoint = critical, @point
[point]
fullname = URI:http://ca.example/shard-1.crl
onlyuser = TRUE
[reasons]
issuingDistributionPoint = critical, @some
[some]
onlysomereasons = keyCompromise
[delta]
2.5.29.27 = critical, DER:020101
[unknown]
1.2.3.4.5 = critical, DER:0500
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = Test CA
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[no_crl_sign]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
";

/// Revoked: 0A for good, 0B on hold, FEDCBA9876543210FEDCBA9876543210FEDCBA98 without a reason.
const DATABASE: &str = "\
R\t401231235959Z\t250601120000Z,keyCompromise\t0A\tunknown\t/CN=a
R\t401231235959Z\t250601120001Z,certificateHold\t0B\tunknown\t/CN=b
V\t401231235959Z\t\t0C\tunknown\t/CN=c
R\t401231235959Z\t250601120002Z\tFEDCBA9876543210FEDCBA9876543210FEDCBA98\tunknown\t/CN=d
";

struct Ca {
    folder: PathBuf,
    certificate: Certificate,
}

impl Ca {
    /// A CA in a folder of this name, with a key and a certificate made by these arguments.
    fn new(name: &str, key: &[&str], extensions: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crl-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("settings"), SETTINGS).unwrap();
        fs::write(folder.join("index.txt"), DATABASE).unwrap();
        fs::write(folder.join("number"), "1000\n").unwrap();
        openssl(
            &folder,
            &[&["genpkey", "-out", "ca.key", "-algorithm"], key].concat(),
        );
        let request =
            "req -x509 -new -key ca.key -config settings -days 3650 -out ca.pem -extensions";
        let request: Vec<_> = request.split(' ').chain([extensions]).collect();
        openssl(&folder, &request);
        let pem = fs::read(folder.join("ca.pem")).unwrap();
        let certificate = Certificate::read_all(&pem).unwrap().remove(0);
        Self {
            folder,
            certificate,
        }
    }

    fn p256(name: &str) -> Self {
        Self::new(
            name,
            &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "authority",
        )
    }

    /// A CRL in PEM form; `with` are more arguments of `openssl ca -gencrl`.
    fn crl(&self, with: &str) -> Vec<u8> {
        let arguments = format!("ca -gencrl -config settings -out crl.pem {with}");
        openssl(
            &self.folder,
            &arguments.split_whitespace().collect::<Vec<_>>(),
        );
        fs::read(self.folder.join("crl.pem")).unwrap()
    }

    fn crl_der(&self, with: &str) -> Vec<u8> {
        self.crl(with);
        openssl(
            &self.folder,
            &[
                "crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der",
            ],
        );
        fs::read(self.folder.join("crl.der")).unwrap()
    }

    fn judged(&self, crl: &[u8], point: Option<&str>) -> Result<VerifiedCrl, CrlError> {
        verify(crl, &self.certificate, point)
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn der_and_pem_say_the_same() {
    let ca = Ca::p256("forms");
    let der = ca.crl_der("-crlexts plain");
    let pem = fs::read(ca.folder.join("crl.pem")).unwrap();
    let from_der = ca.judged(&der, None).unwrap();
    let from_pem = ca.judged(&pem, None).unwrap();
    assert_eq!(from_der.digest(), from_pem.digest());
    assert_eq!(from_der.number(), Some(&[0x10, 0x00][..]));
    assert_eq!(from_der.len(), 3);

    let now = from_der.this_update();
    let seven_days = from_der.next_update().since(now);
    assert_eq!(seven_days, 7 * 86_400);
    let snapshot = Snapshot::new(vec![Some(Part::new(from_der, Retained::default()))], None);
    let found = |serial: &[u8]| match snapshot.status(serial, now) {
        SerialStatus::Revoked { time, reason } => Some((time.to_string(), reason)),
        SerialStatus::Unlisted => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        found(&[0x0a]),
        Some(("2025-06-01T12:00:00Z".into(), Some(1)))
    );
    assert_eq!(
        found(&[0x0b]),
        Some(("2025-06-01T12:00:01Z".into(), Some(6)))
    );
    assert_eq!(found(&[0x0c]), None);
    let long = [
        0, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54,
        0x32, 0x10, 0xfe, 0xdc, 0xba, 0x98,
    ];
    assert_eq!(found(&long), Some(("2025-06-01T12:00:02Z".into(), None)));
    assert_eq!(found(&long[1..]), None);
}

#[test]
fn every_kind_of_key_verifies() {
    for (name, key, with) in [
        (
            "p384",
            &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..],
            "-md sha384",
        ),
        ("rsa", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], ""),
        (
            "pss",
            &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest",
        ),
        ("ed25519", &["ED25519"], "-md null"),
    ] {
        let ca = Ca::new(name, key, "authority");
        let result = ca.judged(&ca.crl(with), None);
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    let ca = Ca::new(
        "sha1",
        &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "authority",
    );
    let result = ca.judged(&ca.crl("-md sha1"), None);
    assert_eq!(result.unwrap_err(), CrlError::UnsupportedAlgorithm);
}

#[test]
fn an_empty_list_and_a_v1_list_are_taken() {
    let ca = Ca::p256("empty");
    fs::write(ca.folder.join("index.txt"), "").unwrap();
    assert!(ca.judged(&ca.crl(""), None).unwrap().is_empty());
    fs::write(
        ca.folder.join("index.txt"),
        "R\t401231235959Z\t250601120000Z\t0A\tunknown\t/CN=a\n",
    )
    .unwrap();
    let without_number = SETTINGS.replace("crlnumber = number\n", "");
    fs::write(ca.folder.join("settings"), without_number).unwrap();
    let v1 = ca.judged(&ca.crl(""), None).unwrap();
    assert_eq!((v1.number(), v1.len()), (None, 1));
}

#[test]
fn another_ca_s_list_is_refused() {
    let (ca, namesake) = (Ca::p256("issuer"), Ca::p256("namesake"));
    let crl = ca.crl("");
    assert!(matches!(
        namesake.judged(&crl, None),
        Err(CrlError::Signature(_))
    ));
    let other = ca.folder.join("other.pem");
    openssl(
        &ca.folder,
        &[
            "req",
            "-x509",
            "-new",
            "-key",
            "ca.key",
            "-config",
            "settings",
            "-subj",
            "/CN=Other",
            "-out",
            "other.pem",
        ],
    );
    let other = Certificate::read_all(&fs::read(other).unwrap())
        .unwrap()
        .remove(0);
    assert!(matches!(
        verify(&crl, &other, None),
        Err(CrlError::OtherIssuer(_))
    ));
}

#[test]
fn a_ca_that_may_not_sign_lists_is_refused() {
    let curve = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let ca = Ca::new("usage", &curve, "no_crl_sign");
    // OpenSSL itself signs whatever it is told to.
    assert!(matches!(
        ca.judged(&ca.crl(""), None),
        Err(CrlError::NoCrlSign(_))
    ));
}

#[test]
fn a_truncated_or_changed_list_is_refused() {
    let ca = Ca::p256("truncated");
    let der = ca.crl_der("-crlexts plain");
    for length in 0..der.len() {
        assert!(ca.judged(&der[..length], None).is_err(), "{length}");
        let mut changed = der.clone();
        changed[length] ^= 0x10;
        assert!(ca.judged(&changed, None).is_err(), "{length}");
    }
    let pem = ca.crl("");
    // The last octet is a line's end.
    for length in 0..pem.len() - 1 {
        assert!(ca.judged(&pem[..length], None).is_err(), "{length}");
    }
}

#[test]
fn the_distribution_point_is_the_configured_one() {
    let ca = Ca::p256("point");
    let (shard, plain) = (ca.crl("-crlexts shard"), ca.crl("-crlexts plain"));
    let taken = ca.judged(&shard, Some(POINT)).unwrap();
    assert_eq!(taken.scope(), Scope::UserCertificates);
    let refused = |crl: &[u8], point| match ca.judged(crl, point) {
        Err(CrlError::Scope(error)) => error,
        other => panic!("{other:?}"),
    };
    let unconfigured = refused(&shard, None);
    assert!(unconfigured.to_string().contains(POINT), "{unconfigured}");
    assert!(matches!(
        refused(&shard, Some("http://ca.example/")),
        ScopeError::OtherName { .. }
    ));
    assert!(matches!(
        refused(&plain, Some(POINT)),
        ScopeError::NoName(_)
    ));
    assert_eq!(
        refused(&ca.crl("-crlexts reasons"), None),
        ScopeError::SomeReasons
    );
}

#[test]
fn deltas_and_what_is_critical_and_unknown_are_refused() {
    let ca = Ca::p256("critical");
    assert_eq!(
        ca.judged(&ca.crl("-crlexts delta"), None).unwrap_err(),
        CrlError::Delta
    );
    let error = ca.judged(&ca.crl("-crlexts unknown"), None).unwrap_err();
    assert!(error.to_string().contains("1.2.3.4.5"), "{error}");
}

#[test]
fn a_number_does_not_go_back() {
    let ca = Ca::p256("number");
    let read = |crl: &[u8]| ca.judged(crl, None).unwrap();
    let (first, second) = (ca.crl(""), ca.crl(""));
    let (first, second) = (read(&first), read(&second));
    assert_eq!(first.mark().admits(&second.mark()), Ok(()));
    assert!(matches!(
        second.mark().admits(&first.mark()),
        Err(CrlError::NumberWentBack { .. })
    ));
    fs::write(ca.folder.join("number"), "1001\n").unwrap();
    let same = read(&ca.crl("-crldays 3"));
    assert!(matches!(
        second.mark().admits(&same.mark()),
        Err(CrlError::SameNumber(_))
    ));
}
