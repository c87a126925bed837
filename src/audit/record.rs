//! One record of the journal, as octets. What goes in is a [`TokenIssued`] or an [`Event`]; [`Encoded`] is its
//! binary form, and [`Record`] reads that again. A record has a public part, which is a leaf of the log's tree,
//! and a private one, which hangs on it by a salted hash. `docs/journal.md` has every octet.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;

use super::{
    TokenIssued,
    event::Event,
    octets::{Fields, Short, put_long, put_short},
    tree::{Hash, leaf_hash},
};
use crate::{clock::Basis, wire::algorithm::sha256};

/// The version of a public part's form, its first octet.
const VERSION: u8 = 1;

/// The kind of a token's record; events have those above.
const TOKEN: u8 = 1;

/// Where the commitment stands in a public part: after version, kind and time.
const COMMITMENT: usize = 10;

/// The bound of a clock that nobody vouches for.
const UNKNOWN: u64 = u64::MAX;

/// 128 bits, so that nobody finds a private part by trying likely ones against its hash.
pub type Salt = [u8; 16];

/// A record's binary form, as it stands in a frame, with the hash of its leaf.
#[derive(Debug, Clone)]
pub struct Encoded {
    octets: Vec<u8>,
    public: usize,
    leaf: Hash,
}

impl Encoded {
    /// A token's record; with the whole token where `keep_token` says so.
    pub fn of_token(entry: &TokenIssued, salt: &Salt, keep_token: bool) -> Self {
        Self::build(TOKEN, entry.gen_time, |public, private| {
            put_short(public, &entry.serial);
            // Nobody knows how far a demo's clock is from UTC, and the public part must not say otherwise.
            let bound = match entry.basis {
                Basis::Proven => nanos(entry.bound),
                Basis::Demo => UNKNOWN,
            };
            public.extend_from_slice(&bound.to_be_bytes());
            put_short(public, entry.tsu.as_bytes());
            put_short(public, entry.policy.as_bytes());
            put_short(public, entry.imprint_algorithm.oid().as_bytes());
            put_short(public, &entry.imprint);
            public.extend_from_slice(&entry.token_digest);
            private.extend_from_slice(salt);
            private.extend_from_slice(&nanos(entry.reading).to_be_bytes());
            put_short(private, entry.basis.to_string().as_bytes());
            put_short(
                private,
                entry
                    .nonce_digest
                    .as_ref()
                    .map_or(&[], |digest| &digest[..]),
            );
            put_long(private, if keep_token { &entry.token } else { &[] });
        })
    }

    /// An event's record; `time` is the clock's reading, proven or not.
    pub fn of_event(event: &Event, time: Duration, salt: &Salt) -> Self {
        Self::build(event.kind(), time, |_, private| {
            private.extend_from_slice(salt);
            private.extend_from_slice(event.details().as_bytes());
        })
    }

    fn build(kind: u8, time: Duration, fill: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Self {
        let (mut octets, mut private) = (Vec::with_capacity(384), Vec::with_capacity(96));
        // The two lengths, which are known at the end.
        octets.extend_from_slice(&[0; 8]);
        octets.extend_from_slice(&[VERSION, kind]);
        octets.extend_from_slice(&nanos(time).to_be_bytes());
        octets.extend_from_slice(&[0; 32]);
        fill(&mut octets, &mut private);
        let public = octets.len().saturating_sub(8);
        let commitment = sha256(&[&private]);
        let length = |octets: usize| u32::try_from(octets).unwrap_or(u32::MAX).to_be_bytes();
        let lengths = [length(public), length(private.len())].concat();
        let at_commitment = octets.iter_mut().skip(8 + COMMITMENT);
        for (to, from) in at_commitment.zip(&commitment) {
            *to = *from;
        }
        for (to, from) in octets.iter_mut().zip(&lengths) {
            *to = *from;
        }
        let leaf = leaf_hash(octets.get(8..).unwrap_or_default());
        octets.append(&mut private);
        Self {
            octets,
            public,
            leaf,
        }
    }

    /// As it stands in a frame.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The leaf of the log.
    pub fn public(&self) -> &[u8] {
        self.octets.get(8..8 + self.public).unwrap_or_default()
    }

    pub const fn leaf(&self) -> Hash {
        self.leaf
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The two parts of a record in a frame, not yet read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    pub public: &'a [u8],
    pub private: &'a [u8],
}

impl<'a> Parts<'a> {
    /// The next record of a frame's body.
    pub fn take(fields: &mut Fields<'a>) -> Result<Self, Short> {
        let (public, private) = (fields.u32()?, fields.u32()?);
        let length = |octets| usize::try_from(octets).map_err(|_| Short);
        Ok(Self {
            public: fields.take(length(public)?)?,
            private: fields.take(length(private)?)?,
        })
    }

    /// Whether the private part is the one that the public part commits to.
    pub fn belong(&self) -> bool {
        let committed = self.public.get(COMMITMENT..COMMITMENT + 32);
        committed == Some(&sha256(&[self.private])[..])
    }
}

/// A record's public part, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: u8,
    /// A token's genTime; the reading of the clock otherwise.
    pub time: Duration,
    /// Only in a token's record.
    pub token: Option<Token<'a>>,
}

/// What the public part says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'a> {
    pub serial: &'a [u8],
    /// How far genTime can be from UTC; `None` where nobody vouched for the clock.
    pub bound: Option<Duration>,
    pub tsu: Cow<'a, str>,
    /// Contents octets of the policy's OBJECT IDENTIFIER.
    pub policy: &'a [u8],
    pub imprint_algorithm: &'a [u8],
    pub imprint: &'a [u8],
    /// SHA-256 of the token.
    pub digest: Hash,
}

/// What a private part holds, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Private<'a> {
    Token {
        /// The clock's reading, of which genTime is the cut.
        reading: Duration,
        /// What allowed it.
        clock: Cow<'a, str>,
        /// SHA-256 of the nonce's contents octets; empty where there was none.
        nonce_digest: &'a [u8],
        /// Empty where the configuration does not keep tokens.
        token: &'a [u8],
    },
    Event(Value),
}

/// A part that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record is of version {0}, which this gnomon does not know")]
    Version(u8),
    #[error("the record ends inside a field")]
    Short(#[from] Short),
    #[error("the record has {0} octets too many")]
    Long(usize),
    #[error("the record's details are no JSON")]
    Details,
}

impl<'a> Record<'a> {
    pub fn parse(public: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = Fields::new(public);
        let version = fields.u8()?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let kind = fields.u8()?;
        let time = Duration::from_nanos(fields.u64()?);
        fields.take(32)?;
        let token = match kind {
            TOKEN => Some(Token {
                serial: fields.short()?,
                bound: Some(fields.u64()?)
                    .filter(|bound| *bound != UNKNOWN)
                    .map(Duration::from_nanos),
                tsu: String::from_utf8_lossy(fields.short()?),
                policy: fields.short()?,
                imprint_algorithm: fields.short()?,
                imprint: fields.short()?,
                digest: fields.array()?,
            }),
            _ => None,
        };
        match fields.rest().len() {
            0 => Ok(Self { kind, time, token }),
            more => Err(RecordError::Long(more)),
        }
    }

    /// The kind in words.
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            TOKEN => "token",
            kind => Event::kind_name(kind),
        }
    }

    /// Reads the private part that belongs to this.
    pub fn private<'b>(&self, private: &'b [u8]) -> Result<Private<'b>, RecordError> {
        let mut fields = Fields::new(private);
        fields.take(size_of::<Salt>())?;
        if self.token.is_none() {
            let details = serde_json::from_slice(fields.rest());
            return details
                .map(Private::Event)
                .map_err(|_| RecordError::Details);
        }
        let token = Private::Token {
            reading: Duration::from_nanos(fields.u64()?),
            clock: String::from_utf8_lossy(fields.short()?),
            nonce_digest: fields.short()?,
            token: fields.long()?,
        };
        match fields.rest().len() {
            0 => Ok(token),
            more => Err(RecordError::Long(more)),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::wire::algorithm::DigestAlgorithm;

    /// A token's record whose serial and imprint are made of `number`.
    pub fn token(number: u64) -> TokenIssued {
        let mut serial = [0; 16];
        serial[8..].copy_from_slice(&number.to_be_bytes());
        TokenIssued {
            tsu: "a".into(),
            serial,
            policy: "1.2.3.4.1".parse().unwrap(),
            gen_time: Duration::from_secs(1_800_000_000 + number),
            reading: Duration::from_millis(1_800_000_000_123 + 1000 * number),
            bound: Duration::from_millis(3),
            basis: Basis::Proven,
            imprint_algorithm: DigestAlgorithm::Sha256,
            imprint: vec![7; 32],
            nonce_digest: Some([5; 32]),
            token_digest: [9; 32],
            token: b"token".as_slice().into(),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for keep in [false, true] {
            let encoded = Encoded::of_token(&token(1), &[4; 16], keep);
            let mut fields = Fields::new(encoded.octets());
            let parts = Parts::take(&mut fields).unwrap();
            assert!(parts.belong() && fields.rest().is_empty());
            assert_eq!(parts.public, encoded.public());
            assert_eq!(leaf_hash(parts.public), encoded.leaf());
            let record = Record::parse(parts.public).unwrap();
            assert_eq!(
                (record.kind_name(), record.time.as_secs()),
                ("token", 1_800_000_001)
            );
            let public = record.token.clone().unwrap();
            assert_eq!(
                (public.serial.len(), &*public.tsu, public.digest),
                (16, "a", [9; 32])
            );
            let Private::Token { token, clock, .. } = record.private(parts.private).unwrap() else {
                panic!("a token's");
            };
            assert_eq!(
                (token, &*clock),
                (if keep { &b"token"[..] } else { b"" }, "proven")
            );
            for end in 0..parts.public.len() {
                assert!(Record::parse(&parts.public[..end]).is_err());
            }
        }
        let event = Event::ClockLost {
            reason: "stratum 16".into(),
            last_proven: None,
        };
        let encoded = Encoded::of_event(&event, Duration::from_secs(5), &[4; 16]);
        let parts = Parts::take(&mut Fields::new(encoded.octets())).unwrap();
        let record = Record::parse(parts.public).unwrap();
        assert_eq!(record.kind_name(), "clock lost");
        let Private::Event(details) = record.private(parts.private).unwrap() else {
            panic!("an event's");
        };
        assert_eq!(details["reason"], "stratum 16");
        let other = [parts.private, b" "].concat();
        assert!(
            !Parts {
                private: &other,
                ..parts
            }
            .belong()
        );
    }
}
