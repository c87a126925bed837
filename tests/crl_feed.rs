//! The CRL feed by HTTP, from a real nginx with CRLs of `openssl ca`: conditions, gzip, redirects, errors, what a
//! broken server serves, and a start while the server is away or wants to turn back time.

mod support;

use std::{fs, net::SocketAddr, path::PathBuf};

use support::{
    Folder,
    crls::Served,
    free_port, gnomon, openssl_ca, prepare, run, said,
    server::{self, Server},
    text, wait_for,
};

/// nginx over the folder `www`, with a log of its requests.
struct Nginx {
    _server: Server,
    log: PathBuf,
}

impl Nginx {
    fn start(dir: &Folder, address: SocketAddr) -> Self {
        let root = dir.path("");
        let http = format!(
            "log_format f '$request $status $http_if_none_match'; default_type text/html;\n\
             server {{ listen {address}; root {root}www; access_log {root}access.log f;\n\
             error_page 404 =200 /page.html;\n\
             location /moved {{ return 302 http://{address}/packed/ca.crl; }}\n\
             location /loop {{ return 302 http://{address}/loop; }}\n\
             location /packed/ {{ gzip on; gzip_types *; gzip_min_length 1; alias {root}www/; }}\n\
             location /down {{ return 503; }} }}"
        );
        Self {
            _server: server::nginx(dir, &http, address),
            log: dir.join("access.log"),
        }
    }

    /// How many requests have been logged with this in their line.
    fn logged(&self, part: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(part)).count()
    }
}

/// Puts a CRL of the demo's issuing CA under `www/ca.crl`, with these certificates revoked.
fn publish(dir: &Folder, number: &str, revoked: &[&str]) {
    openssl_ca(dir);
    fs::write(dir.join("number"), format!("{number}\n")).unwrap();
    let config = dir.path("ca.cnf");
    for name in revoked {
        run(
            "openssl",
            &["ca", "-config", &config, "-revoke", &dir.path(name)],
        );
    }
    let out = dir.path("www/next.crl");
    run(
        "openssl",
        &["ca", "-config", &config, "-gencrl", "-out", &out],
    );
    fs::rename(out, dir.join("www/ca.crl")).unwrap();
}

/// A gnomon that follows `url` after `before` was done to its folder.
fn following(url: &str, before: impl FnOnce(&Folder)) -> Served {
    Served::start(
        &format!("\"{url}\""),
        |config| config,
        |dir| {
            web(dir);
            before(dir);
        },
    )
}

fn web(dir: &Folder) {
    fs::create_dir_all(dir.join("www")).unwrap();
    fs::write(dir.join("www/page.html"), "<!DOCTYPE html><p>Not found").unwrap();
}

#[test]
fn a_crl_is_followed_by_http_and_a_broken_server_changes_nothing() {
    let (mut nginx, address) = (None, free_port());
    let gnomon = following(&format!("http://{address}/moved"), |dir| {
        publish(dir, "7FFFFFFF01", &["revoked.pem"]);
        nginx = Some(Nginx::start(dir, address));
    });
    let nginx = nginx.unwrap();
    // Through a redirect, and packed.
    gnomon.until("good.pem", "good.pem: good");
    assert_eq!(gnomon.ready().1, "ready\n");
    // Nothing new is not sent again.
    let before = nginx.logged(" 304 ");
    wait_for("a conditional request", || {
        gnomon.refresh();
        (nginx.logged(" 304 ") > before).then_some(())
    });
    // A new one shows.
    publish(&gnomon.dir, "7FFFFFFF02", &["good.pem", "revoked.pem"]);
    gnomon.refresh();
    gnomon.until("good.pem", "good.pem: revoked");
    // Whatever else comes changes nothing.
    let crl = gnomon.dir.join("www/ca.crl");
    let good = fs::read(&crl).unwrap();
    for broken in [
        &good[..good.len() / 2],
        b"<html><body>maintenance</body></html>",
        b"",
    ] {
        let asked = nginx.logged("/packed/ca.crl");
        fs::write(gnomon.dir.join("www/broken"), broken).unwrap();
        fs::rename(gnomon.dir.join("www/broken"), &crl).unwrap();
        gnomon.refresh();
        wait_for("another request", || {
            (nginx.logged("/packed/ca.crl") > asked).then_some(())
        });
        gnomon.until("good.pem", "good.pem: revoked");
    }
    gnomon.recorded(&["is a web page"]);
    wait_for("all of them to be counted", || {
        (gnomon.metric(&["gnomon_crl_failures_total", "/moved"]) >= 3.0).then_some(())
    });
    assert_eq!(gnomon.metric(&["gnomon_crl_entries", "/moved"]), 2.0);
    assert!(gnomon.metric(&["gnomon_crl_next_update_timestamp_seconds", "/moved"]) > 1e9);
    // An older one neither.
    publish(&gnomon.dir, "7FFFFFFF01", &["revoked.pem"]);
    gnomon.refresh();
    gnomon.recorded(&["from 7fffffff02 to 7fffffff01"]);
    assert!(gnomon.says("good.pem", "good.pem: revoked"));
}

#[test]
fn a_start_needs_no_server_and_takes_no_older_crl() {
    let address = free_port();
    let gnomon = following(&format!("http://{address}/ca.crl"), |dir| {
        publish(dir, "7FFFFFFF02", &["good.pem"]);
    });
    // Without a server there is nothing to say yet, and the reason is told.
    assert!(gnomon.says("good.pem", "trylater"));
    assert!(gnomon.ready().1.contains("its CRL did not come yet"));
    let nginx = Nginx::start(&gnomon.dir, address);
    gnomon.refresh();
    gnomon.until("good.pem", "good.pem: revoked");
    // Killed, and started again without the server: what was accepted holds.
    let gnomon = gnomon.killed_and_started(|_| drop(nginx));
    assert!(gnomon.says("good.pem", "good.pem: revoked"));
    // The server comes back with yesterday's.
    publish(&gnomon.dir, "7FFFFFFF01", &[]);
    let _nginx = Nginx::start(&gnomon.dir, address);
    gnomon.refresh();
    gnomon.recorded(&["from 7fffffff02 to 7fffffff01"]);
    assert!(gnomon.says("good.pem", "good.pem: revoked"));
}

#[test]
fn a_redirect_that_never_ends_and_a_server_in_trouble_are_told() {
    for (path, said) in [("loop", "redirect"), ("down", "HTTP 503")] {
        let (mut nginx, address) = (None, free_port());
        let gnomon = following(&format!("http://{address}/{path}"), |dir| {
            nginx = Some(Nginx::start(dir, address));
        });
        gnomon.logged(0, said);
        assert!(gnomon.says("good.pem", "trylater"));
    }
}

#[test]
fn an_address_that_is_none_of_http_is_refused_and_a_file_can_be_tried() {
    let dir = Folder::new();
    prepare(&dir);
    web(&dir);
    let file = dir.path("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    assert!(config.contains("\"issuing.crl\""), "{config}");
    let config = config.replace("\"issuing.crl\"", "\"ldap://ca.example/cn=crl\"");
    fs::write(&file, config).unwrap();
    let output = gnomon(&["check", "--config", &file]).output();
    let output = text(&output.unwrap());
    assert!(output.contains("issuer[0].crl: `ldap://"), "{output}");
    publish(&dir, "07", &["good.pem"]);
    let (issuer, crl) = (dir.path("issuing.pem"), dir.path("www/ca.crl"));
    let check = |crl: &str| {
        let output = gnomon(&["crl", "check", "--issuer", &issuer, crl]).output();
        text(&output.unwrap())
    };
    let shown = check(&crl);
    assert!(
        shown.contains("number      07") && shown.contains("entries     1"),
        "{shown}"
    );
    assert!(check(&issuer).contains("neither a CRL in DER form"));
    // OpenSSL counts the same.
    let listed = said("openssl", &["crl", "-in", &crl, "-noout", "-text"]);
    assert_eq!(listed.matches("Serial Number").count(), 1);
}
