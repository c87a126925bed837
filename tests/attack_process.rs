//! What happens to the process: killed under load, told to stop under load, started twice, out of disk, without
//! a proven clock. Nothing acknowledged is lost, and nothing unproven leaves.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use cms::{content_info::ContentInfo, signed_data::SignedData};
use der::{Decode, Encode};
use gnomon::wire::tlv::{Reader, tag};
use support::{Gnomon, Response, gnomon, http, run, text, wait_for};

fn query(dir: &support::Folder) -> Vec<u8> {
    let file = dir.path("load.tsq");
    run(
        "openssl",
        &[
            "ts",
            "-query",
            "-digest",
            &"00".repeat(32),
            "-sha256",
            "-out",
            &file,
        ],
    );
    fs::read(file).unwrap()
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The serial in a granted response, in hexadecimal of 16 octets; `None` for a rejection.
fn serial(response: &[u8]) -> Option<String> {
    let mut fields = Reader::whole(response, tag::SEQUENCE).unwrap().reader();
    let status = fields.expect(tag::SEQUENCE).unwrap();
    if status.value[..3] != [2, 1, 0] {
        return None;
    }
    let info = ContentInfo::from_der(fields.rest()).unwrap();
    let signed = info.content.decode_as::<SignedData>().unwrap();
    let content = signed
        .encap_content_info
        .econtent
        .unwrap()
        .to_der()
        .unwrap();
    let octets = Reader::whole(&content, tag::OCTET_STRING).unwrap().value;
    let mut tst_info = Reader::whole(octets, tag::SEQUENCE).unwrap().reader();
    for tag in [tag::INTEGER, tag::OID, tag::SEQUENCE] {
        tst_info.expect(tag).unwrap();
    }
    Some(format!("{:0>32}", hex::encode(tst_info.integer().unwrap())))
}

fn journal(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("journal/journal.log")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a record is torn");
    text.lines()
        .map(|line| line.split(['=', ' ']).nth(2).unwrap().to_owned())
        .collect()
}

/// A client at work: the serials it got, and how many of its connections broke.
type Client = thread::JoinHandle<(Vec<String>, usize)>;

/// Clients that ask without end until told to stop; they give the serials they got, and how many of their
/// connections broke after the request was sent.
fn load(gnomon: &Gnomon, clients: usize) -> (Arc<AtomicBool>, Vec<Client>) {
    let stop = Arc::new(AtomicBool::new(false));
    let request = query(&gnomon.dir);
    let start = |number| {
        let (stop, address) = (Arc::clone(&stop), gnomon.listen);
        let request = post(if number % 4 == 0 { "/tsa/rsa" } else { "/tsa" }, &request);
        thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut serials, mut broken) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut stream) = TcpStream::connect(address) else {
                    break;
                };
                if stream.write_all(&request).is_err() {
                    continue;
                }
                let mut octets = Vec::new();
                let whole = stream.read_to_end(&mut octets).is_ok() && !octets.is_empty();
                if !whole {
                    broken += 1;
                    continue;
                }
                serials.extend(serial(&Response::parse(&octets).body));
            }
            (serials, broken)
        })
    };
    let threads = (0..clients).map(start).collect();
    (stop, threads)
}

#[test]
fn kill_9_under_load_loses_nothing_that_was_acknowledged() {
    let mut dir = None;
    let mut received = BTreeSet::new();
    for _ in 0..3 {
        let gnomon = match dir.take() {
            None => Gnomon::demo(),
            Some(dir) => {
                let dir: support::Folder = dir;
                let (listen, admin) = support::prepare(&dir);
                Gnomon::serve(dir, listen, admin)
            }
        };
        let (stop, threads) = load(&gnomon, 8);
        wait_for("some load", || {
            (gnomon.metric(&["gnomon_timestamp_responses_total", "granted"]) > 200.0).then_some(())
        });
        gnomon.signal("KILL");
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            for serial in thread.join().unwrap().0 {
                assert!(received.insert(serial), "a serial came twice");
            }
        }
        let (status, folder) = gnomon.ended();
        assert!(!status.success());
        dir = Some(folder);
    }
    let dir = dir.unwrap();
    // A record that was being written when the power went.
    let path = dir.join("journal/journal.log");
    let mut torn = fs::read(&path).unwrap();
    torn.extend(b"token serial=00");
    fs::write(&path, torn).unwrap();
    let (listen, admin) = support::prepare(&dir);
    let gnomon = Gnomon::serve(dir, listen, admin);
    let recorded = journal(&gnomon.dir);
    let distinct: BTreeSet<_> = recorded.iter().cloned().collect();
    assert_eq!(
        distinct.len(),
        recorded.len(),
        "a serial was recorded twice"
    );
    assert!(
        received.is_subset(&distinct),
        "a token left without its record"
    );
    assert!(received.len() > 500);
}

#[test]
fn told_to_stop_under_load_every_request_read_is_answered() {
    for signal in ["TERM", "INT"] {
        let gnomon = Gnomon::demo();
        let (stop, threads) = load(&gnomon, 8);
        wait_for("some load", || {
            (gnomon.metric(&["gnomon_timestamp_responses_total", "granted"]) > 200.0).then_some(())
        });
        gnomon.signal(signal);
        let (status, dir) = gnomon.ended();
        assert_eq!(status.code(), Some(0), "{signal}");
        stop.store(true, Ordering::Relaxed);
        let mut serials = BTreeSet::new();
        let mut broken = 0;
        for thread in threads {
            let (more, cut) = thread.join().unwrap();
            serials.extend(more);
            broken += cut;
        }
        // A connection that the kernel had accepted and the process had not is reset: one a client at most.
        assert!(broken <= 8, "{broken} connections were cut");
        let recorded: BTreeSet<_> = journal(&dir).into_iter().collect();
        assert_eq!(serials.difference(&recorded).count(), 0);
    }
}

#[test]
fn a_second_instance_on_the_journal_is_refused_by_name() {
    let first = Gnomon::demo();
    let config = fs::read_to_string(first.dir.join("gnomon.toml")).unwrap();
    let config = config
        .replace(&first.listen.to_string(), "127.0.0.1:0")
        .replace(&first.admin.to_string(), "127.0.0.1:0");
    let second = first.dir.path("second.toml");
    fs::write(&second, config).unwrap();
    let output = gnomon(&["serve", "--config", &second]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(
        said.contains("journal.dir: ") && said.contains("another gnomon holds this journal"),
        "{said}"
    );
    assert!(serial(&http(first.listen, &post("/tsa", &query(&first.dir))).body).is_some());
}

#[test]
fn a_disk_that_takes_no_more_stops_tokens_and_nothing_else() {
    let dir = support::Folder::new();
    let (listen, admin) = support::prepare(&dir);
    // No file may grow beyond 64 blocks of 512 octets: the kernel cuts the write that would, and fails the
    // next. It asks for no privilege, as a small file system would; io/journal.rs has ENOSPC itself.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" serve --config \"$1\"";
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_gnomon"),
        &dir.path("gnomon.toml"),
    ]);
    let gnomon = Gnomon::started(command, dir, listen, admin);
    let request = post("/tsa", &query(&gnomon.dir));
    let mut issued = BTreeSet::new();
    let refusal = wait_for("the disk to be full", || {
        let response = http(gnomon.listen, &request);
        assert_eq!(response.status, 200);
        match serial(&response.body) {
            Some(serial) => {
                issued.insert(serial);
                None
            }
            None => Some(response.body),
        }
    });
    // systemFailure(25), from now on and for RSA too.
    assert!(
        refusal.ends_with(&[3, 5, 6, 0, 0, 0, 0x40]),
        "{refusal:02x?}"
    );
    assert!(serial(&http(gnomon.listen, &post("/tsa/rsa", &query(&gnomon.dir))).body).is_none());
    let ready = http(
        gnomon.admin,
        b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(ready.status, 503);
    let why = String::from_utf8(ready.body).unwrap();
    assert!(why.contains("journal: it cannot be written"), "{why}");
    // What was issued is there whole, though the last record of all may be torn.
    let text = fs::read_to_string(gnomon.dir.join("journal/journal.log")).unwrap();
    assert!(
        issued
            .iter()
            .all(|serial| text.contains(&format!("serial={serial} ")))
    );
    let (issuer, good) = (gnomon.dir.path("issuing.pem"), gnomon.dir.path("good.pem"));
    let said = run(
        "openssl",
        &[
            "ocsp",
            "-issuer",
            &issuer,
            "-cert",
            &good,
            "-url",
            &gnomon.url("/ocsp"),
            "-CAfile",
            &gnomon.dir.path("chain.pem"),
        ],
    );
    assert!(
        said.contains("good.pem: good"),
        "status is answered: {said}"
    );
}

#[test]
fn the_kernels_word_decides_where_it_is_the_clock() {
    let gnomon =
        Gnomon::edited(|config| config.replace("source = \"unproven\"", "source = \"kernel\""));
    let timex = adjtimex::read().unwrap();
    let kept = timex.state != adjtimex::TIME_ERROR
        && timex.status & adjtimex::STA_UNSYNC == 0
        && timex.max_error_us < 800_000;
    let response = http(gnomon.listen, &post("/tsa", &query(&gnomon.dir)));
    let ready = http(
        gnomon.admin,
        b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    if kept {
        assert!(serial(&response.body).is_some());
        assert_eq!(ready.status, 200);
    } else {
        // timeNotAvailable(14), and why in words that name what to do.
        assert!(
            response.body.ends_with(&[3, 3, 1, 0, 2]),
            "{:02x?}",
            response.body
        );
        assert_eq!(ready.status, 503);
        let why = String::from_utf8(ready.body).unwrap();
        assert!(why.contains("chronyc tracking"), "{why}");
        assert_eq!(
            gnomon.metric(&["outcome=\"timeNotAvailable\"", "ecdsa"]),
            1.0
        );
    }
}
