//! CRLs by http and https from nginx, through a forward proxy (tests/python/proxy.py) that the environment names, and
//! past it.

mod support;

use std::{fs, net::SocketAddr, process::Command};

use serde_json::{Value, json};
use support::{
    Folder, Gnomon,
    crls::{Served, make},
    free_port, gnomon, prepare, python_script, python_tool,
    server::{self, Server},
    server_certificate::ServerCa,
    wait_for,
};

fn crl(number: u32, revoked: &[&str]) -> Value {
    let revoked: serde_json::Map<_, _> = revoked
        .iter()
        .map(|name| ((*name).to_owned(), json!("superseded")))
        .collect();
    json!({ "out": "www/crl", "number": number, "revoked": revoked })
}

/// nginx over the folder `www`, by either scheme.
fn nginx(dir: &Folder, scheme: &str, address: SocketAddr) -> Server {
    let root = dir.path("");
    let tls = match scheme {
        "https" => {
            ServerCa::new(dir).issue("web", 86_400, &support::https::P256);
            format!("ssl_certificate {root}web.pem; ssl_certificate_key {root}web.key;")
        }
        _ => String::new(),
    };
    let ssl = if tls.is_empty() { "" } else { " ssl" };
    let site = format!(
        "server {{ listen {address}{ssl}; {tls} root {root}www; etag off; if_modified_since off; }}"
    );
    server::nginx(dir, &site, address)
}

fn proxy(dir: &Folder, address: SocketAddr) -> Server {
    let mut command = Command::new(python_tool("python"));
    command.args([
        python_script("proxy.py"),
        address.port().to_string(),
        dir.path("proxy.log"),
    ]);
    Server::start(command, address)
}

/// Where everybody listens.
#[derive(Clone, Copy)]
struct Addresses {
    listen: SocketAddr,
    admin: SocketAddr,
    web: SocketAddr,
    proxy: SocketAddr,
}

/// The demo that is to have its CRL by this scheme, from an nginx that has it.
fn prepared(scheme: &str) -> (Folder, Addresses, Server) {
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let at = Addresses {
        listen,
        admin,
        web: free_port(),
        proxy: free_port(),
    };
    let file = dir.join("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    let crls = format!("crl = [\"{scheme}://{}/crl\"]", at.web);
    fs::write(&file, config.replace("crl = [\"issuing.crl\"]", &crls)).unwrap();
    make(&dir, &[crl(5, &["revoked.pem"])]);
    let nginx = nginx(&dir, scheme, at.web);
    (dir, at, nginx)
}

/// Gnomon in an environment that names the proxy, and trusts the demo's CA.
fn serve(dir: Folder, at: Addresses, more: &[(&str, &str)]) -> Served {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"));
    let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    let proxy = format!("http://{}", at.proxy);
    command
        .envs([("HTTP_PROXY", &proxy), ("HTTPS_PROXY", &proxy)])
        .env("SSL_CERT_FILE", dir.path("ca.pem"))
        .env_remove("SSL_CERT_DIR")
        .env_remove("NO_PROXY")
        .envs(more.iter().copied())
        .stderr(log.unwrap());
    Served(Gnomon::started(command, dir, at.listen, at.admin))
}

#[test]
fn a_crl_comes_by_either_scheme_through_a_proxy_and_past_it() {
    for (scheme, method) in [("http", "GET http://"), ("https", "CONNECT ")] {
        let (dir, at, _nginx) = prepared(scheme);
        let through = proxy(&dir, at.proxy);
        let gnomon = serve(dir, at, &[]);
        gnomon.until("revoked.pem", "revoked.pem: revoked");
        let said = fs::read_to_string(gnomon.dir.join("proxy.log")).unwrap();
        assert!(said.starts_with(&format!("{method}{}", at.web)), "{said}");

        // Without the proxy there is no way, and none is taken.
        drop(through);
        let from = gnomon.log().len();
        gnomon.publish(&[crl(6, &["revoked.pem", "good.pem"])]);
        gnomon.logged(from, "cannot be fetched");
        assert!(gnomon.says("good.pem", "good.pem: good"));
        wait_for("the failure", || {
            let failures = ["gnomon_crl_failures_total", "reason=\"unreachable\""];
            (gnomon.metric(&failures) > 0.0).then_some(())
        });

        // But for what is to be asked directly.
        gnomon.signal("TERM");
        let (status, dir) = gnomon.0.ended();
        assert!(status.success());
        let gnomon = serve(dir, at, &[("NO_PROXY", "127.0.0.1")]);
        gnomon.until("good.pem", "good.pem: revoked");
    }
}

#[test]
fn a_server_that_is_not_known_gives_no_crl() {
    let (dir, at, _nginx) = prepared("https");
    let other = Folder::new();
    prepare(&other);
    let roots = other.path("ca.pem");
    let more = [("NO_PROXY", "127.0.0.1"), ("SSL_CERT_FILE", &roots)];
    let gnomon = serve(dir, at, &more);
    gnomon.logged(0, "certificate");
    gnomon.logged(0, "cannot be fetched");
    assert_eq!(gnomon.ready().0, 503);
}
