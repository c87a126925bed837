//! A journal on a disk that takes what is written, but not to the end: the call does not come back. strace holds the
//! daemon's fdatasync, as a dead disk or a frozen file system would.

mod support;

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use support::{
    Folder, Gnomon, gnomon,
    hang::Hang,
    http, prepare,
    stamps::{Stamp, assert_recorded, post, query, recorded},
    wait_for,
};

/// The demo with its log in a file.
fn start(dir: Folder) -> Gnomon {
    let (listen, admin) = prepare(&dir);
    let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    let log = fs::File::create(dir.join("stderr")).unwrap();
    command.stderr(Stdio::from(log));
    Gnomon::started(command, dir, listen, admin)
}

fn log(dir: &Folder) -> String {
    fs::read_to_string(dir.join("stderr")).unwrap()
}

/// systemFailure(25) as the last of a rejection.
const SYSTEM_FAILURE: [u8; 7] = [3, 5, 6, 0, 0, 0, 0x40];

#[test]
fn tokens_are_refused_while_the_disk_hangs_and_go_on_when_it_comes_back() {
    let gnomon = start(Folder::new());
    let request = post("/tsa", &query(&gnomon.dir));
    let mut issued = vec![Stamp::granted(&http(gnomon.listen, &request).body).unwrap()];
    let hang = Hang::of(&gnomon, "fdatasync");
    let refused = || {
        http(gnomon.listen, &request)
            .body
            .ends_with(&SYSTEM_FAILURE)
    };
    assert!(refused(), "by its time, and not never");
    let begun = Instant::now();
    assert!(
        refused() && begun.elapsed() < Duration::from_secs(3),
        "at once"
    );
    let (status, why) = gnomon.ready();
    assert_eq!(status, 503);
    let reason = "journal: no token is issued, since its disk does not take what is written";
    assert!(why.contains(reason), "{why}");
    wait_for("the metric of it", || {
        (gnomon.metric(&["gnomon_journal_state", "\"hanging\""]) == 1.0).then_some(())
    });
    let said = gnomon.ask("good.pem", &[]);
    assert!(said.contains("good.pem: good"), "{said}");
    assert_eq!(log(&gnomon.dir).matches("ERROR GN1209").count(), 1);

    drop(hang);
    issued.push(wait_for("tokens again", || {
        Stamp::granted(&http(gnomon.listen, &request).body)
    }));
    assert_eq!(gnomon.ready().0, 200);
    assert!(log(&gnomon.dir).contains("the disk takes the journal's records again"));
    assert_recorded(&issued, &recorded(&gnomon.dir));
}

#[test]
fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let gnomon = start(Folder::new());
    let request = post("/tsa", &query(&gnomon.dir));
    let issued = vec![Stamp::granted(&http(gnomon.listen, &request).body).unwrap()];
    let hang = Hang::of(&gnomon, "fdatasync");
    gnomon.signal("TERM");
    // The kernel keeps a process in the table whose thread hangs, so that only what it says shows that it has ended.
    wait_for("the end", || {
        log(&gnomon.dir).contains("ERROR GN1210").then_some(())
    });
    drop(hang);
    let (status, dir) = gnomon.ended();
    assert!(status.success(), "{status}");
    // What was acknowledged is there, and the next start goes on from it.
    let (listen, admin) = prepare(&dir);
    let gnomon = Gnomon::serve(dir, listen, admin);
    assert!(Stamp::granted(&http(listen, &request).body).is_some());
    assert_recorded(&issued, &recorded(&gnomon.dir));
}
