//! CRLs and deltas that come as files, beside ones that come by HTTP, across restarts: what was accepted is kept
//! whatever else is read, and a file is looked at again when its time has come.

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{
    crls::{Nginx, Served, make},
    free_port,
    small_disk::SmallDisk,
    wait_for,
};

/// Base and delta as files.
const BOTH: &str = "{ path = \"base\", delta = \"delta\" }";

fn base(number: u32, revoked: &Value) -> Value {
    json!({ "out": "base", "number": number, "revoked": revoked })
}

fn delta(number: u32, base: u32, revoked: &Value) -> Value {
    json!({ "out": "delta", "number": number, "base": base, "revoked": revoked })
}

#[test]
fn a_base_that_is_read_at_the_start_is_kept_beside_its_delta() {
    let revoked = json!({ "good.pem": "superseded", "revoked.pem": "keyCompromise" });
    let gnomon = Served::start(
        BOTH,
        |config| config,
        |dir| {
            make(
                dir,
                &[
                    base(1, &revoked),
                    delta(2, 1, &json!({ "held.pem": "certificateHold" })),
                ],
            );
        },
    );
    gnomon.until("held.pem", "held.pem: revoked");
    gnomon.recorded(&["crl accepted", "/delta", "\"02\""]);
    // While it is off the CA drops a revocation. The delta that was kept is still in force over the next base.
    let only = json!({ "revoked.pem": "keyCompromise" });
    let gnomon = gnomon.stopped_and_started(|dir| {
        make(
            dir,
            &[
                base(3, &only),
                delta(4, 3, &json!({ "held.pem": "certificateHold" })),
            ],
        );
    });
    gnomon.recorded(&["crl accepted", "/base", "\"03\""]);
    assert!(gnomon.says("good.pem", "Reason: superseded"));
    gnomon.publish(&[base(5, &only)]);
    gnomon.recorded(&["crl accepted", "/base", "\"05\""]);
    let gnomon = gnomon.killed_and_started(|_| ());
    for name in ["good.pem", "revoked.pem"] {
        assert!(
            gnomon.says(name, &format!("{name}: revoked")),
            "{name} is forgotten"
        );
    }
    // The file of the base goes, and what is kept of it has all.
    let gnomon = gnomon.killed_and_started(|dir| fs::remove_file(dir.join("base")).unwrap());
    gnomon.logged(0, "base: cannot be read");
    for name in ["good.pem", "revoked.pem"] {
        assert!(
            gnomon.says(name, &format!("{name}: revoked")),
            "{name} is forgotten"
        );
    }
}

#[test]
fn a_delta_that_somebody_put_back_takes_nothing_of_its_base_away() {
    let revoked = json!({ "good.pem": "superseded", "revoked.pem": "keyCompromise" });
    let gnomon = Served::start(
        BOTH,
        |config| config,
        |dir| {
            make(dir, &[base(1, &revoked), delta(2, 1, &json!({}))]);
        },
    );
    gnomon.until("good.pem", "good.pem: revoked");
    gnomon.recorded(&["crl accepted", "/delta", "\"02\""]);
    gnomon.publish(&[delta(9, 1, &json!({ "held.pem": "certificateHold" }))]);
    gnomon.until("held.pem", "held.pem: revoked");
    gnomon.recorded(&["crl accepted", "/delta", "\"09\""]);
    // The next base drops a revocation, and with it comes an old delta; that which was kept is gone.
    let only = json!({ "revoked.pem": "keyCompromise" });
    let gnomon = gnomon.stopped_and_started(|dir| {
        remove_kept(&dir.join("revocation"), "delta");
        make(dir, &[base(3, &only), delta(4, 3, &json!({}))]);
    });
    gnomon.logged(
        0,
        "the CRL with number 04 is older than what was accepted before",
    );
    gnomon.publish(&[base(5, &only)]);
    gnomon.recorded(&["crl accepted", "/base", "\"05\""]);
    let gnomon = gnomon.killed_and_started(|_| ());
    assert!(gnomon.says("good.pem", "Reason: superseded"));
}

fn remove_kept(folder: &Path, ending: &str) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|other| other == ending) {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_delta_that_is_a_file_waits_for_its_base_by_http() {
    let address = free_port();
    let crl = format!("{{ path = \"http://{address}/base\", delta = \"delta\" }}");
    let gnomon = Served::start(
        &crl,
        |config| config,
        |dir| {
            make(dir, &[delta(2, 1, &json!({ "good.pem": "superseded" }))]);
        },
    );
    assert!(gnomon.says("good.pem", "trylater"));
    gnomon.logged(0, "the delta has no complete CRL to go over yet");
    let mut base = base(1, &json!({ "revoked.pem": "keyCompromise" }));
    base["out"] = json!("www/base");
    make(&gnomon.dir, &[base]);
    let nginx = Nginx::start(&gnomon.dir, address);
    gnomon.refresh();
    gnomon.until("good.pem", "Reason: superseded");
    gnomon.until("revoked.pem", "Reason: keyCompromise");
    drop(nginx);
}

#[test]
fn a_file_from_a_clock_that_is_ahead_is_taken_when_its_time_has_come() {
    let gnomon = Served::start(
        "\"crl\"",
        |config| config,
        |dir| {
            make(dir, &[json!({ "out": "crl", "number": 1 })]);
        },
    );
    gnomon.until("good.pem", "good.pem: good");
    let revoked = json!({ "good.pem": "superseded" });
    make(
        &gnomon.dir,
        &[json!({ "out": "crl", "number": 2, "from": 6, "revoked": revoked })],
    );
    gnomon.logged(0, "in the future; see that the CA's clock is right");
    assert!(gnomon.says("good.pem", "good.pem: good"));
    // Nobody has to ask for it.
    gnomon.until("good.pem", "Reason: superseded");
}

#[test]
fn a_mirror_stands_in_and_none_of_them_is_asked_without_end() {
    let (first, second) = (free_port(), free_port());
    let crl = format!("{{ path = [\"http://{first}/crl\", \"http://{second}/crl\", \"crl\"] }}");
    let mut nginx = None;
    let gnomon = Served::start(
        &crl,
        |config| config,
        |dir| {
            make(
                dir,
                &[
                    json!({ "out": "www/crl", "number": 1, "revoked": { "good.pem": "superseded" } }),
                ],
            );
            nginx = Some(Nginx::start(dir, second));
        },
    );
    gnomon.until("good.pem", "Reason: superseded");
    gnomon.logged(0, &format!("http://{first}/crl: cannot be fetched"));
    // Both are away, and then the file is there.
    drop(nginx);
    make(
        &gnomon.dir,
        &[json!({ "out": "crl", "number": 2, "revoked": { "held.pem": "superseded" } })],
    );
    gnomon.refresh();
    gnomon.until("held.pem", "Reason: superseded");
    assert!(gnomon.says("good.pem", "Reason: superseded"));
}

#[test]
fn mirrors_that_are_files_and_all_wrong_are_not_refused_at_every_look() {
    let shard = |number: u32| json!({ "out": "shard", "number": number, "point": "http://ca.example/shard" });
    let crl = "{ path = [\"crl\", \"mirror\"] }, { path = \"shard\", distribution_point = \"http://ca.example/shard\" }";
    let gnomon = Served::start(
        crl,
        |config| config,
        |dir| make(dir, &[json!({ "out": "crl", "number": 1 }), shard(1)]),
    );
    gnomon.until("good.pem", "good.pem: good");
    for name in ["mirror", "crl"] {
        fs::write(gnomon.dir.join("next"), "<html>").unwrap();
        fs::rename(gnomon.dir.join("next"), gnomon.dir.join(name)).unwrap();
    }
    gnomon.logged(0, "mirror: is a web page");
    // The shard beside it tells how often it was looked since.
    for number in 2..6 {
        make(&gnomon.dir, &[shard(number)]);
        gnomon.recorded(&["crl accepted", "shard", &format!("\"{number:02x}\"")]);
    }
    assert_eq!(gnomon.records().matches("is a web page").count(), 2);
    // Whoever has mended one of them says so.
    make(
        &gnomon.dir,
        &[json!({ "out": "mirror", "number": 2, "revoked": { "good.pem": "superseded" } })],
    );
    gnomon.refresh();
    gnomon.until("good.pem", "Reason: superseded");
}

#[test]
fn a_delta_is_found_where_the_complete_crl_says() {
    let address = free_port();
    let crl = format!("{{ path = \"http://{address}/base\", delta = \"freshest\" }}");
    let at = |name: &str| format!("http://{address}/{name}");
    let base = |number: u32, freshest: &str, revoked: &Value| json!({ "out": "www/base", "number": number, "freshest": at(freshest), "revoked": revoked });
    let delta = |name: &str, number: u32, base: u32, revoked: &Value| json!({ "out": format!("www/{name}"), "number": number, "base": base, "revoked": revoked });
    let mut nginx = None;
    let gnomon = Served::start(
        &crl,
        |config| config,
        |dir| {
            let held = json!({ "held.pem": "certificateHold" });
            make(
                dir,
                &[
                    base(1, "first", &held),
                    delta("first", 2, 1, &json!({ "held.pem": "removeFromCRL" })),
                ],
            );
            nginx = Some(Nginx::start(dir, address));
        },
    );
    gnomon.until("held.pem", "held.pem: good");
    // The next base names another place.
    let good = json!({ "good.pem": "superseded" });
    gnomon.publish(&[delta("second", 4, 3, &good), base(3, "second", &json!({}))]);
    gnomon.until("good.pem", "Reason: superseded");
    gnomon.recorded(&["crl accepted", "/second", "\"04\""]);
    // What was found is there after a restart without the server.
    drop(nginx);
    let gnomon = gnomon.killed_and_started(|_| ());
    assert!(gnomon.says("good.pem", "Reason: superseded"));
}

#[test]
fn a_file_that_is_put_back_while_it_is_off_is_told_from_the_journal() {
    let crl =
        |number: u32, revoked: Value| json!({ "out": "crl", "number": number, "revoked": revoked });
    let gnomon = Served::start(
        "\"crl\"",
        |config| config,
        |dir| {
            make(dir, &[crl(1, json!({}))]);
            fs::copy(dir.join("crl"), dir.join("older")).unwrap();
            make(dir, &[crl(2, json!({ "good.pem": "superseded" }))]);
        },
    );
    gnomon.recorded(&["crl accepted", "\"02\""]);
    // All that was kept is gone, and the file is an older one.
    let gnomon = gnomon.stopped_and_started(|dir| {
        fs::remove_dir_all(dir.join("revocation")).unwrap();
        fs::rename(dir.join("older"), dir.join("crl")).unwrap();
    });
    assert!(gnomon.says("good.pem", "trylater"));
    gnomon.logged(
        0,
        "the CRL with number 01 is older than what was accepted before, and is not used",
    );
    assert!(gnomon.log().contains("ALARM"));
    gnomon.publish(&[crl(3, json!({ "good.pem": "superseded" }))]);
    gnomon.until("good.pem", "Reason: superseded");
}

#[test]
fn a_file_of_two_gigabytes_is_not_read() {
    let gnomon = Served::start(
        "\"crl\"",
        |config| config,
        |dir| {
            make(dir, &[json!({ "out": "crl", "number": 1 })]);
        },
    );
    gnomon.until("good.pem", "good.pem: good");
    let next = gnomon.dir.join("next");
    fs::File::create(&next).unwrap().set_len(2 << 30).unwrap();
    fs::rename(next, gnomon.dir.join("crl")).unwrap();
    gnomon.logged(
        0,
        "crl: is larger than 536870912 octets; see revocation.largest_crl",
    );
    gnomon.recorded(&["crl refused", "is larger than"]);
    assert!(gnomon.says("good.pem", "good.pem: good"));
}

#[test]
fn a_crl_is_in_force_though_the_disk_is_full_and_kept_once_there_is_room() {
    let crl = |number: u32| {
        let revoked = json!({ "good.pem": "superseded" });
        json!({ "out": "crl", "number": number, "revoked": revoked, "filled": 2_000 })
    };
    let mut disk = None;
    let gnomon = Served::start(
        "\"crl\"",
        |config| config,
        |dir| {
            make(dir, &[json!({ "out": "crl", "number": 1 })]);
            disk = Some(SmallDisk::mount(dir.join("revocation"), "8m"));
        },
    );
    let disk = disk.unwrap();
    gnomon.recorded(&["crl accepted", "\"01\""]);
    wait_for("the first to be kept", || {
        (gnomon.kept("crl").len() == 1).then_some(())
    });
    disk.fill_but(0);
    gnomon.publish(&[crl(2)]);
    gnomon.until("good.pem", "Reason: superseded");
    gnomon.logged(0, "the CRL is in force but cannot be kept");
    gnomon.logged(0, "make room, and it is written at once");
    fs::remove_file(disk.filler()).unwrap();
    let kept = gnomon.kept("crl").remove(0);
    wait_for("the second to be kept", || {
        (fs::read(&kept).unwrap() == fs::read(gnomon.dir.join("crl")).unwrap()).then_some(())
    });
    // It holds though the file is gone.
    let gnomon = gnomon.killed_and_started(|dir| fs::remove_file(dir.join("crl")).unwrap());
    assert!(gnomon.says("good.pem", "Reason: superseded"));
    // The disk leaves the folder before that is removed.
    gnomon.signal("KILL");
    let (_, dir) = gnomon.0.ended();
    drop(disk);
    drop(dir);
}
