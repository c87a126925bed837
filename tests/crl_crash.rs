//! Killed in the middle of taking in CRLs, over and over, and with its files put back by somebody: the appliance starts
//! each time, answers by a CRL that it had accepted, and never by one that is older than another it had.

mod support;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use support::{
    Folder,
    crls::{Nginx, Served, make},
    free_port, run, said, wait_for,
};

const ROUNDS: u32 = 30;

/// Serials that are on hold by the bits of the CRL's number, so that an answer tells which CRL it is from.
const BITS: u32 = 6;

fn serial(bit: u32) -> String {
    format!("5a00000000000000000000000000000{bit}")
}

/// What the CRL with this number revokes for good, and no later one shows.
fn dropped(number: u32) -> String {
    format!("5b0000000000000000000000000000{number:02x}")
}

/// That with this number, of so many entries beside.
fn crl(number: u32, entries: u32) -> Value {
    let bits = (0..BITS).filter(|bit| number >> bit & 1 == 1);
    let mut revoked: serde_json::Map<_, _> = bits
        .map(|bit| (serial(bit), json!("certificateHold")))
        .collect();
    revoked.insert(dropped(number), json!("superseded"));
    json!({ "out": format!("crls/{number}"), "number": number, "revoked": revoked, "filled": entries })
}

/// Has the server offer the CRL of a number.
fn offer(dir: &Folder, number: u32) {
    fs::create_dir_all(dir.join("www")).unwrap();
    fs::copy(dir.join(format!("crls/{number}")), dir.join("next")).unwrap();
    fs::rename(dir.join("next"), dir.join("www/crl")).unwrap();
}

/// What `openssl ocsp` says of at most ten serials.
fn ask(gnomon: &Served, serials: &[String]) -> String {
    let path = |name: &str| gnomon.dir.path(name);
    let (issuer, chain, url) = (path("issuing.pem"), path("chain.pem"), gnomon.url("/ocsp"));
    let mut arguments = vec!["ocsp", "-issuer", &issuer, "-CAfile", &chain, "-url", &url];
    let serials: Vec<_> = serials.iter().map(|serial| format!("0x{serial}")).collect();
    for serial in &serials {
        arguments.extend(["-serial", serial]);
    }
    let said = said("openssl", &arguments);
    assert!(
        said.contains("Response verify OK") || said.contains("trylater"),
        "{said}"
    );
    said
}

/// The number of the CRL that answers; none while it is "try later".
fn number(gnomon: &Served) -> Option<u32> {
    let serials: Vec<_> = (0..BITS).map(serial).collect();
    let said = ask(gnomon, &serials);
    let is_held = |bit: &u32| said.contains(&format!("0x{}: revoked", serial(*bit)));
    let number = (0..BITS).filter(is_held).map(|bit| 1 << bit).sum();
    (!said.contains("trylater")).then_some(number)
}

/// Whatever these CRLs once revoked for good must still be.
fn assert_revoked(gnomon: &Served, numbers: &[u32]) {
    for numbers in numbers.chunks(10) {
        let serials: Vec<_> = numbers.iter().copied().map(dropped).collect();
        let said = ask(gnomon, &serials);
        let revoked = said.matches("Reason: superseded").count();
        assert_eq!(revoked, serials.len(), "{numbers:?}: {said}");
    }
}

fn until(gnomon: &Served, expected: u32) {
    wait_for(&format!("the CRL with number {expected}"), || {
        (number(gnomon) == Some(expected)).then_some(())
    });
}

/// One that follows a server's CRL, of which there are those numbered 1 to `most`; the first is offered.
fn follow(most: u32, entries: u32) -> (Served, Nginx) {
    let (address, mut nginx) = (free_port(), None);
    let gnomon = Served::start(
        &format!("\"http://{address}/crl\""),
        |config| config,
        |dir| {
            make(
                dir,
                &(1..=most)
                    .map(|number| crl(number, entries))
                    .collect::<Vec<_>>(),
            );
            let mut issued = fs::read_to_string(dir.join("issued.txt")).unwrap();
            issued.extend((0..BITS).map(|bit| serial(bit) + "\n"));
            issued.extend((1..=most).map(|number| dropped(number) + "\n"));
            fs::write(dir.join("issued.txt"), issued).unwrap();
            offer(dir, 1);
            nginx = Some(Nginx::start(dir, address));
        },
    );
    until(&gnomon, 1);
    (gnomon, nginx.unwrap())
}

/// Up to the double of what an intake took; different each time.
fn moment(intake: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::from(now.unwrap().subsec_nanos()) / 7;
    Duration::from_micros(now % u64::try_from(intake.as_micros() * 2).unwrap())
}

#[test]
fn kill_9_in_the_middle_of_an_intake_goes_back_to_no_older_crl() {
    let (mut gnomon, nginx) = follow(ROUNDS + 2, 100_000);
    let begun = Instant::now();
    offer(&gnomon.dir, 2);
    gnomon.refresh();
    until(&gnomon, 2);
    let intake = begun.elapsed();
    let (mut last, mut interrupted, mut all) = (2, 0, vec![1, 2]);
    for new in 3..=ROUNDS + 2 {
        offer(&gnomon.dir, new);
        gnomon.refresh();
        // Nothing is waited for: this is when the kill comes.
        thread::sleep(moment(intake));
        let seen = number(&gnomon).unwrap();
        assert!(seen == last || seen == new, "{seen}");
        let from = gnomon.log().len();
        // The first is served from now on, by a mirror that is out of date.
        gnomon = gnomon.killed_and_started(|dir| offer(dir, 1));
        let found = number(&gnomon).expect("an accepted CRL answers from the start");
        assert!(found == seen || found == new, "{seen}, then {found}");
        interrupted += u32::from(found != new);
        if found == new {
            all.push(found);
        }
        assert_revoked(&gnomon, &all);
        let refused = format!("the CRL number went back from {found:02x} to 01");
        gnomon.logged(from, &refused);
        assert_eq!(number(&gnomon), Some(found));
        last = found;
    }
    assert!(
        interrupted > 0 && last > 2,
        "{interrupted} of {ROUNDS} after {intake:?}"
    );
    // The last of all is taken as ever, and nothing that was begun is left.
    offer(&gnomon.dir, ROUNDS + 2);
    gnomon.refresh();
    until(&gnomon, ROUNDS + 2);
    gnomon.recorded(&["crl accepted", &format!("\"{:02x}\"", ROUNDS + 2)]);
    let gnomon = gnomon.stopped_and_started(|_| ());
    assert_eq!(number(&gnomon), Some(ROUNDS + 2));
    assert_revoked(&gnomon, &all);
    assert_eq!(gnomon.kept("crl").len(), 1);
    assert_eq!(gnomon.kept("new").len(), 0);
    drop(nginx);
}

fn copy(from: &Path, to: &Path) {
    run("cp", &[Path::new("-r"), from, to]);
}

/// Every file of the store.
fn damage(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damage(&path);
        } else {
            fs::write(path, [0x5a; 5_000]).unwrap();
        }
    }
}

/// What somebody does to the folder of accepted CRLs while the appliance is off; an older one is at hand.
type Mischief = fn(now: &Path, older: &Path);

/// What is said of the store.
const EMPTY: &str = "the store of the CRL feeds holds nothing, though CRLs were kept beside it";
const MISSING: &str =
    "the store of the CRL feeds is not there, though the journal has CRLs that were accepted";
/// What all of them begin with.
const TROUBLE: &str = "the store of the CRL feeds";

#[test]
fn whoever_puts_back_files_does_not_put_back_the_crl() {
    let tries: [(&str, Option<&str>, Mischief); 6] = [
        ("the folder is removed", Some(MISSING), |now, _| {
            fs::remove_dir_all(now).unwrap()
        }),
        ("the folder is put back", None, |now, older| {
            fs::remove_dir_all(now).unwrap();
            copy(older, now);
        }),
        ("the CRLs alone are put back", None, |now, older| {
            for file in fs::read_dir(older).unwrap().map(Result::unwrap) {
                if file.path().is_file() {
                    fs::copy(file.path(), now.join(file.file_name())).unwrap();
                }
            }
        }),
        (
            "the CRLs are put back and the store is removed",
            Some(EMPTY),
            |now, older| {
                fs::remove_dir_all(now).unwrap();
                copy(older, now);
                fs::remove_dir_all(now.join("state")).unwrap();
            },
        ),
        (
            "the CRLs are put back and the store is damaged",
            Some(TROUBLE),
            |now, older| {
                fs::remove_dir_all(now).unwrap();
                copy(older, now);
                damage(&now.join("state"));
            },
        ),
        (
            "the CRLs are removed and the store is put back",
            None,
            |now, older| {
                fs::remove_dir_all(now).unwrap();
                fs::create_dir(now).unwrap();
                copy(&older.join("state"), &now.join("state"));
            },
        ),
    ];
    let most = 2 + 2 * u32::try_from(tries.len()).unwrap();
    let (mut gnomon, mut nginx) = follow(most, 10);
    let mut last = 1;
    for (what, of_store, mischief) in tries {
        // An older state is set aside, and then two CRLs are taken.
        gnomon = gnomon.stopped_and_started(|dir| {
            let _ = fs::remove_dir_all(dir.join("older"));
            copy(&dir.join("revocation"), &dir.join("older"));
        });
        let old = last;
        for next in [last + 1, last + 2] {
            offer(&gnomon.dir, next);
            gnomon.refresh();
            until(&gnomon, next);
            last = next;
        }
        let accepted = format!("\"{last:02x}\"");
        gnomon.recorded(&["crl accepted", &accepted]);
        let from = gnomon.log().len();
        let address = nginx.address;
        drop(nginx);
        gnomon = gnomon.killed_and_started(|dir| {
            mischief(&dir.join("revocation"), &dir.join("older"));
            offer(dir, old);
        });
        // What is older answers nothing, neither from the folder nor from the server.
        assert_eq!(number(&gnomon), None, "{what}");
        match of_store {
            Some(said) => {
                gnomon.logged(from, said);
                let alarms = gnomon.metric(&["gnomon_crl_alarms_total", "store"]);
                assert_eq!(alarms, 1.0, "{what}");
            }
            // It is opened before anything is served.
            None => assert!(!gnomon.log()[from..].contains(TROUBLE), "{what}"),
        }
        let is_back = gnomon.kept("crl").len() == 1;
        if is_back {
            let alarm =
                format!("the CRL with number {old:02x} is older than what was accepted before");
            gnomon.logged(from, &alarm);
            gnomon.logged(from, "ALARM");
            gnomon.recorded(&["crl refused", &alarm, &format!("\"number\":\"{old:02x}\"")]);
            let alarms = gnomon.metric(&["gnomon_crl_alarms_total", "rolled_back"]);
            assert_eq!(alarms, 1.0, "{what}");
        }
        nginx = Nginx::start(&gnomon.dir, address);
        let refused = format!("the CRL number went back from {last:02x} to {old:02x}");
        gnomon.refresh();
        gnomon.logged(from, &refused);
        assert_eq!(number(&gnomon), None, "{what}");
        let (status, why) = gnomon.ready();
        assert!(
            status == 503 && why.contains("its CRL did not come yet"),
            "{what}: {why}"
        );
        // The last that was accepted is good, and so is a newer one.
        offer(&gnomon.dir, last);
        gnomon.refresh();
        until(&gnomon, last);
    }
    offer(&gnomon.dir, most);
    gnomon.refresh();
    until(&gnomon, most);
    drop(nginx);
}
