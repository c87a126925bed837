//! Deltas, partitions, retention and the last CRLs of a CA, made by Python's `cryptography` and served by nginx: what a
//! delta says shows, what one partition lacks hides nothing that another revokes, and what was revoked stays so.

mod support;

use serde_json::json;
use support::{
    crls::{Nginx, Served, make},
    free_port, gnomon, text, wait_for,
};

#[test]
fn a_delta_shows_at_the_next_look_and_lifts_a_hold() {
    let address = free_port();
    let crl = format!("{{ path = \"http://{address}/base\", delta = \"http://{address}/delta\" }}");
    let mut nginx = None;
    let gnomon = Served::start(
        &crl,
        |config| config,
        |dir| {
            make(
                dir,
                &[
                    json!({ "out": "www/base", "number": 0x1_0000, "revoked": { "revoked.pem": "keyCompromise", "held.pem": "certificateHold" },
                    "freshest": format!("http://{address}/delta") }),
                    json!({ "out": "www/delta", "number": 0x1_0001, "base": 0x1_0000 }),
                ],
            );
            nginx = Some(Nginx::start(dir, address));
        },
    );
    gnomon.until("held.pem", "held.pem: revoked");
    gnomon.recorded(&["crl accepted", "/delta", "\"010001\""]);
    assert!(gnomon.says("good.pem", "good.pem: good"));

    // What a delta says shows at once: a revocation, a hold that is over, and another that has become final.
    let said = json!({ "good.pem": "superseded", "held.pem": "removeFromCRL" });
    gnomon.publish(&[
        json!({ "out": "www/delta", "number": 0x1_0002, "base": 0x1_0000, "revoked": said }),
    ]);
    gnomon.until("good.pem", "Reason: superseded");
    gnomon.until("held.pem", "held.pem: good");
    assert!(gnomon.says("revoked.pem", "revoked.pem: revoked"));
    assert_eq!(gnomon.metric(&["gnomon_crl_entries", "/delta"]), 2.0);

    // A delta for a base that is not here yet, an older one, and what is none changes nothing.
    let with = |more: serde_json::Value| {
        let revoked = json!({ "held.pem": "superseded" });
        let mut crl =
            json!({ "out": "www/delta", "number": 0x1_0007, "base": 0x1_0000, "revoked": revoked });
        let fields = crl.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        fields.retain(|_, value| !value.is_null());
        crl
    };
    for (more, what) in [
        (
            json!({ "base": 0x1_0005 }),
            "for a base with number 010005 or above, and the one in force has 010000",
        ),
        (
            json!({ "number": 0x1_0001 }),
            "went back from 010002 to 010001",
        ),
        (
            json!({ "number": 0x1_0002 }),
            "ALARM: two CRLs with the number 010002",
        ),
        (
            json!({ "number": null }),
            "the delta has no CRL number of its own",
        ),
        (json!({ "base": null }), "the CRL is complete and no delta"),
        (json!({ "until": -1 }), "the CRL ran out at 20"),
        (
            json!({ "flipped": true }),
            "the signature is not that of the key of",
        ),
        (
            json!({ "point": "http://ca.example/1" }),
            "may be one shard of several",
        ),
    ] {
        let (from, failed) = (
            gnomon.log().len(),
            gnomon.metric(&["gnomon_crl_failures_total", "/delta"]),
        );
        gnomon.publish(&[with(more)]);
        gnomon.logged(from, what);
        gnomon.recorded(&["crl refused", "/delta", what]);
        wait_for("a failure more", || {
            let now = gnomon.metric(&["gnomon_crl_failures_total", "/delta"]);
            (now > failed).then_some(())
        });
        assert!(
            gnomon.says("good.pem", "Reason: superseded")
                && gnomon.says("held.pem", "held.pem: good")
        );
    }

    // Without the server the delta that was kept still counts.
    drop(nginx.take());
    let gnomon = gnomon.killed_and_started(|_| ());
    assert!(
        gnomon.says("good.pem", "Reason: superseded") && gnomon.says("held.pem", "held.pem: good")
    );
    assert!(gnomon.says("revoked.pem", "revoked.pem: revoked"));

    // The next base comes, and the delta to it with the hold back in place.
    let said = json!({ "revoked.pem": "keyCompromise", "good.pem": "superseded" });
    make(
        &gnomon.dir,
        &[
            json!({ "out": "www/base", "number": 0x1_0005, "revoked": said }),
            json!({ "out": "www/delta", "number": 0x1_0008, "base": 0x1_0005, "revoked": { "held.pem": "certificateHold" } }),
        ],
    );
    let nginx = Nginx::start(&gnomon.dir, address);
    gnomon.refresh();
    gnomon.until("held.pem", "held.pem: revoked");
    assert!(gnomon.says("good.pem", "Reason: superseded"));
    drop(nginx);
}

/// Two partitions at `/1` and `/2`, each with its own distribution point.
fn partitions(address: std::net::SocketAddr) -> String {
    let one = |n| {
        format!(
            "{{ path = \"http://{address}/{n}\", distribution_point = \"http://ca.example/{n}\" }}"
        )
    };
    format!("{}, {}", one(1), one(2))
}

fn partition(n: u8, number: u32, until: u32, revoked: &serde_json::Value) -> serde_json::Value {
    let (out, point) = (format!("www/{n}"), format!("http://ca.example/{n}"));
    json!({ "out": out, "number": number, "point": point, "until": until, "revoked": revoked })
}

const WEEK: u32 = 7 * 86_400;

/// Whether `gnomon check` says what serials are to be listed with.
fn advises_shards(served: &Served) -> bool {
    let check = ["check", "--config", &served.dir.path("gnomon.toml")];
    let said = text(&gnomon(&check).output().unwrap());
    assert!(said.contains("can be served"), "{said}");
    said.contains("advice: issuer[0].issued: while the CRL of one shard is missing")
}

#[test]
fn a_delta_that_is_over_shows_though_its_base_is_not() {
    let start = |dir: &support::Folder| {
        make(
            dir,
            &[
                json!({ "out": "base", "number": 1 }),
                json!({ "out": "delta", "number": 2, "base": 1, "until": 5 }),
            ],
        );
    };
    let crl = "{ path = \"base\", delta = \"delta\" }";
    let served = Served::start(crl, |config| config, start);
    let config = served.dir.path("gnomon.toml");
    let status = || {
        let status = ["crl", "status", "--config", &config];
        gnomon(&status).output().unwrap()
    };
    wait_for("the delta's end", || {
        text(&status()).contains("RAN OUT").then_some(())
    });
    assert!(!status().status.success() && served.ready().0 == 503);
    assert!(!advises_shards(&served));
    make(
        &served.dir,
        &[json!({ "out": "delta", "number": 3, "base": 1 })],
    );
    wait_for("the next delta", || status().status.success().then_some(()));
    assert_eq!(served.ready().0, 200);
}

#[test]
fn a_partition_that_is_missing_or_over_hides_only_what_it_could_revoke() {
    let address = free_port();
    let first = partition(1, 1, WEEK, &json!({ "revoked.pem": "keyCompromise" }));
    let mut nginx = None;
    let gnomon = Served::start(
        &partitions(address),
        |config| config,
        |dir| {
            make(dir, std::slice::from_ref(&first));
            nginx = Some(Nginx::start(dir, address));
        },
    );
    gnomon.until("revoked.pem", "Reason: keyCompromise");
    assert!(advises_shards(&gnomon));
    let not_ready = |what: &str| {
        let (status, why) = gnomon.ready();
        assert!(status == 503 && why.contains(what), "{why}");
        assert!(gnomon.says("revoked.pem", "Reason: keyCompromise"));
        for other in ["good.pem", "held.pem"] {
            assert!(gnomon.says(other, "trylater"), "{other}");
        }
    };
    not_ready("1 of its 2 CRLs did not come yet");
    assert_eq!(
        gnomon.metric(&["gnomon_crl_next_update_timestamp_seconds", "/2"]),
        0.0
    );

    // The one partition under the other's URL is no second one.
    let mut misplaced = first;
    misplaced["out"] = json!("www/2");
    gnomon.publish(std::slice::from_ref(&misplaced));
    let what = "`distribution_point` is `http://ca.example/2`, but the CRL is that of `http://ca.example/1`";
    gnomon.logged(0, what);
    gnomon.recorded(&["crl refused", "/2", what]);
    not_ready("1 of its 2 CRLs did not come yet");

    // The second one comes.
    gnomon.publish(&[partition(
        2,
        1,
        WEEK,
        &json!({ "held.pem": "certificateHold" }),
    )]);
    gnomon.until("good.pem", "good.pem: good");
    assert_eq!(gnomon.ready(), (200, "ready\n".into()));
    assert!(
        gnomon.says("held.pem", "held.pem: revoked")
            && gnomon.says("revoked.pem", "Reason: keyCompromise")
    );
    // Nor does the one under the other's URL take its place.
    let from = gnomon.log().len();
    gnomon.publish(std::slice::from_ref(&misplaced));
    gnomon.logged(from, what);
    assert!(gnomon.says("held.pem", "held.pem: revoked"));
    assert!(gnomon.says("good.pem", "good.pem: good"));
    // The next one is soon over.
    gnomon.publish(&[partition(2, 2, 8, &json!({}))]);
    gnomon.until("good.pem", "trylater");
    not_ready("1 of its 2 CRLs ran out");
    gnomon.publish(&[partition(2, 3, WEEK, &json!({}))]);
    gnomon.until("good.pem", "good.pem: good");
    gnomon.until("held.pem", "held.pem: good");
}

#[test]
fn what_was_revoked_for_good_stays_revoked_and_a_hold_does_not() {
    let address = free_port();
    let revoked = json!({ "good.pem": "cessationOfOperation", "revoked.pem": null, "held.pem": "certificateHold" });
    let mut nginx = None;
    let gnomon = Served::start(
        &format!("\"http://{address}/crl\""),
        |config| config,
        |dir| {
            make(
                dir,
                &[json!({ "out": "www/crl", "number": 1, "revoked": revoked })],
            );
            // That of good.pem ends in the far future, so that it disappears too early.
            let serial = gnomon::wire::certificate::Certificate::read_all(
                &std::fs::read(dir.join("good.pem")).unwrap(),
            );
            let line = format!("{} 2090-01-01\n", hex::encode(serial.unwrap()[0].serial()));
            let issued = std::fs::read_to_string(dir.join("issued.txt")).unwrap();
            std::fs::write(dir.join("issued.txt"), issued + &line).unwrap();
            nginx = Some(Nginx::start(dir, address));
        },
    );
    gnomon.until("held.pem", "held.pem: revoked");
    gnomon.publish(&[json!({ "out": "www/crl", "number": 2 })]);
    gnomon.until("held.pem", "held.pem: good");
    let stay = |gnomon: &Served| {
        assert!(gnomon.says("good.pem", "Reason: cessationOfOperation"));
        assert!(gnomon.says("revoked.pem", "revoked.pem: revoked"));
        assert!(gnomon.says("held.pem", "held.pem: good"));
    };
    stay(&gnomon);
    gnomon.logged(
        0,
        "1 revocations have disappeared from the CRL before their certificates end",
    );
    // After a kill, with the server away and with it back, and after a regular stop.
    drop(nginx.take());
    let gnomon = gnomon.killed_and_started(|_| ());
    stay(&gnomon);
    let nginx = Nginx::start(&gnomon.dir, address);
    gnomon.publish(&[
        json!({ "out": "www/crl", "number": 3, "revoked": { "held.pem": "superseded" } }),
    ]);
    gnomon.until("held.pem", "Reason: superseded");
    let gnomon = gnomon.stopped_and_started(|_| ());
    gnomon.publish(&[json!({ "out": "www/crl", "number": 4 })]);
    gnomon.recorded(&["crl accepted", "\"04\""]);
    for _ in 0..2 {
        assert!(
            gnomon.says("held.pem", "Reason: superseded")
                && gnomon.says("good.pem", "Reason: cessation")
        );
    }
    // A list that is damaged is read as far as it goes, and said to be.
    let gnomon = gnomon.killed_and_started(|dir| {
        let files = std::fs::read_dir(dir.join("revocation")).unwrap();
        let is_it =
            |file: &std::path::PathBuf| file.extension().is_some_and(|ending| ending == "retained");
        let file = files.map(|file| file.unwrap().path()).find(is_it).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        std::fs::write(&file, text + "x").unwrap();
    });
    gnomon.logged(
        0,
        "is damaged: 3 serials that stay revoked were read from it",
    );
    assert!(
        gnomon.says("held.pem", "Reason: superseded")
            && gnomon.says("good.pem", "Reason: cessation")
    );
    drop(nginx);
}

#[test]
fn nothing_of_a_compromised_ca_is_good() {
    let edit = |config: String| {
        config.replacen(
            "[[issuer]]",
            "[[issuer]]\ncompromised = 2026-01-02T03:04:05Z",
            1,
        )
    };
    // There is no CRL, and none is needed.
    let gnomon = Served::start(&format!("\"http://{}/crl\"", free_port()), edit, |_| ());
    for name in ["good.pem", "revoked.pem", "held.pem"] {
        let said = gnomon.ask(name, &[]);
        assert!(
            said.contains(&format!("{name}: revoked")) && said.contains("Response verify OK"),
            "{said}"
        );
        assert!(said.contains("Reason: cACompromise"), "{said}");
        assert!(
            said.contains("Revocation Time: Jan  2 03:04:05 2026 GMT"),
            "{said}"
        );
    }
    // Its TSUs stop, and that alone is in the way.
    let (_, why) = gnomon.ready();
    assert!(
        why.contains("tsu `ecdsa`: the certificate of") && !why.contains("issuer"),
        "{why}"
    );
}

#[test]
fn the_last_answers_of_a_retired_ca_have_no_end() {
    let edit = |config: String| {
        config.replacen(
            "[[issuer]]",
            "[[issuer]]\nretired = true\narchive_cutoff = \"3650d\"",
            1,
        )
    };
    let gnomon = Served::start("\"last.crl\"", edit, |dir| {
        make(
            dir,
            &[
                json!({ "out": "last.crl", "number": 1, "until": "never", "revoked": { "revoked.pem": "keyCompromise" } }),
            ],
        );
    });
    for (name, status) in [("good.pem", "good"), ("revoked.pem", "revoked")] {
        let said = gnomon.ask(name, &["-resp_text", "-no_nonce"]);
        assert!(
            said.contains(&format!("{name}: {status}")) && said.contains("Response verify OK"),
            "{said}"
        );
        assert!(
            said.contains("Next Update: Dec 31 23:59:59 9999 GMT"),
            "{said}"
        );
        assert!(said.contains("OCSP Archive Cutoff"), "{said}");
        // What caches keep is to be asked for again.
        let response = gnomon.get(&support::ocsp_path(&gnomon.dir, name), "");
        let control = response.header("cache-control").unwrap();
        let (max_age, _) = control
            .strip_prefix("max-age=")
            .unwrap()
            .split_once(',')
            .unwrap();
        assert!(
            (60..=4 * 86_400).contains(&max_age.parse::<u64>().unwrap()),
            "{control}"
        );
    }
}
