//! What an Authorization header shows: [`Credentials`].

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use crate::wire::algorithm::sha256;

/// The longest token that is looked at, or user name and password together in base64, in octets.
pub const LONGEST_SECRET: usize = 1024;

/// What an Authorization header says.
pub enum Credentials {
    /// `user:password` (RFC 7617 2).
    Password(Zeroizing<Vec<u8>>),
    /// The SHA-256 of a bearer token (RFC 6750 2.1).
    Token([u8; 32]),
}

impl Credentials {
    /// Nothing where there is no such header, several, or one of another scheme.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        let value = HeaderValue::as_bytes(value);
        let at = value.iter().position(|octet| *octet == b' ')?;
        let (scheme, rest) = value.split_at_checked(at)?;
        let rest = rest.trim_ascii();
        if rest.len() > LONGEST_SECRET {
            None
        } else if scheme.eq_ignore_ascii_case(b"Basic") {
            let decoded = STANDARD.decode(rest).ok()?;
            Some(Self::Password(Zeroizing::new(decoded)))
        } else if scheme.eq_ignore_ascii_case(b"Bearer") {
            Some(Self::Token(sha256(&[rest])))
        } else {
            None
        }
    }
}
