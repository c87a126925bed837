//! A journal on a small file system: what is refused when it is nearly full, when it is full, and what comes back
//! by itself.

mod support;

use std::fs;

use support::{
    Folder, Gnomon, http, prepare,
    small_disk::SmallDisk,
    stamps::{Stamp, assert_recorded, post, query, recorded, verify},
    wait_for,
};

fn start(dir: Folder, journal: &str) -> Gnomon {
    let (listen, admin) = prepare(&dir);
    let file = dir.join("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        config.replace("[journal]\n", &format!("[journal]\n{journal}")),
    )
    .unwrap();
    Gnomon::serve(dir, listen, admin)
}

fn ready(gnomon: &Gnomon) -> (u16, String) {
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let ready = http(gnomon.admin, request);
    (ready.status, String::from_utf8(ready.body).unwrap())
}

/// systemFailure(25) as the last of a rejection.
const SYSTEM_FAILURE: [u8; 7] = [3, 5, 6, 0, 0, 0, 0x40];

/// Asks until it is refused; gives what was issued until then.
fn until_refused(gnomon: &Gnomon, request: &[u8]) -> Vec<Stamp> {
    let mut issued = Vec::new();
    let refusal = wait_for("the disk to be full", || {
        let response = http(gnomon.listen, request);
        assert_eq!(response.status, 200);
        match Stamp::granted(&response.body) {
            Some(stamp) => {
                issued.push(stamp);
                None
            }
            None => Some(response.body),
        }
    });
    assert!(refusal.ends_with(&SYSTEM_FAILURE), "{refusal:02x?}");
    issued
}

fn sealed_answers_flow(gnomon: &Gnomon) {
    let said = gnomon.ask("good.pem", &[]);
    assert!(said.contains("good.pem: good"), "{said}");
}

#[test]
fn little_space_stops_tokens_until_there_is_room_again() {
    let dir = Folder::new();
    let disk = SmallDisk::mount(dir.join("journal"), "16m");
    let gnomon = start(dir, "warn_free = \"8MiB\"\nstop_free = \"4MiB\"\n");
    let request = post("/tsa", &query(&gnomon.dir));
    assert!(Stamp::granted(&http(gnomon.listen, &request).body).is_some());
    assert_eq!(ready(&gnomon).0, 200);

    disk.fill_but(2 << 20);
    let issued = until_refused(&gnomon, &request);
    let (status, why) = ready(&gnomon);
    assert_eq!(status, 503);
    assert!(
        why.contains("journal: no token is issued, since too little space"),
        "{why}"
    );
    wait_for("the metric of it", || {
        (gnomon.metric(&["gnomon_journal_state", "\"full\""]) == 1.0).then_some(())
    });
    assert_eq!(
        gnomon.metric(&["gnomon_journal_stop_free_bytes"]),
        4_194_304.0
    );
    wait_for("the metric", || {
        (gnomon.metric(&["gnomon_journal_free_bytes"]) < 4_194_304.0).then_some(())
    });
    sealed_answers_flow(&gnomon);

    fs::remove_file(disk.filler()).unwrap();
    wait_for("tokens again", || {
        Stamp::granted(&http(gnomon.listen, &request).body)
    });
    assert_eq!(ready(&gnomon).0, 200);
    assert_recorded(&issued, &recorded(&gnomon.dir));
}

#[test]
fn a_failed_write_is_final_until_a_restart_and_loses_nothing() {
    let dir = Folder::new();
    let disk = SmallDisk::mount(dir.join("journal"), "8m");
    let thresholds = "warn_free = \"1B\"\nstop_free = \"1B\"\nkeep_tokens = true\n";
    let gnomon = start(dir, thresholds);
    let request = post("/tsa", &query(&gnomon.dir));
    disk.fill_but(256 << 10);
    let mut issued = until_refused(&gnomon, &request);

    // Room does not help: what the kernel still holds is unknown.
    fs::remove_file(disk.filler()).unwrap();
    for path in ["/tsa", "/tsa/rsa"] {
        let request = post(path, &query(&gnomon.dir));
        let refusal = http(gnomon.listen, &request).body;
        assert!(refusal.ends_with(&SYSTEM_FAILURE), "{refusal:02x?}");
    }
    let (status, why) = ready(&gnomon);
    assert_eq!(status, 503);
    assert!(
        why.contains("journal: no token is issued, since it cannot be written"),
        "{why}"
    );
    wait_for("the metric of it", || {
        (gnomon.metric(&["gnomon_journal_state", "\"stopped\""]) == 1.0).then_some(())
    });
    sealed_answers_flow(&gnomon);

    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let gnomon = start(dir, thresholds);
    let stamp = Stamp::granted(&http(gnomon.listen, &request).body);
    issued.push(stamp.expect("a token after the restart"));
    assert_recorded(&issued, &recorded(&gnomon.dir));
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let (holds, report) = verify(&dir.join("journal"), &[]);
    assert!(holds, "{report:#}");
}
