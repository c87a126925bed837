//! For which certificates a CRL speaks: [`Scope`], read from its issuing distribution point
//! (RFC 5280 5.2.5). What is never complete (some reasons only, indirect, attribute certificates) has no
//! scope here and is refused.

use std::fmt;

use crate::wire::{
    distribution_point::names,
    tlv::{DerError, Element, Reader, tag},
};

/// Which certificates of the issuer, or of the issuer's shard, a CRL is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// onlyContainsUserCerts.
    UserCertificates,
    /// onlyContainsCACerts.
    CaCertificates,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all certificates",
            Self::UserCertificates => "certificates of users",
            Self::CaCertificates => "certificates of CAs",
        })
    }
}

/// Why a CRL's issuing distribution point is not the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("the issuing distribution point is not in DER form ({0})")]
    Der(#[from] DerError),
    #[error(
        "`distribution_point` is `{0}`, but the CRL names none; remove the setting or give that shard's file"
    )]
    NoName(String),
    #[error(
        "`distribution_point` is `{wanted}`, but the CRL is that of {found}; give that shard's file"
    )]
    OtherName { wanted: String, found: String },
    #[error(
        "the CRL may be one shard of several: it names {0}; set `distribution_point` to a name that it has"
    )]
    NotConfigured(String),
    #[error("the CRL covers only some revocation reasons (onlySomeReasons); give a complete one")]
    SomeReasons,
    #[error("the CRL is indirect (indirectCRL); give the issuer's own")]
    Indirect,
    #[error("the CRL is about attribute certificates (onlyContainsAttributeCerts)")]
    AttributeCertificates,
    #[error("the CRL claims to be only about users' and only about CAs' certificates at once")]
    Contradiction,
}

impl Scope {
    /// From the IssuingDistributionPoint's encoding, if the CRL has one, and the name that it must have: a URI, or
    /// a distinguished name as text, which for a name relative to the issuer begins with what it adds to `issuer`.
    /// Without a name to have, a CRL that names a distribution point at all is refused, since nothing
    /// tells that there is no second one.
    pub fn read(
        idp: Option<&[u8]>,
        issuer: &[u8],
        wanted: Option<&str>,
    ) -> Result<Self, ScopeError> {
        let Some(idp) = idp else {
            return match wanted {
                None => Ok(Self::All),
                Some(wanted) => Err(ScopeError::NoName(wanted.to_owned())),
            };
        };
        let mut fields = Reader::whole(idp, tag::SEQUENCE)?.reader();
        let name = fields.optional(tag::context_constructed(0))?;
        let users = flag(&mut fields, 1)?;
        let cas = flag(&mut fields, 2)?;
        let some_reasons = fields.optional(tag::context(3))?.is_some();
        let indirect = flag(&mut fields, 4)?;
        let attributes = flag(&mut fields, 5)?;
        fields.finish()?;
        if some_reasons {
            return Err(ScopeError::SomeReasons);
        }
        if indirect {
            return Err(ScopeError::Indirect);
        }
        if attributes {
            return Err(ScopeError::AttributeCertificates);
        }
        check_name(name, issuer, wanted)?;
        match (users, cas) {
            (false, false) => Ok(Self::All),
            (true, false) => Ok(Self::UserCertificates),
            (false, true) => Ok(Self::CaCertificates),
            (true, true) => Err(ScopeError::Contradiction),
        }
    }
}

/// `[n] BOOLEAN DEFAULT FALSE`; a FALSE that is written out is tolerated.
fn flag(fields: &mut Reader<'_>, n: u8) -> Result<bool, DerError> {
    match fields
        .optional(tag::context(n))?
        .map(|element| element.value)
    {
        None | Some([0x00]) => Ok(false),
        Some([0xff]) => Ok(true),
        Some(_) => Err(DerError::Value),
    }
}

fn check_name(
    name: Option<Element<'_>>,
    issuer: &[u8],
    wanted: Option<&str>,
) -> Result<(), ScopeError> {
    let (name, wanted) = match (name, wanted) {
        (None, None) => return Ok(()),
        (None, Some(wanted)) => return Err(ScopeError::NoName(wanted.to_owned())),
        (Some(name), wanted) => (name, wanted),
    };
    let names = names(name, issuer)?;
    match wanted {
        Some(wanted) if names.iter().any(|name| name == wanted) => Ok(()),
        Some(wanted) => Err(ScopeError::OtherName {
            wanted: wanted.to_owned(),
            found: listed(&names),
        }),
        None => Err(ScopeError::NotConfigured(listed(&names))),
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 4;
    if names.is_empty() {
        return "a distribution point with neither a URI nor a distinguished name".into();
    }
    let text: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tlv::wrap;

    fn idp(parts: &[&[u8]]) -> Vec<u8> {
        wrap(tag::SEQUENCE, parts)
    }

    fn named(uris: &[&str]) -> Vec<u8> {
        let names: Vec<u8> = uris
            .iter()
            .flat_map(|uri| wrap(0x86, &[uri.as_bytes()]))
            .collect();
        wrap(0xa0, &[&wrap(0xa0, &[&names])])
    }

    /// CN=A
    const ISSUER: &[u8] = &[0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'A'];
    const USERS: &[u8] = &[0x81, 1, 0xff];
    const CAS: &[u8] = &[0x82, 1, 0xff];

    #[test]
    fn kinds_are_recorded() {
        assert_eq!(Scope::read(None, ISSUER, None), Ok(Scope::All));
        let read = |parts: &[&[u8]]| Scope::read(Some(&idp(parts)), ISSUER, None);
        assert_eq!(read(&[]), Ok(Scope::All));
        assert_eq!(read(&[&[0x81, 1, 0]]), Ok(Scope::All));
        assert_eq!(read(&[USERS]), Ok(Scope::UserCertificates));
        assert_eq!(read(&[CAS]), Ok(Scope::CaCertificates));
        assert_eq!(read(&[USERS, CAS]), Err(ScopeError::Contradiction));
        assert_eq!(read(&[&[0x83, 2, 5, 0x20]]), Err(ScopeError::SomeReasons));
        assert_eq!(read(&[&[0x84, 1, 0xff]]), Err(ScopeError::Indirect));
        assert_eq!(
            read(&[&[0x85, 1, 0xff]]),
            Err(ScopeError::AttributeCertificates)
        );
        assert_eq!(
            read(&[CAS, USERS]),
            Err(ScopeError::Der(DerError::Trailing))
        );
        assert_eq!(
            read(&[&[0x81, 1, 1]]),
            Err(ScopeError::Der(DerError::Value))
        );
    }

    #[test]
    fn the_uri_must_be_the_configured_one() {
        let (one, two) = ("http://ca.example/1.crl", "http://ca.example/2.crl");
        let point = idp(&[&named(&[one, two]), USERS]);
        assert_eq!(
            Scope::read(Some(&point), ISSUER, Some(one)),
            Ok(Scope::UserCertificates)
        );
        assert_eq!(
            Scope::read(Some(&point), ISSUER, Some(two)),
            Ok(Scope::UserCertificates)
        );
        let other = Scope::read(Some(&point), ISSUER, Some("http://ca.example/3.crl"));
        assert!(matches!(other, Err(ScopeError::OtherName { .. })));
        let text = Scope::read(Some(&point), ISSUER, None)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(one) && text.contains("set `distribution_point`"),
            "{text}"
        );
        for without in [None, Some(&idp(&[])[..]), Some(&idp(&[USERS])[..])] {
            assert_eq!(
                Scope::read(without, ISSUER, Some(one)),
                Err(ScopeError::NoName(one.into()))
            );
        }
    }

    #[test]
    fn distinguished_names_are_names_too() {
        let name = &ISSUER[4..];
        let relative = idp(&[&wrap(0xa0, &[&wrap(0xa1, &[name])])]);
        let full = idp(&[&wrap(0xa0, &[&wrap(0xa0, &[&wrap(0xa4, &[ISSUER])])])]);
        let read = |point: &[u8], wanted| Scope::read(Some(point), ISSUER, wanted);
        assert_eq!(read(&relative, Some("CN=A,CN=A")), Ok(Scope::All));
        assert_eq!(read(&full, Some("CN=A")), Ok(Scope::All));
        let text = read(&full, Some("CN=B")).unwrap_err().to_string();
        assert!(text.contains("that of `CN=A`"), "{text}");
        for broken in [&[0xa1, 1, 0][..], &[0xa0, 2, 0xa4, 0], &[0xa2, 0]] {
            let point = idp(&[&wrap(0xa0, &[broken])]);
            assert!(
                matches!(read(&point, None), Err(ScopeError::Der(_))),
                "{broken:02x?}"
            );
        }
    }
}
