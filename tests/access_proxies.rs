//! Clients behind proxies: X-Forwarded-For and the PROXY protocol, by curl, by octets, and by the real nginx and HAProxy.

mod support;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use support::{
    Gnomon,
    access::{Setup, curl, is_token, stamp},
    free_port,
    server::{self, Server},
};

/// Only 192.0.2.0/24 may ask, and these lines say how that can be known.
fn only_from_afar(lines: &str) -> Setup {
    Setup::new()
        .rule("afar", "addresses = [\"192.0.2.0/24\"]")
        .http(&format!("access = \"afar\"\n{lines}"))
}

/// What comes back for these octets until the server closes.
fn exchange(address: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(octets).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // Closed with octets unread.
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    answer
}

const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

/// The status for these octets and then a request, if there is an answer at all.
fn status(gnomon: &Gnomon, before: &[u8]) -> Option<u16> {
    let answer = exchange(gnomon.listen, &[before, GET.as_bytes()].concat());
    let text = String::from_utf8_lossy(&answer);
    Some(text.split(' ').nth(1)?.parse().unwrap())
}

#[test]
fn x_forwarded_for_is_believed_of_those_named_alone() {
    let gnomon = only_from_afar("forwarded_from = [\"127.0.0.1\"]").serve();
    let asks = |headers: &str| gnomon.get("/", headers).status;
    assert_eq!(asks(""), 403);
    assert_eq!(asks("X-Forwarded-For: 192.0.2.1\r\n"), 200);
    assert_eq!(asks("X-Forwarded-For: 192.0.2.1, 198.51.100.1\r\n"), 403);
    assert_eq!(
        asks("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 127.0.0.1\r\n"),
        200
    );
    assert_eq!(asks("X-Forwarded-For: unknown\r\n"), 403);
    assert_eq!(asks("Forwarded: for=192.0.2.1\r\n"), 403);

    let gnomon = only_from_afar("forwarded_from = [\"198.51.100.1\"]").serve();
    assert_eq!(
        gnomon.get("/", "X-Forwarded-For: 192.0.2.1\r\n").status,
        403
    );
    let gnomon = only_from_afar("").serve();
    assert_eq!(
        gnomon.get("/", "X-Forwarded-For: 192.0.2.1\r\n").status,
        403
    );
}

#[test]
fn nginx_says_who_its_clients_are() {
    let gnomon = Setup::new()
        .rule("here", "addresses = [\"127.0.0.2\"]\nrate = \"1/h\"")
        .http("access = \"here\"\nforwarded_from = [\"127.0.0.1\"]")
        .serve();
    let address = free_port();
    let site = format!(
        "server {{ listen {address}; location / {{ proxy_pass http://{};\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n",
        gnomon.listen
    );
    let _server = server::nginx(&gnomon.dir, &site, address);
    let url = format!("http://{address}/");
    let from = |options: &[&str]| {
        let options = [&[&*url], options].concat();
        curl(&gnomon.dir, &options).status
    };
    let second = ["--interface", "127.0.0.2"];
    assert_eq!(from(&[]), 403);
    // What a client says of itself stands further left.
    let lies = ["--header", "X-Forwarded-For: 127.0.0.2"];
    assert_eq!(
        from(&[&lies[..], &["--interface", "127.0.0.3"]].concat()),
        403
    );
    assert_eq!(from(&second), 200);
    assert_eq!(from(&second), 429);
}

#[test]
fn the_proxy_protocol_is_wanted_of_those_named_alone() {
    let named = only_from_afar("proxy_protocol_from = [\"127.0.0.1\"]").tls("access = \"afar\"");
    let https = named.https;
    let named = named.serve();
    let v2 = |address: [u8; 4]| {
        let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        [&fixed[..], &address, &[127, 0, 0, 1, 0, 1, 0, 2]].concat()
    };
    let asks = |before: &[u8]| status(&named, before);
    assert_eq!(asks(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"), Some(200));
    assert_eq!(
        asks(b"PROXY TCP4 198.51.100.1 127.0.0.1 1 2\r\n"),
        Some(403)
    );
    assert_eq!(asks(&v2([192, 0, 2, 1])), Some(200));
    assert_eq!(asks(&v2([198, 51, 100, 1])), Some(403));
    // The proxy itself, to see whether we are well.
    assert_eq!(asks(b"PROXY UNKNOWN\r\n"), Some(403));
    assert_eq!(asks(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"), Some(403));
    for without in [
        &b""[..],
        b"PROXY\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        assert_eq!(asks(without), None, "{without:?}");
    }
    // curl names 127.0.0.1, and TLS comes behind it.
    let plain = curl(&named.dir, &["--haproxy-protocol", &named.url("/")]);
    assert_eq!(plain.status, 403);
    let url = format!("https://{https}/");
    for version in ["--http1.1", "--http2"] {
        let tls = curl(&named.dir, &["--haproxy-protocol", version, &url]);
        assert_eq!(tls.status, 403);
    }
    // From an address that is not named it is no HTTP.
    let url = named.url("/");
    let other = ["--interface", "127.0.0.2", &*url];
    assert_eq!(curl(&named.dir, &other).status, 403);
    let lies = [&other[..], &["--haproxy-protocol"]].concat();
    assert_eq!(curl(&named.dir, &lies).status, 400);

    let unnamed = only_from_afar("").serve();
    let before = b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n";
    assert_eq!(status(&unnamed, before), Some(400));
}

#[test]
fn a_proxy_that_says_nothing_is_not_waited_for() {
    let gnomon = Setup::new()
        .http("header_timeout = \"500ms\"\nproxy_protocol_from = [\"127.0.0.1\"]")
        .serve();
    let start = Instant::now();
    assert_eq!(exchange(gnomon.listen, b"PROXY TCP4 192.0.2"), b"");
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(400), "{waited:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

#[test]
fn haproxy_says_who_its_clients_are() {
    let setup = Setup::new()
        .rule("here", "addresses = [\"127.0.0.2\"]")
        .tls("access = \"here\"")
        .http("access = \"here\"\nproxy_protocol_from = [\"127.0.0.1\"]");
    let https = setup.https;
    let gnomon = setup.serve();
    let addresses = [free_port(), free_port(), free_port()];
    let mut config =
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
            .to_owned();
    for (address, (server, how)) in addresses.iter().zip([
        (gnomon.listen, "send-proxy"),
        (gnomon.listen, "send-proxy-v2"),
        (https, "send-proxy-v2"),
    ]) {
        config += &format!(
            "listen l{}\n bind {address}\n server s {server} {how}\n",
            address.port()
        );
    }
    let file = gnomon.dir.path("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &file]);
    let _server = Server::start(command, addresses[2]);
    for (address, scheme) in addresses.iter().zip(["http", "http", "https"]) {
        let url = format!("{scheme}://{address}/tsa");
        assert_eq!(stamp(&gnomon.dir, &url, &[]).status, 403);
        let answer = stamp(&gnomon.dir, &url, &["--interface", "127.0.0.2"]);
        assert!(is_token(&gnomon.dir, &answer), "{url}");
    }
}
