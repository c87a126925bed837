//! Time-stamps under load: [`load`] starts clients that ask without end, [`Stamp`] is what they get, and
//! [`recorded`] what the journal has of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cms::{content_info::ContentInfo, signed_data::SignedData};
use der::{Decode, Encode};
use gnomon::wire::{
    algorithm::DigestAlgorithm,
    tlv::{Reader, tag},
};

use super::{Folder, Gnomon, Response, gnomon, python_script, python_tool, run, text};

/// A token that a client received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Hexadecimal of 16 octets.
    pub serial: String,
    /// Hexadecimal.
    pub token_sha256: String,
    /// The whole response.
    pub response: Vec<u8>,
}

/// A TimeStampReq without certReq, for an imprint of zeros.
pub fn query(dir: &Folder) -> Vec<u8> {
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

/// Has OpenSSL verify a response to this query, both files, by the demo's CAs.
pub fn openssl_verifies(dir: &Folder, query: &str, reply: &str) {
    let chain = dir.path("chain.pem");
    let response = ["-in", reply, "-queryfile", query];
    let verify = [&["ts", "-verify"][..], &response, &["-CAfile", &chain]].concat();
    run("openssl", &verify);
}

/// Whether a response has a token, by its status alone.
pub fn granted(response: &[u8]) -> bool {
    response.get(4..9) == Some(&[0x30, 3, 2, 1, 0])
}

/// A POST whose answer ends the connection.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Stamp {
    /// The token in a granted response; `None` for a rejection.
    pub fn granted(response: &[u8]) -> Option<Self> {
        let mut fields = Reader::whole(response, tag::SEQUENCE).unwrap().reader();
        let status = fields.expect(tag::SEQUENCE).unwrap();
        if status.value[..3] != [2, 1, 0] {
            return None;
        }
        let token = fields.rest();
        let info = ContentInfo::from_der(token).unwrap();
        let signed = info.content.decode_as::<SignedData>().unwrap();
        let content = signed.encap_content_info.econtent.unwrap();
        let content = content.to_der().unwrap();
        let octets = Reader::whole(&content, tag::OCTET_STRING).unwrap().value;
        let mut tst_info = Reader::whole(octets, tag::SEQUENCE).unwrap().reader();
        for tag in [tag::INTEGER, tag::OID, tag::SEQUENCE] {
            tst_info.expect(tag).unwrap();
        }
        Some(Self {
            serial: format!("{:0>32}", hex::encode(tst_info.integer().unwrap())),
            token_sha256: hex::encode(DigestAlgorithm::Sha256.digest(token)),
            response: response.to_vec(),
        })
    }
}

/// A client at work: the stamps it got, and how many of its connections broke.
pub type Client = thread::JoinHandle<(Vec<Stamp>, usize)>;

/// Clients that ask without end until told to stop, every fourth of them for RSA; they give the stamps they got,
/// and how many of their connections broke after the request was sent.
pub fn load(gnomon: &Gnomon, clients: usize) -> (Arc<AtomicBool>, Vec<Client>) {
    let stop = Arc::new(AtomicBool::new(false));
    let request = query(&gnomon.dir);
    let start = |number| {
        let (stop, address) = (Arc::clone(&stop), gnomon.listen);
        let request = post(if number % 4 == 0 { "/tsa/rsa" } else { "/tsa" }, &request);
        thread::spawn(move || {
            let (mut stamps, mut broken) = (Vec::new(), 0);
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
                stamps.extend(Stamp::granted(&Response::parse(&octets).body));
            }
            (stamps, broken)
        })
    };
    let threads = (0..clients).map(start).collect();
    (stop, threads)
}

/// All records of a journal, as `gnomon journal export` prints them.
pub fn export(journal: &Path) -> Vec<serde_json::Value> {
    let output = gnomon(&["journal", "export", journal.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let records = String::from_utf8(output.stdout).unwrap();
    let records = records.lines();
    records
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The time of a record, since 1970.
pub fn time_of(record: &serde_json::Value) -> Duration {
    let text = record["time"].as_str().unwrap().trim_end_matches('Z');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole: der::DateTime = format!("{whole}Z").parse().unwrap();
    whole.unix_duration() + Duration::from_nanos(format!("{fraction:0<9}").parse().unwrap())
}

/// The SHA-256 of every token on record, by its serial, both hexadecimal. No serial may come twice.
pub fn recorded(dir: &Path) -> BTreeMap<String, String> {
    let mut tokens = BTreeMap::new();
    for record in export(&dir.join("journal")) {
        if record["kind"] != "token" {
            continue;
        }
        let field = |name: &str| record[name].as_str().unwrap().to_owned();
        let before = tokens.insert(field("serial"), field("token_sha256"));
        assert_eq!(before, None, "a serial was recorded twice");
    }
    tokens
}

/// Every stamp must be on record as it is.
pub fn assert_recorded(stamps: &[Stamp], recorded: &BTreeMap<String, String>) {
    for stamp in stamps {
        assert_eq!(
            recorded.get(&stamp.serial),
            Some(&stamp.token_sha256),
            "a token left without its record: {}",
            stamp.serial
        );
    }
}

/// What `gnomon journal verify --json` says, and whether it succeeded.
pub fn verify(journal: &Path, options: &[&str]) -> (bool, serde_json::Value) {
    let mut command = gnomon(&["journal", "verify", journal.to_str().unwrap(), "--json"]);
    let output = command.args(options).output().unwrap();
    let report = serde_json::from_slice(&output.stdout);
    (
        output.status.success(),
        report.unwrap_or_else(|_| panic!("{}", text(&output))),
    )
}

/// What tests/python/journal.py makes of a journal: it must hold. All records, and at last how many there are and
/// their root.
pub fn reference(journal: &Path) -> (Vec<serde_json::Value>, serde_json::Value) {
    let journal = journal.to_str().unwrap();
    let python = Command::new(python_tool("python"))
        .args([&python_script("journal.py"), journal])
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", text(&python));
    let lines = String::from_utf8(python.stdout).unwrap();
    let lines = lines.lines().map(serde_json::from_str);
    let mut records: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().unwrap();
    let end = records.pop().unwrap();
    (records, end)
}

/// Size and root (hexadecimal) of the last checkpoint.
pub fn checkpoint(journal: &Path) -> (u64, String) {
    let note = fs::read_to_string(journal.join("log/checkpoint")).unwrap();
    let mut lines = note.lines().skip(1);
    let size = lines.next().unwrap().parse().unwrap();
    (
        size,
        hex::encode(STANDARD.decode(lines.next().unwrap()).unwrap()),
    )
}
