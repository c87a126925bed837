//! A segment file's octets: a [`Head`], then batches of records. [`encode`] writes the frame of a batch,
//! [`Frame::decode`] reads it. A frame stands or falls as a whole: a crash inside a write leaves none of its records.

use super::{
    octets::{Fields, Short},
    record::{Encoded, Parts},
};

/// The first octets of every frame; the last one is the format's version.
const MAGIC: [u8; 4] = *b"GNJ1";

/// The first octets of a segment.
const SEGMENT_MAGIC: [u8; 4] = *b"GNS1";

/// Octets of a segment's head: magic, first sequence number, seed, checksum.
pub const SEGMENT_HEADER: usize = 32;

/// Magic, body length, first sequence number, count, checksum.
pub const HEADER: usize = 24;

/// A batch has at most the journal's queue of records, each with a token of a few KB: 64 KB each are room enough.
const LONGEST_BODY: u32 = 256 << 20;

/// Random octets that all checksums of a segment begin with. Clients choose octets of a record, and a frame that one
/// of them made up would otherwise be taken for one of ours where a crash has left half a frame.
pub type Seed = [u8; 16];

/// The beginning of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the first record, which is also in the file's name.
    pub first: u64,
    pub seed: Seed,
}

impl Head {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = SEGMENT_MAGIC.to_vec();
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.seed);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    /// The head at the beginning of `octets`.
    pub fn decode(octets: &[u8]) -> Result<Self, FrameError> {
        let wrong = |_: Short| FrameError::Head;
        let mut fields = Fields::new(octets);
        let magic: [u8; 4] = fields.array().map_err(wrong)?;
        let (first, seed) = (fields.u64().map_err(wrong)?, fields.array().map_err(wrong)?);
        let checksum = fields.u32().map_err(wrong)?;
        let head = octets.get(..SEGMENT_HEADER - 4).unwrap_or_default();
        let whole = magic == SEGMENT_MAGIC && checksum == crc32c::crc32c(head);
        whole
            .then_some(Self { first, seed })
            .ok_or(FrameError::Head)
    }
}

/// A frame whose checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The sequence number of the first record, which is also its leaf's index.
    pub first: u64,
    pub count: u32,
    body: &'a [u8],
}

/// Why no frame can be read at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nothing, or nothing but zeros: space laid out ahead.
    #[error("no frame")]
    Empty,
    #[error("the segment's head is not whole")]
    Head,
    #[error("no frame begins here: the octets `GNJ1` are missing")]
    Magic,
    #[error("the frame ends before its length says")]
    Torn,
    #[error("the frame's checksum does not hold")]
    Checksum,
    #[error("the frame's records do not fill it as it says")]
    Records,
}

/// Appends the frame of `records`, the first of which has the number `first`. `None` where it would be too
/// long.
pub fn encode(first: u64, records: &[Encoded], seed: &Seed, out: &mut Vec<u8>) -> Option<()> {
    let length: usize = records.iter().map(|record| record.octets().len()).sum();
    let length = u32::try_from(length)
        .ok()
        .filter(|length| *length <= LONGEST_BODY)?;
    let count = u32::try_from(records.len()).ok()?;
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    for record in records {
        out.extend_from_slice(record.octets());
    }
    let written = out.get(start..)?;
    let checksum = checksum(seed, written.get(..20)?, written.get(HEADER..)?);
    let place = out.iter_mut().skip(start + 20);
    for (to, from) in place.zip(checksum.to_be_bytes()) {
        *to = from;
    }
    Some(())
}

/// CRC-32C over the segment's seed, the header without its last field, and the body.
fn checksum(seed: &Seed, head: &[u8], body: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(seed), head);
    crc32c::crc32c_append(head, body)
}

impl<'a> Frame<'a> {
    /// The frame at the beginning of `octets`, and how many octets it has.
    pub fn decode(octets: &'a [u8], seed: &Seed) -> Result<(Self, usize), FrameError> {
        if octets.iter().take(HEADER).all(|octet| *octet == 0) {
            return Err(FrameError::Empty);
        }
        let torn = |_: Short| FrameError::Torn;
        let mut fields = Fields::new(octets);
        if fields.array().map_err(torn)? != MAGIC {
            return Err(FrameError::Magic);
        }
        let length = fields.u32().map_err(torn)?;
        if length > LONGEST_BODY {
            return Err(FrameError::Torn);
        }
        let (first, count) = (fields.u64().map_err(torn)?, fields.u32().map_err(torn)?);
        let expected = fields.u32().map_err(torn)?;
        let length = usize::try_from(length).map_err(|_| FrameError::Torn)?;
        let body = fields.take(length).map_err(torn)?;
        if checksum(seed, octets.get(..20).unwrap_or_default(), body) != expected {
            return Err(FrameError::Checksum);
        }
        if count == 0 {
            return Err(FrameError::Records);
        }
        Ok((Self { first, count, body }, HEADER + length))
    }

    /// Its records in order.
    pub fn records(&self) -> Result<Vec<Parts<'a>>, FrameError> {
        let mut fields = Fields::new(self.body);
        let mut records = Vec::new();
        for _ in 0..self.count {
            records.push(Parts::take(&mut fields).map_err(|_| FrameError::Records)?);
        }
        fields
            .rest()
            .is_empty()
            .then_some(records)
            .ok_or(FrameError::Records)
    }
}

/// Where in `octets` a whole frame with a number of at least `least` begins, though what is before it is none.
pub fn find_later(octets: &[u8], seed: &Seed, least: u64) -> Option<(usize, u64)> {
    let starts = octets.windows(MAGIC.len()).enumerate();
    let mut starts = starts.filter(|(_, window)| *window == MAGIC);
    starts.find_map(|(at, _)| {
        let (frame, _) = Frame::decode(octets.get(at..)?, seed).ok()?;
        (frame.first >= least).then_some((at, frame.first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::tests::token;

    const SEED: Seed = [8; 16];

    #[test]
    fn a_head_is_read_whole_or_not_at_all() {
        let head = Head {
            first: 7,
            seed: SEED,
        };
        let octets = head.encode();
        assert_eq!(octets.len(), SEGMENT_HEADER);
        assert_eq!(Head::decode(&octets), Ok(head));
        for at in 0..octets.len() {
            let mut altered = octets.clone();
            altered[at] ^= 1;
            assert_eq!(Head::decode(&altered), Err(FrameError::Head));
            assert_eq!(Head::decode(&octets[..at]), Err(FrameError::Head));
        }
    }

    /// A client's imprint can be a whole frame, but for the seed.
    #[test]
    fn a_frame_of_another_seed_is_none() {
        let octets = batch(5, 1);
        assert_eq!(Frame::decode(&octets, &[9; 16]), Err(FrameError::Checksum));
        assert_eq!(find_later(&octets, &[9; 16], 0), None);
    }

    fn batch(first: u64, count: u64) -> Vec<u8> {
        let records: Vec<_> = (first..first + count)
            .map(|number| Encoded::of_token(&token(number), &[0; 16], false))
            .collect();
        let mut out = Vec::new();
        encode(first, &records, &SEED, &mut out).unwrap();
        out
    }

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        let octets = [batch(5, 3), batch(8, 1), vec![0; 100]].concat();
        let (frame, length) = Frame::decode(&octets, &SEED).unwrap();
        assert_eq!(
            (frame.first, frame.count, frame.records().unwrap().len()),
            (5, 3, 3)
        );
        let (next, more) = Frame::decode(&octets[length..], &SEED).unwrap();
        assert_eq!((next.first, next.records().unwrap().len()), (8, 1));
        assert_eq!(
            Frame::decode(&octets[length + more..], &SEED),
            Err(FrameError::Empty)
        );
        for end in 1..length {
            assert!(Frame::decode(&octets[..end], &SEED).is_err(), "{end}");
        }
        for at in 0..length {
            let mut altered = octets[..length].to_vec();
            altered[at] ^= 1;
            assert!(Frame::decode(&altered, &SEED).is_err(), "{at}");
        }
        assert_eq!(find_later(&octets[1..], &SEED, 5), Some((length - 1, 8)));
        assert_eq!(find_later(&octets[1..], &SEED, 9), None);
    }
}
