//! Every kind of harm that can be done to a journal, done to copies of a real one by somebody who knows the format
//! and mends all checksums: `gnomon journal verify` names each by its record.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use gnomon::{
    audit::record::Parts,
    io::journal::reader::{Piece, pieces},
    wire::algorithm::sha256,
};
use serde_json::Value;
use support::{
    Folder, Gnomon, fails, http, run,
    stamps::{Stamp, checkpoint, post, query, reference, verify},
    wait_for,
};

/// Public and private part.
type Record = (Vec<u8>, Vec<u8>);

/// A frame: the number of its first record, and the records.
type Frame = (u64, Vec<Record>);

fn frames(segment: &Path) -> Vec<Frame> {
    let octets = fs::read(segment).unwrap();
    let part = |parts: &Parts<'_>| (parts.public.to_vec(), parts.private.to_vec());
    pieces(&octets)
        .map(|piece| match piece {
            Piece::Frame(_, frame) => {
                let records = frame.records().unwrap();
                (frame.first, records.iter().map(part).collect())
            }
            Piece::Broken { .. } => panic!("the copy is damaged already"),
        })
        .collect()
}

/// Writes a segment's frames anew as docs/journal.md has them, with right checksums; its head stays.
fn write(segment: &Path, frames: &[Frame]) {
    let mut octets = fs::read(segment).unwrap();
    octets.truncate(32);
    let seed = octets[12..28].to_vec();
    for (first, records) in frames {
        let mut body = Vec::new();
        for (public, private) in records {
            for part in [public, private] {
                body.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            }
            body.extend([&public[..], private].concat());
        }
        let mut head = b"GNJ1".to_vec();
        head.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        head.extend(first.to_be_bytes());
        head.extend(u32::try_from(records.len()).unwrap().to_be_bytes());
        let checksum = crc32c::crc32c(&[&seed[..], &head, &body].concat());
        octets.extend([&head[..], &checksum.to_be_bytes(), &body].concat());
    }
    fs::write(segment, octets).unwrap();
}

/// A copy of the journal to do harm to.
struct Copy(Folder);

impl Copy {
    fn of(journal: &Path) -> Self {
        let folder = Folder::new();
        let (from, to) = (journal.to_str().unwrap(), folder.path("journal"));
        run("cp", &["-r", from, &to]);
        Self(folder)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.journal().join("segments")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Changes a record wherever it stands, and mends what can be mended without the log.
    fn edit(&self, number: u64, change: impl Fn(&mut Record)) {
        for segment in self.segments() {
            let mut frames = frames(&segment);
            for (first, records) in &mut frames {
                let at = number
                    .checked_sub(*first)
                    .map(|at| usize::try_from(at).unwrap());
                if let Some(record) = at.and_then(|at| records.get_mut(at)) {
                    change(record);
                    write(&segment, &frames);
                    return;
                }
            }
        }
        panic!("no record {number}");
    }

    fn record(&self, number: u64) -> Record {
        let all = self
            .segments()
            .into_iter()
            .flat_map(|segment| frames(&segment));
        let mut all = all.flat_map(|(_, records)| records);
        all.nth(usize::try_from(number).unwrap()).unwrap()
    }

    /// The findings, as (kind, record).
    fn findings(&self, options: &[&str]) -> Vec<(String, Option<u64>)> {
        let (holds, report) = verify(&self.journal(), options);
        let found = report["harms"].as_array().unwrap().iter();
        let kind = |harm: &Value| harm["kind"].as_str().unwrap().to_owned();
        let found: Vec<_> = found
            .map(|harm| (kind(harm), harm["record"].as_u64()))
            .collect();
        assert_eq!(holds, found.is_empty());
        found
    }

    fn assert_found(&self, what: &str, options: &[&str], expected: &[(&str, Option<u64>)]) {
        let found = self.findings(options);
        for (kind, record) in expected {
            let is = |(other, at): &(String, Option<u64>)| other == kind && at == record;
            assert!(
                found.iter().any(is),
                "{what}: {kind} {record:?} is not in {found:?}"
            );
        }
        assert!(found.len() <= expected.len() + 1, "{what}: {found:?}");
    }
}

/// Puts the commitment of a public part right (docs/journal.md: octets 10 to 41).
fn commit(record: &mut Record) {
    let (public, private) = record;
    public[10..42].copy_from_slice(&sha256(&[private]));
}

/// A demo with several small segments and some hundred tokens, which goes on.
fn serve() -> (Gnomon, Vec<Stamp>) {
    let gnomon = Gnomon::edited(|config| {
        let journal = "[journal]\nsegment_size = \"64KiB\"\ncheckpoint_interval = \"50ms\"\n";
        config.replace("[journal]\n", journal)
    });
    let stamps = stamp(&gnomon, 600);
    (gnomon, stamps)
}

fn stamp(gnomon: &Gnomon, count: usize) -> Vec<Stamp> {
    let request = post("/tsa", &query(&gnomon.dir));
    let ask = |_| Stamp::granted(&http(gnomon.listen, &request).body).unwrap();
    (0..count).map(ask).collect()
}

#[test]
fn every_harm_is_named_by_its_record() {
    let (gnomon, _) = serve();
    let live = gnomon.dir.join("journal");
    // An older copy of the whole folder, and a checkpoint of now that somebody remembers elsewhere.
    wait_for("a checkpoint over everything", || {
        let (_, report) = verify(&live, &[]);
        (report["signed"] == report["records"]).then_some(())
    });
    let older = Copy::of(&live);
    stamp(&gnomon, 20);
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let journal = dir.join("journal");
    let remembered = dir.path("journal/log/checkpoint");
    let (size, _) = checkpoint(&journal);
    let copy = || Copy::of(&journal);
    assert_eq!(copy().findings(&["--checkpoint", &remembered]), []);

    let flipped = copy();
    let segment = &flipped.segments()[1];
    let (first, records) = frames(segment).swap_remove(0);
    assert!(!records.is_empty());
    let mut octets = fs::read(segment).unwrap();
    octets[92] ^= 1;
    fs::write(segment, octets).unwrap();
    flipped.assert_found(
        "a flipped bit",
        &[],
        &[("damaged", Some(first)), ("missing", Some(first))],
    );

    let edited = copy();
    edited.edit(300, |record| {
        // The last octet of the token's digest.
        *record.0.last_mut().unwrap() ^= 1;
    });
    edited.assert_found("an edited record", &[], &[("altered", Some(300))]);

    let private = copy();
    private.edit(301, |record| *record.1.last_mut().unwrap() ^= 1);
    private.assert_found(
        "an edited private part",
        &[],
        &[("private-altered", Some(301))],
    );

    let both = copy();
    both.edit(302, |record| {
        *record.1.last_mut().unwrap() ^= 1;
        commit(record);
    });
    both.assert_found(
        "a private part with its hash",
        &[],
        &[("altered", Some(302))],
    );

    let dated = copy();
    dated.edit(303, |record| {
        let hour = 3_600_000_000_000u64;
        let time = u64::from_be_bytes(record.0[2..10].try_into().unwrap());
        record.0[2..10].copy_from_slice(&(time - hour).to_be_bytes());
    });
    dated.assert_found(
        "a back-dated token",
        &[],
        &[("altered", Some(303)), ("back-dated", Some(303))],
    );

    let swapped = copy();
    let (one, other) = (swapped.record(310), swapped.record(320));
    swapped.edit(310, |record| *record = other.clone());
    swapped.edit(320, |record| *record = one.clone());
    swapped.assert_found(
        "swapped records",
        &[],
        &[("misplaced", Some(310)), ("misplaced", Some(320))],
    );

    let copied = copy();
    copied.edit(311, |record| *record = other.clone());
    copied.assert_found("a copied record", &[], &[("misplaced", Some(311))]);

    let doubled = copy();
    let segment = &doubled.segments()[1];
    let mut inside = frames(segment);
    let again = inside[0].clone();
    inside.push(again.clone());
    write(segment, &inside);
    doubled.assert_found("a frame twice", &[], &[("out-of-order", Some(again.0))]);

    let without = copy();
    let segments = without.segments();
    let first = frames(&segments[1])[0].0;
    fs::remove_file(&segments[1]).unwrap();
    without.assert_found("a missing segment", &[], &[("missing", Some(first))]);

    let without_record = copy();
    let segment = &without_record.segments()[1];
    let mut inside = frames(segment);
    let (first, _) = inside.remove(3);
    write(segment, &inside);
    without_record.assert_found("a missing frame", &[], &[("missing", Some(first))]);

    let cut = copy();
    let last = cut.segments().pop().unwrap();
    let mut inside = frames(&last);
    let (first, _) = inside.pop().unwrap();
    write(&last, &inside);
    cut.assert_found("the end cut off", &[], &[("missing", Some(first))]);

    let torn = copy();
    let last = torn.segments().pop().unwrap();
    let octets = fs::read(&last).unwrap();
    let (first, _) = frames(&last).pop().unwrap();
    fs::write(&last, &octets[..octets.len() - 5]).unwrap();
    torn.assert_found(
        "a torn end under the checkpoint",
        &[],
        &[("damaged", Some(first)), ("missing", Some(first))],
    );

    let tile = copy();
    let path = tile.journal().join("log/tile/0/001");
    let mut octets = fs::read(&path).unwrap();
    octets[32 * 5] ^= 1;
    fs::write(&path, octets).unwrap();
    tile.assert_found("an altered tile", &[], &[("log-altered", Some(261))]);

    let entries = copy();
    let path = entries.journal().join("log/tile/entries/001");
    let mut octets = fs::read(&path).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    fs::write(&path, octets).unwrap();
    entries.assert_found("altered entries", &[], &[("log-altered", Some(511))]);

    let unread = copy();
    fs::remove_file(unread.journal().join("log/tile/0/001")).unwrap();
    unread.assert_found("a missing tile", &[], &[("log-unreadable", None)]);

    let head = copy();
    let path = head.journal().join("log/checkpoint");
    let note = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        note.replace(&format!("\n{size}\n"), &format!("\n{}\n", size - 1)),
    )
    .unwrap();
    head.assert_found("an altered checkpoint", &[], &[("checkpoint", None)]);
    fs::remove_file(&path).unwrap();
    head.assert_found("a removed checkpoint", &[], &[("log-unreadable", None)]);

    let (stranger, _) = (Gnomon::demo(), ());
    wait_for("its key", || {
        stranger.dir.join("journal/log.pub").exists().then_some(())
    });
    let key = stranger.dir.path("journal/log.pub");
    copy().assert_found(
        "another log's key",
        &["--key", &key],
        &[("checkpoint", None)],
    );

    let (older_size, _) = checkpoint(&older.journal());
    older.assert_found("an older copy of everything", &[], &[]);
    older.assert_found(
        "the same, and a checkpoint that was remembered",
        &["--checkpoint", &remembered],
        &[("shorter", Some(older_size))],
    );
}

/// Somebody who has the log's key can write a whole new history; what was signed before and kept elsewhere
/// shows it.
#[test]
fn another_history_signed_by_the_same_key_is_found_by_a_remembered_checkpoint() {
    let (gnomon, _) = serve();
    let remembered = gnomon.dir.path("remembered");
    fs::copy(gnomon.dir.join("journal/log/checkpoint"), &remembered).unwrap();
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    for name in ["segments", "log"] {
        fs::remove_dir_all(dir.join("journal").join(name)).unwrap();
    }
    let (listen, admin) = support::prepare(&dir);
    let gnomon = Gnomon::serve(dir, listen, admin);
    stamp(&gnomon, 700);
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let (holds, _) = verify(&dir.join("journal"), &[]);
    assert!(holds);
    let (holds, report) = verify(&dir.join("journal"), &["--checkpoint", &remembered]);
    assert!(!holds);
    assert_eq!(report["harms"][0]["kind"], "other-history");
}

#[test]
fn a_damaged_journal_is_not_gone_on_with() {
    let (gnomon, _) = serve();
    gnomon.signal("TERM");
    let (_, dir) = gnomon.ended();
    let config = dir.path("gnomon.toml");
    let start = || {
        fails(
            env!("CARGO_BIN_EXE_gnomon"),
            &["serve", "--config", &config],
        )
    };
    let journal = dir.join("journal");
    reference(&journal);
    let mut segments: Vec<_> = fs::read_dir(journal.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    let last = segments.pop().unwrap();
    let whole = fs::read(&last).unwrap();

    let mut inside = frames(&last);
    inside.pop();
    write(&last, &inside);
    let said = start();
    assert!(
        said.contains("the checkpoint says that there were"),
        "{said}"
    );

    let mut octets = whole.clone();
    octets[92] ^= 1;
    fs::write(&last, octets).unwrap();
    let said = start();
    assert!(
        said.contains("this is no crash's trace but damage"),
        "{said}"
    );

    fs::remove_file(&last).unwrap();
    let said = start();
    assert!(
        said.contains("the checkpoint says that there were"),
        "{said}"
    );

    fs::write(&last, whole).unwrap();
    fs::remove_file(journal.join("log.key")).unwrap();
    let said = start();
    assert!(
        said.contains("log.key: it is missing, but the journal has checkpoints"),
        "{said}"
    );
}
