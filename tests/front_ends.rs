//! The examples in `deploy/` for nginx and HAProxy, as they are but for addresses and files: time-stamps go through
//! them over TLS, certificate status over plain HTTP, by GET and by POST.

mod support;

use std::{fs, net::SocketAddr, process::Command};

use support::{
    Gnomon, free_port, run, said,
    server::{self, Server},
    stamps::openssl_verifies,
    timestamp_query, wait_for,
};

/// An example with these in the place of what an operator puts in.
fn example(file: &str, edits: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(file).unwrap();
    edits.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{file}: {old}");
        text.replace(old, new)
    })
}

/// What clients get through the front end at these addresses.
fn serves(gnomon: &Gnomon, plain: SocketAddr, tls: SocketAddr) {
    let path = |name: &str| gnomon.dir.path(name);
    let (query, _) = timestamp_query(&gnomon.dir);
    let (url, reply) = (format!("https://{tls}/tsa/rsa"), path("r.tsr"));
    let data = format!("@{query}");
    // A health check decides when HAProxy sends anything on.
    wait_for("a token", || {
        let arguments = [
            "--silent",
            "--fail",
            "--insecure",
            "--data-binary",
            &data,
            "--output",
            &reply,
            &url,
        ];
        let sent = Command::new("curl").args(arguments).status().unwrap();
        sent.success().then_some(())
    });
    openssl_verifies(&gnomon.dir, &query, &reply);

    let (issuer, good, chain) = (path("issuing.pem"), path("good.pem"), path("chain.pem"));
    let url = format!("http://{plain}/ocsp");
    let request = path("good.ocsp");
    let ask = [
        "ocsp", "-issuer", &issuer, "-cert", &good, "-CAfile", &chain, "-url", &url,
    ];
    assert!(said("openssl", &ask).contains("good.pem: good"));
    let write = [
        "ocsp",
        "-issuer",
        &issuer,
        "-cert",
        &good,
        "-no_nonce",
        "-reqout",
        &request,
    ];
    run("openssl", &write);
    let base64 = run("openssl", &["base64", "-A", "-in", &request]);
    // As it stands, with whatever slashes it has.
    let url = format!("http://{plain}/ocsp/{}", base64.trim().replace('+', "%2B"));
    let answers = ["1", "2"].map(|number| {
        let answer = path(number);
        run("curl", &["--silent", "--fail", "--output", &answer, &url]);
        fs::read(answer).unwrap()
    });
    assert_eq!(answers[0], answers[1]);
    let read = [
        "ocsp",
        "-respin",
        &path("1"),
        "-issuer",
        &issuer,
        "-cert",
        &good,
        "-CAfile",
        &chain,
    ];
    assert!(said("openssl", &read).contains("good.pem: good"));
}

#[test]
fn nginx_serves_as_in_the_example() {
    let gnomon = Gnomon::demo();
    let (plain, tls) = (free_port(), free_port());
    let example = example(
        "deploy/nginx/gnomon.conf",
        &[
            ("127.0.0.1:3180", &gnomon.listen.to_string()),
            ("listen 80;", &format!("listen {plain};")),
            ("listen 443 ssl;", &format!("listen {tls} ssl;")),
            ("/etc/nginx/tsa.pem", &gnomon.dir.path("good.pem")),
            ("/etc/nginx/tsa.key", &gnomon.dir.path("good.key")),
            ("/var/cache/nginx/ocsp", &gnomon.dir.path("cache")),
        ],
    );
    let _server = server::nginx(&gnomon.dir, &example, tls);
    serves(&gnomon, plain, tls);
    let kept = run("find", &[&gnomon.dir.path("cache"), "-type", "f"]);
    assert_eq!(kept.lines().count(), 1, "what GET asked is kept: {kept}");
}

#[test]
fn haproxy_serves_as_in_the_example() {
    let gnomon = Gnomon::demo();
    let (plain, tls) = (free_port(), free_port());
    let pem = ["good.pem", "good.key"].map(|name| fs::read(gnomon.dir.join(name)).unwrap());
    fs::write(gnomon.dir.join("tsa.pem"), pem.concat()).unwrap();
    let config = example(
        "deploy/haproxy/haproxy.cfg",
        &[
            ("127.0.0.1:3180", &gnomon.listen.to_string()),
            // More descriptors than a test may have.
            ("maxconn 20000", "maxconn 100"),
            ("bind :80", &format!("bind {plain}")),
            ("bind :443", &format!("bind {tls}")),
            ("/etc/haproxy/tsa.pem", &gnomon.dir.path("tsa.pem")),
        ],
    );
    let file = gnomon.dir.path("haproxy.cfg");
    fs::write(&file, config).unwrap();
    assert_eq!(run("haproxy", &["-c", "-q", "-f", &file]), "");
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &file]);
    let _server = Server::start(command, tls);
    serves(&gnomon, plain, tls);
}
