//! The reader and writer below every hand-written DER path: [`Reader`] walks borrowed bytes and accepts
//! only DER lengths; [`Tlv`] functions append. What need not be fast uses the `der` crate instead.

/// The universal tags met here (X.690 8.1.2), and the context tags built with [`context`].
pub mod tag {
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const NULL: u8 = 0x05;
    pub const OID: u8 = 0x06;
    pub const ENUMERATED: u8 = 0x0a;
    pub const UTF8_STRING: u8 = 0x0c;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;

    /// `[n]` IMPLICIT over a primitive type; n below 31.
    pub const fn context(n: u8) -> u8 {
        0x80 | n
    }

    /// `[n]` EXPLICIT, or IMPLICIT over a constructed type; n below 31.
    pub const fn context_constructed(n: u8) -> u8 {
        0xa0 | n
    }
}

/// Why bytes are not the DER that was expected. Carries no position: the sender knows what it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    #[error("the encoding ends in the middle of an element")]
    Truncated,
    #[error("a length is not in DER form")]
    Length,
    #[error("an element of another type stands where one was expected")]
    UnexpectedTag,
    #[error("bytes follow the last element")]
    Trailing,
    #[error("a value is not in DER form")]
    Value,
}

/// One element: its tag, its content, and the whole encoding it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    pub tag: u8,
    /// The content octets.
    pub value: &'a [u8],
    /// Tag, length and content, as they came.
    pub raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// A reader over the content.
    pub fn reader(&self) -> Reader<'a> {
        Reader::new(self.value)
    }
}

/// Walks a run of DER elements. Copying it is free and marks a place to come back to.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads `bytes` as exactly one element of type `tag`, with nothing behind it.
    pub fn whole(bytes: &'a [u8], tag: u8) -> Result<Element<'a>, DerError> {
        let mut reader = Self::new(bytes);
        let element = reader.expect(tag)?;
        reader.finish()?;
        Ok(element)
    }

    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next element's tag, if there is one.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever its tag. Tags above 30 (X.690 8.1.2.4) are refused: none is in use here.
    pub fn next_element(&mut self) -> Result<Element<'a>, DerError> {
        let start = self.rest;
        let (&tag, after_tag) = start.split_first().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::UnexpectedTag);
        }
        let (&first, mut after_length) = after_tag.split_first().ok_or(DerError::Truncated)?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            // 0x80 is BER's indefinite form; four octets of length (4 GiB) are more than any limit here.
            if count == 0 || count > 4 {
                return Err(DerError::Length);
            }
            let (octets, rest) = after_length
                .split_at_checked(count)
                .ok_or(DerError::Truncated)?;
            after_length = rest;
            let length = octets
                .iter()
                .fold(0usize, |sum, &octet| sum << 8 | usize::from(octet));
            if length < 0x80 || octets.first() == Some(&0) {
                return Err(DerError::Length);
            }
            length
        };
        let (value, rest) = after_length
            .split_at_checked(length)
            .ok_or(DerError::Truncated)?;
        let raw = start
            .get(..start.len() - rest.len())
            .ok_or(DerError::Truncated)?;
        self.rest = rest;
        Ok(Element { tag, value, raw })
    }

    /// The next element, which must be of type `tag`.
    pub fn expect(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        match self.peek() {
            Some(found) if found == tag => self.next_element(),
            Some(_) => Err(DerError::UnexpectedTag),
            None => Err(DerError::Truncated),
        }
    }

    /// The next element if it is of type `tag`.
    pub fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        match self.peek() {
            Some(found) if found == tag => self.next_element().map(Some),
            _ => Ok(None),
        }
    }

    /// A BOOLEAN; DER knows only 00 and FF (X.690 11.1).
    pub fn boolean(&mut self) -> Result<bool, DerError> {
        match self.expect(tag::BOOLEAN)?.value {
            [0x00] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(DerError::Value),
        }
    }

    /// An INTEGER's content octets, checked for DER's shortest form (X.690 8.3.2).
    pub fn integer(&mut self) -> Result<&'a [u8], DerError> {
        let value = self.expect(tag::INTEGER)?.value;
        match value {
            [] => Err(DerError::Value),
            [0x00, second, ..] if second & 0x80 == 0 => Err(DerError::Value),
            [0xff, second, ..] if second & 0x80 != 0 => Err(DerError::Value),
            _ => Ok(value),
        }
    }

    /// An OBJECT IDENTIFIER's content octets, checked for form (X.690 8.19): shortest sub-identifiers,
    /// the last one ended.
    pub fn oid(&mut self) -> Result<&'a [u8], DerError> {
        let value = self.expect(tag::OID)?.value;
        let mut at_start = true;
        for &octet in value {
            if at_start && octet == 0x80 {
                return Err(DerError::Value);
            }
            at_start = octet & 0x80 == 0;
        }
        if value.is_empty() || !at_start {
            Err(DerError::Value)
        } else {
            Ok(value)
        }
    }

    /// Nothing may be left.
    pub const fn finish(&self) -> Result<(), DerError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DerError::Trailing)
        }
    }
}

/// How many octets tag and length take before a content of `length` octets.
pub const fn header_len(length: usize) -> usize {
    match length {
        0..=0x7f => 2,
        0x80..=0xff => 3,
        0x100..=0xffff => 4,
        0x1_0000..=0xff_ffff => 5,
        _ => 6,
    }
}

/// Appends tag and DER length for a content of `length` octets, below 4 GiB.
pub fn put_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    let octets = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let [.., last] = octets;
    if length < 0x80 {
        out.push(last);
        return;
    }
    let significant = header_len(length) - 2;
    out.push(0x80 | u8::try_from(significant).unwrap_or(4));
    out.extend(octets.iter().skip(octets.len() - significant));
}

/// Appends one element.
pub fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    put_header(out, tag, content.len());
    out.extend_from_slice(content);
}

/// One element of `tag` around the concatenation of `parts`.
pub fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(header_len(length) + length);
    put_header(&mut out, tag, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Appends an INTEGER from a big-endian magnitude: leading zeros dropped, a zero octet put before a set top bit.
pub fn put_unsigned(out: &mut Vec<u8>, magnitude: &[u8]) {
    let zeros = magnitude.iter().take_while(|&&octet| octet == 0).count();
    let trimmed = magnitude.get(zeros..).unwrap_or_default();
    let pad = trimmed.first().is_none_or(|&octet| octet & 0x80 != 0);
    put_header(out, tag::INTEGER, trimmed.len() + usize::from(pad));
    if pad {
        out.push(0);
    }
    out.extend_from_slice(trimmed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_der_lengths_are_read() {
        for bad in [
            &[0x30u8, 0x80, 0, 0][..],
            &[0x04, 0x81, 0x01, 0],
            &[0x04, 0x82, 0x00, 0x80],
            &[0x04, 0x85, 1, 1, 1, 1, 1],
        ] {
            assert_eq!(
                Reader::new(bad).next_element(),
                Err(DerError::Length),
                "{bad:02x?}"
            );
        }
        for short in [
            &[][..],
            &[0x30],
            &[0x30, 0x02, 0x05],
            &[0x04, 0x81],
            &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(
                Reader::new(short).next_element(),
                Err(DerError::Truncated),
                "{short:02x?}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; length];
            let mut out = Vec::new();
            put(&mut out, tag::OCTET_STRING, &content);
            assert_eq!(out.len(), header_len(length) + length);
            assert_eq!(
                Reader::whole(&out, tag::OCTET_STRING).unwrap().value,
                content
            );
            assert_eq!(wrap(tag::OCTET_STRING, &[&content]), out);
        }
    }

    #[test]
    fn integers_have_one_form() {
        let encode = |magnitude: &[u8]| {
            let mut out = Vec::new();
            put_unsigned(&mut out, magnitude);
            out
        };
        assert_eq!(encode(&[]), [2, 1, 0]);
        assert_eq!(encode(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(encode(&[0x80]), [2, 2, 0, 0x80]);
        assert!(Reader::new(&[2, 2, 0, 0x7f]).integer().is_err());
        assert!(Reader::new(&[2, 2, 0xff, 0x80]).integer().is_err());
        assert!(Reader::new(&[2, 0]).integer().is_err());
        assert_eq!(Reader::new(&[2, 1, 0xff]).integer(), Ok(&[0xff][..]));
    }

    #[test]
    fn object_identifiers_are_checked_for_form() {
        assert!(Reader::new(&[6, 0]).oid().is_err());
        assert!(Reader::new(&[6, 2, 0x2a, 0x86]).oid().is_err());
        assert!(Reader::new(&[6, 3, 0x2a, 0x80, 0x01]).oid().is_err());
        assert!(Reader::new(&[6, 3, 0x2a, 0x86, 0x01]).oid().is_ok());
    }
}
