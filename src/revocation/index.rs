//! The revoked serials of one CRL in memory: [`Index`] gives a serial's [`Revocation`]. Fixed records in the order of
//! their hashes, an octet of hash for each, and where each bucket of about eight begins: 29.5 octets an entry. Most
//! questions miss, and a miss usually ends at the octets of one bucket. [`Plan`] builds it.

mod build;

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::LazyLock,
};

use crate::wire::time::Seconds;

pub use build::Plan;

/// certificateHold (RFC 5280 5.3.1), the one reason that can be taken back.
const HOLD: u8 = 6;

/// removeFromCRL (RFC 5280 5.3.1), which only deltas have.
const REMOVE_FROM_CRL: u8 = 8;

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    pub time: Seconds,
    /// reasonCode (RFC 5280 5.3.1).
    pub reason: Option<u8>,
}

impl Revocation {
    /// Whether it can be taken back.
    pub fn is_hold(&self) -> bool {
        self.reason == Some(HOLD)
    }

    /// Whether it says, in a delta, that the serial is no longer on the list.
    pub fn is_removal(&self) -> bool {
        self.reason == Some(REMOVE_FROM_CRL)
    }

    /// The one that counts when a serial stands twice: for good before on hold, then the earlier.
    pub fn or(self, other: Self) -> Self {
        let rank = |of: &Self| (of.is_removal(), of.is_hold(), of.time);
        if rank(&other) < rank(&self) {
            other
        } else {
            self
        }
    }
}

/// A serial that no record can hold: more than 20 octets (RFC 5280 4.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialTooLong;

/// Serials by exact value, at most 20 octets long; it does not change.
#[derive(Clone, Default)]
pub struct Index {
    hashing: Hashing,
    /// By bucket.
    records: Vec<Record>,
    /// Of each record eight bits of its hash.
    tags: Vec<u8>,
    /// Where each bucket begins, and where the last one ends. Nothing where there are no buckets.
    starts: Vec<u32>,
}

impl Index {
    /// Of about so many entries, which `walk` gives, the same at every call; of a serial that stands twice what counts
    /// more.
    pub fn of<I>(about: usize, walk: impl Fn() -> I) -> Self
    where
        I: Iterator<Item = (Serial, Revocation)>,
    {
        let mut plan = Plan::new(about);
        for (serial, _) in walk() {
            plan.count(serial);
        }
        let mut filling = plan.fill();
        for (serial, revocation) in walk() {
            filling.put(serial, revocation);
        }
        filling.finish().0
    }

    /// How many serials there are.
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn get(&self, serial: Serial) -> Option<Revocation> {
        self.find(&serial.0).map(Record::revocation)
    }

    /// All serials and their revocations, in the order of the hashes, which is the same in one process.
    pub fn iter(&self) -> impl Iterator<Item = (Serial, Revocation)> {
        let records = self.records.iter();
        records.map(|record| (Serial(record.key), record.revocation()))
    }

    /// The serials of this index that `other` has not, or only on hold, with their revocations. Both have one order, so
    /// that this goes through their memory from front to back.
    pub fn weaker_in<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (Serial, Revocation)> + 'a {
        let weaker = |record: &&Record| {
            let same = other.find(&record.key);
            same.is_none_or(|same| same.reason == HOLD)
        };
        let records = self.records.iter().filter(weaker);
        records.map(|record| (Serial(record.key), record.revocation()))
    }

    fn find(&self, key: &Key) -> Option<&Record> {
        let hash = self.hashing.hash(key);
        let bucket = scaled(hash, self.starts.len().saturating_sub(1));
        let &[start, end] = self.starts.get(bucket..)?.first_chunk()?;
        let places = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        let tags = self.tags.get(places.clone())?.iter();
        let mut all = tags.zip(self.records.get(places)?);
        let tag = tag_of(hash);
        let found = all.find(|(of, record)| **of == tag && record.key == *key);
        found.map(|(_, record)| record)
    }
}

/// Without the serials: there can be millions.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Of `parts` the one to which a hash belongs by its upper bits.
fn scaled(hash: u64, parts: usize) -> usize {
    let parts = u64::try_from(parts).unwrap_or(u64::MAX);
    let scaled = (u128::from(hash) * u128::from(parts)) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

/// The lowest bits, which choose no bucket.
fn tag_of(hash: u64) -> u8 {
    let [.., lowest] = hash.to_be_bytes();
    lowest
}

/// A hash with a key that only this process knows. Whoever asks chooses serials, but puts none into an index, so that the
/// most they could find is a bucket that is longer than others: two multiplications are enough, where SipHash would
/// take most of the time in which an index is built.
#[derive(Debug, Clone, Copy)]
struct Hashing([u64; 3]);

impl Default for Hashing {
    fn default() -> Self {
        static KEY: LazyLock<[u64; 3]> =
            LazyLock::new(|| [(); 3].map(|()| RandomState::new().build_hasher().finish()));
        Self(*KEY)
    }
}

impl Hashing {
    fn hash(&self, key: &Key) -> u64 {
        fn folded(a: u64, b: u64) -> u64 {
            let [high, low] = {
                let product = u128::from(a) * u128::from(b);
                [product >> 64, product & u128::from(u64::MAX)]
            };
            u64::try_from(high ^ low).unwrap_or(0)
        }
        let word = |at: usize| {
            let octets = key.octets.get(at..).and_then(<[u8]>::first_chunk);
            octets.map_or(0, |octets| u64::from_le_bytes(*octets))
        };
        let [first, second, third] = self.0;
        let begin = folded(word(0) ^ first, word(8) ^ second);
        folded(begin ^ word(12), third ^ u64::from(key.length))
    }
}

/// A serial's content octets without octets that only repeat the sign: what DER would write
/// (X.690 8.3.2), whoever wrote these.
pub fn canonical(mut serial: &[u8]) -> &[u8] {
    while let [sign @ (0x00 | 0xff), rest @ ..] = serial
        && rest.first().is_some_and(|next| (next ^ sign) & 0x80 == 0)
    {
        serial = rest;
    }
    serial
}

/// A serial of an [`Index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial(Key);

impl Serial {
    /// Of INTEGER content octets.
    pub fn new(octets: &[u8]) -> Result<Self, SerialTooLong> {
        Key::new(octets).map(Self).ok_or(SerialTooLong)
    }

    /// INTEGER content octets in DER's shortest form.
    pub fn octets(&self) -> Vec<u8> {
        let Key { octets, length } = &self.0;
        let length = usize::from(*length);
        let pad = length.saturating_sub(octets.len());
        let kept = octets.iter().take(length - pad);
        std::iter::repeat_n(&0, pad).chain(kept).copied().collect()
    }
}

/// Content octets of fixed size. A positive number of 20 octets can need a 21st, a zero, which only
/// the length tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    octets: [u8; 20],
    length: u8,
}

impl Key {
    fn new(serial: &[u8]) -> Option<Self> {
        let serial = canonical(serial);
        let kept = match serial {
            [0, rest @ ..] if serial.len() == 21 => rest,
            _ => serial,
        };
        let mut octets = [0; 20];
        octets.get_mut(..kept.len())?.copy_from_slice(kept);
        let length = u8::try_from(serial.len()).ok()?;
        Some(Self { octets, length })
    }
}

/// 28 octets: the time is split so that nothing is lost to alignment.
#[derive(Debug, Clone, Copy)]
struct Record {
    key: Key,
    /// 255 where there is none.
    reason: u8,
    time_high: u16,
    time_low: u32,
}

impl Record {
    const NO_REASON: u8 = u8::MAX;

    /// Where none is yet.
    const EMPTY: Self = Self {
        key: Key {
            octets: [0; 20],
            length: 0,
        },
        reason: Self::NO_REASON,
        time_high: 0,
        time_low: 0,
    };

    fn new(key: Key, revocation: Revocation) -> Self {
        let [_, _, a, b, c, d, e, f] = revocation.time.get().to_be_bytes();
        Self {
            key,
            reason: revocation.reason.unwrap_or(Self::NO_REASON),
            time_high: u16::from_be_bytes([a, b]),
            time_low: u32::from_be_bytes([c, d, e, f]),
        }
    }

    fn revocation(&self) -> Revocation {
        Revocation {
            time: Seconds::new(u64::from(self.time_high) << 32 | u64::from(self.time_low)),
            reason: (self.reason != Self::NO_REASON).then_some(self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: u64, reason: Option<u8>) -> Revocation {
        let time = Seconds::new(time);
        Revocation { time, reason }
    }

    fn of<S: AsRef<[u8]>>(entries: &[(S, Revocation)]) -> Index {
        Index::of(entries.len(), || {
            let all = entries.iter();
            all.map(|(serial, revocation)| (Serial::new(serial.as_ref()).unwrap(), *revocation))
        })
    }

    fn get(index: &Index, serial: &[u8]) -> Option<Revocation> {
        index.get(Serial::new(serial).ok()?)
    }

    #[test]
    fn a_record_takes_28_octets() {
        assert_eq!(size_of::<Record>(), 28);
    }

    #[test]
    fn a_hundred_thousand_serials_are_found_and_no_others() {
        let serial = |n: u64| [&[1][..], &n.to_be_bytes()].concat();
        let entries: Vec<_> = (0..100_000)
            .map(|n| (serial(n * 2), at(n, Some(1))))
            .collect();
        let index = of(&entries);
        assert_eq!(index.len(), 100_000);
        for n in 0..100_000u64 {
            assert_eq!(get(&index, &serial(n * 2)), Some(at(n, Some(1))));
            assert_eq!(get(&index, &serial(n * 2 + 1)), None);
        }
        assert_eq!(index.iter().count(), 100_000);
        let longest = index.starts.windows(2).map(|of| of[1] - of[0]).max();
        assert!(longest < Some(40), "{longest:?}");
    }

    #[test]
    fn an_index_without_entries_finds_nothing() {
        for index in [Index::default(), of::<&[u8]>(&[])] {
            assert!(index.is_empty() && get(&index, &[1]).is_none());
        }
    }

    #[test]
    fn serials_are_told_apart_by_value() {
        let long = [&[0][..], &[0xab; 20]].concat();
        let serials = [&[0][..], &[0xff], &[0x00, 0xff], &long, &[0x7f; 20]];
        let index = of(&serials.map(|serial| (serial, at(7, None))));
        for serial in serials {
            assert_eq!(get(&index, serial), Some(at(7, None)));
        }
        assert_eq!(index.len(), 5);
        // The same numbers, written longer.
        assert!(get(&index, &[0, 0, 0]).is_some() && get(&index, &[0xff, 0xff]).is_some());
        // Other numbers with like octets.
        for serial in [
            &[][..],
            &[1],
            &[0xab; 20],
            &[0x7f; 21],
            &[0x7f; 19],
            &[0x00, 0xfe],
        ] {
            assert_eq!(get(&index, serial), None, "{serial:02x?}");
        }
        assert_eq!(Serial::new(&[0x7f; 21]), Err(SerialTooLong));
        let again = index.iter().find(|(serial, _)| serial.octets() == long);
        assert!(again.is_some());
    }

    #[test]
    fn of_two_entries_the_weightier_and_then_the_earlier_counts() {
        let entries = [
            at(5, Some(HOLD)),
            at(9, Some(1)),
            at(8, Some(4)),
            at(20, None),
        ];
        let index = of(&entries.map(|entry| ([1], entry)));
        assert_eq!((index.len(), get(&index, &[1])), (1, Some(at(8, Some(4)))));
    }

    #[test]
    fn what_another_lacks_is_found() {
        let of = |serials: &[u8]| {
            let entries = serials.iter().map(|serial| ([*serial], at(0, None)));
            of(&entries.collect::<Vec<_>>())
        };
        let lacks = |all: &[u8], other: &[u8]| -> Vec<u8> {
            let (all, other) = (of(all), of(other));
            let lacking = all.weaker_in(&other);
            let mut lacking: Vec<_> = lacking.map(|(serial, _)| serial.octets()[0]).collect();
            lacking.sort_unstable();
            lacking
        };
        assert_eq!(lacks(&[1, 2, 3, 4, 5], &[1, 3, 5, 6]), [2, 4]);
        assert_eq!(lacks(&[5, 1, 4, 2, 3], &[1, 2, 3, 4]), [5]);
        assert_eq!(lacks(&[1, 2], &[]), [1, 2]);
        assert_eq!(lacks(&[], &[1]), [0; 0]);
        let on_hold = super::tests::of(&[([1], at(0, None)), ([2], at(0, Some(HOLD)))]);
        assert_eq!(of(&[1, 2]).weaker_in(&on_hold).count(), 1);
    }

    #[test]
    fn the_last_second_fits() {
        let index = of(&[([1], at(Seconds::END.get(), None))]);
        assert_eq!(get(&index, &[1]), Some(at(Seconds::END.get(), None)));
    }
}
