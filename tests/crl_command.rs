//! `gnomon crl` as an operator uses it: what CRLs hold, how they differ, whether one would be accepted, what the
//! running appliance has, and the way back for a CA that was restored.

mod support;

use std::{fs, process::Output};

use support::{Folder, Gnomon, ca::Ca, gnomon, run, text, wait_for};

fn crl(arguments: &[&str]) -> Output {
    let arguments = [&["crl"], arguments].concat();
    gnomon(&arguments).output().unwrap()
}

/// What it prints, and that it ends as expected.
fn prints(success: bool, arguments: &[&str]) -> String {
    let output = crl(arguments);
    let text = text(&output);
    assert_eq!(output.status.success(), success, "{arguments:?}: {text}");
    text
}

fn serial(dir: &Folder, name: &str) -> String {
    let said = run(
        "openssl",
        &["x509", "-noout", "-serial", "-in", &dir.path(name)],
    );
    said.trim().trim_start_matches("serial=").to_lowercase()
}

#[test]
fn crls_are_shown_and_compared() {
    let gnomon = Gnomon::demo();
    let dir = &gnomon.dir;
    let ca = Ca::new(dir);
    ca.revoke("good.pem", "superseded");
    ca.revoke("revoked.pem", "keyCompromise");
    let old = dir.path("old.crl");
    fs::rename(ca.crl("7FFFFFFF01", &[]), &old).unwrap();
    let revoked = serial(dir, "revoked.pem");

    let text = prints(true, &["show", &old]);
    for part in [
        "number      7fffffff01",
        "signed with ecdsa-sha256",
        "entries     2 (1 keyCompromise, 1 superseded)",
        "issuer      CN=Gnomon demo issuing CA",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = prints(true, &["show", "--entries", &old]);
    assert!(text.contains(&format!("{revoked} 20")) && text.contains("Z keyCompromise\n"));
    let text = prints(true, &["show", "--serial", &revoked, &old]);
    assert_eq!(text.lines().filter(|line| line.contains("Z ")).count(), 1);
    assert!(!text.contains("is not on it"), "{text}");
    let text = prints(true, &["show", "--serial", "0A1B", &old]);
    assert!(text.starts_with("a1b is not on it\n"), "{text}");
    // DER too, and what is cut says so.
    let der = dir.path("old.der");
    run(
        "openssl",
        &["crl", "-in", &old, "-outform", "DER", "-out", &der],
    );
    assert_eq!(prints(true, &["show", &der]), prints(true, &["show", &old]));
    let content = fs::read(&der).unwrap();
    for length in [content.len() - 1, content.len() / 2, 40] {
        fs::write(dir.join("cut"), &content[..length]).unwrap();
        let text = prints(false, &["show", &dir.path("cut")]);
        assert!(text.contains("cut: "), "{text}");
    }
    let text = prints(false, &["show", &dir.path("good.key")]);
    assert!(text.contains("good.key: "), "{text}");

    ca.forgive();
    ca.revoke("held.pem", "certificateHold");
    ca.revoke("good.pem", "keyCompromise");
    let new = ca.crl("7FFFFFFF02", &[]);
    let text = prints(false, &["diff", &old, &new]);
    for (sign, name) in [("+", "held.pem"), ("~", "good.pem"), ("-", "revoked.pem")] {
        let begin = format!("{sign} {} ", serial(dir, name));
        assert!(text.contains(&begin), "{begin}: {text}");
    }
    assert!(text.contains("Z keyCompromise (was 20"), "{text}");
    assert_eq!(prints(true, &["diff", &new, &new]), "");

    let issuer = dir.path("issuing.pem");
    let check = |success, crl: &str, more: &[&str]| {
        prints(
            success,
            &[&["check", "--issuer", &issuer, crl], more].concat(),
        )
    };
    let unknown = "it would be accepted, unless the appliance has come further: --config tells";
    assert!(check(true, &new, &["--after", &old]).contains(unknown));
    assert!(check(true, &new, &[]).contains(unknown));
    let text = check(false, &old, &["--after", &new]);
    assert!(
        text.contains("number went back from 7fffffff02 to 7fffffff01"),
        "{text}"
    );
    let text = check(false, &new, &["--base", &old]);
    assert!(text.contains("complete and no delta"), "{text}");

    // By the clock, and by what the running appliance has accepted.
    let config = dir.path("gnomon.toml");
    for (year, said) in [
        ("2020", "the CRL ran out at 2020-01-02"),
        ("2040", "thisUpdate is 2040-01-01T00:00:00Z, in the future"),
    ] {
        let [from, to] = ["0101", "0102"].map(|day| format!("{year}{day}000000Z"));
        let dates = ["-crl_lastupdate", &from, "-crl_nextupdate", &to];
        let wrong = ca.crl("7FFFFFFF03", &dates);
        for more in [&[][..], &["--after", &old], &["--config", &config]] {
            let text = check(false, &wrong, more);
            assert!(text.contains(said) && !text.contains("accepted"), "{text}");
        }
    }
    let newer = dir.path("newer.crl");
    fs::rename(ca.crl("7FFFFFFF05", &[]), &newer).unwrap();
    ca.publish(&newer);
    wait_for("the CRL", || {
        let text = prints(true, &["status", "--config", &config]);
        text.contains("number 7fffffff05").then_some(())
    });
    let between = ca.crl("7FFFFFFF04", &[]);
    assert!(check(true, &between, &[]).contains(unknown));
    let text = check(false, &between, &["--config", &config]);
    assert!(
        text.contains("number went back from 7fffffff05 to 7fffffff04"),
        "{text}"
    );
    let text = check(true, &ca.crl("7FFFFFFF06", &[]), &["--config", &config]);
    assert!(text.ends_with("it would be accepted\n"), "{text}");
}

#[test]
fn a_restored_ca_is_followed_again_when_the_operator_says_so() {
    let gnomon = Gnomon::demo();
    let config = gnomon.dir.path("gnomon.toml");
    let ca = Ca::new(&gnomon.dir);
    let status = |success, more: &[&str]| {
        prints(success, &[&["status", "--config", &config], more].concat())
    };
    let shows = |what: &str| {
        wait_for(what, || {
            status(true, &["--ledger"]).contains(what).then_some(())
        });
    };
    ca.publish(&ca.crl("7FFFFFFF09", &[]));
    shows("crl accepted");
    shows("number 7fffffff09, 0 entries");
    // What the demo had revoked for good is not forgotten.
    shows("1 more stay revoked though it no longer shows them");
    ca.publish(&ca.crl("03", &[]));
    shows("FAILED 1 times, last: ");
    shows(
        "number went back from 7fffffff09 to 03; if that is meant because the CA was restored, say",
    );

    let reset = |success, more: &[&str]| {
        prints(
            success,
            &[&["reset-mark", "--config", &config], more].concat(),
        )
    };
    assert!(reset(false, &["nobody"]).contains("there is no issuer `nobody`"));
    let text = reset(false, &["demo", "--source", "elsewhere.crl"]);
    assert!(
        text.contains("none of the files and URLs of `demo`"),
        "{text}"
    );
    let source = gnomon.dir.path("issuing.crl");
    assert!(reset(true, &["demo", "--source", &source]).starts_with("asked;"));
    shows("number 03, 0 entries");
    shows("crl mark reset");
    assert!(
        gnomon
            .ask("revoked.pem", &[])
            .contains("revoked.pem: revoked")
    );
    // Once, and not for ever.
    ca.publish(&ca.crl("02", &[]));
    shows("number went back from 03 to 02");
    let events = support::stamps::export(&gnomon.dir.join("journal"));
    let reset = events
        .iter()
        .find(|event| event["kind"] == "crl mark reset");
    assert_eq!(reset.unwrap()["details"]["number"], "7fffffff09");

    // The mark that was lowered stays so over a restart, and for scripts there is JSON.
    let (listen, admin) = (gnomon.listen, gnomon.admin);
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let ca = Ca::open(&dir);
    ca.publish(&ca.crl("04", &[]));
    let gnomon = Gnomon::serve(dir, listen, admin);
    let config = gnomon.dir.path("gnomon.toml");
    let json = prints(true, &["status", "--config", &config, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["issuers"][0]["sources"][0]["number"], "04");
    assert_eq!(json["issuers"][0]["sources"][0]["retained"], 1);
}

#[test]
fn a_crl_that_runs_out_shows() {
    let gnomon = Gnomon::demo();
    let config = gnomon.dir.path("gnomon.toml");
    let ca = Ca::new(&gnomon.dir);
    ca.publish(&ca.crl("7FFFFFFF01", &["-crlsec", "3"]));
    wait_for("the CRL's end", || {
        let output = crl(&["status", "--config", &config]);
        (!output.status.success() && text(&output).contains("RAN OUT")).then_some(())
    });
}
