//! The demo's PKI as OpenSSL sees it, and what a later start keeps or renews.

#![allow(clippy::disallowed_methods)] // makes and reads files, as a user would

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use gnomon::{
    cli::demo::{self, DemoError, Prepared},
    config::Config,
    wire::{certificate::Certificate, time::Seconds},
};

const DAY: u64 = 86_400;
const LEAVES: [&str; 7] = [
    "tsu-ecdsa",
    "tsu-rsa",
    "ocsp",
    "good",
    "revoked",
    "held",
    "signer",
];

/// A folder of its own that goes when it is dropped.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("gnomon {name} {}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn start(&self, now: Seconds) -> Prepared {
        self.try_start("127.0.0.1:3180", now).unwrap()
    }

    fn try_start(&self, listen: &str, now: Seconds) -> Result<Prepared, DemoError> {
        let admin = "127.0.0.1:9180".parse().unwrap();
        demo::prepare(&self.0, listen.parse().unwrap(), admin, None, now)
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(&self.0).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn certificate(&self, stem: &str) -> Certificate {
        let content = fs::read(self.0.join(format!("{stem}.pem"))).unwrap();
        Certificate::read_all(&content).unwrap().remove(0)
    }

    /// Runs OpenSSL here; its output must not be a failure's.
    fn openssl(&self, arguments: &str) -> String {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(&self.0)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {text}");
        text
    }

    fn crl_number(&self) -> u64 {
        let text = self.openssl("crl -in issuing.crl -inform DER -noout -crlnumber");
        let hex = text.trim().split("0x").nth(1).unwrap();
        u64::from_str_radix(hex, 16).unwrap()
    }

    /// Serials on the CRL, as OpenSSL prints them.
    fn revoked(&self) -> Vec<String> {
        let text = self.openssl("crl -in issuing.crl -inform DER -noout -text");
        let serials = text.lines().filter_map(|line| {
            let serial = line.trim().strip_prefix("Serial Number: ")?;
            Some(serial.to_ascii_lowercase())
        });
        serials.collect()
    }

    fn serial(&self, stem: &str) -> String {
        hex::encode(self.certificate(stem).serial())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn now() -> Seconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Seconds::new(since.as_secs())
}

fn changed(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let differs = |(name, content): &(&String, &Vec<u8>)| before.get(*name) != Some(content);
    let names = after.iter().filter(differs).map(|(name, _)| name.clone());
    names.collect()
}

#[test]
fn openssl_accepts_every_certificate_for_its_purpose() {
    let demo = Temp::new("purposes");
    demo.start(now());
    for (file, purpose) in [
        ("tsu-ecdsa", "timestampsign"),
        ("tsu-rsa", "timestampsign"),
        ("ocsp", "ocsphelper"),
        ("good", "sslserver"),
        ("good", "sslclient"),
        ("revoked", "sslserver"),
        ("held", "sslserver"),
        ("signer", "smimesign"),
    ] {
        let text = demo.openssl(&format!(
            "verify -x509_strict -CAfile ca.pem -untrusted issuing.pem -purpose {purpose} {file}.pem"
        ));
        assert!(text.contains(": OK"), "{text}");
    }
    demo.openssl("verify -x509_strict -check_ss_sig -CAfile ca.pem ca.pem");
    let text = demo.openssl("crl -in issuing.crl -inform DER -CAfile chain.pem -noout");
    assert!(text.contains("verify OK"), "{text}");
    // The CRL's verdict on each, in a chain.
    demo.openssl("crl -in issuing.crl -inform DER -out crl.pem");
    demo.openssl("verify -crl_check -CAfile chain.pem -CRLfile crl.pem good.pem");
    let output = Command::new("openssl")
        .args("verify -crl_check -CAfile chain.pem -CRLfile crl.pem revoked.pem".split(' '))
        .current_dir(&demo.0)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("certificate revoked"));
}

#[test]
fn the_certificates_say_what_they_are_for() {
    let demo = Temp::new("contents");
    demo.start(now());
    let expected: [(&str, &[&str]); 6] = [
        (
            "ca",
            &[
                "Public-Key: (384 bit)",
                "ecdsa-with-SHA384",
                "X509v3 Basic Constraints: critical",
                "CA:TRUE",
                "X509v3 Key Usage: critical",
                "Certificate Sign, CRL Sign",
            ],
        ),
        ("issuing", &["CA:TRUE, pathlen:0", "Public-Key: (256 bit)"]),
        (
            "tsu-rsa",
            &[
                "Public-Key: (3072 bit)",
                "ecdsa-with-SHA256",
                "X509v3 Extended Key Usage: critical",
                "Time Stamping",
                "OCSP - URI:http://127.0.0.1:3180/ocsp",
            ],
        ),
        ("ocsp", &["OCSP No Check", "OCSP Signing"]),
        (
            "good",
            &[
                "TLS Web Server Authentication, TLS Web Client Authentication",
                "DNS:good.demo.invalid",
                "OCSP - URI:http://127.0.0.1:3180/ocsp",
            ],
        ),
        (
            "signer",
            &[
                "Digital Signature, Non Repudiation",
                "Code Signing, E-mail Protection",
            ],
        ),
    ];
    for (stem, parts) in expected {
        let text = demo.openssl(&format!("x509 -in {stem}.pem -noout -text"));
        for part in parts {
            assert!(text.contains(part), "{stem}: no {part} in {text}");
        }
    }
    let crl = demo.openssl("crl -in issuing.crl -inform DER -noout -text");
    for part in ["Key Compromise", "Certificate Hold", "X509v3 CRL Number"] {
        assert!(crl.contains(part), "no {part} in {crl}");
    }
    assert_eq!(
        demo.revoked(),
        [demo.serial("revoked"), demo.serial("held")]
    );
    let issued = demo.text("issued.txt");
    assert!(issued.starts_with('#'));
    for stem in LEAVES {
        let serial = demo.serial(stem);
        assert_eq!(serial.len(), 32);
        assert!(issued.lines().any(|line| line == serial), "{stem}");
        demo.openssl(&format!("pkey -in {stem}.key -noout"));
        let mode = fs::metadata(demo.0.join(format!("{stem}.key"))).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{stem}");
    }
    for key in ["ca.key", "issuing.key"] {
        let mode = fs::metadata(demo.0.join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_later_start_renews_only_what_has_run_out() {
    let demo = Temp::new("renewal");
    let first = now();
    demo.start(first);
    let fresh = demo.files();
    assert_eq!(fresh.len(), 22);

    let again = demo.start(first.plus(5 * DAY));
    assert_eq!(again.made, [""; 0]);
    assert_eq!(demo.files(), fresh);

    let number = demo.crl_number();
    demo.start(first.plus(8 * DAY));
    let week = demo.files();
    assert_eq!(changed(&fresh, &week), ["issuing.crl"]);
    assert!(demo.crl_number() > number);
    assert_eq!(demo.revoked().len(), 2);

    let (number, mut revoked) = (demo.crl_number(), demo.revoked());
    let issued = demo.text("issued.txt");
    let later = first.plus(400 * DAY);
    let renewed = demo.start(later);
    let year = demo.files();
    let kept: Vec<_> = year
        .keys()
        .filter(|name| week[*name] == year[*name])
        .collect();
    let ca_files = [
        "ca.key",
        "ca.pem",
        "chain.pem",
        "gnomon.toml",
        "issuing.key",
        "issuing.pem",
    ];
    assert_eq!(kept, ca_files);
    assert!(renewed.made.iter().any(|line| line.contains("(renewed)")));
    assert!(demo.text("issued.txt").starts_with(&issued));
    assert!(demo.crl_number() > number);
    revoked.extend([demo.serial("revoked"), demo.serial("held")]);
    assert_eq!(demo.revoked(), revoked);
    for stem in LEAVES {
        demo.openssl(&format!(
            "verify -attime {} -CAfile ca.pem -untrusted issuing.pem {stem}.pem",
            later.get()
        ));
    }
    assert_eq!(demo.start(later).made, [""; 0]);

    // Four years on, certificates end with their CA; after that all is new.
    let end = demo.certificate("issuing").not_after();
    demo.start(end.minus(30 * DAY));
    assert_eq!(demo.certificate("good").not_after(), end);
    let (number, root) = (demo.crl_number(), demo.certificate("ca"));
    demo.start(end);
    assert_ne!(demo.certificate("ca").subject(), root.subject());
    assert!(demo.crl_number() > number);
    assert_eq!(demo.revoked().len(), 2);
    assert_eq!(demo.text("issued.txt").lines().count(), 1 + LEAVES.len());
}

#[test]
fn what_is_missing_is_made_again() {
    let demo = Temp::new("missing");
    demo.start(now());
    let whole = demo.files();
    let after = Cell::new(0);
    let without = |name: &str| {
        fs::remove_file(demo.0.join(name)).unwrap();
        // A while later each time: with no CRL left to count from, its number comes from the time.
        after.set(after.get() + 60);
        demo.try_start("127.0.0.1:3180", now().plus(after.get()))
    };
    without("good.pem").unwrap();
    assert_eq!(
        changed(&whole, &demo.files()),
        ["good.key", "good.pem", "issued.txt"]
    );
    without("revoked.key").unwrap();
    assert_eq!(demo.revoked().len(), 3);
    let number = demo.crl_number();
    without("issuing.crl").unwrap();
    assert!(demo.crl_number() > number);
    assert_eq!(
        demo.revoked(),
        [demo.serial("revoked"), demo.serial("held")]
    );
    for name in ["chain.pem", "issued.txt", "gnomon.toml"] {
        without(name).unwrap();
        assert!(demo.0.join(name).exists(), "{name}");
    }
    let error = without("issuing.key").unwrap_err().to_string();
    assert!(error.contains("delete the folder"), "{error}");
    // A first start that was cut short: the folder is ours, the CA is not whole.
    without("issuing.pem").unwrap();
    without("ca.pem").unwrap();
    demo.openssl("verify -CAfile ca.pem -untrusted issuing.pem good.pem");
}

#[test]
fn a_folder_of_somebody_elses_is_left_alone() {
    let demo = Temp::new("foreign");
    fs::create_dir(&demo.0).unwrap();
    for name in ["notes.txt", "ca.key", "ca.pem"] {
        fs::write(demo.0.join(name), "mine").unwrap();
        let before = demo.files();
        let error = demo.try_start("127.0.0.1:3180", now()).unwrap_err();
        assert!(matches!(error, DemoError::NotOurs { .. }), "{error}");
        assert_eq!(demo.files(), before);
        fs::remove_file(demo.0.join(name)).unwrap();
    }
    demo.start(now());
}

#[test]
fn the_configuration_follows_the_addresses_unless_it_was_edited() {
    let demo = Temp::new("configuration");
    let prepared = demo.start(now());
    let text = demo.text("gnomon.toml");
    let config = Config::read(&readable(&prepared.config)).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:3180".parse().unwrap()]);
    assert_eq!(config.tsus.len(), 2);
    assert_eq!(config.issuers[0].responders.len(), 1);
    assert!(config.tsus[0].default && config.tsus.iter().all(|tsu| tsu.demo));

    let moved = demo.try_start("127.0.0.1:4000", now()).unwrap();
    assert_eq!(moved.made.len(), 2, "{:?}", moved.made);
    assert_eq!(demo.text("gnomon.toml"), text.replace("3180", "4000"));

    let (_, mine) = text.split_once('\n').unwrap();
    fs::write(&prepared.config, mine).unwrap();
    let left = demo.try_start("127.0.0.1:4000", now()).unwrap();
    assert!(left.made[0].contains("not applied"));
    assert_eq!(demo.text("gnomon.toml"), mine);
}

/// A copy whose policies are under an arc that every OID type can hold.
fn readable(config: &Path) -> PathBuf {
    let text = fs::read_to_string(config).unwrap();
    let copy = config.with_file_name("copy.toml");
    fs::write(&copy, text.replace("2.999.", "1.3.6.1.4.1.99999.")).unwrap();
    copy
}

#[test]
fn the_banner_opens_with_the_addresses_and_gives_whole_commands() {
    let demo = Temp::new("banner");
    let prepared = demo.start(now());
    let (listen, admin) = ("0.0.0.0:3180", "127.0.0.1:9180");
    let banner = demo::banner(
        &demo.0,
        listen.parse().unwrap(),
        Some(admin.parse().unwrap()),
        &prepared,
    );
    let lines: Vec<_> = banner.lines().collect();
    assert_eq!(lines[0], "listening on http://0.0.0.0:3180");
    assert_eq!(lines[1], "admin on http://127.0.0.1:9180");
    let commands = lines.iter().filter_map(|line| line.strip_prefix("  $ "));
    let commands: Vec<_> = commands.collect();
    assert_eq!(commands.len(), 10);
    for command in commands {
        assert!(!command.contains("0.0.0.0"), "{command}");
        let parsed = Command::new("sh").args(["-n", "-c", command]).status();
        assert!(parsed.unwrap().success(), "{command}");
    }
    assert!(banner.contains("proves nothing"));
}
