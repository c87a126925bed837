//! 100,000 requests that were right once: no crash, no 5xx, no growth in memory, and an answer to each.

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use support::{Gnomon, raw::process, run};

const REQUESTS: usize = 100_000;

/// xorshift64*, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn octet(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>], seed: usize) -> Vec<u8> {
    let mut octets = seeds[seed].clone();
    for _ in 0..=random.below(3) {
        let at = random.below(octets.len());
        match random.below(6) {
            0 if !octets.is_empty() => octets[at] ^= 1 << random.below(8),
            1 if !octets.is_empty() => octets[at] = random.octet(),
            2 => octets.truncate(at),
            3 => octets.insert(at, random.octet()),
            4 if !octets.is_empty() => drop(octets.remove(at)),
            // A length that says something else, or a piece of another request.
            5 if octets.len() > 4 => octets[1] = random.octet(),
            _ => {
                let other = &seeds[random.below(seeds.len())];
                octets.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    octets
}

/// One kept-alive connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(gnomon: &Gnomon) -> Self {
        let stream = TcpStream::connect(gnomon.listen).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The status and body of the answer.
    fn ask(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.stream.write_all(request).unwrap();
        loop {
            if let Some(end) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse::<usize>().unwrap());
                if self.buffer.len() >= end + 4 + length {
                    let rest = self.buffer.split_off(end + 4 + length);
                    let body = self.buffer.split_off(end + 4);
                    self.buffer = rest;
                    return (head[9..12].parse().unwrap(), body);
                }
            }
            let mut chunk = [0; 8192];
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the connection was closed");
            self.buffer.extend(&chunk[..count]);
        }
    }
}

#[test]
fn mutated_requests_are_all_answered() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let gnomon = Gnomon::demo();
    let path = |name: &str| gnomon.dir.path(name);
    let (file, issuer, good) = (path("seed"), path("issuing.pem"), path("good.pem"));
    let digest = "ab".repeat(32);
    let made = |arguments: &[&str]| {
        run("openssl", arguments);
        fs::read(&file).unwrap()
    };
    let queries = [
        made(&[
            "ts", "-query", "-digest", &digest, "-sha256", "-cert", "-out", &file,
        ]),
        made(&[
            "ts",
            "-query",
            "-digest",
            &digest,
            "-sha256",
            "-no_nonce",
            "-tspolicy",
            "2.999.3161.1",
            "-out",
            &file,
        ]),
    ];
    let requests = [
        made(&[
            "ocsp",
            "-no_nonce",
            "-issuer",
            &issuer,
            "-cert",
            &good,
            "-reqout",
            &file,
        ]),
        made(&[
            "ocsp", "-nonce", "-sha256", "-issuer", &issuer, "-cert", &good, "-cert", &good,
            "-reqout", &file,
        ]),
    ];
    let mut client = Client::connect(&gnomon);
    let mut random = Random(0x676e_6f6d_6f6e);
    let mut half = 0;
    for number in 0..REQUESTS {
        let seed = random.below(2);
        let request = match number % 4 {
            0 | 1 => {
                let body = mutate(&mut random, &queries, seed);
                let head = format!(
                    "POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                [head.into_bytes(), body].concat()
            }
            2 => {
                let body = mutate(&mut random, &requests, seed);
                let head = format!(
                    "POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                [head.into_bytes(), body].concat()
            }
            _ => {
                let body = STANDARD.encode(mutate(&mut random, &requests, seed));
                format!("GET /ocsp/{body} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
            }
        };
        let (status, body) = client.ask(&request);
        // A GET whose request does not begin with a SEQUENCE is a path that leads nowhere.
        assert!(
            status == 200 || (number % 4 == 3 && matches!(status, 404 | 405)),
            "{status}: {request:02x?}"
        );
        assert!(
            status != 200 || body.first() == Some(&0x30),
            "{request:02x?}"
        );
        if number == REQUESTS / 2 {
            half = process::resident(gnomon.pid());
        }
    }
    let end = process::resident(gnomon.pid());
    // Sealed answers for mutated CertIDs are bounded; what is left is the allocator's own.
    assert!(end < half + (4 << 20), "grew from {half} to {end} octets");
    assert!(gnomon.metric(&["gnomon_timestamp_responses_total", "granted"]) > 0.0);
}
