//! Servers that staple: nginx asks for the status itself (GET over HTTP/1.0), HAProxy is given a file; what a
//! TLS client then gets is checked with `openssl s_client -status`.

mod support;

use std::{fs, net::SocketAddr, process::Command};

use support::{
    Gnomon, free_port, run, said,
    server::{self, Server},
    wait_for,
};

/// What a TLS client that asks for a staple is told.
fn staple(gnomon: &Gnomon, address: SocketAddr) -> String {
    said(
        "openssl",
        &[
            "s_client",
            "-connect",
            &address.to_string(),
            "-status",
            "-CAfile",
            &gnomon.dir.path("chain.pem"),
        ],
    )
}

fn nginx(gnomon: &Gnomon, name: &str) -> (Server, SocketAddr) {
    let (address, root) = (free_port(), gnomon.dir.path(""));
    let pem = fs::read_to_string(gnomon.dir.join(format!("{name}.pem"))).unwrap()
        + &fs::read_to_string(gnomon.dir.join("issuing.pem")).unwrap();
    fs::write(gnomon.dir.join(format!("{name}-chain.pem")), pem).unwrap();
    let http = format!(
        "server {{ listen {address} ssl; ssl_certificate {root}{name}-chain.pem;\n\
         ssl_certificate_key {root}{name}.key; ssl_stapling on; ssl_stapling_verify on;\n\
         ssl_trusted_certificate {root}chain.pem; return 204; }}"
    );
    (server::nginx(&gnomon.dir, &http, address), address)
}

#[test]
fn nginx_fetches_and_staples() {
    let gnomon = Gnomon::demo();
    let (_server, address) = nginx(&gnomon, "good");
    // The first handshakes go out before the answer is there.
    let said = wait_for("nginx' staple", || {
        let said = staple(&gnomon, address);
        said.contains("OCSP Response Status: successful")
            .then_some(said)
    });
    assert!(said.contains("Cert Status: good"), "{said}");
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    let log = fs::read_to_string(gnomon.dir.join("nginx.log")).unwrap();
    assert!(!log.contains("[error]"), "{log}");
}

#[test]
fn nginx_staples_nothing_good_for_a_revoked_certificate() {
    let gnomon = Gnomon::demo();
    let (_server, address) = nginx(&gnomon, "revoked");
    wait_for("nginx' question", || {
        let said = staple(&gnomon, address);
        assert!(!said.contains("Cert Status: good"), "{said}");
        let log = fs::read_to_string(gnomon.dir.join("nginx.log")).unwrap();
        log.contains("certificate status \"revoked\"").then_some(())
    });
}

#[test]
fn haproxy_staples_what_openssl_fetched() {
    let gnomon = Gnomon::demo();
    let path = |name: &str| gnomon.dir.path(name);
    run(
        "openssl",
        &[
            "ocsp",
            "-no_nonce",
            "-issuer",
            &path("issuing.pem"),
            "-cert",
            &path("good.pem"),
            "-url",
            &gnomon.url("/ocsp"),
            "-CAfile",
            &path("chain.pem"),
            "-respout",
            &path("site.pem.ocsp"),
        ],
    );
    let read = |name: &str| fs::read_to_string(gnomon.dir.join(name)).unwrap();
    let site = read("good.pem") + &read("issuing.pem") + &read("good.key");
    fs::write(gnomon.dir.join("site.pem"), site).unwrap();
    fs::copy(
        gnomon.dir.join("issuing.pem"),
        gnomon.dir.join("site.pem.issuer"),
    )
    .unwrap();
    let address = free_port();
    let config = format!(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend tls\n bind {address} ssl crt {}\n http-request return status 204\n",
        path("site.pem")
    );
    fs::write(gnomon.dir.join("haproxy.cfg"), config).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &path("haproxy.cfg")]);
    let _server = Server::start(command, address);
    let said = staple(&gnomon, address);
    assert!(said.contains("OCSP Response Status: successful"), "{said}");
    assert!(said.contains("Cert Status: good"), "{said}");
}
