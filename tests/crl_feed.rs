//! The CRL feed by HTTP, from a real nginx with CRLs of `openssl ca`: conditions, gzip, redirects, errors, what a
//! broken server serves, and a start while the server is away or wants to turn back time.

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use support::{
    Folder, Gnomon, free_port, gnomon, http, openssl_ca, prepare, run, said, text, wait_for,
};

/// nginx over the folder `www`, stopped with its holder.
struct Nginx {
    child: Child,
    address: SocketAddr,
    log: std::path::PathBuf,
}

impl Nginx {
    fn start(dir: &Folder, address: SocketAddr) -> Self {
        let root = dir.path("");
        let config = format!(
            "daemon off; worker_processes 1; pid {root}nginx.pid; error_log {root}nginx.log;\n\
             events {{}}\nhttp {{ log_format f '$request $status $http_if_none_match'; access_log {root}access.log f;\n\
             client_body_temp_path {root}b; proxy_temp_path {root}p; fastcgi_temp_path {root}f;\n\
             uwsgi_temp_path {root}u; scgi_temp_path {root}s; default_type text/html;\n\
             server {{ listen {address}; root {root}www; error_page 404 =200 /page.html;\n\
             location /moved {{ return 302 http://{address}/packed/ca.crl; }}\n\
             location /loop {{ return 302 http://{address}/loop; }}\n\
             location /packed/ {{ gzip on; gzip_types *; gzip_min_length 1; alias {root}www/; }}\n\
             location /down {{ return 503; }} }} }}\n"
        );
        let (file, log) = (dir.path("nginx.conf"), dir.join("access.log"));
        fs::write(&file, config).unwrap();
        let mut child = Command::new("nginx")
            .args(["-p", &root, "-c", &file, "-e", &dir.path("nginx.log")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("nginx", || {
            assert!(child.try_wait().unwrap().is_none(), "nginx ended");
            TcpStream::connect(address).ok()
        });
        Self {
            child,
            address,
            log,
        }
    }

    /// How many requests have been logged with this in their line.
    fn logged(&self, part: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(part)).count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
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

/// The demo's PKI with `url` in the place of the CRL file.
fn demo(dir: &Folder, url: &str) -> (SocketAddr, SocketAddr) {
    let addresses = prepare(dir);
    let file = dir.join("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    assert!(config.contains("\"issuing.crl\""), "{config}");
    fs::write(
        file,
        config.replace("\"issuing.crl\"", &format!("\"{url}\"")),
    )
    .unwrap();
    fs::create_dir_all(dir.join("www")).unwrap();
    fs::write(dir.join("www/page.html"), "<!DOCTYPE html><p>Not found").unwrap();
    addresses
}

fn refresh(gnomon_: &Gnomon) {
    let config = gnomon_.dir.path("gnomon.toml");
    let output = gnomon(&["crl", "refresh", "--config", &config]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

fn until(gnomon: &Gnomon, name: &str, expected: &str) {
    wait_for(expected, || {
        gnomon.ask(name, &[]).contains(expected).then_some(())
    });
}

fn readiness(gnomon: &Gnomon) -> String {
    let request = b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    String::from_utf8(http(gnomon.admin, request).body).unwrap()
}

/// Whether this stands in the journal, as `gnomon journal export` prints it.
fn recorded(gnomon_: &Gnomon, what: &str) -> bool {
    let dir = gnomon_.dir.path("journal");
    let output = gnomon(&["journal", "export", &dir]).output().unwrap();
    text(&output).contains(what)
}

#[test]
fn a_crl_is_followed_by_http_and_a_broken_server_changes_nothing() {
    let (dir, address) = (Folder::new(), free_port());
    let (listen, admin) = demo(&dir, &format!("http://{address}/moved"));
    publish(&dir, "7FFFFFFF01", &["revoked.pem"]);
    let nginx = Nginx::start(&dir, address);
    let gnomon = Gnomon::serve(dir, listen, admin);
    // Through a redirect, and packed.
    until(&gnomon, "good.pem", "good.pem: good");
    assert_eq!(readiness(&gnomon), "ready\n");
    // Nothing new is not sent again.
    let before = nginx.logged(" 304 ");
    wait_for("a conditional request", || {
        refresh(&gnomon);
        (nginx.logged(" 304 ") > before).then_some(())
    });
    // A new one shows.
    publish(&gnomon.dir, "7FFFFFFF02", &["good.pem", "revoked.pem"]);
    refresh(&gnomon);
    until(&gnomon, "good.pem", "good.pem: revoked");
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
        refresh(&gnomon);
        wait_for("another request", || {
            (nginx.logged("/packed/ca.crl") > asked).then_some(())
        });
        until(&gnomon, "good.pem", "good.pem: revoked");
    }
    wait_for("the web page on record", || {
        recorded(&gnomon, "is a web page").then_some(())
    });
    assert!(gnomon.metric(&["gnomon_crl_failures_total", "/moved"]) >= 3.0);
    assert_eq!(gnomon.metric(&["gnomon_crl_entries", "/moved"]), 2.0);
    assert!(gnomon.metric(&["gnomon_crl_next_update_timestamp_seconds", "/moved"]) > 1e9);
    // An older one neither.
    publish(&gnomon.dir, "7FFFFFFF01", &["revoked.pem"]);
    refresh(&gnomon);
    wait_for("the rollback on record", || {
        recorded(&gnomon, "from 7fffffff02 to 7fffffff01").then_some(())
    });
    assert!(gnomon.ask("good.pem", &[]).contains("good.pem: revoked"));
}

#[test]
fn a_start_needs_no_server_and_takes_no_older_crl() {
    let (dir, address) = (Folder::new(), free_port());
    let (listen, admin) = demo(&dir, &format!("http://{address}/ca.crl"));
    publish(&dir, "7FFFFFFF02", &["good.pem"]);
    // Without a server there is nothing to say yet, and the reason is told.
    let gnomon = Gnomon::serve(dir, listen, admin);
    assert!(gnomon.ask("good.pem", &[]).contains("trylater"));
    assert!(readiness(&gnomon).contains("its CRL did not come yet"));
    let nginx = Nginx::start(&gnomon.dir, address);
    refresh(&gnomon);
    until(&gnomon, "good.pem", "good.pem: revoked");
    let address = nginx.address;
    drop(nginx);
    // Killed, and started again without the server: what was accepted holds.
    gnomon.signal("KILL");
    let (_, dir) = gnomon.ended();
    let gnomon = Gnomon::serve(dir, listen, admin);
    assert!(gnomon.ask("good.pem", &[]).contains("good.pem: revoked"));
    // The server comes back with yesterday's.
    publish(&gnomon.dir, "7FFFFFFF01", &[]);
    let nginx = Nginx::start(&gnomon.dir, address);
    refresh(&gnomon);
    wait_for("the rollback on record", || {
        recorded(&gnomon, "from 7fffffff02 to 7fffffff01").then_some(())
    });
    assert!(gnomon.ask("good.pem", &[]).contains("good.pem: revoked"));
    drop(nginx);
}

#[test]
fn a_redirect_that_never_ends_and_a_server_in_trouble_are_told() {
    for (path, said) in [("loop", "redirect"), ("down", "HTTP 503")] {
        let (dir, address) = (Folder::new(), free_port());
        let (listen, admin) = demo(&dir, &format!("http://{address}/{path}"));
        let nginx = Nginx::start(&dir, address);
        let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
        let log = dir.join("log");
        command.stderr(fs::File::create(&log).unwrap());
        let gnomon = Gnomon::started(command, dir, listen, admin);
        wait_for(said, || {
            fs::read_to_string(&log)
                .unwrap()
                .contains(said)
                .then_some(())
        });
        assert!(gnomon.ask("good.pem", &[]).contains("trylater"));
        drop(nginx);
    }
}

#[test]
fn an_address_that_is_none_of_http_is_refused_and_a_file_can_be_tried() {
    let dir = Folder::new();
    demo(&dir, "ldap://ca.example/cn=crl");
    let output = gnomon(&["check", "--config", &dir.path("gnomon.toml")]).output();
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
