//! The journal as docs/journal.md has it, read by a program that knows nothing else: tests/python/journal.py.
//! What the clients got is in it, its root is the one that was signed, and a changed octet is found.

mod support;

use std::{collections::BTreeMap, fs, path::Path, thread};

use gnomon::audit::frame::{Frame, Head, SEGMENT_HEADER};
use serde_json::Value;
use support::{
    Folder, Gnomon, fails, http, python_script, python_tool, run,
    stamps::{Stamp, checkpoint, post, reference},
};

const CLIENTS: usize = 6;
const REQUESTS: usize = 100;
const REFUSED: u64 = 3;

fn query(dir: &Folder, hash: &str) -> Vec<u8> {
    let (file, content) = (dir.path(&format!("{hash}.tsq")), dir.path("gnomon.toml"));
    let hash = format!("-{hash}");
    run(
        "openssl",
        &["ts", "-query", "-data", &content, &hash, "-out", &file],
    );
    fs::read(file).unwrap()
}

/// What several clients at once got: the digest of each token, in hexadecimal, by its serial.
fn stamp(gnomon: &Gnomon) -> BTreeMap<String, String> {
    let address = gnomon.listen;
    let clients = (0..CLIENTS).map(|number| {
        let hash = ["sha256", "sha384", "sha512"][number % 3];
        let path = if number == 0 { "/tsa/rsa" } else { "/tsa" };
        let request = post(path, &query(&gnomon.dir, hash));
        thread::spawn(move || {
            let ask = |_| Stamp::granted(&http(address, &request).body).unwrap();
            (0..REQUESTS).map(ask).collect::<Vec<_>>()
        })
    });
    let clients: Vec<_> = clients.collect();
    let stamps = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap());
    stamps
        .map(|stamp| (stamp.serial, stamp.token_sha256))
        .collect()
}

/// Flips a bit in the middle of a segment; gives the number of the first record in the frame that has it.
fn harm(segment: &Path) -> u64 {
    let mut octets = fs::read(segment).unwrap();
    let head = Head::decode(&octets).unwrap();
    let (middle, mut at) = (octets.len() / 2, SEGMENT_HEADER);
    let first = loop {
        let (frame, length) = Frame::decode(&octets[at..], &head.seed).unwrap();
        at += length;
        if middle < at {
            break frame.first;
        }
    };
    octets[middle] ^= 0x10;
    fs::write(segment, octets).unwrap();
    first
}

#[test]
fn another_reader_finds_every_token_and_the_signed_root_and_harm() {
    for keep_tokens in [false, true] {
        let gnomon = Gnomon::edited(|config| {
            let dir = "dir = \"journal\"\n";
            let more = format!("{dir}segment_size = \"64KiB\"\nkeep_tokens = {keep_tokens}\n");
            config.replace(dir, &more)
        });
        let issued = stamp(&gnomon);
        assert_eq!(issued.len(), CLIENTS * REQUESTS);
        let refused = post("/tsa", &query(&gnomon.dir, "md5"));
        for _ in 0..REFUSED {
            assert_eq!(Stamp::granted(&http(gnomon.listen, &refused).body), None);
        }
        gnomon.signal("TERM");
        let (status, dir) = gnomon.ended();
        assert!(status.success());

        let (records, end) = reference(&dir.join("journal"));
        let of_kind = |kind| records.iter().filter(move |record| record["kind"] == kind);
        let field = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
        let recorded: BTreeMap<_, _> = of_kind("token")
            .map(|record| (field(record, "serial"), field(record, "token_digest")))
            .collect();
        assert_eq!(recorded, issued);
        let refusals: Vec<_> = of_kind("refusals")
            .map(|record| &record["details"])
            .collect();
        let of_client =
            |details: &&Value| details["tsu"] == "ecdsa" && details["failure"] == "badAlg";
        assert!(refusals.iter().all(of_client), "{refusals:?}");
        let count = |details: &&Value| details["count"].as_u64().unwrap();
        assert_eq!(refusals.iter().map(count).sum::<u64>(), REFUSED);
        assert_eq!(records.first().unwrap()["kind"], "started");
        assert_eq!(records.last().unwrap()["details"]["reason"], "SIGTERM");

        let (size, root) = checkpoint(&dir.join("journal"));
        assert_eq!(
            (&end["records"], &end["root"]),
            (&size.into(), &root.into())
        );

        let segments = fs::read_dir(dir.join("journal/segments")).unwrap();
        let mut segments: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
        segments.sort();
        assert!(segments.len() > 2);
        let first = harm(&segments[1]);
        let journal = dir.path("journal");
        let said = fails(
            &python_tool("python"),
            &[&python_script("journal.py"), &journal],
        );
        let said = said.lines().last().unwrap();
        assert!(said.starts_with(&format!("record {first}: ")), "{said}");
    }
}
