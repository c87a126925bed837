//! A TSU or a responder whose certificate its own CA's CRL shows as revoked stops at once, says so, and goes on only
//! when a hold is lifted; the rest of the appliance goes on.

mod support;

use std::fs;

use support::{
    Folder, Gnomon, ca::Ca, gnomon, http, https::P256, issue_responder, prepare, run, stamps,
    timestamp_query, wait_for,
};

/// A second responder beside the demo's, and what is logged in `log`.
fn serve(edit: impl FnOnce(String) -> String) -> Gnomon {
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let file = dir.join("gnomon.toml");
    fs::write(&file, edit(fs::read_to_string(&file).unwrap())).unwrap();
    let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    command.stderr(fs::File::create(dir.join("log")).unwrap());
    Gnomon::started(command, dir, listen, admin)
}

fn log(gnomon: &Gnomon) -> String {
    fs::read_to_string(gnomon.dir.join("log")).unwrap()
}

/// What `openssl ts` says of the answer of a TSU.
fn stamp(gnomon: &Gnomon, tsu: &str) -> String {
    let (_, request) = timestamp_query(&gnomon.dir);
    let answer = http(gnomon.listen, &stamps::post(tsu, &request));
    let file = gnomon.dir.path("answer.tsr");
    fs::write(&file, answer.body).unwrap();
    run("openssl", &["ts", "-reply", "-in", &file, "-text"])
}

/// The events of kind 19 on record: whose, and why.
fn recorded(gnomon: &Gnomon) -> Vec<(String, String)> {
    let records = stamps::export(&gnomon.dir.join("journal"));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("null").to_owned();
    records
        .iter()
        .filter(|record| record["kind"] == "certificate revoked")
        .map(|record| {
            (
                text(&record["details"]["of"]),
                text(&record["details"]["reason"]),
            )
        })
        .collect()
}

#[test]
fn a_revoked_tsu_stops_and_a_lifted_hold_lets_it_go_on() {
    let gnomon = serve(|config| config);
    let ca = Ca::new(&gnomon.dir);
    assert!(stamp(&gnomon, "/tsa/ecdsa").contains("Status: Granted."));
    assert_eq!(gnomon.ready().0, 200);
    assert_eq!(gnomon.metric(&["gnomon_own_certificates_revoked"]), 0.0);

    ca.revoke("tsu-ecdsa.pem", "certificateHold");
    ca.publish(&ca.crl("7FFFFFFF01", &[]));
    wait_for("the TSU to stop", || {
        stamp(&gnomon, "/tsa/ecdsa")
            .contains("due to system failure")
            .then_some(())
    });
    let (status, why) = gnomon.ready();
    assert_eq!(status, 503);
    assert!(
        why.contains("tsu `ecdsa`: ") && why.contains("was revoked on "),
        "{why}"
    );
    assert!(why.contains("(certificateHold)"), "{why}");
    assert_eq!(gnomon.metric(&["gnomon_own_certificates_revoked"]), 1.0);
    let said = log(&gnomon);
    assert!(
        said.contains("ALARM: tsu `ecdsa`: its certificate "),
        "{said}"
    );
    // Nobody else is concerned.
    assert!(stamp(&gnomon, "/tsa/rsa").contains("Status: Granted."));
    assert!(gnomon.ask("good.pem", &[]).contains("good.pem: good"));

    ca.forgive();
    ca.publish(&ca.crl("7FFFFFFF02", &[]));
    wait_for("the TSU to go on", || {
        stamp(&gnomon, "/tsa/ecdsa")
            .contains("Status: Granted.")
            .then_some(())
    });
    assert_eq!(gnomon.ready().0, 200);
    let of = || "tsu `ecdsa`".to_owned();
    wait_for("both records", || {
        let expected = [(of(), "certificateHold".into()), (of(), "null".into())];
        (recorded(&gnomon) == expected).then_some(())
    });

    // What was revoked before a start never signs after it.
    ca.revoke("tsu-ecdsa.pem", "keyCompromise");
    ca.publish(&ca.crl("7FFFFFFF03", &[]));
    gnomon.signal("TERM");
    let (listen, admin) = (gnomon.listen, gnomon.admin);
    let (_, dir) = gnomon.ended();
    let gnomon = Gnomon::serve(dir, listen, admin);
    assert!(stamp(&gnomon, "/tsa/ecdsa").contains("due to system failure"));
}

#[test]
fn a_crl_that_has_run_out_still_stops_a_tsu() {
    let gnomon = serve(|config| config);
    let ca = Ca::new(&gnomon.dir);
    ca.revoke("tsu-rsa.pem", "superseded");
    ca.publish(&ca.crl("7FFFFFFF01", &["-crlsec", "4"]));
    wait_for("the TSU to stop", || {
        stamp(&gnomon, "/tsa/rsa")
            .contains("due to system failure")
            .then_some(())
    });
    wait_for("the CRL's end", || {
        gnomon
            .ready()
            .1
            .contains("its CRL ran out at")
            .then_some(())
    });
    // A look or two later, and after a restart.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert!(stamp(&gnomon, "/tsa/rsa").contains("due to system failure"));
    gnomon.signal("TERM");
    let (listen, admin) = (gnomon.listen, gnomon.admin);
    let (_, dir) = gnomon.ended();
    let gnomon = Gnomon::serve(dir, listen, admin);
    assert!(stamp(&gnomon, "/tsa/rsa").contains("due to system failure"));
    assert!(stamp(&gnomon, "/tsa/ecdsa").contains("Status: Granted."));
}

#[test]
fn a_revoked_responder_stops_and_another_takes_over() {
    let gnomon = serve(|config| config);
    let ca = Ca::new(&gnomon.dir);
    let ask = |gnomon: &Gnomon| gnomon.ask("good.pem", &["-no_nonce"]);
    assert!(ask(&gnomon).contains("good.pem: good"));
    ca.revoke("ocsp.pem", "keyCompromise");
    ca.publish(&ca.crl("7FFFFFFF01", &[]));
    // With the sealed answer as well: it was signed by a key that is not to be trusted.
    wait_for("the responder to stop", || {
        ask(&gnomon).contains("internalerror").then_some(())
    });
    let (status, why) = gnomon.ready();
    assert_eq!(status, 503);
    assert!(
        why.contains("issuer `demo`: ") && why.contains("(keyCompromise)"),
        "{why}"
    );
    let said = log(&gnomon);
    assert!(
        said.contains("ALARM: a responder of issuer `demo`: its certificate "),
        "{said}"
    );
    wait_for("the record", || {
        let of = "a responder of issuer `demo`".into();
        (recorded(&gnomon) == [(of, "keyCompromise".into())]).then_some(())
    });
    assert!(stamp(&gnomon, "/tsa/ecdsa").contains("Status: Granted."));

    // The same with a second responder.
    issue_responder(&gnomon.dir, "second", &P256);
    gnomon.signal("TERM");
    let (listen, admin) = (gnomon.listen, gnomon.admin);
    let (_, dir) = gnomon.ended();
    let file = dir.join("gnomon.toml");
    let text = fs::read_to_string(&file).unwrap();
    let one = "responder = { key = \"ocsp.key\", certificate = \"ocsp.pem\" }";
    assert!(text.contains(one));
    let two = "responder = [{ key = \"ocsp.key\", certificate = \"ocsp.pem\" }, \
               { key = \"second.key\", certificate = \"second.pem\" }]";
    fs::write(&file, text.replace(one, two)).unwrap();
    let gnomon = Gnomon::serve(dir, listen, admin);
    let said = gnomon.ask("good.pem", &["-no_nonce", "-resp_text"]);
    assert!(said.contains("Response verify OK"), "{said}");
    assert!(
        said.contains("Subject: CN = second") || said.contains("Subject: CN=second"),
        "{said}"
    );
    assert_eq!(gnomon.ready().0, 503, "the operator is still to be told");
}
