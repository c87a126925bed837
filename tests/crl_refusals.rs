//! CRLs that are wrong, and servers that are: whatever comes, the CRL in force stays, and what is wrong is told in the
//! log, in the journal where something was refused, and by the failures that /metrics counts.

mod support;

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use support::{
    Folder,
    crls::{Nginx, Served, Server, make},
    free_port, wait_for,
};

/// What is in force: good.pem is not revoked, revoked.pem is.
fn first() -> Value {
    json!({ "out": "www/crl", "number": 5, "revoked": { "revoked.pem": "keyCompromise" } })
}

/// Follows a CRL of an nginx, which has come.
fn follow(address: SocketAddr) -> (Served, Nginx) {
    let mut nginx = None;
    let start = |dir: &Folder| {
        make(dir, &[first()]);
        nginx = Some(Nginx::start(dir, address));
    };
    let gnomon = Served::start(&format!("\"http://{address}/crl\""), |config| config, start);
    gnomon.until("good.pem", "good.pem: good");
    (gnomon, nginx.unwrap())
}

fn failures(gnomon: &Served, reason: &str) -> f64 {
    let reason = format!("reason=\"{reason}\"");
    gnomon.metric(&["gnomon_crl_failures_total", "/crl\"", &reason])
}

/// Looks, and waits until `what` is told of the CRL with this number, and counted under `reason`; then asserts that
/// nothing has changed.
fn refused(gnomon: &Served, number: Option<&str>, what: &str, reason: &str) {
    let (from, failed) = (gnomon.log().len(), failures(gnomon, reason));
    gnomon.refresh();
    gnomon.logged(from, what);
    if let Some(number) = number {
        gnomon.logged(from, &format!("/crl: number {number}: "));
    }
    if reason != "unreachable" {
        let number = number.map_or("null".to_owned(), |number| format!("\"{number}\""));
        let number = format!("\"number\":{number}");
        gnomon.recorded(&["crl refused", "/crl", what, &number]);
    }
    wait_for("a failure more", || {
        (failures(gnomon, reason) > failed).then_some(())
    });
    assert!(gnomon.says("good.pem", "good.pem: good"), "{what}");
    assert!(
        gnomon.says("revoked.pem", "Reason: keyCompromise"),
        "{what}"
    );
    assert_eq!(gnomon.metric(&["gnomon_crl_entries", "/crl"]), 1.0);
}

/// Puts a file in the place of the CRL.
fn put(dir: &Folder, content: &[u8]) {
    fs::write(dir.join("next"), content).unwrap();
    fs::rename(dir.join("next"), dir.join("www/crl")).unwrap();
}

#[test]
fn a_crl_that_is_wrong_changes_nothing_and_is_told() {
    let (gnomon, nginx) = follow(free_port());
    let revoked = json!({ "good.pem": "superseded" });
    let with = |field: &str, value: Value| {
        let mut crl = json!({ "out": "www/crl", "number": 6, "revoked": revoked });
        crl[field] = value;
        crl
    };
    for (crl, number, what, reason) in [
        (
            with("unknown", json!(true)),
            "06",
            "the critical extension 1.3.6.1.4.1.99999.1 is not known here",
            "format",
        ),
        (
            with("until", json!(-30)),
            "06",
            "the CRL ran out at 20",
            "dates",
        ),
        (
            with("from", json!(3_600)),
            "06",
            "in the future; see that the CA's clock is right",
            "dates",
        ),
        (
            with("number", json!(4)),
            "04",
            "the CRL number went back from 05 to 04",
            "number",
        ),
        (
            with("number", json!(5)),
            "05",
            "ALARM: two CRLs with the number 05 have different content",
            "same_number",
        ),
        (
            with("base", json!(5)),
            "06",
            "the CRL is a delta (deltaCRLIndicator); give the complete CRL",
            "scope",
        ),
        (
            with("flipped", json!(true)),
            "06",
            "the signature is not that of the key of",
            "signature",
        ),
        (
            with("point", json!("http://ca.example/1")),
            "06",
            "may be one shard of several: it names `http://ca.example/1`",
            "scope",
        ),
        (
            with("revoked", json!({ "good.pem": "removeFromCRL" })),
            "06",
            "has the reason removeFromCRL, which only a delta",
            "format",
        ),
    ] {
        make(&gnomon.dir, &[crl]);
        refused(&gnomon, Some(number), what, reason);
    }
    make(
        &gnomon.dir,
        &[json!({ "out": "www/whole", "number": 7, "revoked": revoked })],
    );
    let whole = fs::read(gnomon.dir.join("www/whole")).unwrap();
    for (content, what) in [
        (
            &b"<!DOCTYPE html>\n<p>Service unavailable"[..],
            "is a web page and no CRL",
        ),
        (&whole[..whole.len() / 2], "not a CRL in DER form"),
        (&[&whole[..], b"x"].concat(), "not a CRL in DER form"),
        (b"", "neither a CRL in DER form nor a file with one"),
        (
            &[0x1f, 0x8b, 8, 0, 0],
            "the gzip stream is broken or cut short",
        ),
    ] {
        put(&gnomon.dir, content);
        refused(&gnomon, None, what, "format");
    }
    // Two gigabytes, of which the disk has nothing.
    put(&gnomon.dir, b"0");
    let file = fs::File::options()
        .write(true)
        .open(gnomon.dir.join("www/crl"));
    file.unwrap().set_len(2 << 30).unwrap();
    let what = "the answer has more than 536870912 octets";
    refused(&gnomon, None, what, "size");
    fs::remove_file(gnomon.dir.join("www/crl")).unwrap();
    let what = "the answer is HTTP 404, where 200 is due";
    refused(&gnomon, None, what, "unreachable");
    // A good one is taken as ever. Serials that stand twice are a remark: the weightier entry counts.
    let again = json!({ "held.pem": "keyCompromise", "good.pem": "certificateHold" });
    let held = json!({ "held.pem": "certificateHold", "good.pem": "superseded", "revoked.pem": "keyCompromise" });
    gnomon.publish(&[json!({ "out": "www/crl", "number": 8, "revoked": held, "again": again })]);
    gnomon.until("held.pem", "Reason: keyCompromise");
    assert!(gnomon.says("good.pem", "Reason: superseded"));
    gnomon.logged(
        0,
        "the CRL names 2 serials more than once; the weightier entry counts",
    );
    assert_eq!(gnomon.metric(&["gnomon_crl_entries", "/crl"]), 3.0);
    // A CRL that names deltas where none is configured is taken with a remark.
    let crl = json!({ "out": "www/crl", "number": 9, "revoked": held, "freshest": "http://ca.example/delta" });
    gnomon.publish(&[crl]);
    gnomon.logged(
        0,
        "there are deltas to it (http://ca.example/delta), and none is configured",
    );
    gnomon.recorded(&["crl accepted", "/crl", "\"09\""]);
    drop(nginx);
}

#[test]
fn a_million_entries_are_taken_wholly_or_not_at_all() {
    let (gnomon, nginx) = follow(free_port());
    let revoked = json!({ "good.pem": "superseded", "revoked.pem": "keyCompromise" });
    let crl = |number: u32, malformed: bool| {
        let million = json!(1_000_000);
        json!({ "out": "www/crl", "number": number, "revoked": revoked, "filled": million, "malformed": malformed })
    };
    make(&gnomon.dir, &[crl(6, true)]);
    refused(&gnomon, Some("06"), "is not a time from 1970 on", "format");
    gnomon.logged(0, "the entry of serial 5f00000000000f423e");
    make(&gnomon.dir, &[crl(7, false)]);
    gnomon.refresh();
    gnomon.until("good.pem", "Reason: superseded");
    wait_for("a million entries", || {
        (gnomon.metric(&["gnomon_crl_entries", "/crl"]) == 1_000_002.0).then_some(())
    });
    drop(nginx);
}

/// The largest that the process has been, in octets.
fn peak(gnomon: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gnomon.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

#[test]
fn what_is_no_text_takes_no_more_memory_than_it_has() {
    let gnomon = Served::start(
        "\"crl\"",
        |config| config,
        |dir| make(dir, &[json!({ "out": "crl", "number": 1 })]),
    );
    gnomon.until("good.pem", "good.pem: good");
    let before = peak(&gnomon);
    fs::write(gnomon.dir.join("next"), vec![0xff; 32 << 20]).unwrap();
    fs::rename(gnomon.dir.join("next"), gnomon.dir.join("crl")).unwrap();
    gnomon.logged(0, "neither a CRL in DER form");
    let more = peak(&gnomon) - before;
    assert!(more < 64 << 20, "{more}");
}

#[test]
fn a_server_that_never_ends_is_left() {
    /// What is wrong with each answer, in turn; then the CRL in force.
    const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let crl = Folder::new();
    let turn = std::sync::Arc::new(AtomicUsize::new(0));
    let (at, dir) = (turn.clone(), crl.path(""));
    let server = Server::start(move |stream, stop: &AtomicBool| {
        let until_left =
            |piece: &[u8], pause: Option<Duration>, stream: &mut std::net::TcpStream| {
                while !stop.load(Ordering::Relaxed) && stream.write_all(piece).is_ok() {
                    if let Some(pause) = pause {
                        std::thread::sleep(pause);
                    }
                }
            };
        let mut head = |more: &str| stream.write_all(format!("{HEAD}{more}\r\n").as_bytes());
        match at.load(Ordering::Relaxed) {
            // Two gigabytes, by its word.
            1 => {
                let _ = head("Content-Length: 2147483648\r\n");
                until_left(&[0x30; 1 << 16], None, stream);
            }
            // No end in sight.
            2 => {
                let _ = head("");
                until_left(&[0x30; 1 << 16], None, stream);
            }
            // An octet now and then.
            3 => {
                let _ = head("Content-Length: 1000\r\n");
                until_left(b"0", Some(Duration::from_millis(100)), stream);
            }
            // Less than it says.
            4 => {
                let _ = head("Content-Length: 1000\r\n");
                let _ = stream.write_all(b"0000");
            }
            // Nothing at all.
            5 => {}
            _ => {
                let body = fs::read(format!("{dir}crl")).unwrap();
                let _ = head(&format!("Content-Length: {}\r\n", body.len()));
                let _ = stream.write_all(&body);
            }
        }
    });
    let url = format!("\"http://{}/crl\"", server.address);
    // Of the default a busy host may not get so much in that time.
    let limits = "fetch_timeout = \"5s\"\nlargest_crl = \"128MiB\"";
    let edit = |config| format!("{config}\n[revocation]\n{limits}\n");
    let gnomon = Served::start(&url, edit, |dir| {
        make(dir, &[first()]);
        fs::copy(dir.join("www/crl"), crl.join("crl")).unwrap();
    });
    gnomon.until("good.pem", "good.pem: good");
    for (number, what) in [
        (1, "the answer has more than 134217728 octets"),
        (2, "the answer has more than 134217728 octets"),
        (3, "timed out"),
        (4, "cannot be fetched: "),
        (5, "cannot be fetched: "),
    ] {
        turn.store(number, Ordering::Relaxed);
        // A server that is away has shown nothing to refuse.
        let reason = if what.contains("octets") {
            "size"
        } else {
            "unreachable"
        };
        refused(&gnomon, None, what, reason);
        if number == 1 {
            assert!(
                peak(&gnomon) < 128 << 20,
                "what is announced is not read: {}",
                peak(&gnomon)
            );
        }
    }
    assert!(peak(&gnomon) < 512 << 20, "{}", peak(&gnomon));
    // It is asked again, and has a new one.
    let revoked = json!({ "good.pem": "superseded" });
    make(
        &gnomon.dir,
        &[json!({ "out": "www/crl", "number": 6, "revoked": revoked })],
    );
    fs::copy(gnomon.dir.join("www/crl"), crl.join("crl")).unwrap();
    turn.store(0, Ordering::Relaxed);
    gnomon.refresh();
    gnomon.until("good.pem", "Reason: superseded");
}
