//! A soak: all kinds of clients at once, CRLs that are replaced, reloads, and kills, for 20 seconds or as long as
//! `GNOMON_SOAK_SECONDS` says. In the first half the daemon is killed over and over; in the second it lives, no request
//! may fail, and in the end it has as much memory, as many threads and as few open files as at the beginning. The journal
//! of both halves holds, and has every token that a client was given.
//!
//!     GNOMON_SOAK_SECONDS=600 cargo test --test soak -- --nocapture

mod clients;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use clients::{Crowd, Outcome};
use serde_json::json;
use support::{
    Gnomon,
    crls::{Served, make},
    free_port,
    https::{MONTH, P256},
    server_certificate::ServerCa,
    stamps::{assert_recorded, recorded, verify},
    wait_for,
};

/// Of the daemon's own memory, in KiB, that may come on top of a tenth: what is kept for the last half hour's charts
/// and answers fills up only then.
const SLACK: u64 = 4 << 10;

/// So many serials that a CRL's memory would be seen if it stayed.
const ENTRIES: usize = 20_000;

/// What the process holds while nobody asks.
#[derive(Debug)]
struct Held {
    /// RssAnon, in KiB.
    memory: u64,
    threads: u64,
    files: usize,
}

/// Once all connections are gone.
fn held(gnomon: &Gnomon) -> Held {
    wait_for("the end of all connections", || {
        (gnomon.metric(&["gnomon_http_connections "]) == 0.0).then_some(())
    });
    // What was freed may wait for its turn; the operator's own connection is one more file.
    thread::sleep(Duration::from_secs(1));
    let proc = format!("/proc/{}", gnomon.pid());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    Held {
        memory: number("RssAnon:"),
        threads: number("Threads:"),
        files: fs::read_dir(format!("{proc}/fd")).unwrap().count(),
    }
}

/// What changes while clients ask.
struct Changes {
    crls: u64,
    reloads: u64,
    config: String,
}

impl Changes {
    /// A certificate's hold is taken back, and comes again with the next one.
    fn next_crl(&mut self, gnomon: &Served, crowd: &Crowd) {
        self.crls += 1;
        let mut revoked = json!({"revoked.pem": "keyCompromise"});
        let is_held = self.crls.is_multiple_of(2);
        if is_held {
            revoked["held.pem"] = json!("certificateHold");
        }
        make(
            &gnomon.dir,
            &[json!({
                "out": "ca.crl", "number": self.crls, "revoked": revoked, "filled": ENTRIES
            })],
        );
        let expected = if is_held {
            "held.pem: revoked"
        } else {
            "held.pem: good"
        };
        let url = format!("http://{}/ocsp", crowd.plain);
        wait_for(expected, || {
            let said = crowd.status("held", &["-url", &url]);
            said.is_ok_and(|said| said.contains(expected)).then_some(())
        });
    }

    /// A TSU more, or one less.
    fn reload(&mut self, gnomon: &Served) {
        self.reloads += 1;
        let is_more = self.reloads % 2 == 1;
        let more = "\n[[tsu]]\nname = \"more\"\ndemo = true\nkey = \"tsu-ecdsa.key\"\n\
            certificate = \"tsu-ecdsa.pem\"\nchain = \"issuing.pem\"\npolicies = [\"2.999.3161.9\"]\n";
        let config = format!("{}{}", self.config, if is_more { more } else { "" });
        fs::write(gnomon.dir.join("next.toml"), config).unwrap();
        fs::rename(gnomon.dir.join("next.toml"), gnomon.dir.join("gnomon.toml")).unwrap();
        gnomon.signal("HUP");
        let query = fs::read(gnomon.dir.join("load.tsq")).unwrap();
        let expected = if is_more { 200 } else { 404 };
        wait_for("the reload", || {
            let answer = gnomon.post("/tsa/more", "application/timestamp-query", &query);
            (answer.status == expected).then_some(())
        });
    }
}

fn tell(phase: &str, gnomon: &Served, outcome: &Outcome, since: Instant) {
    let done: Vec<_> = outcome
        .done
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    eprintln!(
        "soak: {phase}, {} s: {}; {} tokens; {} cut by kills, {} failed",
        since.elapsed().as_secs(),
        done.join(", "),
        outcome.stamps.len(),
        outcome.cut,
        outcome.failures.len()
    );
    let shown: Vec<_> = outcome.failures.iter().take(5).collect();
    if !shown.is_empty() {
        let log = gnomon.log();
        let said = log
            .lines()
            .filter(|line| !line.contains(" INFO "))
            .collect::<Vec<_>>();
        let last = &said[said.len().saturating_sub(20)..];
        panic!("{phase}: {shown:#?}; the daemon says {last:#?}");
    }
    let idle: Vec<_> = outcome
        .done
        .iter()
        .filter(|(_, count)| *count == 0)
        .collect();
    assert!(idle.is_empty(), "{phase}: nothing was done by {idle:?}");
}

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    let seconds = std::env::var("GNOMON_SOAK_SECONDS").map_or(20, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let https = free_port();
    let tls = format!(
        "[http]\nheader_timeout = \"2s\"\n[tls]\nlisten = [\"{https}\"]\ncertificate = \"first.pem\"\n\
         key = \"first.key\"\n\n[clock]"
    );
    let gnomon = Served::start(
        "\"ca.crl\"",
        |config| {
            // On a crowded host a signature may wait for a core.
            let patient = "\naccuracy = \"30s\"\nsigning_delay = \"20s\"\ndemo = true";
            config
                .replacen("[clock]", &tls, 1)
                .replace("\ndemo = true", patient)
        },
        |dir| {
            ServerCa::new(dir).issue("first", MONTH, &P256);
            make(
                dir,
                &[json!({"out": "ca.crl", "number": 0, "filled": ENTRIES,
                "revoked": {"revoked.pem": "keyCompromise", "held.pem": "certificateHold"}})],
            );
        },
    );
    let crowd = Crowd::new(&gnomon.dir, [gnomon.listen, https, gnomon.admin]);
    let mut changes = Changes {
        crls: 0,
        reloads: 0,
        config: fs::read_to_string(gnomon.dir.join("gnomon.toml")).unwrap(),
    };

    let (since, mut kills, mut lives) = (Instant::now(), 0, Some(gnomon));
    let killed = crowd.send(|| {
        while since.elapsed() < time / 2 {
            thread::sleep(time / 20);
            let gnomon = lives.take().unwrap();
            changes.next_crl(&gnomon, &crowd);
            crowd.left();
            lives = Some(gnomon.killed_and_started(|_| {}));
            crowd.back();
            kills += 1;
        }
    });
    let gnomon = lives.unwrap();
    tell(&format!("{kills} kills"), &gnomon, &killed, since);

    let since = Instant::now();
    let mut alive = |gnomon: &Served, time: Duration| {
        let begun = Instant::now();
        crowd.send(|| {
            while begun.elapsed() < time {
                changes.next_crl(gnomon, &crowd);
                changes.reload(gnomon);
                thread::sleep(Duration::from_secs(1));
            }
        })
    };
    let warm = alive(&gnomon, time / 8);
    tell("alive, to begin with", &gnomon, &warm, since);
    let before = held(&gnomon);
    let rest = alive(&gnomon, time * 3 / 8);
    tell("alive", &gnomon, &rest, since);
    let after = wait_for("no more open files than before", || {
        let after = held(&gnomon);
        (after.files <= before.files && after.threads <= before.threads).then_some(after)
    });
    eprintln!(
        "soak: {} CRLs, {} reloads; at first {before:?}, in the end {after:?}",
        changes.crls, changes.reloads
    );
    assert!(
        after.memory <= before.memory + before.memory / 10 + SLACK,
        "{before:?} {after:?}"
    );

    gnomon.signal("TERM");
    let (status, dir) = gnomon.0.ended();
    assert!(status.success());
    let (holds, report) = verify(&dir.join("journal"), &[]);
    assert!(holds, "{report:#}");
    let stamps: Vec<_> = [killed, warm, rest]
        .into_iter()
        .flat_map(|outcome| outcome.stamps)
        .collect();
    let serials: BTreeSet<_> = stamps.iter().map(|stamp| &stamp.serial).collect();
    assert_eq!(serials.len(), stamps.len(), "a serial came twice");
    let recorded = recorded(&dir);
    assert_recorded(&stamps, &recorded);
    eprintln!(
        "soak: {} tokens received, {} on record",
        stamps.len(),
        recorded.len()
    );
}
