//! Reloads under load: no request fails, and the process holds no more after a hundred of them than before. Nor does it
//! with keys on a token, whose sessions go on.

mod support;

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use support::{
    Folder,
    crls::Served,
    https::P384,
    issue_tsu, ocsp_path, prepare,
    raw::process,
    reloads::Edited,
    stamps::{self, post},
    text,
    token::{Token, faulty},
    wait_for,
};

/// Sealed answers by kept-alive connections, for so many seconds.
fn wrk(gnomon: &Edited, seconds: u32) -> Child {
    let url = gnomon.url(&ocsp_path(&gnomon.dir, "good.pem"));
    Command::new("wrk")
        .args(["-t1", "-c8", &format!("-d{seconds}s"), "--latency", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What is served differs in each of these, and in each from the next.
fn configurations(old: &str) -> Vec<String> {
    let tsu = "\n[[tsu]]\nname = \"new\"\ndemo = true\nkey = \"new.key\"\ncertificate = \"new.pem\"\n\
               policies = [\"2.999.77\"]\n";
    vec![
        format!("{old}{tsu}"),
        old.replace("issued = [", "validity = \"9h\"\nissued = ["),
        old.replace("\"issuing.crl\"", "\"copy.crl\""),
        old.replace(
            "[ocsp]",
            "[http]\nconnections = 200\nbody_timeout = \"5s\"\n[ocsp]\nsealed_answers = 500",
        ),
        old.to_owned(),
    ]
}

#[test]
fn no_request_fails_and_nothing_is_left_of_a_hundred_reloads() {
    let gnomon = Edited::start(|dir| {
        issue_tsu(dir, "new", &P384);
        fs::copy(dir.join("issuing.crl"), dir.join("copy.crl")).unwrap();
    });
    let configurations = configurations(&gnomon.config());
    // Once through, so that everything has been there.
    for config in &configurations {
        gnomon.write(config);
        gnomon.reload("done");
    }
    let (before, resident) = (gnomon.settled(), process::resident(gnomon.pid()));
    let begun = Instant::now();
    let (stop, clients) = stamps::load(&gnomon, 3);
    let status = wrk(&gnomon, 20);
    let mut reloads = 0;
    while reloads < 100 || begun.elapsed() < Duration::from_secs(20) {
        for config in &configurations {
            gnomon.write(config);
            gnomon.reload("done");
            reloads += 1;
        }
    }
    let output = status.wait_with_output().unwrap();
    stop.store(true, Ordering::Relaxed);
    let (mut stamps, mut broken) = (0, 0);
    for client in clients {
        let (its, lost) = client.join().unwrap();
        stamps += its.len();
        broken += lost;
    }
    let said = text(&output);
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    assert_eq!(broken, 0, "of {stamps}");
    assert!(stamps > 1_000, "{stamps}");
    let answered = |name, outcome| gnomon.metric(&[name, &format!("outcome=\"{outcome}\"")]);
    let tokens = "gnomon_timestamp_responses_total{";
    assert_eq!(gnomon.metric(&[tokens]), answered(tokens, "granted"));
    let answers = "gnomon_ocsp_responses_total{";
    assert_eq!(gnomon.metric(&[answers]), answered(answers, "sealed"));
    assert!(answered(answers, "sealed") > 10_000.0, "{said}");
    gnomon.holds_no_more_than(before);
    let grown = process::resident(gnomon.pid()).saturating_sub(resident);
    assert!(
        grown < 24 << 20,
        "{grown} octets more after {reloads} reloads"
    );
    println!("{reloads} reloads, {stamps} tokens, {grown} octets more\n{said}");
}

#[test]
fn a_key_on_a_token_keeps_its_sessions() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    for (name, id) in [("tsu-ecdsa", "01"), ("tsu-rsa", "02")] {
        token.import(&dir, name, id);
    }
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let on_token = |name: &str, more: &str| {
        format!(
            "{{ module = \"{}\", token = \"gnomon\", label = \"{name}\", pin_file = \"pin\", sessions = 2{more} }}",
            faulty().display()
        )
    };
    let first = config
        .replace("\"tsu-ecdsa.key\"", &on_token("tsu-ecdsa", ""))
        .replace("\"tsu-rsa.key\"", &on_token("tsu-rsa", ""));
    let gnomon = token.serve(dir, &first);
    let gnomon = Edited(Served(gnomon));
    let query = stamps::query(&gnomon.dir);
    let stamp = |path: &str| {
        let answer = support::http(gnomon.listen, &post(path, &query));
        stamps::Stamp::granted(&answer.body).unwrap()
    };
    stamp("/tsa");
    stamp("/tsa/rsa");
    let calls = || ["C_Login", "C_OpenSession"].map(|name| token.calls(name));
    let before = calls();
    let (started, holds) = (gnomon.config(), gnomon.settled());
    let sessions = ["gnomon_pkcs11_sessions{", "tsa"];
    for _ in 0..3 {
        gnomon.write(&started.replace("validity", "# validity"));
        gnomon.hang_up("done");
    }
    assert_eq!(calls(), before, "nothing of the keys has changed");
    assert_eq!(gnomon.metric(&sessions), 4.0);
    // One key with other settings: its new sessions are opened beside the old ones, which end. The login stays.
    gnomon.write(&started.replacen("sessions = 2", "sessions = 3", 1));
    gnomon.hang_up("done");
    stamp("/tsa");
    assert_eq!(gnomon.metric(&sessions), 5.0);
    assert_eq!(token.calls("C_Login"), before[0]);
    wait_for("one thread a session", || {
        (gnomon.holds().0 == holds.0 + 1).then_some(())
    });
    // The PIN is wrong, and the login there: nobody is asked for it again.
    fs::write(gnomon.dir.join("pin"), "0000\n").unwrap();
    gnomon.write(&started.replacen("sessions = 2", "sessions = 1", 1));
    gnomon.hang_up("done");
    stamp("/tsa");
    assert_eq!(token.calls("C_Login"), before[0]);
    // A key that is not there.
    gnomon.write(&started.replacen("label = \"tsu-rsa\"", "label = \"none\"", 1));
    gnomon.hang_up("refused");
    stamp("/tsa/rsa");
    let failures = ["gnomon_pkcs11_failures_total"];
    assert_eq!(gnomon.metric(&failures), 0.0);
    gnomon.write(&started);
    gnomon.hang_up("done");
    stamp("/tsa/rsa");
    wait_for("as many threads as before", || {
        (gnomon.holds().0 == holds.0).then_some(())
    });
}
