//! Killed at random moments under load, over and over on one journal: it opens by itself each time, every token
//! that a client received verifies and is on record, and the tree and its checkpoints hold.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::{Duration, SystemTime},
};

use support::{
    Folder, Gnomon, prepare, run,
    stamps::{Stamp, assert_recorded, checkpoint, load, recorded, reference, verify},
    wait_for,
};

const ROUNDS: usize = 50;

/// Microseconds of load before the kill, different each time.
fn moment() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Duration::from_micros(u64::from(now.unwrap().subsec_nanos()) / 7 % 120_000)
}

/// What OpenSSL says of a stamp for [`support::stamps::query`].
fn assert_verifies(dir: &Folder, stamp: &Stamp) {
    let (query, reply) = (dir.path("load.tsq"), dir.path("one.tsr"));
    fs::write(&reply, &stamp.response).unwrap();
    let (ca, chain) = (dir.path("ca.pem"), dir.path("all.pem"));
    let arguments = ["ts", "-verify", "-queryfile", &query, "-in", &reply];
    let trust = ["-CAfile", &ca, "-untrusted", &chain];
    run("openssl", &[&arguments[..], &trust[..]].concat());
}

/// Every certificate that a token without certificates may be signed by, and what is above it.
fn gather(dir: &Path) {
    let mut all = Vec::new();
    for name in ["tsu-ecdsa.pem", "tsu-rsa.pem", "issuing.pem"] {
        all.extend(fs::read(dir.join(name)).unwrap());
    }
    fs::write(dir.join("all.pem"), all).unwrap();
}

#[test]
fn kill_9_at_any_moment_loses_nothing_that_was_acknowledged() {
    let mut dir = Folder::new();
    let (mut received, mut serials) = (Vec::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let (listen, admin) = prepare(&dir);
        gather(&dir);
        let file = dir.join("gnomon.toml");
        // So that segments end and checkpoints are signed while the kill may come.
        let journal = "[journal]\ncheckpoint_interval = \"20ms\"\nsegment_size = \"64KiB\"\n";
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, config.replace("[journal]\n", journal)).unwrap();
        let gnomon = Gnomon::serve(dir, listen, admin);
        let (stop, clients) = load(&gnomon, 6);
        wait_for("some load", || {
            let granted = gnomon.metric(&["gnomon_timestamp_responses_total", "granted"]);
            (granted > 20.0).then_some(())
        });
        thread::sleep(moment());
        gnomon.signal("KILL");
        stop.store(true, Ordering::Relaxed);
        let mut stamps = Vec::new();
        for client in clients {
            stamps.extend(client.join().unwrap().0);
        }
        let (status, folder) = gnomon.ended();
        assert!(!status.success());
        dir = folder;
        for stamp in stamps.iter().rev().take(3) {
            assert_verifies(&dir, stamp);
        }
        for stamp in &stamps {
            assert!(serials.insert(stamp.serial.clone()), "a serial came twice");
        }
        received.extend(stamps);
        if round % 10 == 9 {
            assert_recorded(&received, &recorded(&dir));
            let (holds, report) = verify(&dir.join("journal"), &[]);
            assert!(holds, "{report:#}");
        }
    }
    assert!(received.len() > 20 * ROUNDS, "{}", received.len());
    // The last one is stopped in order, so that the checkpoint is over everything.
    let (listen, admin) = prepare(&dir);
    let gnomon = Gnomon::serve(dir, listen, admin);
    gnomon.signal("TERM");
    let (status, dir) = gnomon.ended();
    assert!(status.success());
    let (holds, report) = verify(&dir.join("journal"), &[]);
    assert!(holds && report["signed"] == report["records"], "{report:#}");
    let (_, end) = reference(&dir.join("journal"));
    let (size, root) = checkpoint(&dir.join("journal"));
    assert_eq!(
        (&end["records"], &end["root"]),
        (&size.into(), &root.into())
    );
}
