//! The whole journal against itself and against what was signed: [`verify`] reads every record, makes the tree
//! anew, and compares. Each [`Harm`] says which record is concerned and what was done to it.

mod fold;
mod harm;

use std::{ops::Range, sync::mpsc::sync_channel};

use super::{
    archive,
    reader::{Piece, ReadError, Segment, Stored, pieces},
};
use crate::audit::{
    checkpoint::{Checkpoint, VerifierKey},
    frame::FrameError,
    tree::{Hash, leaf_hash},
};
use fold::Fold;
pub use harm::Harm;

/// What a verification found.
#[derive(Debug, Default)]
pub struct Report {
    /// Records, those included of which only the log has the leaf.
    pub records: u64,
    /// Those of which only the log has the leaf, since their segments were archived and not named.
    pub archived: u64,
    pub tokens: u64,
    /// Octets of segments read.
    pub octets: u64,
    /// The size of the last checkpoint.
    pub signed: u64,
    /// Checkpoints that hold: the last one, and those that were given.
    pub checkpoints: usize,
    /// No harm, but to be known.
    pub notes: Vec<String>,
    pub harms: Vec<Harm>,
}

/// A head that must be found again: the last checkpoint, an anchored or a remembered one.
#[derive(Debug, Clone)]
pub struct Head {
    pub name: String,
    pub size: u64,
    pub root: Hash,
}

/// One segment after a worker went through it.
struct Checked {
    segment: Segment,
    octets: Vec<u8>,
    items: Vec<Item>,
}

enum Item {
    Frame {
        first: u64,
        records: Vec<Leaf>,
    },
    /// `end`: nothing readable follows in the segment.
    Broken {
        at: usize,
        error: FrameError,
        end: bool,
    },
}

struct Leaf {
    hash: Hash,
    /// Where the public part stands in the segment.
    public: Range<usize>,
    /// The private part is the one that the public part commits to.
    belongs: bool,
}

/// Verifies the journal by the log's public key. `heads` are checkpoints beside the journal's own, whose
/// signatures have been checked.
pub fn verify(stored: &Stored, key: &VerifierKey, heads: Vec<Head>) -> Result<Report, ReadError> {
    let mut report = Report::default();
    let mut heads = heads;
    let name = "log/checkpoint".to_owned();
    match stored.checkpoint()? {
        // Tiles come some time before the first checkpoint, but nobody who served them did without for long.
        None if stored.dir().join("log/tile/0/000").exists() => report.harms.push(Harm::Tile {
            tile: "checkpoint".into(),
            what: "missing, though there are tiles: it was removed".into(),
        }),
        None => report
            .notes
            .push("there is no checkpoint yet: nothing but checksums holds these records".into()),
        Some(note) => match Checkpoint::open(&note, key) {
            Ok(Checkpoint { size, root, .. }) => {
                report.signed = size;
                heads.push(Head { name, size, root });
            }
            Err(error) => report.harms.push(Harm::Checkpoint { name, error }),
        },
    }
    let archived = archive::read(stored.dir())?;
    let segments = stored.segments()?;
    let mut fold = Fold::new(stored, report, heads, archived);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        // Each worker takes every n-th segment; the fold takes them in turn, one waiting at each.
        let start = |worker| {
            let (give, taken) = sync_channel(1);
            let mine = segments.iter().skip(worker).step_by(workers);
            scope.spawn(move || {
                for segment in mine {
                    if give.send(check(segment)).is_err() {
                        return;
                    }
                }
            });
            taken
        };
        let workers: Vec<_> = (0..workers).map(start).collect();
        let mut turns = workers.iter().cycle();
        for index in 1..=segments.len() {
            if let Some(checked) = turns.next().and_then(|worker| worker.recv().ok()) {
                fold.segment(&checked?, index == segments.len());
            }
        }
        Ok(fold.finish())
    })
}

fn check(segment: &Segment) -> Result<Checked, ReadError> {
    let octets = segment.read()?;
    let place = |part: &[u8]| {
        let start = part.as_ptr().addr() - octets.as_ptr().addr();
        start..start + part.len()
    };
    let mut items = Vec::new();
    for piece in pieces(&octets) {
        items.push(match piece {
            Piece::Broken { at, error, next } => Item::Broken {
                at,
                error,
                end: next.is_none(),
            },
            Piece::Frame(at, frame) => match frame.records() {
                Err(error) => Item::Broken {
                    at,
                    error,
                    end: false,
                },
                Ok(records) => Item::Frame {
                    first: frame.first,
                    records: records
                        .into_iter()
                        .map(|parts| Leaf {
                            hash: leaf_hash(parts.public),
                            public: place(parts.public),
                            belongs: parts.belong(),
                        })
                        .collect(),
                },
            },
        });
    }
    Ok(Checked {
        segment: segment.clone(),
        octets,
        items,
    })
}
