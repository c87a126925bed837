//! A CRL of any size, read from its beginning to its end without holding it: [`CrlStream`] gives entry after entry,
//! and then everything else. Nothing is verified.

use std::io::{self, Read};

use crate::wire::{
    crl::{CertificateList, CrlFormatError, Entry, read_entry},
    tlv::{DerError, put_header, tag, wrap},
};

/// Octets of one element that is no list of entries. The largest are extensions of some kilobytes.
const LONGEST: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("it ends in the middle; fetch it again")]
    Ends,
    #[error("cannot be read: {0}")]
    Read(io::Error),
    #[error(transparent)]
    Format(#[from] CrlFormatError),
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ends,
            _ => Self::Read(error),
        }
    }
}

impl From<DerError> for StreamError {
    fn from(error: DerError) -> Self {
        Self::Format(error.into())
    }
}

/// A CertificateList of which the entries have been passed.
#[derive(Debug)]
pub struct CrlStream<R> {
    source: R,
    /// The tbsCertList's fields but the entries.
    fields: Vec<u8>,
    /// What is left of tbsCertList, and of the entries.
    tbs_left: u64,
    entries_left: u64,
}

impl<R: Read> CrlStream<R> {
    /// Reads up to the first entry.
    pub fn open(mut source: R) -> Result<Self, StreamError> {
        header(&mut source, Some(tag::SEQUENCE))?;
        let (_, tbs_left, _) = header(&mut source, Some(tag::SEQUENCE))?;
        let mut stream = Self {
            source,
            fields: Vec::new(),
            tbs_left,
            entries_left: 0,
        };
        let mut seen = 0;
        while stream.tbs_left > 0 {
            let (tag, length, octets) = header(&mut stream.source, None)?;
            let is_time = matches!(tag, tag::UTC_TIME | tag::GENERALIZED_TIME);
            stream.leave(octets)?;
            // Behind the times comes the list of entries, or nothing but extensions.
            if tag == tag::SEQUENCE && seen > 0 {
                stream.entries_left = length;
                stream.leave(length)?;
                break;
            }
            stream.field(tag, length)?;
            seen += usize::from(is_time);
        }
        Ok(stream)
    }

    fn leave(&mut self, octets: u64) -> Result<(), StreamError> {
        let left = self.tbs_left.checked_sub(octets);
        self.tbs_left = left.ok_or(DerError::Truncated)?;
        Ok(())
    }

    fn field(&mut self, tag: u8, length: u64) -> Result<(), StreamError> {
        self.leave(length)?;
        let content = content(&mut self.source, length)?;
        put_header(&mut self.fields, tag, content.len());
        self.fields.extend(content);
        Ok(())
    }

    /// Hands the next entry over; false where there is none.
    pub fn entry(&mut self, visit: impl FnOnce(&Entry<'_>)) -> Result<bool, StreamError> {
        if self.entries_left == 0 {
            return Ok(false);
        }
        let (tag, length, octets) = header(&mut self.source, Some(tag::SEQUENCE))?;
        let whole = length.checked_add(octets);
        let left = whole.and_then(|whole| self.entries_left.checked_sub(whole));
        self.entries_left = left.ok_or(DerError::Truncated)?;
        let der = wrap(tag, &[&content(&mut self.source, length)?]);
        visit(&read_entry(&der)?);
        Ok(true)
    }

    /// Hands over the CRL as it is without its entries.
    pub fn rest<T>(
        mut self,
        visit: impl FnOnce(&CertificateList<'_>) -> T,
    ) -> Result<T, StreamError> {
        while self.entry(|_| {})? {}
        while self.tbs_left > 0 {
            let (tag, length, octets) = header(&mut self.source, None)?;
            self.leave(octets)?;
            self.field(tag, length)?;
        }
        let mut behind = Vec::new();
        (&mut self.source).take(LONGEST).read_to_end(&mut behind)?;
        let tbs = wrap(tag::SEQUENCE, &[&self.fields]);
        let der = wrap(tag::SEQUENCE, &[&tbs, &behind]);
        Ok(visit(&CertificateList::parse(&der)?))
    }
}

/// An element's tag, the length of its content, and how many octets these took.
fn header(source: &mut impl Read, expected: Option<u8>) -> Result<(u8, u64, u64), StreamError> {
    let mut first = [0; 2];
    source.read_exact(&mut first)?;
    let [tag, length] = first;
    if expected.is_some_and(|expected| expected != tag) {
        return Err(DerError::UnexpectedTag.into());
    }
    if length < 0x80 {
        return Ok((tag, length.into(), 2));
    }
    let count = u64::from(length & 0x7f);
    if !(1..=8).contains(&count) {
        return Err(DerError::Length.into());
    }
    let mut octets = Vec::new();
    source.take(count).read_to_end(&mut octets)?;
    if u64::try_from(octets.len()) != Ok(count) {
        return Err(StreamError::Ends);
    }
    let length = octets
        .iter()
        .fold(0, |sum: u64, octet| sum << 8 | u64::from(*octet));
    Ok((tag, length, 2 + count))
}

fn content(source: &mut impl Read, length: u64) -> Result<Vec<u8>, StreamError> {
    if length > LONGEST {
        return Err(DerError::Length.into());
    }
    let mut octets = Vec::new();
    source.take(length).read_to_end(&mut octets)?;
    match u64::try_from(octets.len()) {
        Ok(read) if read == length => Ok(octets),
        _ => Err(StreamError::Ends),
    }
}
