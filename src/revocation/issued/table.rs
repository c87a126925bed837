//! Serials of one length in memory: [`Table`] keeps them end to end, grouped by a keyed hash, with a place in four
//! octets for about eight of them. A look-up reads two neighbouring places and one group, however the serials were
//! chosen, and allocates nothing.

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::LazyLock,
};

use super::Told;

/// How many serials share a group. Fewer take more places, more take longer to compare.
const GROUP: usize = 8;

/// Groups whose rows take half a megabyte.
const SPAN: usize = 4096;

/// Octets behind each serial: what is told of it.
const TOLD: usize = 3;

/// One key for all tables, so that a serial is hashed once for all of them. It is random, since serials are chosen by
/// whoever asks.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

pub fn hash(serial: &[u8]) -> u64 {
    KEY.hash_one(serial)
}

/// A row is a serial and what is told of it.
#[derive(Debug)]
pub struct Table {
    /// Of a serial.
    length: usize,
    rows: Vec<u8>,
    /// Where each group begins, in rows, and the end of the last.
    starts: Vec<u32>,
}

/// Appends a row.
pub fn put_row(rows: &mut Vec<u8>, serial: &[u8], told: [u8; TOLD]) {
    rows.extend_from_slice(serial);
    rows.extend_from_slice(&told);
}

/// The rows that [`put_row`] has appended for serials of this length.
pub fn rows(octets: &[u8], length: usize) -> impl Iterator<Item = (&[u8], [u8; TOLD])> {
    octets
        .chunks_exact(length + TOLD)
        .filter_map(|row| row.split_last_chunk::<TOLD>())
        .map(|(serial, told)| (serial, *told))
}

impl Table {
    /// Puts rows in order where they are: building takes little more memory than what is built. Of rows with the same
    /// serial one stays, with what all of them tell.
    pub fn new(length: usize, mut rows: Vec<u8>) -> Self {
        let width = length + TOLD;
        // What has no place would not be found, and not be called issued. No host has that much memory.
        rows.truncate(at(u32::MAX).saturating_mul(width));
        let count = rows.len() / width;
        let mut table = Self {
            length,
            rows,
            starts: vec![0; count.div_ceil(GROUP).max(1) + 1],
        };
        table.count();
        // First roughly, so that then only memory is exchanged that is in the processor's cache.
        table.arrange(SPAN);
        table.arrange(1);
        table.thin();
        table
    }

    /// What is told in this serial's row, if it has one.
    pub fn told(&self, hash: u64, serial: &[u8]) -> Option<[u8; TOLD]> {
        let group = self.group(hash);
        let places = self.start(group)..self.start(group + 1);
        let octets = self.rows.get(self.octets(places))?;
        rows(octets, self.length)
            .find(|(found, _)| *found == serial)
            .map(|(_, told)| told)
    }

    pub const fn length(&self) -> usize {
        self.length
    }

    /// As octets, of which [`rows`] makes rows again.
    pub fn octets_of_rows(&self) -> &[u8] {
        &self.rows
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len() / (self.length + TOLD)
    }

    fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    fn group(&self, hash: u64) -> usize {
        // The hash as a fraction of all groups.
        let groups = u128::try_from(self.groups()).unwrap_or(0);
        usize::try_from((u128::from(hash) * groups) >> 64).unwrap_or(0)
    }

    fn start(&self, group: usize) -> usize {
        at(self.starts.get(group).copied().unwrap_or(0))
    }

    fn set_start(&mut self, group: usize, row: usize) {
        if let Some(start) = self.starts.get_mut(group) {
            *start = u32::try_from(row).unwrap_or(u32::MAX);
        }
    }

    /// Where rows stand in octets.
    const fn octets(&self, rows: Range<usize>) -> Range<usize> {
        let width = self.length + TOLD;
        rows.start * width..rows.end * width
    }

    fn serial(&self, row: usize) -> &[u8] {
        let start = row * (self.length + TOLD);
        self.rows
            .get(start..start + self.length)
            .unwrap_or_default()
    }

    /// Has each place say where its group begins.
    fn count(&mut self) {
        for row in 0..self.len() {
            let group = self.group(hash(self.serial(row)));
            if let Some(next) = self.starts.get_mut(group + 1) {
                *next += 1;
            }
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
    }

    /// Moves each row into its group, or among as many groups as `span` says, by exchanging it with the one that
    /// stands there.
    fn arrange(&mut self, span: usize) {
        let groups = self.groups();
        let starts = self.starts.iter().take(groups).step_by(span);
        let mut free: Vec<u32> = starts.copied().collect();
        for part in 0..free.len() {
            let end = self.start(((part + 1) * span).min(groups));
            loop {
                let row = free.get(part).copied().map_or(end, at);
                if row >= end {
                    break;
                }
                let home = self.group(hash(self.serial(row))) / span;
                let Some(place) = free.get_mut(home) else {
                    break;
                };
                let to = at(*place);
                *place += 1;
                if to != row {
                    let ranges = [self.octets(row..row + 1), self.octets(to..to + 1)];
                    if let Ok([one, other]) = self.rows.get_disjoint_mut(ranges) {
                        one.swap_with_slice(other);
                    }
                }
            }
        }
    }

    /// Leaves one row of those with the same serial, which stand in one group.
    fn thin(&mut self) {
        let mut kept = 0;
        for group in 0..self.groups() {
            let rows = self.start(group)..self.start(group + 1);
            self.set_start(group, kept);
            let first = kept;
            for row in rows {
                let same = (first..kept).find(|&one| self.serial(one) == self.serial(row));
                match same {
                    Some(one) => self.join(one, row),
                    None => {
                        let (from, to) = (self.octets(row..row + 1), self.octets(kept..kept));
                        if kept != row {
                            self.rows.copy_within(from, to.start);
                        }
                        kept += 1;
                    }
                }
            }
        }
        self.set_start(self.groups(), kept);
        self.rows.truncate(kept * (self.length + TOLD));
        self.rows.shrink_to_fit();
    }

    fn join(&mut self, row: usize, other: usize) {
        let told = |row: usize| {
            let end = (row + 1) * (self.length + TOLD);
            end - TOLD..end
        };
        let ranges = [told(row), told(other)];
        if let Ok([one, other]) = self.rows.get_disjoint_mut(ranges)
            && let Some(joined) = joined(one, other)
        {
            one.copy_from_slice(&joined);
        }
    }
}

fn joined(one: &[u8], other: &[u8]) -> Option<[u8; TOLD]> {
    let read = |told: &[u8]| Some(Told::unpacked(told.try_into().ok()?));
    Some(read(one)?.and(read(other)?).packed())
}

fn at(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
