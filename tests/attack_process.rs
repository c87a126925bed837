//! What happens to the process: told to stop under load, started twice, without a proven clock. Nothing acknowledged
//! is lost, and nothing unproven leaves. Kills are in journal_crash.rs, full disks in journal_disk.rs.

mod support;

use std::{fs, sync::atomic::Ordering};

use support::{
    Gnomon, gnomon, http,
    stamps::{Stamp, assert_recorded, load, post, query, recorded},
    text, wait_for,
};

#[test]
fn told_to_stop_under_load_every_request_read_is_answered() {
    for signal in ["TERM", "INT"] {
        let gnomon = Gnomon::demo();
        let (stop, threads) = load(&gnomon, 8);
        wait_for("some load", || {
            (gnomon.metric(&["gnomon_timestamp_responses_total", "granted"]) > 200.0).then_some(())
        });
        gnomon.signal(signal);
        let (status, dir) = gnomon.ended();
        assert_eq!(status.code(), Some(0), "{signal}");
        stop.store(true, Ordering::Relaxed);
        let mut stamps = Vec::new();
        let mut broken = 0;
        for thread in threads {
            let (more, cut) = thread.join().unwrap();
            stamps.extend(more);
            broken += cut;
        }
        // A connection that the kernel had accepted and the process had not is reset: one a client at most.
        assert!(broken <= 8, "{broken} connections were cut");
        assert_recorded(&stamps, &recorded(&dir));
    }
}

#[test]
fn a_second_instance_on_the_journal_is_refused_by_name() {
    let first = Gnomon::demo();
    let config = fs::read_to_string(first.dir.join("gnomon.toml")).unwrap();
    let config = config
        .replace(&first.listen.to_string(), "127.0.0.1:0")
        .replace(&first.admin.to_string(), "127.0.0.1:0");
    let second = first.dir.path("second.toml");
    fs::write(&second, config).unwrap();
    let output = gnomon(&["serve", "--config", &second]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(
        said.contains("journal.dir: ") && said.contains("another gnomon holds this journal"),
        "{said}"
    );
    assert!(Stamp::granted(&http(first.listen, &post("/tsa", &query(&first.dir))).body).is_some());
}

#[test]
fn the_kernels_word_decides_where_it_is_the_clock() {
    let gnomon =
        Gnomon::edited(|config| config.replace("source = \"unproven\"", "source = \"kernel\""));
    let timex = adjtimex::read().unwrap();
    let kept = timex.state != adjtimex::TIME_ERROR
        && timex.status & adjtimex::STA_UNSYNC == 0
        && timex.max_error_us < 800_000;
    let response = http(gnomon.listen, &post("/tsa", &query(&gnomon.dir)));
    let ready = http(
        gnomon.admin,
        b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    if kept {
        assert!(Stamp::granted(&response.body).is_some());
        assert_eq!(ready.status, 200);
    } else {
        // timeNotAvailable(14), and why in words that name what to do.
        assert!(
            response.body.ends_with(&[3, 3, 1, 0, 2]),
            "{:02x?}",
            response.body
        );
        assert_eq!(ready.status, 503);
        let why = String::from_utf8(ready.body).unwrap();
        assert!(why.contains("chronyc tracking"), "{why}");
        assert_eq!(
            gnomon.metric(&["outcome=\"timeNotAvailable\"", "ecdsa"]),
            1.0
        );
    }
}
