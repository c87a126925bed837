//! What the journal promises, held against power losses: [`Life`] is a journal on a disk that forgets
//! ([`Simulated`]). It works, loses power at any operation, is recovered (which may lose power too), and is checked
//! against what was acknowledged; then it works on. All of it follows from one seed, which a failure names, so that
//! it can be had again. Disks that lie about syncs show that the checks would see a loss.

mod disk;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use aws_lc_rs::signature::Ed25519KeyPair;

use super::{
    disk::Disk,
    log::{self, Log, LogKey},
    recovery::{RecoveryError, recover},
    segments::{self, Segments, SegmentsError},
};
use crate::{
    audit::{
        checkpoint::{Checkpoint, VerifierKey},
        frame::{self, Frame, Head, SEGMENT_HEADER},
        record::{Encoded, Record, tests::token},
        tile::Tile,
        tree::{Hash, TILE_WIDTH, leaf_hash, node_hash},
    },
    wire::algorithm::sha256,
};
use disk::{Lies, Random, Simulated};

/// What is found wrong, in words.
type Checked<T> = Result<T, String>;

/// A journal that lives through power losses, and what was acknowledged of it.
struct Life {
    random: Random,
    disk: Simulated,
    key: Arc<LogKey>,
    segment_size: u64,
    acknowledged: Vec<Encoded>,
    /// What was being written when the power failed.
    in_flight: Vec<Encoded>,
    /// Sizes and roots of the checkpoints whose signing came to its end.
    signed: BTreeMap<u64, Hash>,
    /// Roots once computed, by size.
    roots: BTreeMap<u64, Hash>,
    serial: u64,
    losses: usize,
    /// How often the power failed in a recovery.
    in_recovery: usize,
    /// Whether files of the log go missing, or are altered, while the power is off.
    is_harmed: bool,
    /// How often the tree was made anew from all records.
    made_anew: usize,
}

/// RFC 9162 2.1.1, word for word.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
            node_hash(&root(left), &root(right))
        }
    }
}

fn octets(of: usize, random: &mut Random) -> Vec<u8> {
    (0..of.div_ceil(8))
        .flat_map(|_| random.next().to_be_bytes())
        .collect()
}

/// A frame whose checksum holds and whose only record is as short as can be. A client can have one put into the
/// journal: an imprint is whatever the client says.
fn hostile(number: u64) -> Vec<u8> {
    let mut frame = b"GNJ1\0\0\0\x08".to_vec();
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&1u32.to_be_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame), &[0; 8]);
    frame.extend_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&[0; 8]);
    frame
}

/// A whole frame with one record of the least length, whose private part is the one committed to: as much as a
/// client can have put into a kept token as a nonce.
fn well_formed(number: u64) -> Vec<u8> {
    let mut body = [0, 0, 0, 42, 0, 0, 0, 0, 1, 9].to_vec();
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&sha256(&[]));
    let mut frame = b"GNJ1\0\0\0\x32".to_vec();
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&1u32.to_be_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame), &body);
    frame.extend_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&body);
    frame
}

impl Life {
    fn new(seed: u64, lies: Lies) -> Self {
        let mut random = Random(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = VerifierKey::of("log.example/simulated", &pair).unwrap();
        Self {
            disk: Simulated::new(random.next(), lies),
            segment_size: 8 << (10 + random.below(4)),
            random,
            key: Arc::new(LogKey { pair, public }),
            acknowledged: Vec::new(),
            in_flight: Vec::new(),
            signed: BTreeMap::new(),
            roots: BTreeMap::new(),
            serial: 0,
            losses: 0,
            in_recovery: 0,
            is_harmed: false,
            made_anew: 0,
        }
    }

    /// Recovers, checks and works until the power has failed this often.
    fn survive(&mut self, losses: usize) -> Checked<()> {
        while self.losses < losses {
            self.disk.fail_after(Some(self.random.below(100)));
            if let Some((segments, log)) = self.start()? {
                self.work(segments, log);
            }
            self.end();
            if self.is_harmed && self.random.below(2) == 0 {
                self.harm();
            }
        }
        self.disk.fail_after(None);
        let started = self.start()?;
        started
            .map(|_| ())
            .ok_or_else(|| "it does not start".to_owned())
    }

    /// After an end of the process: of the power mostly, of the process alone sometimes.
    fn end(&mut self) {
        if self.random.below(4) == 0 {
            return self.disk.restart_after_kill();
        }
        self.losses += 1;
        self.disk.restart();
    }

    /// Takes partial tiles away, or alters them.
    fn harm(&mut self) {
        let parts = [
            "log/tile/",
            "log/tile/entries/",
            "log/tile/0/",
            "log/tile/1/",
        ];
        let part = parts[self.random.below(parts.len())];
        let is_partial = |name: &str| name.starts_with(part) && name.contains(".p/");
        if self.random.below(2) == 0 {
            return self.disk.remove(is_partial);
        }
        self.disk.alter(is_partial, |octets| {
            if let Some(last) = octets.last_mut() {
                // Twice the same harm must not mend it.
                *last = last.wrapping_add(1);
            }
        });
    }

    /// Recovers the journal and checks what it is; `None` where the power failed meanwhile.
    fn start(&mut self) -> Checked<Option<(Segments, Log)>> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let recovered = recover(&disk, &self.key, self.segment_size);
        if self.disk.is_off() {
            self.in_recovery += 1;
            return Ok(None);
        }
        let (segments, log, mended) = recovered.map_err(|error| format!("refused: {error}"))?;
        let made_anew = mended.iter().any(|what| what.contains("made anew"));
        self.made_anew += usize::from(made_anew);
        let left = self.disk.fail_after(None);
        self.check_records()?;
        self.check_tree(&segments, &log, made_anew)?;
        self.disk.fail_after(left);
        Ok(Some((segments, log)))
    }

    /// Appends and acknowledges, lets the tree follow, and signs, in any order that two threads may have.
    fn work(&mut self, mut segments: Segments, mut log: Log) {
        let mut follow = VecDeque::new();
        // The log's thread begins with it.
        if !self.sign(&mut log) {
            return;
        }
        loop {
            match self.random.below(12) {
                0..6 => {
                    self.in_flight = self.batch();
                    if segments.append(&self.in_flight).is_err() {
                        return;
                    }
                    follow.extend(self.in_flight.iter().cloned());
                    self.acknowledged.append(&mut self.in_flight);
                }
                6..10 => {
                    for _ in 0..self.random.below(40).min(follow.len()) {
                        let record: Encoded = follow.pop_front().unwrap();
                        if log.add(record.public(), record.leaf()).is_err() {
                            return;
                        }
                    }
                }
                10 => match self.sign(&mut log) {
                    true => {}
                    false => return,
                },
                // An end in good order, or not quite.
                _ if self.random.below(16) == 0 => {
                    let _ = segments.close();
                    return;
                }
                _ => {}
            }
        }
    }

    /// Whether a checkpoint was signed to the end.
    fn sign(&mut self, log: &mut Log) -> bool {
        let Ok(size) = log.checkpoint() else {
            return false;
        };
        self.signed.insert(size, log.root());
        true
    }

    fn batch(&mut self) -> Vec<Encoded> {
        let count = 1 + self.random.below(20);
        let record = |_| {
            self.serial += 1;
            let mut entry = token(self.serial);
            let next = u64::try_from(self.acknowledged.len()).unwrap() + 1;
            let kind = self.random.below(8);
            if kind == 0 {
                entry.imprint = hostile(next + 7);
            }
            let mut kept = octets(self.random.below(3_000), &mut self.random);
            if kind == 1 {
                kept.extend(well_formed(next + 7));
                kept.extend(octets(8, &mut self.random));
            }
            entry.token = kept.into();
            let mut salt = [0; 16];
            salt.copy_from_slice(&octets(16, &mut self.random));
            Encoded::of_token(&entry, &salt, kind < 3)
        };
        (0..count).map(record).collect()
    }

    /// What was acknowledged is there, each record once, and of what was not at most one batch, whole.
    fn check_records(&mut self) -> Checked<()> {
        let records = self.records()?;
        let same = |(found, wanted): (&Vec<u8>, &Encoded)| found == wanted.octets();
        let acknowledged = self.acknowledged.len();
        if records.len() < acknowledged || !records.iter().zip(&self.acknowledged).all(same) {
            let count = records.len();
            return Err(format!(
                "{acknowledged} records were acknowledged; they are not among the {count} there"
            ));
        }
        let more = &records[acknowledged..];
        if !more.is_empty() {
            if more.len() != self.in_flight.len() || !more.iter().zip(&self.in_flight).all(same) {
                return Err(format!(
                    "{} records more than was ever written, or a batch in part",
                    more.len()
                ));
            }
            self.acknowledged.append(&mut self.in_flight);
        }
        // From now on it is no record, or one of those that must be there.
        self.in_flight.clear();
        let mut serials = BTreeSet::new();
        for record in &self.acknowledged {
            let serial = Record::parse(record.public())
                .unwrap()
                .token
                .unwrap()
                .serial;
            if !serials.insert(serial) {
                return Err(format!("serial {} is there twice", hex::encode(serial)));
            }
        }
        Ok(())
    }

    /// The tree is that of the records, no signed checkpoint is gone or contradicted, and what is served under
    /// the last one is all there.
    fn check_tree(&mut self, segments: &Segments, log: &Log, made_anew: bool) -> Checked<()> {
        let leaves: Vec<_> = self
            .acknowledged
            .iter()
            .map(|record| leaf_hash(record.public()))
            .collect();
        let count = u64::try_from(leaves.len()).unwrap();
        if (segments.next(), log.size()) != (count, count) || log.root() != root(&leaves) {
            return Err(format!(
                "the tree of size {} is not that of the {count} records",
                log.size()
            ));
        }
        let note = log::checkpoint(&self.disk).unwrap();
        let note = note.map(|note| Checkpoint::open(&note, &self.key.public));
        let on_disk = note
            .transpose()
            .map_err(|error| format!("the checkpoint: {error}"))?;
        let size = on_disk.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let last = self.signed.last_key_value().map_or(0, |(last, _)| *last);
        if last > size || size > count {
            return Err(format!(
                "the checkpoint on the disk is of {size}, of {count} records; one of {last} was signed"
            ));
        }
        let signed = self.signed.iter().map(|(size, root)| (*size, *root));
        let signed = signed.chain(on_disk.map(|checkpoint| (size, checkpoint.root)));
        for (size, signed) in signed {
            let leaves = &leaves[..usize::try_from(size).unwrap()];
            if *self.roots.entry(size).or_insert_with(|| root(leaves)) != signed {
                return Err(format!("the root signed at {size} is not the records'"));
            }
        }
        self.check_log(&leaves[..usize::try_from(size).unwrap()], made_anew)
    }

    /// The octets of all records, read through their frames.
    fn records(&self) -> Checked<Vec<Vec<u8>>> {
        let mut records = Vec::new();
        for first in segments::firsts(&self.disk).unwrap() {
            let content = self.disk.read(&segments::name(first)).unwrap();
            if first != u64::try_from(records.len()).unwrap() {
                return Err(format!(
                    "a segment begins with {first}, after {} records",
                    records.len()
                ));
            }
            // Without a whole head the segment was being begun, and all of it must be zeros or less than a head.
            let head = Head::decode(&content);
            let start = content.len().min(SEGMENT_HEADER);
            let mut rest = &content[start..];
            while let Ok(head) = &head
                && let Ok((frame, length)) = Frame::decode(rest, &head.seed)
            {
                if frame.first != u64::try_from(records.len()).unwrap() {
                    return Err(format!(
                        "a frame has number {}, after {} records",
                        frame.first,
                        records.len()
                    ));
                }
                for record in frame.records().map_err(|error| error.to_string())? {
                    let length = |part: &[u8]| u32::try_from(part.len()).unwrap().to_be_bytes();
                    let lengths = [length(record.public), length(record.private)].concat();
                    records.push([&lengths, record.public, record.private].concat());
                }
                rest = &rest[length..];
            }
            if rest.iter().any(|octet| *octet != 0) {
                return Err(format!(
                    "octets are left behind the frames of segment {first}"
                ));
            }
        }
        Ok(records)
    }

    /// What is served under a checkpoint over these leaves is all there and right.
    fn check_log(&self, leaves: &[Hash], made_anew: bool) -> Checked<()> {
        let expect = |level, index, hashes: usize, wanted: &[u8]| {
            let width = u64::try_from(hashes).unwrap();
            let tile = Tile {
                level,
                index,
                width,
            };
            // Where the tree was made anew, partial tiles come with the next checkpoint.
            if made_anew && !tile.is_full() {
                return Ok(());
            }
            match self.disk.read(&log::name(&tile.to_string())) {
                // In the place of a partial tile the full one may be there.
                Err(_) if !tile.is_full() && self.is_harmed => Ok(()),
                Ok(found) if found == wanted => Ok(()),
                Ok(found) => Err(format!("{tile}: {} octets, not those wanted", found.len())),
                Err(error) => Err(format!("{tile}: {error}")),
            }
        };
        let width = usize::try_from(TILE_WIDTH).unwrap();
        let upper: Vec<_> = leaves.chunks_exact(width).map(root).collect();
        for (level, row) in [(0, leaves), (1, &upper)] {
            for (index, hashes) in (0..).zip(row.chunks(width)) {
                expect(Some(level), index, hashes.len(), hashes.as_flattened())?;
            }
        }
        let logged = &self.acknowledged[..leaves.len()];
        for (index, records) in (0..).zip(logged.chunks(width)) {
            let entry = |record: &Encoded| {
                let length = u16::try_from(record.public().len()).unwrap();
                [&length.to_be_bytes(), record.public()].concat()
            };
            let bundle: Vec<_> = records.iter().flat_map(entry).collect();
            expect(None, index, records.len(), &bundle)?;
        }
        Ok(())
    }
}

/// Lives through ten losses; a failure names the seed.
fn live(seed: u64, lies: Lies, is_harmed: bool) -> Checked<Life> {
    let mut life = Life::new(seed, lies);
    life.is_harmed = is_harmed;
    let survived = life.survive(10);
    survived.map_err(|what| format!("seed {seed}, loss {}: {what}", life.losses))?;
    Ok(life)
}

/// Lives with all these seeds.
fn live_all(seeds: std::ops::Range<u64>, is_harmed: bool) -> Vec<Life> {
    let lives = seeds.map(|seed| live(seed, Lies::None, is_harmed));
    let (lived, died): (Vec<_>, Vec<_>) = lives.partition(Result::is_ok);
    let died: Vec<_> = died.into_iter().filter_map(Result::err).collect();
    assert!(died.is_empty(), "{} died:\n{}", died.len(), died.join("\n"));
    lived.into_iter().flatten().collect()
}

#[test]
fn nothing_acknowledged_is_lost_in_2000_power_losses() {
    let lives = live_all(0..200, false);
    let losses: usize = lives.iter().map(|life| life.losses).sum();
    let records: usize = lives.iter().map(|life| life.acknowledged.len()).sum();
    let in_recovery: usize = lives.iter().map(|life| life.in_recovery).sum();
    let made_anew: usize = lives.iter().map(|life| life.made_anew).sum();
    println!("{losses} losses, {in_recovery} of them in a recovery; {records} records");
    assert!(losses >= 2_000 && in_recovery > 200 && records > 50_000);
    assert_eq!(made_anew, 0, "a crash alone made a tree anew");
}

#[test]
fn a_log_that_was_harmed_is_made_anew_whatever_power_losses() {
    let lives = live_all(1_100..1_150, true);
    let made_anew: usize = lives.iter().map(|life| life.made_anew).sum();
    assert!(made_anew > 100, "{made_anew}");
}

/// What is found wrong with twenty journals on disks that lie. A tree that has to be made anew is wrong too.
fn found(lies: Lies) -> Vec<String> {
    let lives = (0..20).map(|seed| live(seed, lies, false));
    let found = lives.filter_map(|life| match life {
        Ok(life) if life.made_anew == 0 => None,
        Ok(_) => Some("made anew".to_owned()),
        Err(what) => Some(what),
    });
    found.collect()
}

#[test]
fn a_disk_that_lies_about_sync_is_caught() {
    let lost = |what: &&String| what.contains("records were acknowledged");
    let every = found(Lies::Every);
    assert!(every.iter().filter(lost).count() > 5, "{every:#?}");
    // Each sync is there for something: without any one kind of them the journal does not do.
    for lies in [Lies::Octets, Lies::Names, Lies::All] {
        let found = found(lies);
        assert!(found.len() > 5, "{lies:?}: {found:#?}");
    }
}

/// A journal of one segment with eight frames, its file, and where each frame begins and ends.
fn eight_frames(seed: u64) -> (Life, Log, String, Vec<(usize, usize)>) {
    let mut life = Life::new(seed, Lies::None);
    life.segment_size = 1 << 30;
    let (mut segments, mut log) = life.start().unwrap().unwrap();
    let mut ends = vec![SEGMENT_HEADER];
    for _ in 0..8 {
        let batch = life.batch();
        segments.append(&batch).unwrap();
        for record in &batch {
            log.add(record.public(), record.leaf()).unwrap();
        }
        let octets: usize = batch.iter().map(|record| record.octets().len()).sum();
        ends.push(ends.last().unwrap() + frame::HEADER + octets);
        life.acknowledged.extend(batch);
    }
    let frames = ends.iter().copied().zip(ends.iter().copied().skip(1));
    (life, log, segments.file_name().to_owned(), frames.collect())
}

fn refusal(life: &Life) -> RecoveryError {
    let disk: Arc<dyn Disk> = Arc::new(life.disk.clone());
    recover(&disk, &life.key, life.segment_size).unwrap_err()
}

#[test]
fn a_synced_frame_that_is_torn_is_damage_and_nothing_is_cut() {
    for seed in 0..60 {
        let (mut life, _, name, frames) = eight_frames(seed);
        let (start, end) = frames[life.random.below(7)];
        // Its middle, its beginning with the header, or one octet.
        let (from, to) = match seed % 3 {
            0 => (start + (end - start) / 3, end - (end - start) / 3),
            1 => (start, start + frame::HEADER + 1),
            _ => (end - 1, end),
        };
        life.disk.alter(
            |other| other == name,
            |octets| octets[from..to].iter_mut().for_each(|octet| *octet ^= 0x55),
        );
        let before = life.disk.read(&name).unwrap();
        let refusal = refusal(&life);
        let RecoveryError::Segments(SegmentsError::Damaged { at, .. }) = refusal else {
            panic!("seed {seed}: {refusal}");
        };
        assert_eq!(at, start, "seed {seed}");
        assert!(life.disk.read(&name).unwrap() == before, "seed {seed}");
    }
}

#[test]
fn a_last_frame_that_is_torn_under_a_checkpoint_is_a_loss() {
    let (life, mut log, name, frames) = eight_frames(0);
    log.checkpoint().unwrap();
    let (start, end) = frames[7];
    life.disk
        .alter(|other| other == name, |octets| octets[start..end].fill(0));
    let refusal = refusal(&life);
    let lost = matches!(refusal, RecoveryError::Segments(SegmentsError::Lost { .. }));
    assert!(lost, "{refusal}");
}
