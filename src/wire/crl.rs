//! Certificate revocation lists (RFC 5280 5). [`CertificateList::parse`] finds the parts of a CRL in
//! borrowed bytes; [`CertificateList::entries`] and [`Extensions`] walk the long ones without keeping
//! anything, so that a list of a million entries costs its own bytes and no more.

mod time;

use std::fmt;

use super::{
    oid::{self, ObjectIdentifier},
    time::Seconds,
    tlv::{DerError, Element, Reader, tag},
};
use time::{time, utc_time};

/// Extensions a single list may hold: far more than are defined, few enough to compare pairwise.
const MOST_EXTENSIONS: usize = 32;

/// Why bytes are not a CRL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlFormatError {
    #[error("not a CRL in DER form ({0}); give the file as the CA published it")]
    Der(#[from] DerError),
    #[error("the version is neither absent (v1) nor v2")]
    Version,
    #[error("there are extensions, but the version is not v2 (RFC 5280 5.1.2.1)")]
    ExtensionsWithoutV2,
    #[error("the signature algorithm within the signed part is not the one beside it")]
    AlgorithmsDiffer,
    #[error("the signature is no whole number of octets")]
    SignatureBits,
    #[error("`{0}` is not a time from 1970 on in the form YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ")]
    Time(String),
    #[error("the extension {0} stands twice")]
    DuplicateExtension(OidText),
    #[error("there are more than {MOST_EXTENSIONS} extensions in one place")]
    TooManyExtensions,
    #[error("the entry of serial {serial}: {error}")]
    Entry {
        serial: SerialText,
        error: Box<CrlFormatError>,
    },
    #[error("the critical extension {0} is not known here (RFC 5280 5.3)")]
    UnknownCritical(OidText),
    #[error("the reason code is none of RFC 5280 5.3.1")]
    Reason,
}

/// The name of a CRLReason (RFC 5280 5.3.1).
pub const fn reason_name(reason: Option<u8>) -> &'static str {
    match reason {
        Some(1) => "keyCompromise",
        Some(2) => "cACompromise",
        Some(3) => "affiliationChanged",
        Some(4) => "superseded",
        Some(5) => "cessationOfOperation",
        Some(6) => "certificateHold",
        Some(8) => "removeFromCRL",
        Some(9) => "privilegeWithdrawn",
        Some(10) => "aACompromise",
        _ => "unspecified",
    }
}

/// A serial's content octets as hexadecimal digits for messages; long ones are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialText(Vec<u8>);

impl SerialText {
    const SHOWN: usize = 32;

    pub fn new(serial: &[u8]) -> Self {
        Self(serial.iter().take(Self::SHOWN + 1).copied().collect())
    }
}

impl fmt::Display for SerialText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.iter().take(Self::SHOWN) {
            write!(f, "{octet:02x}")?;
        }
        f.write_str(if self.0.len() > Self::SHOWN {
            "..."
        } else {
            ""
        })
    }
}

/// An OBJECT IDENTIFIER's content octets for messages: dotted where that can be told, else hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidText(Vec<u8>);

impl OidText {
    pub fn new(content: &[u8]) -> Self {
        Self(content.to_vec())
    }
}

impl fmt::Display for OidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ObjectIdentifier::from_bytes(&self.0) {
            Ok(id) => id.fmt(f),
            Err(_) => SerialText::new(&self.0).fmt(f),
        }
    }
}

/// A CertificateList (RFC 5280 5.1). Its fixed parts have been read; entries and extensions are read as
/// they are walked.
#[derive(Debug, Clone, Copy)]
pub struct CertificateList<'a> {
    /// tbsCertList's whole encoding: what is signed.
    pub tbs: &'a [u8],
    /// The AlgorithmIdentifier's whole encoding, the same within and beside the signed part.
    pub algorithm: &'a [u8],
    /// The signature's octets, without the unused-bits octet.
    pub signature: &'a [u8],
    /// The issuer Name's whole encoding.
    pub issuer: &'a [u8],
    pub this_update: Seconds,
    /// RFC 5280 5.1.2.5 demands it, the syntax does not.
    pub next_update: Option<Seconds>,
    /// revokedCertificates' content; empty where it is absent.
    pub revoked: &'a [u8],
    /// crlExtensions, none where they are absent.
    pub extensions: Extensions<'a>,
    v2: bool,
}

impl<'a> CertificateList<'a> {
    /// From one DER CRL with nothing behind it. A revokedCertificates that is present and empty is
    /// tolerated (RFC 5280 5.1.2.6 wants it absent), since it means the same.
    pub fn parse(der: &'a [u8]) -> Result<Self, CrlFormatError> {
        let mut outer = Reader::whole(der, tag::SEQUENCE)?.reader();
        let signed = outer.expect(tag::SEQUENCE)?;
        let algorithm = outer.expect(tag::SEQUENCE)?.raw;
        let signature = outer.expect(tag::BIT_STRING)?.value;
        outer.finish()?;
        let [0, signature @ ..] = signature else {
            return Err(CrlFormatError::SignatureBits);
        };

        let mut tbs = signed.reader();
        let v2 = match tbs.optional(tag::INTEGER)? {
            None => false,
            Some(Element { value: [1], .. }) => true,
            Some(_) => return Err(CrlFormatError::Version),
        };
        if tbs.expect(tag::SEQUENCE)?.raw != algorithm {
            return Err(CrlFormatError::AlgorithmsDiffer);
        }
        let issuer = tbs.expect(tag::SEQUENCE)?.raw;
        let this_update = time(tbs.next_element()?)?;
        let next_update = match tbs.peek() {
            Some(tag::UTC_TIME | tag::GENERALIZED_TIME) => Some(time(tbs.next_element()?)?),
            _ => None,
        };
        let revoked = tbs
            .optional(tag::SEQUENCE)?
            .map_or(&[][..], |element| element.value);
        let extensions = match tbs.optional(tag::context_constructed(0))? {
            None => Extensions::NONE,
            Some(_) if !v2 => return Err(CrlFormatError::ExtensionsWithoutV2),
            Some(explicit) => Extensions::new(Reader::whole(explicit.value, tag::SEQUENCE)?.value)?,
        };
        tbs.finish()?;
        Ok(Self {
            tbs: signed.raw,
            algorithm,
            signature,
            issuer,
            this_update,
            next_update,
            revoked,
            extensions,
            v2,
        })
    }

    /// The serials alone, which costs less; nothing is said of where the list is wrong, and they end there.
    pub fn serials(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = Reader::new(self.revoked);
        std::iter::from_fn(move || {
            let mut fields = rest.expect(tag::SEQUENCE).ok()?.reader();
            fields.integer().ok()
        })
    }

    /// The revoked certificates in the list's order.
    pub const fn entries(&self) -> Entries<'a> {
        Entries {
            rest: Reader::new(self.revoked),
            v2: self.v2,
        }
    }
}

/// One revoked certificate (RFC 5280 5.1.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The userCertificate INTEGER's content octets, in DER's shortest form.
    pub serial: &'a [u8],
    pub revoked: Seconds,
    /// reasonCode (RFC 5280 5.3.1), 0 to 10 without 7.
    pub reason: Option<u8>,
}

/// crlEntryExtensions with a reasonCode and nothing else, but for the code itself.
const REASON: [u8; 13] = [
    tag::SEQUENCE,
    12,
    tag::SEQUENCE,
    10,
    tag::OID,
    3,
    0x55,
    0x1d,
    0x15,
    tag::OCTET_STRING,
    3,
    tag::ENUMERATED,
    1,
];

/// One entry of revokedCertificates by itself, as it stands in a CRL of version 2.
pub fn read_entry(der: &[u8]) -> Result<Entry<'_>, CrlFormatError> {
    let mut entries = Entries {
        rest: Reader::new(der),
        v2: true,
    };
    let entry = entries.entry()?;
    entries.rest.finish()?;
    Ok(entry)
}

/// Walks revokedCertificates. After an error there is nothing more.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: Reader<'a>,
    v2: bool,
}

impl<'a> Entries<'a> {
    /// An entry as nearly all are: short, with a UTCTime, and at most a reasonCode that is not critical. `None` tells
    /// nothing, and the entry is still to be read.
    fn plain(&mut self) -> Option<Entry<'a>> {
        let all = self.rest.rest();
        let (&[tag::SEQUENCE, length @ 0..0x80], all) = all.split_first_chunk()? else {
            return None;
        };
        let (fields, behind) = all.split_at_checked(length.into())?;
        let (&[tag::INTEGER, length @ 0..0x80], fields) = fields.split_first_chunk()? else {
            return None;
        };
        let (serial, fields) = fields.split_at_checked(length.into())?;
        let (&first, second) = (serial.first()?, serial.get(1));
        if matches!(first, 0x00 | 0xff) && second.is_some_and(|next| (next ^ first) & 0x80 == 0) {
            return None;
        }
        let (&[tag::UTC_TIME, 13], fields) = fields.split_first_chunk()? else {
            return None;
        };
        let (time, fields) = fields.split_first_chunk::<13>()?;
        let reason = match fields {
            [] => None,
            [before @ .., code @ (0..=6 | 8..=10)] if before == REASON && self.v2 => Some(*code),
            _ => return None,
        };
        let revoked = utc_time(time)?;
        self.rest = Reader::new(behind);
        Some(Entry {
            serial,
            revoked,
            reason,
        })
    }

    fn entry(&mut self) -> Result<Entry<'a>, CrlFormatError> {
        let mut fields = self.rest.expect(tag::SEQUENCE)?.reader();
        let serial = fields.integer()?;
        self.details(serial, fields)
            .map_err(|error| CrlFormatError::Entry {
                serial: SerialText::new(serial),
                error: Box::new(error),
            })
    }

    fn details(
        &self,
        serial: &'a [u8],
        mut fields: Reader<'a>,
    ) -> Result<Entry<'a>, CrlFormatError> {
        let revoked = time(fields.next_element()?)?;
        let mut reason = None;
        if let Some(list) = fields.optional(tag::SEQUENCE)? {
            if !self.v2 {
                return Err(CrlFormatError::ExtensionsWithoutV2);
            }
            for extension in Extensions::new(list.value)? {
                if extension.is(oid::REASON_CODE) {
                    reason = Some(reason_code(extension.value)?);
                } else if extension.critical && !extension.is(oid::INVALIDITY_DATE) {
                    // certificateIssuer is among these: it changes whose certificate is meant, and
                    // only indirect CRLs have it.
                    return Err(CrlFormatError::UnknownCritical(OidText::new(extension.id)));
                }
            }
        }
        fields.finish()?;
        Ok(Entry {
            serial,
            revoked,
            reason,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, CrlFormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(entry) = self.plain() {
            return Some(Ok(entry));
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// One extension (RFC 5280 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// extnID's content octets.
    pub id: &'a [u8],
    pub critical: bool,
    /// extnValue's content octets.
    pub value: &'a [u8],
}

impl Extension<'_> {
    /// Whether this is the extension that `id` names.
    pub fn is(&self, id: ObjectIdentifier) -> bool {
        self.id == id.as_bytes()
    }
}

/// A run of extensions, of which each can be read and none stands twice. A copy walks anew.
#[derive(Debug, Clone, Copy)]
pub struct Extensions<'a> {
    rest: Reader<'a>,
}

impl<'a> Extensions<'a> {
    /// No extensions.
    pub const NONE: Self = Self {
        rest: Reader::new(&[]),
    };

    /// From the content of an Extensions SEQUENCE. A criticality written out as FALSE is tolerated.
    pub fn new(content: &'a [u8]) -> Result<Self, CrlFormatError> {
        let all = Self {
            rest: Reader::new(content),
        };
        let mut walk = all.rest;
        let mut count = 0;
        while !walk.is_empty() {
            let extension = Self::read(&mut walk)?;
            let earlier = Self { rest: all.rest }.take(count);
            if earlier.into_iter().any(|other| other.id == extension.id) {
                return Err(CrlFormatError::DuplicateExtension(OidText::new(
                    extension.id,
                )));
            }
            count += 1;
            if count > MOST_EXTENSIONS {
                return Err(CrlFormatError::TooManyExtensions);
            }
        }
        Ok(all)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Extension<'a>, DerError> {
        let mut fields = reader.expect(tag::SEQUENCE)?.reader();
        let id = fields.oid()?;
        let critical = match fields.peek() {
            Some(tag::BOOLEAN) => fields.boolean()?,
            _ => false,
        };
        let value = fields.expect(tag::OCTET_STRING)?.value;
        fields.finish()?;
        Ok(Extension {
            id,
            critical,
            value,
        })
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        // All have been read once, so that an error here is the end.
        Self::read(&mut self.rest).ok()
    }
}

fn reason_code(value: &[u8]) -> Result<u8, CrlFormatError> {
    match Reader::whole(value, tag::ENUMERATED)?.value {
        &[code @ (0..=6 | 8..=10)] => Ok(code),
        _ => Err(CrlFormatError::Reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tlv::wrap;

    fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
        let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
        wrap(
            tag::SEQUENCE,
            &[
                &wrap(tag::OID, &[id.as_bytes()]),
                critical,
                &wrap(tag::OCTET_STRING, &[value]),
            ],
        )
    }

    fn entries(extensions: &[u8], v2: bool) -> Result<Vec<Option<u8>>, CrlFormatError> {
        let extensions = wrap(tag::SEQUENCE, &[extensions]);
        let revoked = wrap(
            tag::SEQUENCE,
            &[
                &[2, 1, 5],
                &wrap(tag::UTC_TIME, &[b"240101000000Z"]),
                &extensions,
            ],
        );
        let rest = Reader::new(&revoked);
        Entries { rest, v2 }
            .map(|entry| entry.map(|entry| entry.reason))
            .collect()
    }

    #[test]
    fn entry_extensions_are_judged() {
        let reason = extension(oid::REASON_CODE, false, &[0x0a, 1, 6]);
        assert_eq!(entries(&reason, true), Ok(vec![Some(6)]));
        assert_eq!(entries(&[], true), Ok(vec![None]));
        assert!(entries(&reason, false).is_err());
        assert!(entries(&[&reason[..], &reason].concat(), true).is_err());
        assert!(entries(&extension(oid::REASON_CODE, false, &[0x0a, 1, 7]), true).is_err());
        assert!(entries(&extension(oid::REASON_CODE, false, &[0x0a, 1, 11]), true).is_err());
        let other = extension(oid::CERTIFICATE_ISSUER, false, &[0x30, 0]);
        assert_eq!(entries(&other, true), Ok(vec![None]));
        let error = entries(&extension(oid::CERTIFICATE_ISSUER, true, &[0x30, 0]), true);
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("serial 05") && text.contains("2.5.29.29"),
            "{text}"
        );
    }

    #[test]
    fn the_short_way_says_what_the_long_one_says() {
        let reason = extension(oid::REASON_CODE, false, &[0x0a, 1, 6]);
        let fields = [
            &[tag::INTEGER, 2, 0, 0x85][..],
            &wrap(tag::UTC_TIME, &[b"240229235959Z"]),
        ];
        let bare = wrap(tag::SEQUENCE, &fields);
        let reason = wrap(tag::SEQUENCE, &[&reason]);
        let whole = wrap(tag::SEQUENCE, &[fields[0], fields[1], &reason]);
        let both = |der: &[u8], v2| {
            let rest = Reader::new(der);
            let (short, long) = (Entries { rest, v2 }.plain(), Entries { rest, v2 }.entry());
            if let Some(short) = short {
                assert_eq!(Ok(short), long, "{der:02x?}");
            }
            short.is_some()
        };
        assert!(both(&bare, false) && both(&whole, true) && !both(&whole, false));
        for entry in [bare, whole] {
            for at in 0..entry.len() {
                for octet in 0..=255 {
                    let mut changed = entry.clone();
                    changed[at] = octet;
                    both(&changed, true);
                }
                assert!(!both(&entry[..at], true));
            }
        }
    }

    #[test]
    fn an_extension_stands_once_and_they_are_few() {
        let one = extension(oid::CRL_NUMBER, false, &[2, 1, 1]);
        assert_eq!(Extensions::new(&one).unwrap().count(), 1);
        assert!(matches!(
            Extensions::new(&one.repeat(2)),
            Err(CrlFormatError::DuplicateExtension(_))
        ));
        let many: Vec<u8> = (0..=32u8)
            .flat_map(|n| {
                let id = ObjectIdentifier::from_bytes(&[0x55, 0x1d, n]).unwrap();
                extension(id, false, &[])
            })
            .collect();
        assert!(matches!(
            Extensions::new(&many),
            Err(CrlFormatError::TooManyExtensions)
        ));
    }
}
