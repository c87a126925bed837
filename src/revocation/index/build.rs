//! How an [`Index`] is built without memory beside it: all serials are counted first ([`Plan`]), so that each record
//! can be written near its bucket when it comes ([`Filling`]), and is put in its place when all are there. Counting
//! and writing go to groups of buckets, few enough that no cache is missed all the time, however many entries there
//! are; in its group a record is moved within the cache.

use std::ops::Range;

use super::{Hashing, Index, Record, Revocation, Serial, scaled, tag_of};

/// Records of a bucket: on average, since the hashes decide.
const PER_BUCKET: usize = 8;

/// Buckets of a group: half a megabyte of records.
const PER_GROUP: usize = 2_048;

/// How many records each group will have.
#[derive(Debug)]
pub struct Plan {
    hashing: Hashing,
    buckets: usize,
    counts: Vec<usize>,
}

/// Takes the records.
pub struct Filling {
    hashing: Hashing,
    buckets: usize,
    records: Vec<Record>,
    groups: Vec<Group>,
    /// Records that were not counted.
    others: Vec<Record>,
}

/// Where a group's records are.
#[derive(Debug)]
struct Group {
    start: usize,
    next: usize,
    end: usize,
}

impl Plan {
    /// For about `count` serials.
    pub fn new(count: usize) -> Self {
        let buckets = count.div_ceil(PER_BUCKET);
        Self {
            hashing: Hashing::default(),
            buckets,
            counts: vec![0; buckets.div_ceil(PER_GROUP)],
        }
    }

    /// One will come that has this serial.
    pub fn count(&mut self, serial: Serial) {
        let bucket = scaled(self.hashing.hash(&serial.0), self.buckets);
        if let Some(count) = self.counts.get_mut(bucket / PER_GROUP) {
            *count += 1;
        }
    }

    pub fn fill(self) -> Filling {
        let mut end = 0;
        let groups = self.counts.iter().map(|count| {
            let start = end;
            end += count;
            Group {
                start,
                next: start,
                end,
            }
        });
        let groups = groups.collect();
        Filling {
            hashing: self.hashing,
            buckets: self.buckets,
            records: vec![Record::EMPTY; end],
            groups,
            others: Vec::new(),
        }
    }
}

impl Filling {
    pub fn put(&mut self, serial: Serial, revocation: Revocation) {
        let record = Record::new(serial.0, revocation);
        let bucket = scaled(self.hashing.hash(&serial.0), self.buckets);
        let group = self.groups.get_mut(bucket / PER_GROUP);
        let group = group.filter(|group| group.next < group.end);
        let free = group.and_then(|group| {
            group.next += 1;
            self.records.get_mut(group.next - 1)
        });
        match free {
            Some(free) => *free = record,
            None => self.others.push(record),
        }
    }

    /// The index, and how many serials came once more.
    pub fn finish(mut self) -> (Index, usize) {
        let taken = self.groups.iter().map(|group| group.next - group.start);
        let all = taken.sum::<usize>() + self.others.len();
        if !self.others.is_empty() {
            return self.planned_anew(all);
        }
        let mut index = Index {
            hashing: self.hashing,
            records: std::mem::take(&mut self.records),
            tags: Vec::with_capacity(all),
            starts: Vec::with_capacity(self.buckets + 1),
        };
        let mut sorting = Sorting::default();
        for (nth, group) in self.groups.iter().enumerate() {
            let first = nth * PER_GROUP;
            let buckets = first..self.buckets.min(first + PER_GROUP);
            sorting.put_in_place(&mut index, group, buckets, self.buckets);
        }
        let kept = index.tags.len();
        if self.buckets > 0 {
            index.starts.push(narrow(kept));
        }
        index.records.truncate(kept);
        index.records.shrink_to_fit();
        (index, all - kept)
    }

    /// What came differs from what was counted.
    fn planned_anew(&self, all: usize) -> (Index, usize) {
        let placed = self.groups.iter().filter_map(|group| {
            let placed = self.records.get(group.start..group.next);
            placed.map(<[Record]>::iter)
        });
        let records: Vec<_> = placed.flatten().chain(&self.others).collect();
        let walk = || {
            let records = records.iter();
            records.map(|record| (Serial(record.key), record.revocation()))
        };
        let index = Index::of(all, walk);
        let twice = all - index.len();
        (index, twice)
    }
}

/// Sorts one group by buckets; its memory serves the next.
#[derive(Default)]
struct Sorting {
    records: Vec<Record>,
    /// Bucket within the group, and tag, of each.
    marks: Vec<(u16, u8)>,
    /// Where the next record of each bucket goes in `order`.
    next: Vec<usize>,
    /// The records by bucket.
    order: Vec<u32>,
}

impl Sorting {
    /// Moves a group's records to the end of those that are in place, which is not behind where they are.
    fn put_in_place(&mut self, index: &mut Index, group: &Group, buckets: Range<usize>, of: usize) {
        self.records.clear();
        let records = index.records.get(group.start..group.next);
        self.records.extend_from_slice(records.unwrap_or_default());
        self.sort(index.hashing, buckets.clone(), of);
        let mut start = 0;
        for end in &self.next {
            let first = index.tags.len();
            index.starts.push(narrow(first));
            let order = self.order.get(start..*end).unwrap_or_default();
            start = *end;
            for place in order {
                let place = usize::try_from(*place).unwrap_or(usize::MAX);
                let found = (self.records.get(place), self.marks.get(place));
                if let (Some(record), Some((_, tag))) = found {
                    put(index, first, record, *tag);
                }
            }
        }
    }

    /// Afterwards `next` has the end of each bucket in `order`.
    fn sort(&mut self, hashing: Hashing, buckets: Range<usize>, of: usize) {
        self.marks.clear();
        self.next.clear();
        self.next.resize(buckets.len(), 0);
        for record in &self.records {
            let hash = hashing.hash(&record.key);
            let bucket = scaled(hash, of).saturating_sub(buckets.start);
            let narrow = u16::try_from(bucket).unwrap_or(u16::MAX);
            self.marks.push((narrow, tag_of(hash)));
            if let Some(count) = self.next.get_mut(bucket) {
                *count += 1;
            }
        }
        let mut start = 0;
        for next in &mut self.next {
            let count = std::mem::replace(next, start);
            start += count;
        }
        self.order.clear();
        self.order.resize(self.records.len(), 0);
        for (place, (bucket, _)) in (0..).zip(&self.marks) {
            if let Some(next) = self.next.get_mut(usize::from(*bucket)) {
                if let Some(at) = self.order.get_mut(*next) {
                    *at = place;
                }
                *next += 1;
            }
        }
    }
}

/// Adds a record to the bucket that begins at `first`, unless its serial is there: then what counts more stays.
fn put(index: &mut Index, first: usize, record: &Record, tag: u8) {
    let next = index.tags.len();
    let tags = index.tags.get(first..).unwrap_or_default().iter();
    let mut before = tags.zip(first..).filter(|(of, _)| **of == tag);
    let same = before.find_map(|(_, place)| {
        let there = index.records.get(place)?;
        (there.key == record.key).then_some((place, there.revocation()))
    });
    match same {
        Some((place, there)) => {
            if let Some(at) = index.records.get_mut(place) {
                *at = Record::new(record.key, there.or(record.revocation()));
            }
        }
        None => {
            if let Some(at) = index.records.get_mut(next) {
                *at = *record;
                index.tags.push(tag);
            }
        }
    }
}

/// A CRL of more than four thousand million entries is refused long before.
fn narrow(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::time::Seconds;

    fn entry(number: u64) -> (Serial, Revocation) {
        let time = Seconds::new(number);
        let reason = Some(1);
        let serial = Serial::new(&number.to_be_bytes()).unwrap();
        (serial, Revocation { time, reason })
    }

    #[test]
    fn what_comes_need_not_be_what_was_counted() {
        for (counted, coming) in [(0..0, 0..99), (0..9_000, 0..20), (0..9_000, 8_000..20_000)] {
            let mut plan = Plan::new(9_000);
            counted.for_each(|number| plan.count(entry(number).0));
            let mut filling = plan.fill();
            let numbers = coming.clone().chain(coming.clone().take(7));
            for (serial, revocation) in numbers.map(entry) {
                filling.put(serial, revocation);
            }
            let (index, twice) = filling.finish();
            assert_eq!((index.len(), twice), (coming.clone().count(), 7));
            for number in 0..20_000 {
                let (serial, revocation) = entry(number);
                let expected = coming.contains(&number).then_some(revocation);
                assert_eq!(index.get(serial), expected);
            }
        }
    }

    #[test]
    fn one_serial_can_come_ever_again() {
        let (index, twice) = {
            let mut plan = Plan::new(50_000);
            (0..50_000).for_each(|_| plan.count(entry(5).0));
            let mut filling = plan.fill();
            (0..50_000).for_each(|_| filling.put(entry(5).0, entry(5).1));
            filling.finish()
        };
        assert_eq!((index.len(), twice), (1, 49_999));
        assert!(index.get(entry(5).0).is_some());
    }
}
