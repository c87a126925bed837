//! The records in order: [`Fold`] makes the tree anew, holds each record against the log's tiles, and each signed
//! head against the root.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    time::Duration,
};

use super::{Checked, Harm, Head, Item, Leaf, Report};
use crate::{
    audit::{
        record::Record,
        tile::Tile,
        tree::{FullTile, Hash, TILE_WIDTH, Tree, leaf_hash},
    },
    io::journal::{
        archive::Archived,
        disk::Disk,
        log::{self, Bundle, Tiles},
        reader::Stored,
    },
};

/// A token's record comes at most this long after its genTime: a signature has seconds, and TSUs sign side by
/// side.
const LONGEST_DELAY: Duration = Duration::from_secs(120);

/// Harms of one kind are named up to this number, and then counted.
const NAMED: usize = 20;

/// Takes the records in order.
pub struct Fold<'a> {
    stored: &'a Stored,
    report: Report,
    /// The heads by their sizes.
    heads: BTreeMap<u64, Vec<Head>>,
    archived: Vec<Archived>,
    next: u64,
    /// The tree over the records, and the one over the log's tiles from where they differ.
    records: Tree,
    logged: Option<Tree>,
    tile: TileOfLog,
    /// Records that differ from their tile, with the one that stands in their place, if it is one of the log.
    differing: Vec<(u64, Option<u64>)>,
    /// The time of the token before.
    before: Duration,
    counts: HashMap<&'static str, usize>,
}

/// The tile and the bundle of the log that the next leaves belong to.
#[derive(Default)]
struct TileOfLog {
    index: Option<u64>,
    hashes: Vec<Hash>,
    bundle: Bundle,
}

impl<'a> Fold<'a> {
    pub fn new(
        stored: &'a Stored,
        report: Report,
        heads: Vec<Head>,
        archived: Vec<Archived>,
    ) -> Self {
        let mut by_size: BTreeMap<u64, Vec<Head>> = BTreeMap::new();
        for head in heads {
            by_size.entry(head.size).or_default().push(head);
        }
        Self {
            stored,
            report,
            heads: by_size,
            archived,
            next: 0,
            records: Tree::default(),
            logged: None,
            tile: TileOfLog::default(),
            differing: Vec::new(),
            before: Duration::ZERO,
            counts: HashMap::new(),
        }
    }

    fn harm(&mut self, harm: Harm) {
        let count = self.counts.entry(harm.kind()).or_default();
        *count += 1;
        if *count <= NAMED {
            self.report.harms.push(harm);
        }
    }

    /// Takes the next segment; `last`: no other follows.
    pub fn segment(&mut self, checked: &Checked, last: bool) {
        if checked.segment.first > self.next {
            // Its name says so, whatever stands in it.
            self.gap(checked.segment.first);
        }
        let file = || {
            let name = checked.segment.path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        self.report.octets += u64::try_from(checked.octets.len()).unwrap_or(0);
        for item in &checked.items {
            match item {
                Item::Frame { first, .. } if *first < self.next => self.harm(Harm::Order {
                    file: file(),
                    found: *first,
                    wanted: self.next,
                }),
                Item::Frame { first, records } => {
                    self.gap(*first);
                    for leaf in records {
                        self.record(leaf, &checked.octets);
                    }
                }
                Item::Broken { at, end: true, .. } if last && self.next >= self.report.signed => {
                    self.report.notes.push(format!(
                        "{}: an unfinished frame at octet {at}: it is being written, or a crash cut it off and the next \
                         start will cut it away",
                        file()
                    ));
                }
                Item::Broken { at, error, .. } => self.harm(Harm::Damaged {
                    file: file(),
                    at: *at,
                    record: self.next,
                    error: *error,
                }),
            }
        }
    }

    /// Records up to `to` are not in the segments: they are archived, or missing. Their leaves are those of the
    /// log, so that what follows can still be held against the signed roots.
    fn gap(&mut self, to: u64) {
        while self.next < to {
            let here = self.next;
            let mut parts = self.archived.iter();
            let part = parts.find(|part| part.first <= here && here < part.end);
            let end = part.map(|part| part.end.min(to));
            match end {
                Some(end) => self.report.archived += end - here,
                None => self.harm(Harm::Missing { from: here, to }),
            }
            let end = end.unwrap_or(to);
            if here >= self.report.signed {
                // No checkpoint covers them, and no tile: there is nothing to go on with.
                self.next = end;
                continue;
            }
            while self.next < end.min(self.report.signed) {
                self.load();
                let at = self.place();
                let hash = self.tile.hashes.get(at).copied();
                if let (Some(hash), Some(entry)) = (hash, self.tile.bundle.entry(at))
                    && leaf_hash(entry) != hash
                {
                    self.log_altered(None);
                }
                let hash = hash.unwrap_or_default();
                self.push(hash, hash);
            }
        }
    }

    /// The place of the next record in its tile.
    fn place(&self) -> usize {
        usize::try_from(self.next % TILE_WIDTH).unwrap_or(0)
    }

    fn log_altered(&mut self, level: Option<u8>) {
        let tile = self.tile_of(level, self.next).to_string();
        let record = self.next;
        self.harm(Harm::LogAltered { tile, record });
    }

    /// The tile that a record's hash, or its entry, stands in under the last checkpoint.
    fn tile_of(&self, level: Option<u8>, record: u64) -> Tile {
        let index = record / TILE_WIDTH;
        let width = self.report.signed.saturating_sub(index * TILE_WIDTH);
        Tile {
            level,
            index,
            width: width.min(TILE_WIDTH),
        }
    }

    fn record(&mut self, leaf: &Leaf, octets: &[u8]) {
        let Range { start, end } = leaf.public;
        let public = octets.get(start..end).unwrap_or_default();
        let number = self.next;
        if !leaf.belongs {
            self.harm(Harm::PrivateAltered { record: number });
        }
        if let Ok(record) = Record::parse(public)
            && record.token.is_some()
        {
            self.report.tokens += 1;
            // Against the one before, not the latest of all: after one that is in the future by mistake, all others
            // would be back-dated.
            let behind = self.before.saturating_sub(record.time);
            if behind > LONGEST_DELAY {
                self.harm(Harm::BackDated {
                    record: number,
                    behind,
                });
            }
            self.before = record.time;
        }
        self.load();
        let at = self.place();
        let logged = self.tile.hashes.get(at).copied();
        if logged.is_some_and(|logged| logged != leaf.hash) {
            let mut hashes = self.tile.hashes.iter();
            let other = hashes.position(|hash| *hash == leaf.hash);
            let other = other.and_then(|other| u64::try_from(other).ok());
            let first = number - number % TILE_WIDTH;
            self.differing
                .push((number, other.map(|other| first + other)));
        } else if self
            .tile
            .bundle
            .entry(at)
            .is_some_and(|entry| entry != public)
        {
            self.log_altered(None);
        }
        self.push(leaf.hash, logged.unwrap_or(leaf.hash));
    }

    /// Reads the tile of the next record, as far as the checkpoint covers it.
    fn load(&mut self) {
        let index = self.next / TILE_WIDTH;
        if self.tile.index == Some(index) {
            return;
        }
        self.tile = TileOfLog {
            index: Some(index),
            ..TileOfLog::default()
        };
        if self.next >= self.report.signed {
            return;
        }
        let mut tiles = Tiles::new(self.stored.disk(), self.report.signed);
        match tiles.hashes(0, index) {
            Ok(hashes) => self.tile.hashes = hashes,
            Err(error) => self.unreadable(Some(0), &error),
        }
        match tiles.entries(index) {
            Ok(bundle) => self.tile.bundle = bundle,
            Err(error) => self.unreadable(None, &error),
        }
    }

    fn unreadable(&mut self, level: Option<u8>, error: &log::LogError) {
        let tile = self.tile_of(level, self.next).to_string();
        let what = error.to_string();
        self.harm(Harm::Tile { tile, what });
    }

    /// Adds a leaf to the tree of the records, and to that of the log where the two differ.
    fn push(&mut self, record: Hash, logged: Hash) {
        if record != logged && self.logged.is_none() {
            self.logged = Some(self.records.clone());
        }
        if let Some(tree) = &mut self.logged {
            tree.push(logged);
        }
        let full = self.records.push(record);
        self.next += 1;
        for tile in full {
            // The lowest row was compared leaf by leaf; where it differs, all rows above do.
            if tile.level > 0 && self.logged.is_none() {
                self.upper(&tile);
            }
        }
        for head in self.heads.remove(&self.next).unwrap_or_default() {
            self.head(head);
        }
    }

    /// Holds a full tile of an upper row against the log's.
    fn upper(&mut self, full: &FullTile) {
        if self.next > self.report.signed {
            return;
        }
        let tile = Tile {
            level: Some(full.level),
            index: full.index,
            width: TILE_WIDTH,
        }
        .to_string();
        let what = match self.stored.disk().read(&log::name(&tile)) {
            Ok(octets) if octets == full.hashes.as_flattened() => return,
            Ok(_) => "altered: its hashes are not those of the records".to_owned(),
            Err(error) => error.to_string(),
        };
        self.harm(Harm::Tile { tile, what });
    }

    /// Holds the trees against a signed head of their present size.
    fn head(&mut self, head: Head) {
        let whole = self.records.root() == head.root;
        let log = self.logged.as_ref();
        let log_whole = log.is_some_and(|tree| tree.root() == head.root);
        for (record, other) in std::mem::take(&mut self.differing) {
            let tile = self.tile_of(Some(0), record).to_string();
            self.harm(match other {
                _ if whole => Harm::LogAltered { tile, record },
                Some(other) => Harm::Misplaced { record, other },
                None => Harm::Altered { record },
            });
        }
        if whole || log_whole {
            self.report.checkpoints += 1;
        } else {
            let Head { name, size, .. } = head;
            self.harm(Harm::Root { name, size });
        }
    }

    /// What is to be said when there are no more segments.
    pub fn finish(mut self) -> Report {
        if self.next < self.report.signed {
            self.gap(self.report.signed);
        }
        self.report.records = self.next;
        for head in std::mem::take(&mut self.heads).into_values().flatten() {
            let Head { name, size, .. } = head;
            if size > self.next {
                let records = self.next;
                self.harm(Harm::Shorter {
                    name,
                    size,
                    records,
                });
            }
        }
        for (record, other) in std::mem::take(&mut self.differing) {
            self.harm(match other {
                Some(other) => Harm::Misplaced { record, other },
                None => Harm::Altered { record },
            });
        }
        if self.report.archived > 0 {
            self.report.notes.push(format!(
                "{} records are in archived segments: only their leaves in the log were checked; name the folders with \
                 --archive to check all of them",
                self.report.archived
            ));
        }
        let mut more: Vec<_> = std::mem::take(&mut self.counts).into_iter().collect();
        more.sort_unstable();
        let more = more.into_iter().filter(|(_, count)| *count > NAMED);
        let more = more.map(|(kind, count)| Harm::More {
            kind,
            count: count - NAMED,
        });
        self.report.harms.extend(more);
        self.report
    }
}
