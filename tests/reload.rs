//! SIGHUP with the real daemon: what the file says comes into force whole, or nothing of it does and the log says why.

mod support;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use support::{
    Folder,
    ca::Ca,
    crls::Served,
    https::{self, P384},
    issue_tsu, ocsp_query, prepare,
    reloads::Edited,
    run,
    stamps::{self, Stamp},
    text, wait_for,
};

/// A TSU of this name with its files.
fn tsu(name: &str) -> String {
    format!(
        "\n[[tsu]]\nname = \"{name}\"\ndemo = true\nkey = \"{name}.key\"\ncertificate = \"{name}.pem\"\n\
         chain = \"issuing.pem\"\npolicies = [\"2.999.77\"]\n"
    )
}

fn status(gnomon: &Edited, path: &str, query: &[u8]) -> u16 {
    gnomon
        .post(path, "application/timestamp-query", query)
        .status
}

fn stamp(gnomon: &Edited, path: &str, query: &[u8]) -> Stamp {
    let answer = gnomon.post(path, "application/timestamp-query", query);
    Stamp::granted(&answer.body).unwrap()
}

#[test]
fn a_tsu_comes_and_goes() {
    let gnomon = Edited::start(|dir| issue_tsu(dir, "new", &P384));
    let query = stamps::query(&gnomon.dir);
    let before = stamp(&gnomon, "/tsa", &query);
    assert_eq!(status(&gnomon, "/tsa/new", &query), 404);
    let old = gnomon.config();
    gnomon.write(&format!("{old}{}", tsu("new")));
    let said = gnomon.reload("done");
    assert!(
        said.contains("reload: in force: tsu `new` added; tsu[2] has the certificate of"),
        "{said}"
    );
    let of_new = ["gnomon_timestamp_responses_total", "tsu=\"new\"", "granted"];
    assert_eq!(gnomon.metric(&of_new), 0.0);
    stamp(&gnomon, "/tsa/new", &query);
    assert_eq!(gnomon.metric(&of_new), 1.0);
    let end = ["gnomon_key_end_timestamp_seconds", "tsu=\"new\""];
    assert!(gnomon.metric(&end) > 1e9);
    // The others' serials and counters go on.
    let after = stamp(&gnomon, "/tsa", &query);
    let counts = |stamp: &Stamp| u128::from_str_radix(&stamp.serial, 16).unwrap();
    assert_eq!(counts(&after), counts(&before) + 1);
    let of_old = [
        "gnomon_timestamp_responses_total",
        "tsu=\"ecdsa\"",
        "granted",
    ];
    assert_eq!(gnomon.metric(&of_old), 2.0);
    gnomon.recorded(&["certificate", "tsu[2]", "CN=new"]);
    gnomon.write(&old);
    let said = gnomon.reload("done");
    assert!(
        said.contains("reload: in force: tsu `new` removed"),
        "{said}"
    );
    assert_eq!(status(&gnomon, "/tsa/new", &query), 404);
    assert_eq!(
        gnomon.metric(&end),
        0.0,
        "an alert would go off for a key that is gone"
    );
    let configurations = gnomon.records();
    let count = configurations
        .lines()
        .filter(|line| line.contains("\"configuration\""))
        .count();
    assert_eq!(count, 3, "{configurations}");
    let said = gnomon.reload("done");
    assert!(said.contains("nothing is another"), "{said}");
}

#[test]
fn what_is_broken_is_refused_by_field_and_everything_stays() {
    let gnomon = Edited::start(|dir| {
        issue_tsu(dir, "new", &P384);
        issue_tsu(dir, "other", &P384);
        let path = |name: &str| dir.path(name);
        // The same key in a certificate that is over.
        run(
            "faketime",
            &[
                "2020-01-01",
                "openssl",
                "x509",
                "-req",
                "-in",
                &path("new.csr"),
                "-CA",
                &path("issuing.pem"),
                "-CAkey",
                &path("issuing.key"),
                "-days",
                "30",
                "-extfile",
                &path("new.ext"),
                "-out",
                &path("expired.pem"),
            ],
        );
        fs::write(dir.join("garbage"), "no key").unwrap();
    });
    let query = stamps::query(&gnomon.dir);
    let old = gnomon.config();
    let new = format!("{old}{}", tsu("new"));
    let refused = [
        (new.replace("new.key", "garbage"), "tsu[2].key: "),
        (
            new.replace("new.key", "other.key"),
            "tsu[2].certificate: the key does not belong",
        ),
        (new.replace("new.pem", "expired.pem"), "ended at 2020-01-31"),
        (new.replace("new.pem", "none.pem"), "tsu[2].certificate: "),
        (new.replace("2.999.77", "2.999.3161.1"), "offered by both"),
        (format!("{new}\nnew = 1"), "unknown field"),
        (
            old.replace(
                "\"issuing.crl\"",
                "{ path = \"http://127.0.0.1:9/a.crl\", distribution_point = \"http://ca.example/a\" }",
            ),
            "issuer[0].crl: http://127.0.0.1:9/a.crl: the CRL has not come yet",
        ),
        (
            old.replace("\"issued.txt\"", "\"none.txt\""),
            "issuer[0].crl: ",
        ),
    ];
    // What is made on demand is there after the first time.
    let mut held = None;
    for (config, expected) in refused.iter().chain(&refused) {
        gnomon.write(config);
        let said = gnomon.reload("refused");
        assert!(said.contains(*expected), "{expected}: {said}");
        assert!(
            said.contains("reload: refused; what was in force before stays so"),
            "{said}"
        );
        assert_eq!(gnomon.metric(&["gnomon_configuration_current"]), 0.0);
        stamp(&gnomon, "/tsa", &query);
        assert_eq!(status(&gnomon, "/tsa/new", &query), 404);
        assert!(gnomon.says("good.pem", "good.pem: good"), "{expected}");
        if *expected == refused[refused.len() - 1].1 {
            match held {
                Some(held) => gnomon.holds_no_more_than(held),
                None => held = Some(gnomon.settled()),
            }
        }
    }
    // The feed that was halted for one of them goes on.
    let ca = Ca::new(&gnomon.dir);
    ca.revoke("good.pem", "keyCompromise");
    ca.publish(&ca.crl("7FFFFFFF00", &[]));
    gnomon.until("good.pem", "good.pem: revoked");
    gnomon.write(&old);
    gnomon.reload("done");
    assert_eq!(gnomon.metric(&["gnomon_configuration_current"]), 1.0);
}

#[test]
fn what_only_a_start_takes_up_is_named_all_at_once() {
    let gnomon = Edited::start(|_| ());
    let old = gnomon.config();
    let new = old
        .replace("dir = \"journal\"", "dir = \"other\"\nsegment_size = \"1MiB\"")
        .replace("listen = [", "listen = [\"127.0.0.1:1\", ")
        .replace("[clock]", "[http]\nworkers = 7\nbody = \"1KiB\"\n[revocation]\ndir = \"elsewhere\"\n[clock]\nsettle = \"1s\"");
    gnomon.write(&new);
    let said = gnomon.reload("refused");
    for field in [
        "listen",
        "http.workers",
        "clock.settle",
        "journal.dir",
        "journal.log_key",
        "journal.segment_size",
        "revocation.dir",
    ] {
        let line = format!("{field}: cannot change while gnomon runs");
        assert!(said.contains(&line), "{field}: {said}");
    }
    assert!(!gnomon.dir.join("other").exists());
    // What can change does at once.
    gnomon.write(&old.replace("[clock]", "[http]\nbody = \"20B\"\n[clock]"));
    let said = gnomon.reload("done");
    assert!(said.contains("[http] changed"), "{said}");
    assert_eq!(status(&gnomon, "/tsa", &[0; 21]), 413);
}

#[test]
fn an_issuer_comes_and_goes_and_the_other_is_not_read_again() {
    let other = Folder::new();
    prepare(&other);
    let gnomon = Edited::start(|_| ());
    assert!(gnomon.says("good.pem", "good.pem: good"));
    gnomon.logged(0, "is in force");
    let accepted = || gnomon.log().matches("is in force").count();
    let before = accepted();
    // A feed that were opened anew would have nothing to read.
    fs::remove_file(gnomon.dir.join("issuing.crl")).unwrap();
    let _ = fs::remove_dir_all(gnomon.dir.join("revocation"));
    let old = gnomon.config();
    let file = |name: &str| other.path(name);
    let added = format!(
        "\n[[issuer]]\nname = \"other\"\ncertificate = \"{}\"\ncrl = [\"{}\"]\nissued = [\"{}\"]\n\
         responder = {{ key = \"{}\", certificate = \"{}\" }}\n",
        file("issuing.pem"),
        file("issuing.crl"),
        file("issued.txt"),
        file("ocsp.key"),
        file("ocsp.pem"),
    );
    // What was signed is given out again, also where its issuer stands elsewhere now.
    let (_, request) = ocsp_query(&gnomon.dir, "good.pem");
    let sealed = || {
        gnomon
            .post("/ocsp", "application/ocsp-request", &request)
            .body
    };
    let signed = sealed();
    let ask = || {
        support::said(
            "openssl",
            &[
                "ocsp",
                "-issuer",
                &file("issuing.pem"),
                "-cert",
                &file("good.pem"),
                "-CAfile",
                &file("chain.pem"),
                "-url",
                &gnomon.url("/ocsp"),
            ],
        )
    };
    assert!(ask().contains("unauthorized"));
    gnomon.write(&format!("{old}{added}"));
    let said = gnomon.reload("done");
    assert!(said.contains("issuer `other` added"), "{said}");
    assert!(ask().contains("good.pem: good"), "{}", ask());
    assert!(gnomon.says("good.pem", "good.pem: good"));
    assert_eq!(sealed(), signed);
    // A sealed answer of the first is another's place now.
    gnomon.write(&old.replace("[[issuer]]", &format!("{added}\n[[issuer]]")));
    gnomon.reload("done");
    assert!(ask().contains("good.pem: good") && gnomon.says("good.pem", "good.pem: good"));
    assert_eq!(sealed(), signed);
    let source = file("issuing.crl");
    let entries = ["gnomon_crl_next_update_timestamp_seconds", source.as_str()];
    wait_for("the new source's figures", || {
        (gnomon.metric(&entries) > 1e9).then_some(())
    });
    gnomon.write(&old);
    let said = gnomon.reload("done");
    assert!(said.contains("issuer `other` removed"), "{said}");
    assert!(ask().contains("unauthorized"), "{}", ask());
    assert!(gnomon.says("good.pem", "good.pem: good"));
    assert_eq!(
        gnomon.metric(&entries),
        0.0,
        "an alert would go off for a CRL that is gone"
    );
    assert_eq!(accepted(), before + 1, "{}", gnomon.log());
}

#[test]
fn trouble_is_said_once_and_so_is_its_end_whatever_is_reloaded() {
    // Nobody is there to serve the CRL.
    let nowhere = "\"http://127.0.0.1:9/issuing.crl\"";
    let gnomon = Edited(Served::start(nowhere, |config| config, |_| ()));
    let said = |what: &str| gnomon.log().matches(what).count();
    let asked_and_told = |what: &str| {
        wait_for(what, || {
            gnomon.ask("good.pem", &[]);
            (said(what) > 0).then_some(())
        });
    };
    let (begins, ends) = ("ocsp: refused: ", "ocsp: serves again");
    asked_and_told(begins);
    gnomon.edit("issued = [", "validity = \"9h\"\nissued = [");
    gnomon.reload("done");
    gnomon.ask("good.pem", &[]);
    gnomon.edit(nowhere, "\"issuing.crl\"");
    gnomon.reload("done");
    asked_and_told(ends);
    assert_eq!((said(begins), said(ends)), (1, 1), "{}", gnomon.log());
}

#[test]
fn no_older_crl_gets_in() {
    let gnomon = Edited::start(|dir| {
        let ca = Ca::new(dir);
        fs::rename(ca.crl("0A", &[]), dir.join("older.crl")).unwrap();
        ca.revoke("good.pem", "keyCompromise");
        ca.publish(&ca.crl("0B", &[]));
    });
    gnomon.until("good.pem", "good.pem: revoked");
    gnomon.edit("\"issuing.crl\"", "\"older.crl\"");
    let said = gnomon.reload("done");
    assert!(said.contains("issuer `demo` changed"), "{said}");
    gnomon.logged(0, "from 0b to 0a");
    assert!(gnomon.says("good.pem", "good.pem: revoked"));
    gnomon.edit("issued = [", "validity = \"9h\"\nissued = [");
    gnomon.reload("done");
    assert!(gnomon.says("good.pem", "good.pem: revoked"));
}

#[test]
fn a_stop_does_not_wait_for_a_reload_and_another_reload_follows_the_first() {
    let gnomon = Edited::start(|_| ());
    let pipe = gnomon.dir.path("pipe");
    run("mkfifo", &[&pipe]);
    let old = gnomon.config();
    let slow = old.replace("\"issued.txt\"", "\"issued.txt\", \"pipe\"");
    gnomon.write(&slow);
    let logged = gnomon.log().len();
    gnomon.signal("HUP");
    // Whoever reads the pipe waits for a writer.
    let mut write = Command::new("sh");
    let mut writer = write
        .args([
            "-c",
            "exec > \"$0\"; echo; kill -HUP \"$1\"; sleep 0.3",
            &pipe,
        ])
        .arg(gnomon.pid().to_string())
        .spawn()
        .unwrap();
    gnomon.logged(logged, "reload: in force: issuer `demo` changed");
    writer.wait().unwrap();
    // The second one waits at the pipe, for good; clients do not.
    let query = stamps::query(&gnomon.dir);
    stamp(&gnomon, "/tsa", &query);
    assert!(gnomon.says("good.pem", "good.pem: good"));
    gnomon.edit("name = \"demo\"", "name = \"renamed\"");
    gnomon.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    stamp(&gnomon, "/tsa", &query);
    let stopping = Instant::now();
    gnomon.signal("TERM");
    let log = gnomon.dir.join("log");
    let (status, dir) = gnomon.0.0.ended();
    assert!(status.success(), "{status:?}");
    assert!(
        stopping.elapsed() < Duration::from_secs(9),
        "{:?}",
        stopping.elapsed()
    );
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("is left behind"), "{log}");
    let verified = support::said(
        env!("CARGO_BIN_EXE_gnomon"),
        &["journal", "verify", &dir.path("journal")],
    );
    assert!(!verified.contains("problem"), "{verified}");
}

#[test]
fn the_certificate_for_tls_is_another_file() {
    let server = https::Server::start(https::MONTH, "");
    support::server_certificate::ServerCa::new(server.dir()).issue(
        "second",
        https::MONTH,
        &https::P256,
    );
    assert!(server.serves("first"));
    let file = server.dir().join("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    let config = config
        .replace("\"tls.pem\"", "\"second.pem\"")
        .replace("\"tls.key\"", "\"second.key\"");
    fs::write(file, config).unwrap();
    server.gnomon.signal("HUP");
    server.log_says("reload: in force: [tls] changed");
    assert!(server.serves("second"));
    // It is these files that are followed now.
    https::put(server.dir(), "first.pem", "first.key");
    for kind in ["pem", "key"] {
        fs::rename(
            server.dir().join(format!("tls.{kind}")),
            server.dir().join(format!("second.{kind}")),
        )
        .unwrap();
    }
    wait_for("the renewal", || server.serves("first").then_some(()));
}

#[test]
fn anchors_come_and_go() {
    let gnomon = Edited::start(|_| ());
    let shown = || {
        let output = Command::new("curl")
            .args(["-s", &format!("http://{}/metrics", gnomon.admin)])
            .output()
            .unwrap();
        text(&output).contains("gnomon_journal_anchored_records")
    };
    assert!(!shown());
    let old = gnomon.config();
    let own = gnomon.url("/tsa");
    let anchored = format!(
        "[journal.anchor]\nurl = \"{own}\"\ntrust = \"chain.pem\"\ninterval = \"1s\"\n\n[ocsp]"
    );
    gnomon.write(&old.replace("[ocsp]", &anchored));
    let said = gnomon.reload("done");
    assert!(
        said.contains("[journal.anchor] changed") && shown(),
        "{said}"
    );
    gnomon.reload("done");
    assert!(shown());
    gnomon.write(&old);
    gnomon.reload("done");
    assert!(!shown());
}
