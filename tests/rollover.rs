//! A new key takes over at its hour, under load: no request fails, every token verifies, and each is signed by
//! the key whose turn it was.

mod support;

use std::{
    fs, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gnomon::wire::time::Seconds;
use support::{
    Folder, Gnomon, http,
    https::{P256, P384},
    issue_responder, issue_tsu, prepare, run,
    stamps::openssl_verifies,
    timestamp_query,
};

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn a_successor_takes_over_under_load() {
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    issue_tsu(&dir, "next", &P384);
    issue_responder(&dir, "ocsp2", &P256);
    let hour = now() + 8;
    let from = Seconds::new(hour);
    let text = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let first = "default = true   # serves /tsa as well\n";
    assert!(text.contains(first) && text.contains("certificate = \"ocsp.pem\" }"));
    let text = text.replacen(
        first,
        &format!("{first}successor = {{ key = \"next.key\", certificate = \"next.pem\", chain = \"issuing.pem\", from = {from} }}\n"),
        1,
    );
    let text = text.replace(
        "certificate = \"ocsp.pem\" }",
        &format!("certificate = \"ocsp.pem\", successor = {{ key = \"ocsp2.key\", certificate = \"ocsp2.pem\", from = {from} }} }}"),
    );
    fs::write(dir.join("gnomon.toml"), text).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);
    let path = |name: &str| gnomon.dir.path(name);
    let (query, body) = timestamp_query(&gnomon.dir);
    let head = format!(
        "POST /tsa HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let ask = |name: &str| gnomon.ask(name, &["-no_nonce", "-resp_text"]);
    assert!(ask("good.pem").contains("CN=Gnomon demo OCSP responder"));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let request = request.clone();
            thread::spawn(move || {
                let mut answers = Vec::new();
                while now() < hour + 2 {
                    answers.push(http(listen, &request).body);
                    thread::sleep(Duration::from_millis(2));
                }
                answers
            })
        })
        .collect();
    let answers: Vec<_> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    assert!(answers.len() > 200, "{}", answers.len());
    assert!(
        answers
            .iter()
            .all(|answer| answer[4..9] == [0x30, 3, 2, 1, 0]),
        "all are granted"
    );
    let (mut before, mut after) = (0, 0);
    let step = answers.len() / 60;
    for answer in answers.iter().step_by(step) {
        let reply = path("r.tsr");
        fs::write(&reply, answer).unwrap();
        // The ESSCertIDv2 within is checked against the signer here.
        openssl_verifies(&gnomon.dir, &query, &reply);
        let text = run("openssl", &["ts", "-reply", "-in", &reply, "-text"]);
        let time = text
            .lines()
            .find_map(|line| line.strip_prefix("Time stamp: "))
            .unwrap();
        let time = run("date", &["-u", "+%s", "-d", time])
            .trim()
            .parse::<u64>()
            .unwrap();
        // The new certificate's subject is CN=next.
        let by_next = answer.windows(4).any(|octets| octets == b"next");
        assert_eq!(by_next, time >= hour, "{time} {hour}");
        if by_next { after += 1 } else { before += 1 }
    }
    assert!(before > 5 && after > 5, "{before} {after}");
    let text = ask("good.pem");
    assert!(
        text.contains("CN=ocsp2") && text.contains("Response verify OK"),
        "{text}"
    );
    assert!(ask("revoked.pem").contains("CN=ocsp2"));
}

#[test]
fn a_successor_that_cannot_take_over_stops_the_start() {
    let dir = Folder::new();
    prepare(&dir);
    let text = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let first = "default = true   # serves /tsa as well\n";
    for (successor, expected) in [
        (
            "key = \"tsu-rsa.key\", certificate = \"tsu-ecdsa.pem\", from = 2027-01-01T00:00:00Z",
            "tsu[0].successor.certificate: the key does not belong",
        ),
        (
            "key = \"tsu-rsa.key\", certificate = \"tsu-rsa.pem\", from = 2099-01-01T00:00:00Z",
            "ended at",
        ),
        (
            "key = \"tsu-rsa.key\", from = 2027-01-01T00:00:00Z",
            "tsu[0].successor.certificate: missing",
        ),
        (
            "key = \"tsu-rsa.key\", certificate = \"tsu-rsa.pem\", from = 2027-01-01",
            "no instant in UTC",
        ),
    ] {
        let file = dir.path("wrong.toml");
        fs::write(
            &file,
            text.replacen(first, &format!("{first}successor = {{ {successor} }}\n"), 1),
        )
        .unwrap();
        let output = support::gnomon(&["check", "--config", &file])
            .output()
            .unwrap();
        let said = support::text(&output);
        assert!(
            !output.status.success() && said.contains(expected),
            "{successor}: {said}"
        );
    }
}
