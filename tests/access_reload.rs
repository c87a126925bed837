//! Rules over a reload: files are read again, counts go on, and what cannot be read changes nothing. The log of requests
//! has the client's name.

mod support;

use std::fs;

use support::{
    access::{Setup, client_ca, client_certificate, curl, password_line},
    wait_for,
};

#[test]
fn a_reload_takes_up_rules_and_keeps_counts() {
    let setup = Setup::new();
    client_ca(&setup.dir, "ours");
    client_certificate(&setup.dir, "ours", "device", "/CN=device");
    let gnomon = setup
        .users("users", &["alice"])
        .file("devices", "device subject=CN=device\n")
        .rule("people", "users = \"users\"\ndaily = 2")
        .http("access = \"people\"")
        .tls("access = \"people\"")
        .with("[clock]", "[log]\nrequests = true\n[clock]");
    let https = gnomon.https;
    let gnomon = gnomon.serve();
    let dir = &gnomon.dir;
    let log = || fs::read_to_string(dir.join("log")).unwrap();
    let asks = |user: &str| {
        let user = format!("{user}:{user}!");
        curl(dir, &["--user", &user, &gnomon.url("/")]).status
    };
    let reload = |says: &str| {
        let before = log().matches(says).count();
        gnomon.signal("HUP");
        wait_for(says, || {
            (log().matches(says).count() > before).then_some(())
        });
    };
    assert_eq!((asks("alice"), asks("bob")), (200, 401));

    let users = fs::read_to_string(dir.join("users")).unwrap();
    fs::write(dir.join("users"), "alice\n").unwrap();
    reload("reload: refused");
    assert!(
        log().contains("line 1: no `:` behind the name"),
        "{}",
        log()
    );
    assert_eq!(asks("alice"), 200);

    fs::write(dir.join("users"), users + &password_line("bob", "bob!")).unwrap();
    reload("reload: in force");
    assert_eq!((asks("alice"), asks("bob")), (429, 200));

    // Certificates are asked for from now on.
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let config = config + "certificates = \"devices\"\nclient_ca = \"ours.pem\"\n";
    fs::write(dir.join("gnomon.toml"), config).unwrap();
    reload("access `people` changed");
    let (url, device) = (format!("https://{https}/"), dir.path("device.pem"));
    assert_eq!(curl(dir, &["--cert", &device, &url]).status, 200);
    assert_eq!(curl(dir, &[&url]).status, 401);

    let log = log();
    for name in ["alice", "bob", "device"] {
        let named = log
            .lines()
            .any(|line| line.contains("client_name") && line.contains(name));
        assert!(named, "{name} in {log}");
    }
    let refused = log
        .lines()
        .any(|line| line.contains("alice") && line.contains("quota"));
    assert!(refused, "{log}");
    assert!(!log.contains("alice!") && !log.contains("m=19456"), "{log}");
}
