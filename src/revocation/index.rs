//! The revoked serials of one CRL in memory: [`Index`] gives a serial's [`Revocation`]. Fixed records and
//! a table of slots beside them, about 35 octets an entry; most questions miss, and a miss usually ends
//! at one octet of the table.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

use crate::wire::time::Seconds;

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

/// Serials by exact value, at most 20 octets long. Hashed with a key of its own (SipHash), since serials are chosen by whoever
/// asks.
#[derive(Clone)]
pub struct Index {
    hasher: RandomState,
    records: Vec<Record>,
    /// For each slot 0 where it is free, else seven bits of the hash under a set top bit.
    tags: Vec<u8>,
    /// For each slot the record's place.
    places: Vec<u32>,
}

impl Index {
    /// With room for `count` serials.
    pub fn with_capacity(count: usize) -> Self {
        let slots = slots_for(count);
        Self {
            hasher: RandomState::new(),
            records: Vec::with_capacity(count),
            tags: vec![0; slots],
            places: vec![0; slots],
        }
    }

    /// How many serials there are.
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a serial by its INTEGER content octets; one that is there already keeps what counts more. Whether it
    /// is new.
    pub fn insert(&mut self, serial: &[u8], revocation: Revocation) -> Result<bool, SerialTooLong> {
        let key = Key::new(serial).ok_or(SerialTooLong)?;
        match self.find(&key) {
            Ok(place) => {
                if let Some(record) = self.records.get_mut(place) {
                    *record = Record::new(key, record.revocation().or(revocation));
                }
                Ok(false)
            }
            Err(slot) => {
                if slots_for(self.records.len() + 1) > self.tags.len() {
                    self.grow();
                    return self.insert(serial, revocation);
                }
                let place = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
                let tag = tag_of(self.hasher.hash_one(key));
                if let (Some(at), Some(to)) = (self.tags.get_mut(slot), self.places.get_mut(slot)) {
                    *at = tag;
                    *to = place;
                }
                self.records.push(Record::new(key, revocation));
                Ok(true)
            }
        }
    }

    /// The revocation of a serial given by its INTEGER content octets.
    pub fn get(&self, serial: &[u8]) -> Option<Revocation> {
        let place = self.find(&Key::new(serial)?).ok()?;
        self.records.get(place).map(Record::revocation)
    }

    /// All serials and their revocations, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (Serial, Revocation)> {
        let records = self.records.iter();
        records.map(|record| (Serial(record.key), record.revocation()))
    }

    /// The serials of this index that `other` has not, or only on hold, with their revocations. Both are usually nearly
    /// the same and in the same order, so that most cost one comparison.
    pub fn weaker_in<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (Serial, Revocation)> + 'a {
        let mut beside = 0;
        self.records.iter().filter_map(move |record| {
            let same = other.records.get(beside);
            let same = same.filter(|same| same.key == record.key).or_else(|| {
                beside = other.find(&record.key).ok()?;
                other.records.get(beside)
            });
            if let Some(same) = same {
                beside += 1;
                if same.reason != HOLD {
                    return None;
                }
            }
            Some((Serial(record.key), record.revocation()))
        })
    }

    /// The record's place, or the slot that is free for it.
    fn find(&self, key: &Key) -> Result<usize, usize> {
        let hash = self.hasher.hash_one(key);
        let wanted = tag_of(hash);
        let start = self.slot_of(hash);
        for slot in (start..self.tags.len()).chain(0..start) {
            match self.tags.get(slot) {
                Some(&tag) if tag == wanted => {
                    let place = self
                        .places
                        .get(slot)
                        .and_then(|&at| usize::try_from(at).ok());
                    let record = place.and_then(|place| Some((place, self.records.get(place)?)));
                    if let Some((place, record)) = record
                        && record.key == *key
                    {
                        return Ok(place);
                    }
                }
                Some(0) | None => return Err(slot),
                Some(_) => {}
            }
        }
        Err(start)
    }

    /// A slot in proportion to the hash's upper bits; the tag uses the lowest.
    fn slot_of(&self, hash: u64) -> usize {
        let slots = u64::try_from(self.tags.len()).unwrap_or(u64::MAX);
        let scaled = (u128::from(hash) * u128::from(slots)) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    fn grow(&mut self) {
        let mut larger = Self::with_capacity(self.records.len() * 2 + 8);
        for record in &self.records {
            // A key of a record always fits.
            let _ = larger.insert(&Serial(record.key).octets(), record.revocation());
        }
        *self = larger;
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

/// A quarter more slots than records, and one that stays free, so that a search always ends.
const fn slots_for(records: usize) -> usize {
    records + records / 4 + 1
}

fn tag_of(hash: u64) -> u8 {
    let [.., lowest] = hash.to_be_bytes();
    lowest | 0x80
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

    #[test]
    fn a_record_takes_28_octets() {
        assert_eq!(size_of::<Record>(), 28);
    }

    #[test]
    fn a_hundred_thousand_serials_are_found_and_no_others() {
        // Without the room announced, the table grows.
        for capacity in [100_000, 0] {
            let mut index = Index::with_capacity(capacity);
            for n in 0..100_000u64 {
                let serial = [&[1][..], &(n * 2).to_be_bytes()].concat();
                index.insert(&serial, at(n, Some(1))).unwrap();
            }
            assert_eq!(index.len(), 100_000);
            for n in 0..100_000u64 {
                let serial = |n: u64| [&[1][..], &n.to_be_bytes()].concat();
                assert_eq!(index.get(&serial(n * 2)), Some(at(n, Some(1))));
                assert_eq!(index.get(&serial(n * 2 + 1)), None);
            }
        }
    }

    #[test]
    fn serials_are_told_apart_by_value() {
        let mut index = Index::with_capacity(8);
        let long = [&[0][..], &[0xab; 20]].concat();
        for serial in [&[0][..], &[0xff], &[0x00, 0xff], &long, &[0x7f; 20]] {
            index.insert(serial, at(7, None)).unwrap();
            assert_eq!(index.get(serial), Some(at(7, None)));
        }
        assert_eq!(index.len(), 5);
        // The same numbers, written longer.
        assert!(index.get(&[0, 0, 0]).is_some() && index.get(&[0xff, 0xff]).is_some());
        // Other numbers with like octets.
        for serial in [
            &[][..],
            &[1],
            &[0xab; 20],
            &[0x7f; 21],
            &[0x7f; 19],
            &[0x00, 0xfe],
        ] {
            assert_eq!(index.get(serial), None, "{serial:02x?}");
        }
        assert_eq!(index.insert(&[0x7f; 21], at(0, None)), Err(SerialTooLong));
    }

    #[test]
    fn of_two_entries_the_weightier_and_then_the_earlier_counts() {
        let mut index = Index::with_capacity(2);
        for entry in [
            at(5, Some(HOLD)),
            at(9, Some(1)),
            at(8, Some(4)),
            at(20, None),
        ] {
            index.insert(&[1], entry).unwrap();
        }
        assert_eq!((index.len(), index.get(&[1])), (1, Some(at(8, Some(4)))));
    }

    #[test]
    fn what_another_lacks_is_found_in_any_order() {
        let of = |serials: &[u8]| {
            let mut index = Index::with_capacity(0);
            for serial in serials {
                index.insert(&[*serial], at(0, None)).unwrap();
            }
            index
        };
        let lacks = |all: &[u8], other: &[u8]| -> Vec<u8> {
            let (all, other) = (of(all), of(other));
            let lacking = all.weaker_in(&other);
            lacking.map(|(serial, _)| serial.octets()[0]).collect()
        };
        assert_eq!(lacks(&[1, 2, 3, 4, 5], &[1, 3, 5, 6]), [2, 4]);
        assert_eq!(lacks(&[5, 1, 4, 2, 3], &[1, 2, 3, 4]), [5]);
        assert_eq!(lacks(&[1, 2], &[]), [1, 2]);
        assert_eq!(lacks(&[], &[1]), [0; 0]);
        let mut on_hold = of(&[1]);
        on_hold.insert(&[2], at(0, Some(HOLD))).unwrap();
        assert_eq!(of(&[1, 2]).weaker_in(&on_hold).count(), 1);
        let long = [&[0][..], &[0xab; 20]].concat();
        let mut index = Index::with_capacity(1);
        index.insert(&long, at(1, None)).unwrap();
        assert_eq!(index.iter().next().unwrap().0.octets(), long);
    }

    #[test]
    fn the_last_second_fits() {
        let mut index = Index::with_capacity(1);
        index.insert(&[1], at(Seconds::END.get(), None)).unwrap();
        assert_eq!(index.get(&[1]), Some(at(Seconds::END.get(), None)));
    }
}
