//! What a verification can find wrong: [`Harm`], in words that name the record.

use std::{fmt, time::Duration};

use crate::audit::{checkpoint::NoteError, frame::FrameError};

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Harm {
    /// Octets of a frame were changed by something that did not know the checksum.
    Damaged {
        file: String,
        at: usize,
        record: u64,
        error: FrameError,
    },
    /// Records that should be there are not; `to` is the first that is.
    Missing { from: u64, to: u64 },
    /// A frame comes a second time, or out of order.
    Order {
        file: String,
        found: u64,
        wanted: u64,
    },
    /// A record differs from what the log holds of it.
    Altered { record: u64 },
    /// The record is another one of the log: two were swapped, or one was copied over the other.
    Misplaced { record: u64, other: u64 },
    /// The part of a record that is not public was changed.
    PrivateAltered { record: u64 },
    /// A token's time is long before that of a record written earlier.
    BackDated { record: u64, behind: Duration },
    /// The record is whole, but the public log was changed.
    LogAltered { tile: String, record: u64 },
    /// A file of the log cannot be read, or holds what it cannot.
    Tile { tile: String, what: String },
    /// The checkpoint is not one of this log.
    Checkpoint { name: String, error: NoteError },
    /// The records do not give the root that was signed for this size.
    Root { name: String, size: u64 },
    /// The journal ends before the size that was signed.
    Shorter {
        name: String,
        size: u64,
        records: u64,
    },
    /// An anchor proves nothing.
    Anchor { name: String, what: String },
    /// There are more of a kind than are named.
    More { kind: &'static str, count: usize },
}

impl Harm {
    /// The kind in a word, for scripts, and to count them.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::Missing { .. } => "missing",
            Self::Order { .. } => "out-of-order",
            Self::Altered { .. } => "altered",
            Self::Misplaced { .. } => "misplaced",
            Self::PrivateAltered { .. } => "private-altered",
            Self::BackDated { .. } => "back-dated",
            Self::LogAltered { .. } => "log-altered",
            Self::Tile { .. } => "log-unreadable",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Root { .. } => "other-history",
            Self::Shorter { .. } => "shorter",
            Self::Anchor { .. } => "anchor",
            Self::More { kind, .. } => kind,
        }
    }

    /// The first record concerned, where it is about one.
    pub const fn record(&self) -> Option<u64> {
        match self {
            Self::Damaged { record, .. }
            | Self::Altered { record }
            | Self::Misplaced { record, .. }
            | Self::PrivateAltered { record }
            | Self::BackDated { record, .. }
            | Self::LogAltered { record, .. } => Some(*record),
            Self::Missing { from, .. } => Some(*from),
            Self::Order { found, .. } => Some(*found),
            Self::Shorter { records, .. } => Some(*records),
            Self::Tile { .. }
            | Self::Checkpoint { .. }
            | Self::Root { .. }
            | Self::Anchor { .. }
            | Self::More { .. } => None,
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged {
                file,
                at,
                record,
                error,
            } => write!(
                f,
                "record {record}: damaged, or one behind it in its frame: {file} at octet {at}: {error}"
            ),
            Self::Missing { from, to } if from + 1 == *to => write!(f, "record {from}: missing"),
            Self::Missing { from, to } => write!(f, "records {from} to {}: missing", to - 1),
            Self::Order {
                file,
                found,
                wanted,
            } => write!(
                f,
                "record {found}: comes a second time or too late, in {file} where record {wanted} should stand"
            ),
            Self::Altered { record } => write!(
                f,
                "record {record}: altered: it is not the one that stands in the log under the signed checkpoint"
            ),
            Self::Misplaced { record, other } => write!(
                f,
                "record {record}: in its place stands record {other} of the log: they were swapped, or one was copied"
            ),
            Self::PrivateAltered { record } => write!(
                f,
                "record {record}: altered in its private part: the hash in its public part is another's"
            ),
            Self::BackDated { record, behind } => write!(
                f,
                "record {record}: back-dated: its time is {} s before that of a record written earlier",
                behind.as_secs()
            ),
            Self::LogAltered { tile, record } => write!(
                f,
                "log/{tile}: altered at record {record}; the record itself is whole"
            ),
            Self::Tile { tile, what } => write!(f, "log/{tile}: {what}"),
            Self::Checkpoint { name, error } => write!(f, "{name}: {error}"),
            Self::Root { name, size } => write!(
                f,
                "{name}: its root over {size} records is not that of the records here: they, or it, belong to another \
                 history"
            ),
            Self::Shorter {
                name,
                size,
                records,
            } => write!(
                f,
                "record {records}: missing, and all behind it: {name} was signed over {size} records, but only {records} \
                 are here: the end was cut off, or this is an older copy"
            ),
            Self::Anchor { name, what } => write!(f, "{name}: {what}"),
            Self::More { kind, count } => write!(f, "and {count} more: {kind}"),
        }
    }
}
