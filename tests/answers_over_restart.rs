//! The real daemon's sealed answers over stops, crashes and time: an orderly stop saves them, and what has changed
//! meanwhile shows; a crash or a harmed file costs nothing but signatures; a popular answer is renewed without a client.

mod support;

use std::fs;

use support::{Folder, Gnomon, ca::Ca, gnomon, ocsp_path, run, wait_for};

const SAVED: &str = "revocation/sealed-answers";

fn etag(gnomon: &Gnomon, name: &str) -> String {
    let answer = gnomon.get(&ocsp_path(&gnomon.dir, name), "");
    assert_eq!(answer.status, 200);
    answer.header("etag").expect("a sealed answer").to_owned()
}

/// Ends it by this signal, lets something happen, and starts it again.
fn restart(gnomon: Gnomon, signal: &str, meanwhile: impl FnOnce(&Folder)) -> Gnomon {
    gnomon.signal(signal);
    let (listen, admin) = (gnomon.listen, gnomon.admin);
    let (_, dir) = gnomon.ended();
    meanwhile(&dir);
    let mut command = self::gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    command.stderr(fs::File::create(dir.join("log")).unwrap());
    Gnomon::started(command, dir, listen, admin)
}

/// So that answers signed before and after differ.
fn let_a_second_pass() {
    std::thread::sleep(std::time::Duration::from_millis(1_100));
}

#[test]
fn an_orderly_stop_saves_them_and_what_has_changed_shows() {
    let gnomon = Gnomon::demo();
    let (good, held) = (etag(&gnomon, "good.pem"), etag(&gnomon, "held.pem"));
    let gnomon = restart(gnomon, "TERM", |dir| {
        assert!(dir.join(SAVED).exists());
        // The check of a configuration takes nothing away.
        run(
            env!("CARGO_BIN_EXE_gnomon"),
            &["check", "--config", &dir.path("gnomon.toml")],
        );
        let_a_second_pass();
    });
    assert!(
        !gnomon.dir.join(SAVED).exists(),
        "nothing is taken up twice"
    );
    assert_eq!(etag(&gnomon, "good.pem"), good);
    let said = gnomon.ask("good.pem", &["-no_nonce"]);
    assert!(
        said.contains("Response verify OK") && said.contains("good.pem: good"),
        "{said}"
    );

    // Nobody has asked about held.pem in this life, and yet it is there in the next.
    let gnomon = restart(gnomon, "TERM", |dir| {
        let ca = Ca::new(dir);
        ca.revoke("held.pem", "certificateHold");
        ca.revoke("good.pem", "keyCompromise");
        ca.publish(&ca.crl("7FFFFFFF01", &[]));
    });
    assert!(
        gnomon
            .ask("good.pem", &["-no_nonce"])
            .contains("good.pem: revoked")
    );
    assert_ne!(etag(&gnomon, "good.pem"), good);
    assert_ne!(
        etag(&gnomon, "held.pem"),
        held,
        "it was held at another time"
    );
    let gnomon = restart(gnomon, "TERM", |_| {});
    assert!(
        gnomon
            .ask("good.pem", &["-no_nonce"])
            .contains("good.pem: revoked")
    );
}

#[test]
fn a_crash_and_a_harmed_file_cost_only_signatures() {
    let gnomon = Gnomon::demo();
    let first = etag(&gnomon, "good.pem");
    let gnomon = restart(gnomon, "KILL", |dir| {
        assert!(!dir.join(SAVED).exists());
        let_a_second_pass();
    });
    let mut before = etag(&gnomon, "good.pem");
    assert_ne!(first, before);
    let mut gnomon = gnomon;
    let harms: [fn(&mut Vec<u8>); 3] = [
        |octets| octets.truncate(octets.len() / 2),
        |octets| octets.clear(),
        |octets| octets[40] ^= 1,
    ];
    for harm in harms {
        gnomon = restart(gnomon, "TERM", |dir| {
            let mut octets = fs::read(dir.join(SAVED)).unwrap();
            harm(&mut octets);
            fs::write(dir.join(SAVED), octets).unwrap();
            let_a_second_pass();
        });
        let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
        assert!(log.contains("is no whole file of sealed answers"), "{log}");
        let after = etag(&gnomon, "good.pem");
        assert_ne!(after, before);
        before = after;
    }
    // A crash after an orderly stop finds nothing of before.
    let gnomon = restart(gnomon, "TERM", |_| {});
    assert_eq!(etag(&gnomon, "good.pem"), before);
    let gnomon = restart(gnomon, "KILL", |_| let_a_second_pass());
    assert_ne!(etag(&gnomon, "good.pem"), before);
}

#[test]
fn a_popular_answer_is_renewed_without_a_client() {
    let gnomon = Gnomon::demo();
    let ca = Ca::new(&gnomon.dir);
    // An answer ends with the CRL, so this one is due for renewal after twelve seconds.
    ca.publish(&ca.crl("7FFFFFFF01", &["-crlsec", "24"]));
    wait_for("the short CRL", || {
        let held = gnomon.ask("held.pem", &["-no_nonce"]);
        held.contains("held.pem: good").then_some(())
    });
    let before = etag(&gnomon, "good.pem");
    assert_eq!(etag(&gnomon, "good.pem"), before);
    // A longer one, so that signing again leads further.
    ca.publish(&ca.crl("7FFFFFFF02", &[]));
    wait_for("a refresh", || {
        (gnomon.metric(&["gnomon_ocsp_refreshed_total"]) >= 1.0).then_some(())
    });
    assert_ne!(etag(&gnomon, "good.pem"), before);
    let said = gnomon.ask("good.pem", &["-no_nonce"]);
    assert!(said.contains("Response verify OK"), "{said}");
    assert_eq!(gnomon.metric(&["gnomon_ocsp_refreshed_total"]), 1.0);
}
