//! HTTP/2 by hand (RFC 9113): floods of resets, of settings, of pings and of continued headers, header bombs, windows
//! that never open, and TLS connections that are reset in the middle. Each ends by an error or a limit; nothing is left
//! of it, and others are served meanwhile.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use support::{
    https::{MONTH, Server},
    raw::{self, TlsStream, h2, process},
};

/// Error codes (RFC 9113 7).
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The server, and what it held before.
struct Attacked {
    server: Server,
    files: usize,
    resident: u64,
}

impl Attacked {
    fn start(http: &str) -> Self {
        let server = Server::start(MONTH, http);
        for _ in 0..20 {
            assert!(server.curl(&["--http2"]).ends_with("200 HTTP/2"));
        }
        Self {
            files: process::open_files(server.gnomon.pid()),
            resident: process::resident(server.gnomon.pid()),
            server,
        }
    }

    /// Runs `attack` so many times, with others served meanwhile within 2 seconds each, and sees what it leaves.
    fn bears(self, times: usize, attack: impl Fn(&Server)) {
        let (server, done) = (&self.server, AtomicBool::new(false));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    let said = server.curl(&["--http2", "--max-time", "2"]);
                    if !said.ends_with("200 HTTP/2") {
                        return Err(format!("after {served}: {said}"));
                    }
                    served += 1;
                }
                Ok(served)
            });
            // Whatever fails must not leave the other running.
            let attacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                (0..times).for_each(|_| attack(server));
            }));
            let is_serving = server.curl(&["--http2"]).ends_with("200 HTTP/2");
            done.store(true, Ordering::Relaxed);
            attacked.unwrap();
            assert!(is_serving);
            let served = other.join().unwrap();
            assert!(
                matches!(served, Ok(1..)),
                "somebody was not served: {served:?}"
            );
        });
        let pid = server.gnomon.pid();
        process::settles(pid, self.files);
        let grown = process::resident(pid).saturating_sub(self.resident);
        // The allocator keeps some of what the worst moment took.
        assert!(grown < 12 << 20, "{grown} octets more");
    }
}

fn open(server: &Server, settings: &[(u16, u32)]) -> TlsStream {
    let mut stream = raw::tls(server, b"h2");
    stream.write_all(&h2::opening(settings)).unwrap();
    stream
}

/// Sends as much as the server takes, up to `most` times, while reading what it says; gives all of that, to the end
/// of the connection.
fn flood(stream: &mut TlsStream, most: usize, mut octets: impl FnMut() -> Vec<u8>) -> Vec<u8> {
    let mut said = Vec::new();
    let mut buffer = [0; 16_384];
    stream
        .sock
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    for _ in 0..most {
        let part = octets();
        let mut sent = 0;
        while sent < part.len() {
            match stream.write(&part[sent..]) {
                Ok(count) => sent += count,
                Err(error) if raw::waits(&error) => {}
                Err(_) => return [said, raw::rest(stream)].concat(),
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return said,
            Ok(count) => said.extend(&buffer[..count]),
            Err(error) if raw::waits(&error) => {}
            Err(_) => return said,
        }
    }
    [said, raw::rest(stream)].concat()
}

#[test]
fn rapid_resets_end_the_connection() {
    Attacked::start("").bears(20, |server| {
        let mut stream = open(server, &[]);
        let mut number = 1;
        let said = flood(&mut stream, 5_000, || {
            let many = (number..number + 100).step_by(2);
            number += 100;
            let pair = |id| {
                let reset = h2::frame(h2::RST_STREAM, 0, id, &8_u32.to_be_bytes());
                [h2::request(id), reset].concat()
            };
            many.flat_map(pair).collect()
        });
        assert!(number < 100_000, "cut after some, not after {number}");
        if let Some(code) = h2::goodbye(&said) {
            assert_eq!(code, ENHANCE_YOUR_CALM);
        }
    });
}

#[test]
fn resets_that_the_server_is_made_to_send_end_the_connection() {
    // A window update of nothing on a stream is a stream's error, which the server answers by a reset (MadeYouReset).
    Attacked::start("").bears(5, |server| {
        let mut stream = open(server, &[]);
        let mut number = 1;
        let said = flood(&mut stream, 5_000, || {
            let many = (number..number + 100).step_by(2);
            number += 100;
            let pair = |id| {
                let open = h2::frame(h2::HEADERS, h2::END_HEADERS, id, &h2::get());
                let nothing = h2::frame(h2::WINDOW_UPDATE, 0, id, &[0; 4]);
                [open, nothing].concat()
            };
            many.flat_map(pair).collect()
        });
        assert!(number < 200_000, "cut after some, not after {number}");
        if let Some(code) = h2::goodbye(&said) {
            assert!(
                [PROTOCOL_ERROR, ENHANCE_YOUR_CALM].contains(&code),
                "{code}"
            );
        }
    });
}

#[test]
fn headers_that_go_on_for_ever_end_the_connection() {
    Attacked::start("").bears(5, |server| {
        for part in [
            h2::field("x", &"y".repeat(1_000)),
            vec![],
            vec![0x82; 1_000],
        ] {
            let mut stream = open(server, &[]);
            let begun = h2::frame(h2::HEADERS, h2::END_STREAM, 1, &h2::get());
            stream.write_all(&begun).unwrap();
            let mut sent = 0;
            let said = flood(&mut stream, 20_000, || {
                sent += 1;
                h2::frame(h2::CONTINUATION, 0, 1, &part)
            });
            assert!(sent < 20_000, "the server took {sent} frames");
            assert!(h2::goodbye(&said).is_none_or(|code| code != 0));
        }
    });
}

#[test]
fn header_bombs_are_refused() {
    Attacked::start("header_timeout = \"2s\"").bears(5, |server| {
        // A field of 4,000 octets put into the table once, and named 4,000 times: 16 MB of a few KiB.
        let mut value = vec![0x40, 1, b'x', 127];
        // 4,000 - 127 in sevens of bits (RFC 7541 5.1).
        value.extend([0xa1, 0x1e]);
        value.extend([b'y'; 4_000]);
        let bomb = [h2::get(), value, vec![0xbe; 4_000]].concat();
        // Many small fields, and two that are long.
        let many = [h2::get(), h2::field("x", "y").repeat(3_000)].concat();
        let long = [h2::get(), h2::field("x", &"y".repeat(8_150)).repeat(2)].concat();
        for block in [bomb, many, long] {
            let mut stream = open(server, &[]);
            let both = h2::END_STREAM | h2::END_HEADERS;
            let mut frames = Vec::new();
            for number in 0..20 {
                frames.extend(h2::frame(h2::HEADERS, both, 2 * number + 1, &block));
            }
            let said = flood(&mut stream, 1, || frames.clone());
            let answers = h2::frames(&said).into_iter();
            let answered = answers.filter(|(kind, ..)| *kind == h2::HEADERS);
            // 88 is :status 200 (RFC 7541 A).
            let mut granted = answered.filter(|(.., block)| block[0] == 0x88);
            assert!(granted.next().is_none());
        }
    });
}

#[test]
fn floods_of_settings_and_pings_are_borne_or_ended() {
    Attacked::start("write_timeout = \"1s\"\nheader_timeout = \"2s\"").bears(1, |server| {
        let ping = h2::frame(h2::PING, 0, 0, &[7; 8]).repeat(1_000);
        let settings = h2::frame(h2::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1_000);
        let empty = h2::frame(h2::DATA, 0, 1, &[]).repeat(1_000);
        let window = h2::frame(h2::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(1_000);
        let priority = h2::frame(2, 0, 3, &[0, 0, 0, 1, 7]).repeat(1_000);
        for frames in [ping, settings, empty, window, priority] {
            let mut stream = open(server, &[]);
            let open = h2::frame(h2::HEADERS, h2::END_HEADERS, 1, &h2::get());
            stream.write_all(&open).unwrap();
            let start = Instant::now();
            // Without a request under way even who is busy is told to go.
            flood(&mut stream, usize::MAX, || {
                assert!(
                    start.elapsed() < Duration::from_secs(30),
                    "the server kept the connection"
                );
                frames.clone()
            });
        }
    });
}

#[test]
fn windows_that_never_open_hold_nothing_for_long() {
    Attacked::start("header_timeout = \"1s\"").bears(2, |server| {
        // No stream has a window, so that every answer waits.
        let mut streams: Vec<_> = (0..20).map(|_| open(server, &[(4, 0)])).collect();
        for stream in &mut streams {
            let requests: Vec<_> = (0..100).flat_map(|n| h2::request(2 * n + 1)).collect();
            stream.write_all(&requests).unwrap();
        }
        for stream in &mut streams {
            let said = raw::rest(stream);
            assert!(
                !h2::frames(&said)
                    .iter()
                    .any(|(kind, _, data)| *kind == h2::DATA && !data.is_empty())
            );
        }
    });
}

#[test]
fn frames_that_are_none_end_the_connection() {
    Attacked::start("header_timeout = \"2s\"").bears(1, |server| {
        let huge = [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[0; 100]].concat();
        for frame in [
            huge,
            h2::frame(h2::DATA, 0, 1, b"x"),
            h2::frame(h2::HEADERS, 5, 0, &h2::get()),
            h2::frame(h2::HEADERS, 5, 2, &h2::get()),
            h2::frame(h2::HEADERS, 5, 1, &[0xff; 100]),
            h2::frame(h2::HEADERS, 0xd, 1, &[0xff]),
            h2::frame(h2::CONTINUATION, 4, 1, &h2::get()),
            h2::frame(h2::SETTINGS, 0, 0, &[0; 5]),
            h2::frame(h2::SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
            h2::frame(h2::PING, 0, 0, &[0; 7]),
            h2::frame(h2::WINDOW_UPDATE, 0, 0, &[0; 4]),
            h2::frame(h2::RST_STREAM, 0, 1, &[0; 4]),
            [h2::request(1), h2::request(1)].concat(),
        ] {
            let mut stream = open(server, &[]);
            let said = flood(&mut stream, 1, || frame.clone());
            assert!(h2::goodbye(&said).is_some(), "{frame:?}: {said:?}");
        }
        // And what is no preface.
        for begun in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        ] {
            let mut stream = raw::tls(server, b"h2");
            flood(&mut stream, 1, || begun.to_vec());
        }
    });
}

#[test]
fn thousands_of_connections_reset_in_the_middle_leave_nothing() {
    let attacked = Attacked::start("header_timeout = \"2s\"");
    let reset = |stream: TcpStream| {
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&stream, linger).unwrap();
    };
    attacked.bears(1, |server| {
        let hello = raw::client_hello(server);
        for number in 0..3_000 {
            let mut stream = TcpStream::connect(server.https).unwrap();
            let end = match number % 4 {
                0 => 0,
                1 => 3,
                2 => hello.len() / 2,
                _ => hello.len(),
            };
            let _ = stream.write_all(&hello[..end]);
            reset(stream);
        }
        // And behind the handshake, with a request under way.
        for _ in 0..300 {
            let mut stream = open(server, &[]);
            let requests: Vec<_> = (0..50).flat_map(|n| h2::request(2 * n + 1)).collect();
            stream.write_all(&requests).unwrap();
            reset(stream.sock);
        }
    });
}
