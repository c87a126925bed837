//! Keys that end before their certificates do, by PrivateKeyUsagePeriod or by the 15 months of code signing: neither a
//! start nor a reload takes one that is over, no successor comes too late for it, and what runs stops at that instant.

mod support;

use std::fs;

use gnomon::wire::{certificate::Certificate, time::Seconds};
use support::{
    Folder, Gnomon, gnomon, issue_tsu, prepare,
    reloads::Edited,
    run,
    stamps::{self, Stamp},
    text, wait_for,
};

const DAY: u64 = 86_400;
/// From the first of a February to the first of May.
const FIFTEEN_MONTHS: u64 = 454 * DAY;
const P384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];

fn now() -> Seconds {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    Seconds::new(since.as_secs())
}

fn before(ago: u64) -> Seconds {
    Seconds::new(now().get() - ago)
}

/// A key, and its certificate for ten years from `from` on, with this line among its extensions.
fn tsu(dir: &Folder, name: &str, from: Seconds, extension: &str) {
    issue_tsu(dir, name, &P384);
    let path = |end: &str| dir.path(&format!("{name}.{end}"));
    let extensions = fs::read_to_string(path("ext")).unwrap();
    fs::write(path("ext"), extensions + extension + "\n").unwrap();
    let arguments = format!(
        "x509 -req -in {} -CA {} -CAkey {} -days 3652 -extfile {} -out {}",
        path("csr"),
        dir.path("issuing.pem"),
        dir.path("issuing.key"),
        path("ext"),
        path("pem")
    );
    let time = from.to_string().replace('T', " ").replace('Z', "");
    let command = ["-u", "TZ", "TZ=UTC", "faketime", &time, "openssl"];
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    run("env", &[&command[..], &arguments].concat());
}

/// An extension privateKeyUsagePeriod with this end.
fn usage_until(end: Seconds) -> String {
    let time: String = end
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    assert_eq!(time.len(), 14);
    format!("2.5.29.16=DER:3011810f{}", hex::encode(time + "Z"))
}

fn not_before(dir: &Folder, name: &str) -> Seconds {
    let file = fs::read(dir.join(format!("{name}.pem"))).unwrap();
    Certificate::read_all(&file).unwrap()[0].not_before()
}

/// A TSU of this name with its files and further lines.
fn section(name: &str, lines: &str) -> String {
    format!(
        "\n[[tsu]]\nname = \"{name}\"\ndemo = true\nkey = \"{name}.key\"\ncertificate = \"{name}.pem\"\n\
         chain = \"issuing.pem\"\npolicies = [\"2.999.77\"]\n{lines}\n"
    )
}

#[test]
fn a_reload_and_a_check_take_no_key_that_is_over() {
    let gnomon = Edited::start(|dir| {
        tsu(dir, "sixteen", before(FIFTEEN_MONTHS + 30 * DAY), "");
        tsu(dir, "fourteen", before(FIFTEEN_MONTHS - 30 * DAY), "");
        tsu(dir, "used", before(30 * DAY), &usage_until(before(DAY)));
    });
    let old = gnomon.config();
    let later = now().plus(60 * DAY);
    let successor =
        format!("successor = {{ key = \"next.key\", certificate = \"next.pem\", from = {later} }}");
    let by_rule = "could sign until";
    // What comes next is over when its turn comes.
    tsu(&gnomon.dir, "next", before(FIFTEEN_MONTHS - DAY), "");
    let refused = [
        (
            section("sixteen", "code_signing = true"),
            format!("tsu[2].certificate: the key of CN=sixteen {by_rule}"),
        ),
        (
            section("used", ""),
            "tsu[2].certificate: the private key usage period of CN=used ended at".into(),
        ),
        (
            section("fourteen", &format!("code_signing = true\n{successor}")),
            format!("tsu[2].successor.certificate: the key of CN=next {by_rule}"),
        ),
    ];
    let check = || {
        let file = gnomon.dir.path("gnomon.toml");
        let output = support::gnomon(&["check", "--config", &file])
            .output()
            .unwrap();
        (output.status.success(), text(&output))
    };
    for (section, expected) in &refused {
        gnomon.write(&format!("{old}{section}"));
        let (may, said) = check();
        assert!(!may && said.contains(expected), "{section}: {said}");
        let said = gnomon.reload("refused");
        assert!(said.contains(expected), "{section}: {said}");
    }
    // A successor that is good for itself comes too late.
    tsu(&gnomon.dir, "next", before(DAY), "");
    gnomon.write(&format!("{old}{}", refused[2].0));
    let (may, said) = check();
    let end = not_before(&gnomon.dir, "fourteen").plus(FIFTEEN_MONTHS);
    let expected = format!(
        "tsu[2].successor.from: {later} is after the present key's end at {end}, and nobody would sign"
    );
    assert!(!may && said.contains(&expected), "{said}");
    assert!(gnomon.reload("refused").contains(&expected));
    // Without the rule the same keys do.
    gnomon.write(&format!(
        "{old}{}",
        refused[2].0.replace("code_signing = true", "")
    ));
    assert!(gnomon.reload("done").contains("tsu `fourteen` added"));
}

#[test]
fn nothing_starts_with_a_key_that_is_over() {
    let dir = Folder::new();
    prepare(&dir);
    tsu(&dir, "sixteen", before(FIFTEEN_MONTHS + 30 * DAY), "");
    let file = dir.path("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config + &section("sixteen", "code_signing = true")).unwrap();
    let output = gnomon(&["serve", "--config", &file]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let expected = "tsu[2].certificate: the key of CN=sixteen could sign until";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_key_stops_at_its_end() {
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let end = now().plus(20);
    tsu(&dir, "rule", before(FIFTEEN_MONTHS - 20), "");
    tsu(&dir, "period", before(DAY), &usage_until(end));
    let ends = [
        ("rule", not_before(&dir, "rule").plus(FIFTEEN_MONTHS)),
        ("period", end),
    ];
    let file = dir.path("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    let period = section("period", "").replace("2.999.77", "2.999.78");
    let tsus = section("rule", "code_signing = true") + &period;
    fs::write(&file, config + &tsus).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);
    let query = stamps::query(&gnomon.dir);
    let stamp = |name: &str| {
        let answer = gnomon.post(
            &format!("/tsa/{name}"),
            "application/timestamp-query",
            &query,
        );
        Stamp::granted(&answer.body)
    };
    for (name, end) in ends {
        let of_it = format!("tsu=\"{name}\"");
        let shown = gnomon.metric(&["gnomon_key_end_timestamp_seconds", &of_it]);
        assert_eq!(shown.to_string(), end.get().to_string());
        assert!(stamp(name).is_some(), "{name} signs until its end");
    }
    for (name, end) in ends {
        wait_for("the end", || stamp(name).is_none().then_some(()));
        assert!(now() > end, "{name}: {} {end}", now());
        let of_it = format!("tsu=\"{name}\"");
        let refused = ["gnomon_timestamp_responses_total", &of_it, "systemFailure"];
        assert_eq!(gnomon.metric(&refused), 1.0);
    }
    let (status, said) = gnomon.ready();
    assert!(status == 503 && said.contains("CN=rule"), "{status} {said}");
    assert!(stamp("ecdsa").is_some(), "the others sign on");
}
