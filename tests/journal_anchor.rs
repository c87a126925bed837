//! The log's checkpoint is time-stamped by another TSA: a second gnomon, over HTTP and HTTPS. While it cannot
//! be reached or answers wrongly, tokens are issued, a metric rises, and nothing is stored.

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use gnomon::{
    audit::{anchor, checkpoint::Checkpoint},
    io::anchor::{Stored, read},
    wire::certificate::Certificate,
};
use support::{
    Folder, Gnomon, free_port, gnomon, http, prepare, run,
    server::{self, Server},
    stamps::verify,
    text, timestamp_query, wait_for,
};

const FAILURES: &str = "gnomon_journal_anchor_failures_total";
const RECORDS: &str = "gnomon_journal_anchored_records";
const TIME: &str = "gnomon_journal_anchor_timestamp_seconds";

/// The demo's configuration with another TSA and a short interval.
fn anchored_at(url: &str, trust: &Path) -> impl FnOnce(String) -> String + use<> {
    let section = format!(
        "\n[journal.anchor]\nurl = \"{url}\"\ninterval = \"1s\"\ntrust = \"{}\"\n",
        trust.display()
    );
    move |config| {
        let journal = "dir = \"journal\"\n";
        assert!(config.contains(journal));
        let often = format!("{journal}checkpoint_interval = \"100ms\"\n");
        config.replace(journal, &often) + &section
    }
}

fn stamp(gnomon: &Gnomon) {
    let (_, query) = timestamp_query(&gnomon.dir);
    let reply = gnomon.post("/tsa", "application/timestamp-query", &query);
    // status granted(0)
    assert_eq!(
        (reply.status, &reply.body[4..9]),
        (200, &[0x30, 3, 2, 1, 0][..])
    );
}

fn is_ready(gnomon: &Gnomon) -> bool {
    let request = b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    http(gnomon.admin, request).status == 200
}

fn stored(gnomon: &Gnomon) -> Vec<Stored> {
    let anchors = read(&gnomon.dir.join("journal")).unwrap();
    anchors.map(Result::unwrap).collect()
}

fn wait_for_failures(gnomon: &Gnomon) {
    let before = gnomon.metric(&[FAILURES]);
    wait_for("failures", || {
        (gnomon.metric(&[FAILURES]) >= before + 2.0).then_some(())
    });
}

/// Waits until the last anchor has more than `over` records; gives its number of records.
fn wait_for_anchor(gnomon: &Gnomon, over: f64) -> f64 {
    wait_for("an anchor", || {
        Some(gnomon.metric(&[RECORDS])).filter(|records| *records > over)
    })
}

#[test]
fn a_checkpoint_is_anchored_once_the_other_tsa_can_be_reached() {
    let other = Folder::new();
    let (listen, admin) = prepare(&other);
    let trust = other.join("ca.pem");
    let gnomon = Gnomon::edited(anchored_at(&format!("http://{listen}/tsa"), &trust));
    wait_for_failures(&gnomon);
    stamp(&gnomon);
    assert!(is_ready(&gnomon));
    assert!(stored(&gnomon).is_empty());
    assert_eq!(gnomon.metric(&[RECORDS]), 0.0);

    let other = Gnomon::serve(other, listen, admin);
    let first = wait_for_anchor(&gnomon, 0.0);
    stamp(&gnomon);
    wait_for_anchor(&gnomon, first);
    let failures = gnomon.metric(&[FAILURES]);
    let gen_time = gnomon.metric(&[TIME]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    assert!((now.unwrap().as_secs_f64() - gen_time).abs() < 60.0);

    let trusted = Certificate::read_all(&fs::read(trust_of(&other)).unwrap()).unwrap();
    let anchors = stored(&gnomon);
    assert!(anchors.len() >= 2);
    let sizes: Vec<_> = anchors.iter().map(|anchor| anchor.size).collect();
    assert!(sizes.is_sorted_by(|one, next| one < next), "{sizes:?}");
    for stored in &anchors {
        let note = std::str::from_utf8(&stored.note).unwrap();
        assert_eq!(Checkpoint::unverified(note).unwrap().size, stored.size);
        let anchored = anchor::verify(&stored.reply, &stored.note, &trusted).unwrap();
        assert!(anchored.tsa.contains("tsu-ecdsa"), "{anchored:?}");
        let (reply, note) = (&stored.path, stored.path.with_extension("checkpoint"));
        run(
            "openssl",
            &[
                "ts",
                "-verify",
                "-data",
                note.to_str().unwrap(),
                "-in",
                reply.to_str().unwrap(),
                "-CAfile",
                trust_of(&other).as_str(),
            ],
        );
    }

    // A restart without the other TSA knows the last anchor, and adds none.
    let before = stored(&gnomon).last().unwrap().size;
    drop(other);
    gnomon.signal("TERM");
    let (listen, admin) = (gnomon.listen, gnomon.admin);
    let (status, dir) = gnomon.ended();
    assert!(status.success());
    let last = {
        let anchors = read(&dir.join("journal")).unwrap();
        anchors.map(Result::unwrap).last().unwrap().size
    };
    assert!(last >= before && failures >= 2.0);
    // The trust file went with the other TSA's folder; nothing can be verified by it any more.
    let ca = dir.path("ca.pem");
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let config = config.replace(trust.to_str().unwrap(), &ca);
    fs::write(dir.join("gnomon.toml"), config).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);
    wait_for_failures(&gnomon);
    assert_eq!(gnomon.metric(&[RECORDS]), last as f64);
    assert!(gnomon.metric(&[TIME]) >= gen_time);
    assert_eq!(stored(&gnomon).last().unwrap().size, last);
}

fn trust_of(gnomon: &Gnomon) -> String {
    gnomon.dir.path("ca.pem")
}

/// A server that reads a request, gives the next of these answers, the last one for ever, and closes.
fn answering(answers: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let last = answers.last().unwrap().clone();
        let answers = answers.into_iter().chain(std::iter::repeat(last));
        for (stream, answer) in listener.incoming().zip(answers) {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&answer);
        }
    });
    address
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn wrong_answers_are_failures_and_none_is_stored() {
    let other = Gnomon::demo();
    // A good time-stamp, but of another note.
    let query = anchor::request(b"another note", &[1; anchor::NONCE]);
    let reply = other.post("/tsa", "application/timestamp-query", &query);
    let rejection = other.post("/tsa", "application/timestamp-query", b"nonsense");
    let wrong = [
        answer("200 OK", &reply.body),
        answer("200 OK", &rejection.body),
        answer("200 OK", &vec![0x30; 1 << 20]),
        answer("200 OK", b""),
        answer("201 Created", &reply.body),
        answer("302 Found", b""),
        answer("500 Internal Server Error", b"no"),
        b"nonsense\r\n\r\n".to_vec(),
        Vec::new(),
    ];
    let count = wrong.len() as f64;
    let url = format!("http://{}/", answering(wrong.to_vec()));
    let gnomon = Gnomon::edited(anchored_at(&url, other.dir.join("ca.pem").as_path()));
    wait_for("all the failures", || {
        (gnomon.metric(&[FAILURES]) >= count).then_some(())
    });
    stamp(&gnomon);
    assert!(is_ready(&gnomon) && stored(&gnomon).is_empty());
}

#[test]
fn a_tsa_that_leads_to_nobody_trusted_is_a_failure() {
    let other = Gnomon::demo();
    let stranger = Folder::new();
    prepare(&stranger);
    let gnomon = Gnomon::edited(anchored_at(
        &other.url("/tsa"),
        stranger.join("ca.pem").as_path(),
    ));
    wait_for_failures(&gnomon);
    assert!(stored(&gnomon).is_empty());
}

#[test]
fn an_anchor_over_more_than_there_is_stays_as_it_is() {
    let other = Gnomon::demo();
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let file = dir.join("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    let edit = anchored_at(&other.url("/tsa"), other.dir.join("ca.pem").as_path());
    fs::write(&file, edit(config)).unwrap();
    // What an older copy of the journal put in place of a newer one leaves behind.
    let anchors = dir.join("journal/anchors");
    fs::create_dir_all(&anchors).unwrap();
    for end in ["checkpoint", "tsr"] {
        fs::write(anchors.join(format!("{:020}.{end}", 999)), end).unwrap();
    }
    let gnomon = Gnomon::serve(dir, listen, admin);
    wait_for_failures(&gnomon);
    stamp(&gnomon);
    let anchors = stored(&gnomon);
    assert_eq!(anchors.len(), 1);
    assert_eq!(
        (anchors[0].size, anchors[0].reply.as_slice()),
        (999, &b"tsr"[..])
    );
}

#[test]
fn a_tsa_that_hangs_does_not_delay_the_end() {
    // It takes the request and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let trust = Folder::new();
    prepare(&trust);
    let gnomon = Gnomon::edited(anchored_at(&url, trust.join("ca.pem").as_path()));
    let (mut stream, _) = silent.accept().unwrap();
    let mut request = [0; 16];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(&request[..5], b"POST ");
    stamp(&gnomon);
    let told = Instant::now();
    gnomon.signal("TERM");
    let (status, _dir) = gnomon.ended();
    // It would have waited 30 s for the answer.
    assert!(status.success() && told.elapsed() < Duration::from_secs(15));
}

/// nginx in front of a TSA.
fn tls_in_front_of(gnomon: &Gnomon) -> (Server, SocketAddr) {
    let address = free_port();
    let (key, pem) = (gnomon.dir.path("tls.key"), gnomon.dir.path("tls.pem"));
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &pem,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
    );
    let site = format!(
        "server {{ listen {address} ssl; ssl_certificate {pem}; ssl_certificate_key {key};\n\
         location / {{ proxy_pass http://{}; }} }}\n",
        gnomon.listen
    );
    (server::nginx(&gnomon.dir, &site, address), address)
}

#[test]
fn https_is_by_the_roots_of_the_system() {
    let other = Gnomon::demo();
    let (_proxy, address) = tls_in_front_of(&other);
    let url = format!("https://localhost:{}/tsa", address.port());
    for trusted in [true, false] {
        let dir = Folder::new();
        let (listen, admin) = prepare(&dir);
        let file = dir.join("gnomon.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            anchored_at(&url, other.dir.join("ca.pem").as_path())(config),
        )
        .unwrap();
        let mut command = gnomon(&["serve", "--config", file.to_str().unwrap()]);
        // In place of the system's file: the server's own certificate, or none at all.
        let roots = match trusted {
            true => other.dir.path("tls.pem"),
            false => dir.path("no-such-file.pem"),
        };
        command
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR");
        let gnomon = Gnomon::started(command, dir, listen, admin);
        match trusted {
            true => drop(wait_for_anchor(&gnomon, 0.0)),
            false => wait_for_failures(&gnomon),
        }
        assert_eq!(stored(&gnomon).is_empty(), !trusted);
    }
}

#[test]
fn the_example_can_be_taken_as_it_is() {
    let dir = Folder::new();
    prepare(&dir);
    let example = fs::read_to_string("config/gnomon.toml").unwrap();
    let (_, section) = example.split_once("#   [journal.anchor]\n").unwrap();
    let lines = section
        .lines()
        .map_while(|line| line.strip_prefix("#   "))
        .collect::<Vec<_>>()
        .join("\n");
    assert!(lines.contains("interval"));
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let lines = lines.replace("/etc/gnomon/anchor-trust.pem", "ca.pem");
    let file = dir.path("example.toml");
    fs::write(&file, format!("{config}\n[journal.anchor]\n{lines}\n")).unwrap();
    run(env!("CARGO_BIN_EXE_gnomon"), &["check", "--config", &file]);
}

#[test]
fn what_cannot_work_is_refused_before_the_start() {
    let dir = Folder::new();
    prepare(&dir);
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    for (url, trust, interval, field, what) in [
        (
            "ftp://tsa.example/",
            "ca.pem",
            "1h",
            "url",
            "is no http or https URL",
        ),
        ("tsa.example", "ca.pem", "1h", "url", "is no URL"),
        (
            "http://tsa.example",
            "none.pem",
            "1h",
            "trust",
            "none.pem: cannot be read",
        ),
        (
            "http://tsa.example",
            "issued.txt",
            "1h",
            "trust",
            "holds no",
        ),
        (
            "http://tsa.example",
            "ca.pem",
            "0s",
            "interval",
            "must be at least 1s",
        ),
    ] {
        let section = format!(
            "\n[journal.anchor]\nurl = \"{url}\"\ntrust = \"{trust}\"\ninterval = \"{interval}\"\n"
        );
        let file = dir.path("wrong.toml");
        fs::write(&file, config.clone() + &section).unwrap();
        for (command, status) in [("check", 1), ("serve", 78)] {
            let output = gnomon(&[command, "--config", &file]).output().unwrap();
            let said = text(&output);
            assert_eq!(output.status.code(), Some(status), "{said}");
            let line = said.lines().find(|line| line.starts_with("error: "));
            let line = line.unwrap_or_else(|| panic!("{said}"));
            assert!(
                line.contains(&format!(": journal.anchor.{field}: ")),
                "{said}"
            );
            assert!(line.contains(what), "{said}");
        }
    }
}

/// Not even who has the log's key can take back what another TSA has stamped.
#[test]
fn verify_holds_the_journal_against_its_anchors() {
    let other = Gnomon::demo();
    let trust = trust_of(&other);
    let gnomon = Gnomon::edited(anchored_at(&other.url("/tsa"), Path::new(&trust)));
    stamp(&gnomon);
    wait_for_anchor(&gnomon, 0.0);
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let journal = dir.join("journal");
    let trust = trust.as_str();
    let kinds = |options: &[&str]| {
        let (holds, report) = verify(&journal, options);
        let harms = report["harms"].as_array().unwrap().clone();
        assert_eq!(holds, harms.is_empty());
        let kinds = harms
            .iter()
            .map(|harm| harm["kind"].as_str().unwrap().to_owned());
        (kinds.collect::<Vec<_>>(), report)
    };
    let (harms, report) = kinds(&["--anchor-trust", trust]);
    assert!(
        harms.is_empty() && report["checkpoints"].as_u64() >= Some(2),
        "{report:#}"
    );
    let (harms, report) = kinds(&[]);
    let note = report["notes"][0].as_str().unwrap();
    assert!(
        harms.is_empty() && note.contains("whose TSA made them was not checked"),
        "{note}"
    );
    let (harms, _) = kinds(&["--anchor-trust", &dir.path("ca.pem")]);
    assert!(
        harms.iter().all(|kind| kind == "anchor") && !harms.is_empty(),
        "{harms:?}"
    );

    // Another history, by the same key.
    for name in ["segments", "log"] {
        fs::remove_dir_all(journal.join(name)).unwrap();
    }
    let (listen, admin) = prepare(&dir);
    let gnomon = Gnomon::serve(dir, listen, admin);
    gnomon.signal("TERM");
    let (_, _dir) = gnomon.ended();
    let (harms, report) = kinds(&["--anchor-trust", trust]);
    let found = |kind: &str| harms.iter().any(|other| other == kind);
    assert!(found("other-history") || found("shorter"), "{report:#}");
}
