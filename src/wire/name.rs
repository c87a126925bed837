//! Distinguished names (RFC 5280 4.1.2.4): [`same_name`] compares two, [`ComparableName`] looks one up among many,
//! [`name_text`] shows one.

use std::str::FromStr;

use der::{Decode, Encode};

use super::tlv::{DerError, Reader, tag};

/// Whether two encodings of a Name mean the same (RFC 5280 7.1): attribute by attribute, with texts compared
/// without regard to their string type, to case, and to the amount of white space. A name that cannot be read is
/// the same as its own octets alone.
pub fn same_name(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (attributes(one), attributes(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A Name's encoding as RFC 4514 writes it.
pub fn name_text(der: &[u8]) -> Option<String> {
    let name = x509_cert::name::Name::from_der(der).ok()?;
    Some(name.to_string())
}

/// A name that equals and hashes as [`same_name`] compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ComparableName(Attributes);

impl ComparableName {
    /// From a Name's encoding.
    pub fn from_der(name: &[u8]) -> Result<Self, DerError> {
        attributes(name).map(Self)
    }

    /// From how RFC 4514 writes it: the last RDN first.
    pub fn from_text(text: &str) -> Option<Self> {
        let name = x509_cert::name::Name::from_str(text).ok()?;
        if name.0.is_empty() {
            return None;
        }
        Self::from_der(&name.to_der().ok()?).ok()
    }
}

/// For each RDN its attributes, of which a SET gives no order that another string type would keep.
type Attributes = Vec<Vec<(Vec<u8>, Value)>>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Text(String),
    /// With its tag.
    Other(Vec<u8>),
}

fn attributes(name: &[u8]) -> Result<Attributes, DerError> {
    let mut rdns = Reader::whole(name, tag::SEQUENCE)?.reader();
    let mut all = Vec::new();
    while !rdns.is_empty() {
        let mut rdn = rdns.expect(tag::SET)?.reader();
        let mut these = Vec::new();
        while !rdn.is_empty() {
            let mut attribute = rdn.expect(tag::SEQUENCE)?.reader();
            let id = attribute.oid()?.to_vec();
            let value = attribute.next_element()?;
            attribute.finish()?;
            let text = matches!(value.tag, tag::UTF8_STRING | PRINTABLE_STRING | IA5_STRING)
                .then(|| std::str::from_utf8(value.value).ok())
                .flatten();
            let value = text.map_or_else(|| Value::Other(value.raw.to_vec()), folded);
            these.push((id, value));
        }
        these.sort();
        all.push(these);
    }
    Ok(all)
}

const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// As RFC 4518 prepares a text for a comparison, but for characters that no CA writes in two ways.
fn folded(text: &str) -> Value {
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    Value::Text(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tlv::wrap;

    fn name(string: u8, text: &str) -> Vec<u8> {
        let attribute = wrap(
            tag::SEQUENCE,
            &[&[6, 3, 0x55, 4, 3], &wrap(string, &[text.as_bytes()])],
        );
        wrap(tag::SEQUENCE, &[&wrap(tag::SET, &[&attribute])])
    }

    #[test]
    fn names_are_compared_by_what_they_mean() {
        let utf8 = name(tag::UTF8_STRING, "Good  CA ");
        assert!(same_name(&utf8, &utf8));
        assert!(same_name(&utf8, &name(PRINTABLE_STRING, "good ca")));
        for other in [
            name(tag::UTF8_STRING, "goodca"),
            name(tag::UTF8_STRING, "good ca2"),
            name(0x1e, "good ca"),
            [&utf8[..], &[0]].concat(),
            vec![0x30, 0],
            vec![],
        ] {
            assert!(!same_name(&utf8, &other), "{other:02x?}");
        }
        assert!(same_name(&[1, 2], &[1, 2]) && !same_name(&[1, 2], &[1, 3]));
        let compared = |der: &[u8]| ComparableName::from_der(der).ok();
        assert_eq!(
            compared(&utf8),
            compared(&name(PRINTABLE_STRING, "good ca"))
        );
        assert_eq!(compared(&utf8), ComparableName::from_text("cn=Good CA"));
        let (one, two) = ("CN=a,O=b", "CN=a\\,O\\=b");
        assert_ne!(
            ComparableName::from_text(one),
            ComparableName::from_text(two)
        );
        for wrong in ["", "good ca", "CN", "=x", "CN=a,,O=b", "XX=a"] {
            assert_eq!(ComparableName::from_text(wrong), None, "{wrong}");
        }
        assert_eq!(name_text(&utf8).as_deref(), Some("CN=Good  CA\\ "));
    }
}
