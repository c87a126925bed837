//! The files that hold the records: [`Segments::open`] finds the end, cuts what a crash left unfinished, and
//! [`Segments::append`] brings a batch to stable storage as one frame. A segment is laid out with zeros ahead of
//! the writing, so that a sync need not bring a new length to the disk as well.

use std::{io, sync::Arc};

use aws_lc_rs::rand;

use super::disk::{Disk, DiskFile};
use crate::audit::{
    frame::{self, Frame, FrameError, Head, SEGMENT_HEADER, Seed},
    record::{Encoded, Parts},
};

/// The folder of the segments.
pub const FOLDER: &str = "segments";

/// Zeros laid out at once: some three thousand records, in about a millisecond. The simulation of power losses has
/// small segments, and thousands of them.
const AHEAD: u64 = if cfg!(test) { 16 << 10 } else { 1 << 20 };

/// The open end of the journal.
#[derive(Debug)]
pub struct Segments {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    name: String,
    /// Where the next frame goes.
    at: u64,
    /// Up to where the file is laid out.
    laid: u64,
    next: u64,
    limit: u64,
    seed: Seed,
    buffer: Vec<u8>,
}

/// Why the records cannot be gone on with. The names are the files'.
#[derive(Debug, thiserror::Error)]
pub enum SegmentsError {
    #[error("{name}: {error}")]
    File { name: String, error: io::Error },
    #[error(
        "{name}: record {record} at octet {at}: {error}, and whole frames follow: this is no crash's trace but damage; \
         restore the file, or see `gnomon journal verify`"
    )]
    Damaged {
        name: String,
        at: usize,
        record: u64,
        error: FrameError,
    },
    #[error(
        "{name}: it begins with record {found}, but record {wanted} should come next: records are missing or doubled; see `gnomon journal verify`"
    )]
    Order {
        name: String,
        found: u64,
        wanted: u64,
    },
    #[error(
        "the records end before number {next}, but the checkpoint says that there were {size}: the journal is an older \
         copy, or its end was cut off; restore it, or give the appliance a new folder and a new log key"
    )]
    Lost { next: u64, size: u64 },
}

/// The file of the segment that begins with record `first`, in its folder.
pub fn file_name(first: u64) -> String {
    format!("{first:020}.gnj")
}

/// The same in the journal's folder.
pub fn name(first: u64) -> String {
    format!("{FOLDER}/{}", file_name(first))
}

/// The first records of the segments there are, in order.
pub fn firsts(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    firsts_in(disk, FOLDER)
}

/// The same of a folder on this disk.
pub fn firsts_in(disk: &dyn Disk, folder: &str) -> io::Result<Vec<u64>> {
    let names = disk.names(folder)?;
    let first = |name: &String| {
        let first = name.strip_suffix(".gnj")?.parse().ok()?;
        (file_name(first) == *name).then_some(first)
    };
    let mut firsts: Vec<_> = names.iter().filter_map(first).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

impl Segments {
    /// Opens the end of the journal and hands every record from number `from` on to `visit`; what is before it
    /// is not read. Also gives what a crash had left unfinished and was cut, in words.
    pub fn open(
        disk: Arc<dyn Disk>,
        limit: u64,
        from: u64,
        mut visit: impl FnMut(Parts<'_>) -> io::Result<()>,
    ) -> Result<(Self, Option<String>), SegmentsError> {
        let failed = |name: &str| {
            let name = name.to_owned();
            move |error| SegmentsError::File { name, error }
        };
        let firsts = firsts(&*disk).map_err(failed(FOLDER))?;
        let start = firsts.iter().rposition(|first| *first <= from).unwrap_or(0);
        let mut next = firsts.get(start).copied().unwrap_or(0);
        if next > from {
            return Err(SegmentsError::Order {
                name: name(next),
                found: next,
                wanted: from,
            });
        }
        let (mut last, mut cut) = (None, None);
        for (index, first) in firsts.iter().enumerate().skip(start) {
            let name = name(*first);
            if *first != next {
                return Err(SegmentsError::Order {
                    name,
                    found: *first,
                    wanted: next,
                });
            }
            let octets = disk.read(&name).map_err(failed(&name))?;
            let is_last = index + 1 == firsts.len();
            let Some(seed) = seed(&name, &octets, next, is_last)? else {
                break;
            };
            let tail = Tail::read(name, seed, &octets, (next, from), &mut visit)?;
            cut = tail.unfinished(&octets, is_last)?;
            next = tail.next;
            last = Some(tail);
        }
        if next < from {
            return Err(SegmentsError::Lost { next, size: from });
        }
        let Some(last) = last.filter(|_| firsts.last().is_none_or(|first| *first < next)) else {
            let segments = Self::begin(disk, limit, next).map_err(failed(&name(next)))?;
            return Ok((segments, cut));
        };
        let name = last.name.clone();
        let segments = Self::go_on(disk, limit, last, cut.is_some()).map_err(failed(&name))?;
        Ok((segments, cut))
    }

    /// Goes on behind the last frame of a segment, and cuts what is behind it where that is wanted.
    fn go_on(disk: Arc<dyn Disk>, limit: u64, last: Tail, cut: bool) -> io::Result<Self> {
        let position = u64::try_from(last.at).unwrap_or(u64::MAX);
        let mut file = disk.open(&last.name)?;
        if cut {
            file.cut(position)?;
        }
        // What was read may have been in memory alone, and since a sync that failed even be thought clean. So it is
        // written once more before it is synced; what a checkpoint covers is on the disk.
        let start = last.at.saturating_sub(last.unsigned.len());
        let start = u64::try_from(start).unwrap_or(u64::MAX);
        file.write_at(&last.unsigned, start)?;
        disk.sync(&last.name)?;
        let laid = file.length()?;
        Ok(Self {
            disk,
            file,
            name: last.name,
            at: position,
            laid,
            next: last.next,
            limit,
            seed: last.seed,
            buffer: Vec::new(),
        })
    }

    /// Begins the segment of record `next`, durably.
    fn begin(disk: Arc<dyn Disk>, limit: u64, next: u64) -> io::Result<Self> {
        let mut seed = Seed::default();
        rand::fill(&mut seed).map_err(|_| io::Error::other("no random octets are to be had"))?;
        let name = name(next);
        let mut file = disk.open(&name)?;
        file.cut(0)?;
        let head = Head { first: next, seed }.encode();
        file.write_at(&head, 0)?;
        disk.sync(&name)?;
        let at = u64::try_from(head.len()).map_err(io::Error::other)?;
        Ok(Self {
            disk,
            file,
            name,
            at,
            laid: at,
            next,
            limit,
            seed,
            buffer: Vec::new(),
        })
    }

    /// The number of the next record.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The file that is written, for messages.
    pub fn file_name(&self) -> &str {
        &self.name
    }

    /// Brings a batch to stable storage. After an error nothing may be appended any more: what the kernel still
    /// holds is unknown.
    pub fn append(&mut self, records: &[Encoded]) -> io::Result<()> {
        let mut length = self.encode(records)?;
        let empty = self.at <= u64::try_from(SEGMENT_HEADER).map_err(io::Error::other)?;
        if !empty && self.at.saturating_add(length) > self.limit {
            self.rotate()?;
            // The checksum begins with the new segment's seed.
            length = self.encode(records)?;
        }
        let end = self.at.saturating_add(length);
        if end > self.laid {
            let zeros = vec![0; usize::try_from(AHEAD.max(end - self.laid)).unwrap_or(0)];
            self.file.write_at(&zeros, self.laid)?;
            self.laid += u64::try_from(zeros.len()).map_err(io::Error::other)?;
        }
        self.file.write_at(&self.buffer, self.at)?;
        self.file.sync()?;
        self.at = end;
        self.next += u64::try_from(records.len()).map_err(io::Error::other)?;
        Ok(())
    }

    /// Makes the next frame, in the buffer; gives its octets.
    fn encode(&mut self, records: &[Encoded]) -> io::Result<u64> {
        self.buffer.clear();
        frame::encode(self.next, records, &self.seed, &mut self.buffer)
            .ok_or_else(|| io::Error::other("the batch is too long for a frame"))?;
        u64::try_from(self.buffer.len()).map_err(io::Error::other)
    }

    /// Closes the segment at its end and begins another.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.cut(self.at)?;
        *self = Self::begin(Arc::clone(&self.disk), self.limit, self.next)?;
        Ok(())
    }

    /// Ends the file behind its last frame.
    pub fn close(mut self) -> io::Result<()> {
        self.file.cut(self.at)
    }
}

/// The seed in the head of the segment of record `next`; none where a crash came while the last one was begun: nothing
/// was written behind a head that is not durable.
fn seed(
    name: &str,
    octets: &[u8],
    next: u64,
    is_last: bool,
) -> Result<Option<Seed>, SegmentsError> {
    let name = name.to_owned();
    match Head::decode(octets) {
        Ok(head) if head.first == next => Ok(Some(head.seed)),
        Ok(head) => Err(SegmentsError::Order {
            name,
            found: head.first,
            wanted: next,
        }),
        Err(_) if is_last && octets.iter().skip(SEGMENT_HEADER).all(|octet| *octet == 0) => {
            Ok(None)
        }
        Err(error) => Err(SegmentsError::Damaged {
            name,
            at: 0,
            record: next,
            error,
        }),
    }
}

/// A segment that was read as far as whole frames go.
struct Tail {
    name: String,
    seed: Seed,
    /// Behind the last whole frame.
    at: usize,
    /// The record that would come there, and why none is read.
    next: u64,
    end: FrameError,
    /// The last octets before `at`: the frames with records that no checkpoint covers.
    unsigned: Vec<u8>,
}

impl Tail {
    /// Reads the frames from record `next` on, and hands every record from number `from` on to `visit`.
    fn read(
        name: String,
        seed: Seed,
        octets: &[u8],
        (mut next, from): (u64, u64),
        visit: &mut impl FnMut(Parts<'_>) -> io::Result<()>,
    ) -> Result<Self, SegmentsError> {
        let (mut at, mut unsigned) = (SEGMENT_HEADER, Vec::new());
        let end = loop {
            let rest = octets.get(at..).unwrap_or_default();
            let (frame, length) = match Frame::decode(rest, &seed) {
                Ok(decoded) => decoded,
                Err(error) => break error,
            };
            if frame.first != next {
                return Err(SegmentsError::Order {
                    name,
                    found: frame.first,
                    wanted: next,
                });
            }
            let records = match frame.records() {
                Ok(records) => records,
                Err(error) => break error,
            };
            for record in records {
                if next >= from
                    && let Err(error) = visit(record)
                {
                    return Err(SegmentsError::File { name, error });
                }
                next += 1;
            }
            if next > from {
                unsigned.extend(rest.get(..length).unwrap_or_default());
            }
            at += length;
        };
        Ok(Self {
            name,
            seed,
            at,
            next,
            end,
            unsigned,
        })
    }

    /// What a crash has left behind the last whole frame, in words. Only at the end of the last segment, and with no
    /// whole frame behind it; anything else is damage.
    fn unfinished(&self, octets: &[u8], is_last: bool) -> Result<Option<String>, SegmentsError> {
        let Self {
            name,
            seed,
            at,
            next,
            end: error,
            ..
        } = self;
        let rest = octets.get(*at..).unwrap_or_default();
        let Some(end) = rest.iter().rposition(|octet| *octet != 0) else {
            return Ok(None);
        };
        if !is_last || frame::find_later(rest, seed, *next).is_some() {
            return Err(SegmentsError::Damaged {
                name: name.clone(),
                at: *at,
                record: *next,
                error: *error,
            });
        }
        Ok(Some(format!(
            "{name}: cut {} octets from octet {at} on, the trace of a write of record {next} that did not finish; no token \
             leaves before its write has",
            end + 1
        )))
    }
}
