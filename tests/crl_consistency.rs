//! Answers under load while the CRL changes: each is made from one CRL alone, and none from one that was no longer in
//! force when it was asked for, whether the state changes by complete CRLs or by deltas.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use der::Decode;
use serde_json::{Value, json};
use support::{
    crls::{Served, make},
    run, wait_for,
};
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse};

/// As many as one request may ask about.
const SERIALS: u64 = 10;

const SWAPS: u64 = 20;

fn serial(n: u64) -> String {
    format!("5a0000000000000000000000000000{n:02x}")
}

/// In the state of an even number the even serials are on hold, in that of an odd one the odd.
fn held(state: u64) -> Value {
    let held = (0..SERIALS).filter(|n| n % 2 == state % 2);
    held.map(|n| (serial(n), json!("certificateHold")))
        .collect()
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    /// Of each serial that was asked about, whether it is on hold.
    fn ask(&mut self, request: &[u8]) -> Vec<bool> {
        self.0.get_mut().write_all(request).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert!(
                self.0.read_line(&mut line).unwrap() > 0,
                "the connection ended"
            );
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        statuses(&body)
    }
}

fn statuses(response: &[u8]) -> Vec<bool> {
    let response = OcspResponse::from_der(response).unwrap();
    let octets = response.response_bytes.expect("an answer").response;
    let basic = BasicOcspResponse::from_der(octets.as_bytes()).unwrap();
    let all = basic.tbs_response_data.responses.iter();
    all.map(|single| match &single.cert_status {
        CertStatus::Good(_) => false,
        CertStatus::Revoked(_) => true,
        CertStatus::Unknown(_) => panic!("all serials are listed"),
    })
    .collect()
}

/// A request about these serials; of one alone by GET, which is answered from what was sealed before.
fn request(gnomon: &Served, serials: impl Iterator<Item = u64>) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let serials: Vec<_> = serials.map(|n| format!("0x{}", serial(n))).collect();
    let (issuer, file) = (gnomon.dir.path("issuing.pem"), gnomon.dir.path("request"));
    let mut arguments = vec!["ocsp", "-no_nonce", "-issuer", &issuer, "-reqout", &file];
    for serial in &serials {
        arguments.extend(["-serial", serial]);
    }
    run("openssl", &arguments);
    let body = fs::read(&file).unwrap();
    if serials.len() == 1 {
        return format!(
            "GET /ocsp/{} HTTP/1.1\r\nHost: test\r\n\r\n",
            STANDARD.encode(body)
        )
        .into();
    }
    let head = format!(
        "POST /ocsp HTTP/1.1\r\nHost: test\r\nContent-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// How far the states have come.
#[derive(Default)]
struct Progress {
    /// The last that has been offered: answers may be of it.
    offered: AtomicU64,
    /// The last that an answer was of: none may be of an older one.
    seen: AtomicU64,
    over: AtomicBool,
}

/// Asks without end about `first` and those behind it; gives how many answers there were.
fn hammer(
    address: SocketAddr,
    request: Vec<u8>,
    first: u64,
    progress: &Arc<Progress>,
) -> JoinHandle<u64> {
    let progress = Arc::clone(progress);
    thread::spawn(move || {
        let mut client = Client::new(address);
        let mut answers = 0;
        while !progress.over.load(Ordering::SeqCst) {
            let oldest = progress.seen.load(Ordering::SeqCst);
            let answer = client.ask(&request);
            let newest = progress.offered.load(Ordering::SeqCst);
            let is_of = |state: u64| {
                let mut pairs = answer.iter().zip(first..);
                pairs.all(|(held, n)| *held == (n % 2 == state % 2))
            };
            assert!(
                (oldest..=newest).any(is_of),
                "{answer:?} of {first} and on is of none of the states {oldest} to {newest}"
            );
            answers += 1;
        }
        answers
    })
}

/// Hammers while state follows state; `crl` gives what the CA publishes for each.
fn every_answer_is_of_one_state(config: &str, before: &[Value], crl: impl Fn(u64) -> Value) {
    let gnomon = Served::start(
        config,
        |config| config,
        |dir| {
            make(dir, before);
            make(dir, &[crl(0)]);
            let mut issued = fs::read_to_string(dir.join("issued.txt")).unwrap();
            issued.extend((0..SERIALS).map(|n| serial(n) + "\n"));
            fs::write(dir.join("issued.txt"), issued).unwrap();
        },
    );
    let all = request(&gnomon, 0..SERIALS);
    let mut probe = Client::new(gnomon.listen);
    let mut until = |state: u64| {
        wait_for("the next state", || {
            let answer = probe.ask(&all);
            let is_of = (0..)
                .zip(&answer)
                .all(|(n, held)| *held == (n % 2 == state % 2));
            is_of.then_some(())
        });
    };
    until(0);
    // Made beforehand, each under its own name.
    let next = |state: u64| {
        let mut crl = crl(state);
        crl["out"] = json!(format!("states/{state}"));
        crl
    };
    make(&gnomon.dir, &(1..=SWAPS).map(next).collect::<Vec<_>>());
    let out = crl(0)["out"].as_str().unwrap().to_owned();

    let progress = Arc::new(Progress::default());
    let mut threads: Vec<_> = (0..SERIALS)
        .step_by(3)
        .map(|n| hammer(gnomon.listen, request(&gnomon, n..=n), n, &progress))
        .collect();
    threads.extend((0..3).map(|_| hammer(gnomon.listen, all.clone(), 0, &progress)));
    for state in 1..=SWAPS {
        progress.offered.store(state, Ordering::SeqCst);
        fs::rename(
            gnomon.dir.join(format!("states/{state}")),
            gnomon.dir.join(&out),
        )
        .unwrap();
        gnomon.refresh();
        until(state);
        progress.seen.store(state, Ordering::SeqCst);
        // A thread that has failed would hammer no more.
        assert!(threads.iter().all(|thread| !thread.is_finished()));
    }
    progress.over.store(true, Ordering::SeqCst);
    let answers: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert!(
        answers.iter().all(|answers| *answers > SWAPS),
        "{answers:?}"
    );
}

#[test]
fn every_answer_is_of_one_complete_crl() {
    every_answer_is_of_one_state(
        "\"crl\"",
        &[],
        |state| json!({ "out": "crl", "number": state + 1, "revoked": held(state), "filled": 5_000 }),
    );
}

#[test]
fn every_answer_is_of_one_delta() {
    let base = json!({ "out": "base", "number": 1, "filled": 5_000 });
    every_answer_is_of_one_state(
        "{ path = \"base\", delta = \"delta\" }",
        &[base],
        |state| json!({ "out": "delta", "number": state + 2, "base": 1, "revoked": held(state) }),
    );
}
