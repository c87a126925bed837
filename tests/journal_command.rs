//! `gnomon journal` as an auditor uses it: on a live journal, on a stopped one, after segments were archived; the
//! log over HTTP; and proofs that somebody else checks with another implementation.

mod support;

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, symlink},
        process::CommandExt,
    },
    path::Path,
};

use serde_json::Value;
use support::{
    Gnomon, fails, http, python_script, python_tool, run, said,
    stamps::{Stamp, checkpoint, export, post, query, reference, verify},
    text, wait_for,
};

const GNOMON: &str = env!("CARGO_BIN_EXE_gnomon");

fn journal(arguments: &[&str]) -> String {
    run(GNOMON, &[&["journal"], arguments].concat())
}

fn refused(arguments: &[&str]) -> String {
    fails(GNOMON, &[&["journal"], arguments].concat())
}

fn serve(more: &str) -> Gnomon {
    Gnomon::edited(|config| {
        let journal = "[journal]\nsegment_size = \"64KiB\"\ncheckpoint_interval = \"50ms\"\n";
        config.replace("[journal]\n", &format!("{journal}{more}"))
    })
}

fn stamp(gnomon: &Gnomon, count: usize) -> Vec<Stamp> {
    let request = post("/tsa", &query(&gnomon.dir));
    let ask = |_| Stamp::granted(&http(gnomon.listen, &request).body).unwrap();
    (0..count).map(ask).collect()
}

/// Waits until a checkpoint covers everything.
fn wait_for_checkpoint(journal: &Path) {
    wait_for("a checkpoint", || {
        let (holds, report) = verify(journal, &[]);
        assert!(holds, "{report:#}");
        (report["signed"] == report["records"]).then_some(())
    });
}

#[test]
fn records_are_found_and_shown_while_the_journal_is_written() {
    let gnomon = serve("keep_tokens = true\n");
    let before = stamp(&gnomon, 3);
    let dir = gnomon.dir.path("journal");
    for form in ["{}", "0x{}", "{:}"] {
        let serial = &before[1].serial;
        let colons: Vec<_> = serial
            .as_bytes()
            .chunks(2)
            .map(String::from_utf8_lossy)
            .collect();
        let serial = match form {
            "{:}" => colons.join(":").to_uppercase(),
            form => form.replace("{}", serial),
        };
        let found = journal(&["find", &dir, "--serial", &serial]);
        assert_eq!(found.lines().count(), 1, "{found}");
        assert!(found.contains(&before[1].serial), "{found}");
    }
    let zeros = "00".repeat(32);
    let found = journal(&["find", &dir, "--imprint", &zeros, "--json"]);
    assert_eq!(found.lines().count(), 3);
    let found: Value = serde_json::from_str(found.lines().next().unwrap()).unwrap();
    let time = found["time"].as_str().unwrap();
    let from = journal(&["find", &dir, "--imprint", &zeros, "--from", time]);
    assert_eq!(from.lines().count(), 3);
    let said = refused(&["find", &dir, "--imprint", &zeros, "--to", time]);
    assert!(said.contains("no record fits"), "{said}");

    let number = found["record"].to_string();
    let shown = journal(&["show", &dir, &number]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown, found);
    // The CRL is put on record by a thread that nobody waits for.
    let kinds = [
        "started",
        "configuration",
        "certificate",
        "crl accepted",
        "clock of a demo",
    ];
    wait_for("all of them on record", || {
        let events = export(&gnomon.dir.join("journal"));
        let has = |kind| events.iter().any(|event| event["kind"] == kind);
        kinds.into_iter().all(has).then_some(())
    });
    let public = journal(&[
        "export", &dir, "--public", "--from", &number, "--to", "1000",
    ]);
    assert!(public.lines().count() >= 3);
    assert!(
        !public.contains("nonce_sha256") && !public.contains("clock_reading"),
        "{public}"
    );

    for (arguments, expected) in [
        (&["show", &dir, "99999"][..], "there is no record 99999"),
        (&["find", &dir], "required arguments were not provided"),
        (
            &["find", &dir, "--serial", "xyz"],
            "`xyz` is not hexadecimal",
        ),
        (
            &["find", &dir, "--from", "yesterday"],
            "`yesterday` is no time in UTC",
        ),
        (
            &["verify", "/nonexistent"],
            "/nonexistent: it is no journal's folder",
        ),
        (
            &["verify", &dir, "--key", "Cargo.toml"],
            "is no verifier key",
        ),
    ] {
        let said = refused(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_token_is_proved_to_be_in_the_log_to_who_has_nothing_but_the_logs_key() {
    let gnomon = serve("");
    let stamps = stamp(&gnomon, 300);
    let (dir, path) = (gnomon.dir.path("journal"), |name: &str| {
        gnomon.dir.path(name)
    });
    wait_for_checkpoint(&gnomon.dir.join("journal"));
    let key = path("journal/log.pub");
    let python = |proof: &str, token: &str| {
        let script = python_script("inclusion.py");
        [script, proof.to_owned(), token.to_owned(), key.clone()]
    };
    for (index, stamp) in stamps.iter().enumerate().step_by(97) {
        let (proof, token) = (path("one.tlog-proof"), path("one.tsr"));
        fs::write(&token, &stamp.response).unwrap();
        journal(&["prove", &dir, &stamp.serial, "--out", &proof]);
        let checked = journal(&["check-proof", &proof, "--token", &token, "--key", &key]);
        assert!(
            checked.contains(&format!("serial {}", stamp.serial)),
            "{checked}"
        );
        run(&python_tool("python"), &python(&proof, &token));

        // The proof of one is none of another.
        let other = path("other.tsr");
        fs::write(&other, &stamps[index + 1].response).unwrap();
        let said = refused(&["check-proof", &proof, "--token", &other, "--key", &key]);
        assert!(
            said.contains("the proof is that of another token"),
            "{said}"
        );
        fails(&python_tool("python"), &python(&proof, &other));
        // Nor does a changed one prove anything.
        let text = fs::read_to_string(&proof).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("index "))
            .unwrap();
        fs::write(&proof, text.replace(line, "index 1")).unwrap();
        let said = refused(&["check-proof", &proof, "--token", &token, "--key", &key]);
        assert!(said.contains("the path leads to another root"), "{said}");
        fails(&python_tool("python"), &python(&proof, &token));
    }
    let said = refused(&["prove", &dir, "1234"]);
    assert!(
        said.contains("no token with the serial 1234 is on record here"),
        "{said}"
    );

    // The same log over HTTP.
    let note = gnomon.get("/log/checkpoint", "");
    assert_eq!(note.status, 200);
    let local = fs::read(gnomon.dir.join("journal/log/checkpoint")).unwrap();
    assert_eq!(note.body, local);
    let (size, _) = checkpoint(&gnomon.dir.join("journal"));
    for path in [
        "tile/0/000".to_owned(),
        "tile/entries/000".to_owned(),
        format!("tile/0/001.p/{}", size - 256),
        format!("tile/entries/001.p/{}", size - 256),
        "tile/1/000.p/1".to_owned(),
    ] {
        let tile = gnomon.get(&format!("/log/{path}"), "");
        assert_eq!(tile.status, 200, "{path}");
        assert!(tile.header("cache-control").unwrap().contains("immutable"));
        let local = fs::read(gnomon.dir.join("journal/log").join(path)).unwrap();
        assert_eq!(tile.body, local);
    }
    for path in [
        "",
        "tile/0/002",
        "tile/0/0",
        "../log.key",
        "tile/..%2f..%2flog.key",
        "log.key",
    ] {
        assert_eq!(
            gnomon.get(&format!("/log/{path}"), "").status,
            404,
            "{path}"
        );
    }
    assert_eq!(
        gnomon.post("/log/checkpoint", "text/plain", b"x").status,
        405
    );
}

#[test]
fn the_log_is_not_served_unless_switched_on() {
    let gnomon = Gnomon::edited(|config| config.replace("publish = true\n", ""));
    assert_eq!(gnomon.get("/log/checkpoint", "").status, 404);
}

#[test]
fn archived_segments_stay_verifiable_and_the_journal_goes_on() {
    let gnomon = serve("");
    let first = stamp(&gnomon, 700);
    let source = gnomon.dir.join("journal");
    wait_for_checkpoint(&source);
    let (dir, archive) = (gnomon.dir.path("journal"), gnomon.dir.path("archive"));
    let said = refused(&["archive", &dir, "--to", &gnomon.dir.path("journal/inside")]);
    assert!(
        said.contains("it must lie outside the journal's folder"),
        "{said}"
    );
    let said = journal(&["archive", &dir, "--to", &archive, "--before", "2020-01-01"]);
    assert!(said.contains("no closed segment is to be moved"), "{said}");
    let said = journal(&["archive", &dir, "--to", &archive]);
    assert!(said.contains("segments with the records 0 to"), "{said}");
    assert_eq!(fs::read_dir(source.join("segments")).unwrap().count(), 1);

    // The daemon goes on, and so does the log.
    stamp(&gnomon, 300);
    wait_for_checkpoint(&source);
    let (holds, report) = verify(&source, &[]);
    assert!(
        holds && report["archived"].as_u64().unwrap() > 300,
        "{report:#}"
    );
    let (holds, report) = verify(&source, &["--archive", &archive]);
    assert!(holds && report["archived"] == 0, "{report:#}");
    let said = refused(&["find", &dir, "--serial", &first[0].serial]);
    assert!(said.contains("no record fits"), "{said}");
    journal(&[
        "find",
        &dir,
        "--archive",
        &archive,
        "--serial",
        &first[0].serial,
    ]);
    let proof = gnomon.dir.path("old.tlog-proof");
    journal(&[
        "prove",
        &dir,
        &first[0].serial,
        "--archive",
        &archive,
        "--out",
        &proof,
    ]);
    let said = journal(&["archive", &dir, "--to", &archive]);
    assert!(said.contains("are in"), "{said}");

    // A kill and a start do not miss what was moved.
    gnomon.signal("KILL");
    let (_, dir) = gnomon.ended();
    let (listen, admin) = support::prepare(&dir);
    let gnomon = Gnomon::serve(dir, listen, admin);
    stamp(&gnomon, 5);
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let (holds, report) = verify(&dir.join("journal"), &["--archive", &archive]);
    assert!(holds && report["archived"] == 0, "{report:#}");

    // An altered archive is found; put together again, another reader takes all of it.
    let segments = fs::read_dir(&archive).unwrap();
    let mut segments: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    for segment in &segments {
        let name = segment.file_name().unwrap();
        fs::copy(segment, dir.join("journal/segments").join(name)).unwrap();
    }
    reference(&dir.join("journal"));
    for segment in &segments {
        fs::remove_file(
            dir.join("journal/segments")
                .join(segment.file_name().unwrap()),
        )
        .unwrap();
    }
    let mut octets = fs::read(&segments[0]).unwrap();
    octets[92] ^= 1;
    fs::write(&segments[0], octets).unwrap();
    let (holds, report) = verify(&dir.join("journal"), &["--archive", &archive]);
    assert!(
        !holds && report["harms"][0]["kind"] == "damaged",
        "{report:#}"
    );
}

#[test]
fn what_root_archives_is_the_daemons() {
    const NOBODY: u32 = 65_534;
    let gnomon = serve("");
    stamp(&gnomon, 350);
    let middle = run("date", &["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]);
    stamp(&gnomon, 350);
    wait_for_checkpoint(&gnomon.dir.join("journal"));
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let owner = |name: &str| {
        let metadata = fs::symlink_metadata(dir.join(name)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    if owner("journal").0 != 0 {
        return eprintln!("left out: only root can give files away");
    }
    let (source, archive) = (dir.path("journal"), dir.path("new/archive"));
    run("chown", &["-R", "65534:65534", &source]);
    // As on hardened hosts.
    let as_root = |to: &str| {
        let line = "umask 077; exec \"$0\" journal archive \"$1\" --to \"$2\" --before \"$3\"";
        said("sh", &["-c", line, GNOMON, &source, to, middle.trim()])
    };
    // What the daemon's user has put there leads root to no other file.
    let precious = dir.join("precious");
    fs::write(&precious, "precious").unwrap();
    for name in ["archived.lock", "archived.new"] {
        let link = dir.join("journal").join(name);
        symlink(&precious, &link).unwrap();
        let said = as_root(&archive);
        assert!(said.contains("journal/archived"), "{name}: {said}");
        fs::remove_file(&link).unwrap();
        fs::hard_link(&precious, &link).unwrap();
        as_root(&archive);
        fs::remove_file(&link).unwrap();
        assert_eq!(owner("precious").0, 0, "{name}");
    }
    let said = as_root(&archive);
    assert!(said.contains("are in"), "{said}");
    let copies = fs::read_dir(&archive).unwrap();
    let copies: Vec<_> = copies.map(|entry| entry.unwrap().path()).collect();
    let made = [
        "journal/archived",
        "journal/archived.lock",
        "new",
        "new/archive",
    ];
    let copies = copies.iter().map(|path| path.to_str().unwrap());
    for path in made.into_iter().chain(copies) {
        assert_eq!(owner(path), (NOBODY, NOBODY), "{path}");
    }
    let as_nobody = |arguments: &[&str]| {
        let mut command = support::gnomon(&[&["journal"], arguments].concat());
        let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        said
    };
    as_nobody(&["verify", &source, "--archive", &archive]);
    let said = as_nobody(&["archive", &source, "--to", &archive]);
    assert!(said.contains("are in"), "{said}");
    as_nobody(&["verify", &source, "--archive", &archive]);
    // What an earlier gnomon has left is put right.
    let list = dir.path("journal/archived");
    run("chown", &["0:0", &list]);
    run("chmod", &["600", &list]);
    as_root(&archive);
    as_nobody(&["verify", &source, "--archive", &archive]);
}

#[test]
fn what_gnomon_keys_did_is_put_on_record() {
    let gnomon = serve("");
    let source = gnomon.dir.join("journal");
    let inbox = source.join("inbox");
    let event = r#"{"action":"destroyed","details":{"label":"tsu-1"}}"#;
    fs::write(inbox.join("1.json"), event).unwrap();
    fs::write(inbox.join("2.json"), "no event").unwrap();
    wait_for("both to be taken", || {
        let taken = inbox.join("1.recorded").exists() && inbox.join("2.unreadable").exists();
        taken.then_some(())
    });
    let events = wait_for("the record", || {
        let events = export(&source)
            .into_iter()
            .filter(|event| event["kind"] == "key");
        let events: Vec<_> = events.collect();
        (!events.is_empty()).then_some(events)
    });
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["details"]["details"]["label"], "tsu-1");
}
