//! A stop over HTTPS: what is under way is answered, and idle connections hold up nothing.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout},
};

use support::{
    https::{MONTH, Server, s_client},
    timestamp_query, wait_for,
};

/// Reads until what came ends like this; gives all of it.
fn read_until(stream: &mut ChildStdout, end: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut octet = [0];
    while !end(&octets) {
        let read = stream.read(&mut octet).unwrap();
        assert_eq!(read, 1, "{}", String::from_utf8_lossy(&octets));
        octets.push(octet[0]);
    }
    octets
}

fn connect(server: &Server, alpn: &str) -> (Child, ChildStdout) {
    let address = server.https.to_string();
    let mut client = s_client(&["-quiet", "-connect", &address, "-alpn", alpn]);
    let stdout = client.stdout.take().unwrap();
    (client, stdout)
}

/// Asks for a stop, and waits until it has begun: nobody is admitted any more.
fn stop(server: &Server) {
    server.gnomon.signal("TERM");
    wait_for("the stop's beginning", || {
        TcpStream::connect(server.https).is_err().then_some(())
    });
}

#[test]
fn a_request_under_way_is_answered() {
    let server = Server::start(MONTH, "grace = \"1h\"");
    let (_, query) = timestamp_query(server.dir());
    let (mut client, mut answers) = connect(&server, "http/1.1");
    let head = format!(
        "POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        query.len()
    );
    let mut input = client.stdin.take().unwrap();
    input.write_all(head.as_bytes()).unwrap();
    // Then the body is waited for.
    read_until(&mut answers, |so_far| so_far.ends_with(b"\r\n\r\n"));
    stop(&server);
    input.write_all(&query).unwrap();
    let mut answer = Vec::new();
    answers.read_to_end(&mut answer).unwrap();
    let answer = support::Response::parse(&answer);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body[4..9], [0x30, 3, 2, 1, 0]);
    assert_eq!(answer.header("connection"), Some("close"));
    client.wait().unwrap();
    assert!(server.gnomon.ended().0.success());
}

/// A frame of HTTP/2 (RFC 9113 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
}

#[test]
fn a_request_under_way_is_answered_over_http_2() {
    let server = Server::start(MONTH, "grace = \"1h\"");
    let (_, query) = timestamp_query(server.dir());
    let (mut client, mut answers) = connect(&server, "h2");
    // POST, https, :path, :authority and content-type by their places in HPACK's static table (RFC 7541 A).
    let head = b"\x83\x87\x04\x04/tsa\x01\x01x\x0f\x10\x1bapplication/timestamp-query";
    let mut input = client.stdin.take().unwrap();
    input
        .write_all(
            &[
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                &frame(4, 0, 0, &[])[..],
                &frame(1, 4, 1, head),
                &frame(6, 0, 0, b"pingpong"),
            ]
            .concat(),
        )
        .unwrap();
    // What came before the ping has been read when its answer comes.
    read_until(&mut answers, |so_far| so_far.ends_with(b"pingpong"));
    stop(&server);
    input.write_all(&frame(0, 1, 1, &query)).unwrap();
    // A granted token, in a frame of data.
    let granted = [0x30, 3, 2, 1, 0];
    read_until(&mut answers, |so_far| so_far.ends_with(&granted));
    // The client neither answers the server's ping nor closes.
    assert!(server.gnomon.ended().0.success());
    client.wait().unwrap();
}

#[test]
fn a_stop_ends_idle_connections_at_once() {
    let server = Server::start(MONTH, "header_timeout = \"1h\"\ngrace = \"1h\"");
    let handshaking = TcpStream::connect(server.https).unwrap();
    let (mut kept_alive, mut answers) = connect(&server, "http/1.1");
    let mut input = kept_alive.stdin.take().unwrap();
    input
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    read_until(&mut answers, |so_far| so_far.ends_with(b"\r\n\r\n"));
    let (mut over_h2, mut frames) = connect(&server, "h2");
    // The header of its SETTINGS.
    read_until(&mut frames, |so_far| so_far.len() == 9);
    server.gnomon.signal("TERM");
    assert!(server.gnomon.ended().0.success());
    for client in [&mut kept_alive, &mut over_h2] {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    drop((handshaking, input));
}
