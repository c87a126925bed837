//! Requests whose end can be read in two ways, and headers that are too many, too long or no headers: each gets one
//! answer and the end of its connection, and what came behind it is not taken for a request.

mod support;

use std::{io::Write, net::TcpStream};

use support::{
    Gnomon,
    raw::{self, process},
    timestamp_query,
};

/// What would be answered by 404.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// All that comes back for `octets`, until the end of the connection.
fn answered(gnomon: &Gnomon, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(gnomon.listen).unwrap();
    raw::hasty(&stream);
    let mut sent = 0;
    while sent < octets.len() {
        match stream.write(&octets[sent..]) {
            Ok(count) => sent += count,
            Err(error) if raw::waits(&error) => {}
            // It has heard enough.
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&raw::rest(&mut stream)).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    let answers = answer.match_indices("HTTP/1.");
    answers
        .filter_map(|(at, _)| answer.get(at + 9..at + 12))
        .collect()
}

fn is_served(gnomon: &Gnomon) {
    let (_, query) = timestamp_query(&gnomon.dir);
    let answer = gnomon.post("/tsa", "application/timestamp-query", &query);
    assert_eq!((answer.status, answer.body[8]), (200, 0));
}

/// A length beside chunks: the chunks count, and nothing is read behind them (RFC 9112 6.3).
const BOTH: [&str; 3] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5",
];

/// By header lines and what stands where the body is expected.
const AMBIGUOUS: [(&str, &str); 35] = [
    // Two lengths.
    ("Content-Length: 5\r\nContent-Length: 0", "hello"),
    ("Content-Length: 5, 5", "hello"),
    // Lengths that are none.
    ("Content-Length: +5", "hello"),
    ("Content-Length: -5", "hello"),
    ("Content-Length: 0x5", "hello"),
    ("Content-Length: 5 5", "hello"),
    ("Content-Length: ", "hello"),
    ("Content-Length: 18446744073709551616", ""),
    ("Content-Length: 18446744073709551621", "hello"),
    ("Content-Length: 18446744073709551615", ""),
    // Codings that are none, or not only ours.
    ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
    ("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: identity\r\nContent-Length: 5", "hello"),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "0\r\n\r\n",
    ),
    // Names and lines that are none.
    ("Content-Length : 5", "hello"),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
    (
        "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5",
        "0\r\n\r\n",
    ),
    (
        "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5",
        "0\r\n\r\n",
    ),
    ("X: y\0z\r\nContent-Length: 5", "hello"),
    ("X\0: y\r\nContent-Length: 5", "hello"),
    ("no colon\r\nContent-Length: 5", "hello"),
    // Chunks that are none.
    ("Transfer-Encoding: chunked", "-5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "5;x\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "5\nhello\n0\n\n"),
    ("Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\n"),
    (
        "Transfer-Encoding: chunked",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("Transfer-Encoding: chunked", "\r\nhello\r\n0\r\n\r\n"),
    (
        "Transfer-Encoding: chunked",
        "ffffffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ),
    ("Host: y\r\nContent-Length: 5", "hello"),
];

#[test]
fn what_can_be_read_in_two_ways_is_refused_once() {
    let gnomon = Gnomon::demo();
    is_served(&gnomon);
    let before = process::open_files(gnomon.pid());
    let counted = || gnomon.metric(&["gnomon_http_refusals_total", "reason=\"framing\""]);
    assert_eq!(counted(), 0.0);
    answered(&gnomon, b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n");
    assert_eq!(counted(), 1.0);
    for (lines, body) in AMBIGUOUS {
        for path in ["/ocsp", "/tsa", "/nothing"] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{body}");
            let answer = answered(&gnomon, &[head.as_bytes(), SMUGGLED].concat());
            let statuses = statuses(&answer);
            let refused = matches!(statuses.as_slice(), ["400" | "404" | "413" | "431"]);
            assert!(refused, "{path}: {lines:?} {body:?}: {answer}");
        }
        // A 404 alone is of the path asked for, never of what was smuggled in.
        let head = format!("POST /ocsp HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{body}");
        let answer = answered(&gnomon, &[head.as_bytes(), SMUGGLED].concat());
        assert!(!answer.contains(" 404 "), "{lines:?} {body:?}: {answer}");
    }
    for version in [
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/0.9",
        "http/1.1",
        "HTTP/1.1 ",
        "",
    ] {
        let head = format!("GET / {version}\r\nHost: x\r\n\r\n");
        let answer = answered(&gnomon, &[head.as_bytes(), SMUGGLED].concat());
        assert!(
            matches!(statuses(&answer).as_slice(), [] | ["400"]),
            "{version}: {answer}"
        );
    }
    for lines in BOTH {
        let head = format!("POST /ocsp HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n0\r\n\r\n");
        let answer = answered(&gnomon, &[head.as_bytes(), SMUGGLED].concat());
        assert_eq!(statuses(&answer), ["200"], "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    // HTTP/1.0 knows no chunks.
    let head = b"POST /ocsp HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = answered(&gnomon, &[&head[..], SMUGGLED].concat());
    assert_eq!(statuses(&answer), ["400"], "{answer}");
    process::settles(gnomon.pid(), before);
    is_served(&gnomon);
}

#[test]
fn a_body_is_a_body_whatever_it_looks_like() {
    let gnomon = Gnomon::demo();
    let length = SMUGGLED.len();
    let close = "Host: x\r\nConnection: close\r\n";
    for (request, status) in [
        (
            format!("GET / HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"),
            "200",
        ),
        (
            format!("HEAD / HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"),
            "200",
        ),
        (
            format!("POST /nothing HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"),
            "404",
        ),
        (
            format!("POST /ocsp HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"),
            "200",
        ),
        (
            format!("OPTIONS * HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"),
            "404",
        ),
        // In absolute form the path counts, and no host is asked on anybody's behalf.
        (
            format!(
                "POST http://other.example/ocsp HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"
            ),
            "200",
        ),
        (
            format!(
                "CONNECT other.example:443 HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"
            ),
            "405",
        ),
    ] {
        let answer = answered(&gnomon, &[request.as_bytes(), SMUGGLED].concat());
        assert_eq!(statuses(&answer), [status], "{request}: {answer}");
        assert!(!answer.contains("smuggled"), "{request}: {answer}");
    }
    // Nobody is talked into another protocol.
    let upgrade = format!(
        "GET / HTTP/1.1\r\n{}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        close.replace("close", "close, Upgrade, HTTP2-Settings")
    );
    assert_eq!(statuses(&answered(&gnomon, upgrade.as_bytes())), ["200"]);
}

#[test]
fn headers_without_end_are_refused_and_forgotten() {
    let gnomon = Gnomon::demo();
    is_served(&gnomon);
    let (before, resident) = (
        process::open_files(gnomon.pid()),
        process::resident(gnomon.pid()),
    );
    let bombs = [
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(150)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1_000_000)),
        format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(5_000_000)),
        format!("GET / HTTP/1.1\r\n{}: b\r\n\r\n", "A".repeat(5_000_000)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "M".repeat(5_000_000)),
        "G".repeat(5_000_000),
        "\r\n".repeat(2_000_000),
        format!(
            "POST /tsa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\nhello\r\n0\r\n\r\n",
            "x".repeat(5_000_000)
        ),
        format!(
            "POST /tsa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
            "A: b\r\n".repeat(1_000_000)
        ),
        // A chunk for each octet, each with an extension.
        format!(
            "POST /tsa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            format!("1;{}\r\nx\r\n", "y".repeat(100)).repeat(50_000)
        ),
    ];
    for _ in 0..3 {
        for bomb in &bombs {
            let answer = answered(&gnomon, bomb.as_bytes());
            let refused = matches!(
                statuses(&answer).as_slice(),
                [] | ["400" | "408" | "413" | "414" | "431"]
            );
            assert!(refused, "{}: {answer}", &bomb[..60]);
        }
        is_served(&gnomon);
    }
    process::settles(gnomon.pid(), before);
    let grown = process::resident(gnomon.pid()).saturating_sub(resident);
    assert!(grown < 8 << 20, "{grown} octets more");
}
