//! Clients that are slow, silent, greedy or broken: each gets its answer or its end, and nobody else notices.

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use support::{Gnomon, Response, http, stamps::recorded, timestamp_query, wait_for};

fn query(gnomon: &Gnomon) -> Vec<u8> {
    timestamp_query(&gnomon.dir).1
}

fn connect(gnomon: &Gnomon) -> TcpStream {
    let stream = TcpStream::connect(gnomon.listen).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// All that comes until the server closes; a reset counts as closed.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return octets,
            Ok(count) => octets.extend(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return octets,
            Err(error) => panic!("the server kept the connection: {error}"),
        }
    }
}

fn is_served(gnomon: &Gnomon) {
    let response = gnomon.post("/tsa", "application/timestamp-query", &query(gnomon));
    assert_eq!(response.status, 200);
    assert_eq!(
        response.body[..9],
        [
            0x30,
            0x82,
            response.body[2],
            response.body[3],
            0x30,
            3,
            2,
            1,
            0
        ]
    );
}

fn hasty(config: String) -> String {
    config.replacen(
        "[clock]",
        "[http]\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"\nconnections = 20\n\n[clock]",
        1,
    )
}

#[test]
fn a_body_that_is_too_large_is_refused_unread() {
    let gnomon = Gnomon::demo();
    for path in ["/tsa", "/ocsp", "/"] {
        let mut stream = connect(&gnomon);
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(Response::parse(&rest(stream)).status, 413, "{path}");

        let exact = vec![0; 64 << 10];
        assert_eq!(
            gnomon.post(path, "", &exact).status,
            200,
            "{path}: 64 KiB are taken"
        );
        assert_eq!(
            gnomon.post(path, "", &[&exact[..], &[0]].concat()).status,
            413
        );

        let mut stream = connect(&gnomon);
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [&b"8000\r\n"[..], &vec![0; 0x8000], b"\r\n"].concat();
        let _ = stream.write_all(&[head.as_bytes(), &chunk, &chunk, &chunk].concat());
        assert_eq!(Response::parse(&rest(stream)).status, 413, "{path} chunked");
    }
    // Nobody is asked to send what would be refused.
    let mut stream = connect(&gnomon);
    let head =
        b"POST /tsa HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n";
    stream.write_all(head).unwrap();
    assert_eq!(Response::parse(&rest(stream)).status, 413);
    assert_eq!(gnomon.metric(&["gnomon_http_refusals_total", "size"]), 10.0);
}

#[test]
fn slow_and_silent_clients_are_closed_and_others_served() {
    let gnomon = Gnomon::edited(hasty);
    let start = Instant::now();
    let silent = connect(&gnomon);
    let mut half_a_line = connect(&gnomon);
    half_a_line.write_all(b"POST /ts").unwrap();
    let mut half_a_body = connect(&gnomon);
    half_a_body
        .write_all(b"POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: 59\r\n\r\n0")
        .unwrap();
    drop(connect(&gnomon));
    is_served(&gnomon);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "others need not wait"
    );
    assert!(rest(silent).is_empty());
    rest(half_a_line);
    assert_eq!(Response::parse(&rest(half_a_body)).status, 408);
    assert!(start.elapsed() < Duration::from_secs(10), "closed in time");
    // Octet by octet is as slow as not at all.
    let mut dripping = connect(&gnomon);
    let start = Instant::now();
    let closed = wait_for("the end of a dripping client", || {
        std::thread::sleep(Duration::from_millis(100));
        dripping.write_all(b"X").is_err().then(|| start.elapsed())
    });
    assert!(closed < Duration::from_secs(15), "{closed:?}");
    is_served(&gnomon);
}

#[test]
fn more_connections_than_allowed_are_told_at_once() {
    let gnomon = Gnomon::edited(hasty);
    let held: Vec<_> = (0..20).map(|_| connect(&gnomon)).collect();
    let told = wait_for("a full house", || {
        let mut stream = connect(&gnomon);
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = rest(stream);
        (!answer.is_empty())
            .then(|| Response::parse(&answer))
            .filter(|answer| answer.status == 503)
    });
    assert_eq!(told.header("retry-after"), Some("1"));
    assert!(gnomon.metric(&["gnomon_http_connections_refused_total"]) >= 1.0);
    assert_eq!(gnomon.metric(&["gnomon_http_connections "]), 20.0);
    drop(held);
    wait_for("places", || {
        let mut stream = connect(&gnomon);
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = rest(stream);
        (!answer.is_empty() && Response::parse(&answer).status == 200).then_some(())
    });
}

#[test]
fn requests_come_in_every_shape() {
    let gnomon = Gnomon::demo();
    let query = query(&gnomon);
    let length = query.len();
    let granted = |head: &str, body: &[u8]| {
        let response = http(gnomon.listen, &[head.as_bytes(), body].concat());
        assert_eq!(response.status, 200, "{head}");
        assert_eq!(
            response.header("content-type"),
            Some("application/timestamp-reply")
        );
        assert_eq!(
            response.header("content-length"),
            Some(response.body.len().to_string().as_str())
        );
        assert!(
            response.header("transfer-encoding").is_none(),
            "never chunked"
        );
        assert_eq!(response.body[4..9], [0x30, 3, 2, 1, 0], "{head}");
    };
    let close = "Host: x\r\nConnection: close\r\n";
    granted(
        &format!("POST /tsa HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n"),
        &query,
    );
    granted(
        &format!(
            "POST /tsa HTTP/1.1\r\n{close}content-TYPE: Application/Timestamp-Query; a=b\r\nContent-Length: {length}\r\n\r\n"
        ),
        &query,
    );
    granted(
        &format!(
            "POST /tsa HTTP/1.1\r\n{close}Accept: text/html, image/gif, image/jpeg, */*; q=0.2\r\nContent-Length: {length}\r\n\r\n"
        ),
        &query,
    );
    granted(
        &format!("POST /tsa HTTP/1.0\r\nContent-Length: {length}\r\n\r\n"),
        &query,
    );
    let chunked = [
        format!("{length:x}\r\n").as_bytes(),
        &query,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    granted(
        &format!("POST /tsa HTTP/1.1\r\n{close}Transfer-Encoding: chunked\r\n\r\n"),
        &chunked,
    );

    // HTTP/1.0 that wants to be kept alive, as osslsigncode does.
    let mut stream = connect(&gnomon);
    let head =
        format!("POST /tsa HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n");
    let kept = [head.as_bytes(), &query].concat();
    let last = [kept.clone(), kept].concat();
    stream.write_all(&last).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let text = String::from_utf8_lossy(&rest(stream)).into_owned();
    assert_eq!(text.matches("HTTP/1.0 200 OK").count(), 2, "{text}");

    // Expect: 100-continue gets its 100, and then the answer.
    let mut stream = connect(&gnomon);
    let head = format!(
        "POST /tsa HTTP/1.1\r\n{close}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&query).unwrap();
    assert_eq!(Response::parse(&rest(stream)).status, 200);

    // Pipelined.
    let mut stream = connect(&gnomon);
    let one = [
        format!("POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        &query,
    ]
    .concat();
    let last = [
        format!("POST /tsa HTTP/1.1\r\n{close}Content-Length: {length}\r\n\r\n").as_bytes(),
        &query,
    ]
    .concat();
    stream
        .write_all(&[one.clone(), one, last].concat())
        .unwrap();
    let text = String::from_utf8_lossy(&rest(stream)).into_owned();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
}

#[test]
fn what_is_not_offered_is_said_and_what_is_no_http_is_closed() {
    let gnomon = Gnomon::demo();
    let ask = |request: &str| {
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        http(gnomon.listen, request.as_bytes())
    };
    for (request, status, allow) in [
        ("GET /tsa", 405, Some("POST")),
        ("PUT /tsa/rsa", 405, Some("POST")),
        ("DELETE /ocsp", 405, Some("POST")),
        ("OPTIONS /", 405, Some("GET, HEAD, POST")),
        ("PUT /MFEw", 405, Some("GET, HEAD")),
        ("GET /nothing", 404, None),
        ("POST /nothing", 404, None),
        ("GET /tsa/../../etc/passwd", 405, Some("POST")),
        ("GET /metrics", 404, None),
    ] {
        let response = ask(request);
        assert_eq!(
            (response.status, response.header("allow")),
            (status, allow),
            "{request}"
        );
    }
    let page = ask("GET /");
    assert!(page.status == 200 && String::from_utf8(page.body).unwrap().contains("Gnomon"));

    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "M".repeat(100_000));
    let both = "POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n";
    let twice =
        "POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!";
    let spaced = "POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello";
    let tls = "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}";
    for broken in [
        &long[..],
        both,
        twice,
        spaced,
        tls,
        "\r\n\r\n\0\0",
        "GET\r\n\r\n",
    ] {
        let mut stream = connect(&gnomon);
        let _ = stream.write_all(broken.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let text = String::from_utf8_lossy(&rest(stream)).into_owned();
        assert!(
            !text.contains("404"),
            "what was smuggled in was answered: {text}"
        );
        assert!(!text.contains("HTTP/1.1 5"), "{text}");
    }
    is_served(&gnomon);
}

#[test]
fn a_client_that_hangs_up_cuts_nothing_short() {
    let gnomon = Gnomon::demo();
    let query = query(&gnomon);
    for path in ["/tsa", "/tsa/rsa"] {
        let before = recorded(&gnomon.dir).len();
        let mut stream = connect(&gnomon);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            query.len()
        );
        stream
            .write_all(&[head.as_bytes(), &query].concat())
            .unwrap();
        // Gone with a reset before the answer can be written.
        drop(stream);
        wait_for("the record", || {
            (recorded(&gnomon.dir).len() > before).then_some(())
        });
    }
    is_served(&gnomon);
}
