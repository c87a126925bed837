//! The files that list who may pass, one client a line: [`users`], [`tokens`] and [`certificates`]. Empty lines and
//! lines that begin with `#` are passed over. What is wrong is told by line, never with what stands in it.

use std::{fmt::Write, sync::Arc};

use super::password::{Hash, HashError};
use crate::wire::name::ComparableName;

/// The longest name of a client, in octets.
const LONGEST_NAME: usize = 128;

/// Lines that are told of one file; the first show what is wrong.
const MOST_TOLD: usize = 5;

/// Why a line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("no `:` behind the name; write NAME:$argon2id$... as `gnomon access password` does")]
    NoHash,
    #[error("no `:` behind the name; write NAME:DIGEST as `gnomon access token` does")]
    NoDigest,
    #[error("the name must have 1 to 128 octets, and no white space, control character or colon")]
    Name,
    #[error("the name stands twice in this file")]
    Twice,
    #[error("{0}")]
    Hash(#[from] HashError),
    #[error(
        "the digest must be a SHA-256 in 64 hexadecimal digits; `gnomon access token` makes one"
    )]
    Digest,
    #[error(
        "neither `subject=` nor `spki=` behind the name; write NAME subject=CN=...,O=... or NAME spki=DIGEST"
    )]
    NoKind,
    #[error(
        "the subject is no name as RFC 4514 writes it, without white space around commas; see `openssl x509 -noout -subject -nameopt RFC2253`"
    )]
    Subject,
}

/// A client's name, and what it is known by.
pub type Named<T> = (Arc<str>, T);

/// What a client certificate is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    Subject(ComparableName),
    /// The SHA-256 of its subjectPublicKeyInfo.
    Key([u8; 32]),
}

/// `NAME:HASH` lines.
pub fn users(text: &str) -> Result<Vec<Named<Hash>>, String> {
    let mut names = std::collections::HashSet::new();
    lines(text, |line| {
        let (name, hash) = line.split_once(':').ok_or(LineError::NoHash)?;
        let name = checked(name)?;
        if !names.insert(Arc::clone(&name)) {
            return Err(LineError::Twice);
        }
        Ok((name, Hash::parse(hash.trim())?))
    })
}

/// `NAME:DIGEST` lines. A name may have several tokens, so that one can follow the other.
pub fn tokens(text: &str) -> Result<Vec<Named<[u8; 32]>>, String> {
    lines(text, |line| {
        let (name, digest) = line.split_once(':').ok_or(LineError::NoDigest)?;
        Ok((checked(name)?, sha256_digits(digest)?))
    })
}

/// `NAME subject=DN` and `NAME spki=DIGEST` lines. A name may have several certificates.
pub fn certificates(text: &str) -> Result<Vec<Named<Known>>, String> {
    lines(text, |line| {
        let (name, known) = line
            .split_once(char::is_whitespace)
            .ok_or(LineError::NoKind)?;
        let known = known.trim_start();
        let known = if let Some(subject) = known.strip_prefix("subject=") {
            let subject = ComparableName::from_text(subject.trim());
            Known::Subject(subject.ok_or(LineError::Subject)?)
        } else if let Some(digest) = known.strip_prefix("spki=") {
            Known::Key(sha256_digits(digest)?)
        } else {
            return Err(LineError::NoKind);
        };
        Ok((checked(name)?, known))
    })
}

fn lines<T>(
    text: &str,
    mut read: impl FnMut(&str) -> Result<T, LineError>,
) -> Result<Vec<T>, String> {
    let (mut good, mut wrong, mut count) = (Vec::new(), String::new(), 0_usize);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match read(line) {
            Ok(value) => good.push(value),
            Err(error) => {
                count += 1;
                if count <= MOST_TOLD {
                    let parted = if wrong.is_empty() { "" } else { "; " };
                    let _ = write!(wrong, "{parted}line {}: {error}", index + 1);
                }
            }
        }
    }
    if count > MOST_TOLD {
        let _ = write!(wrong, "; and {} lines more", count - MOST_TOLD);
    }
    if count > 0 {
        Err(wrong)
    } else if good.is_empty() {
        Err("nobody stands in it, so that nobody could pass; add a line".to_owned())
    } else {
        Ok(good)
    }
}

/// The name, if it can be one.
pub fn checked(name: &str) -> Result<Arc<str>, LineError> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == ':';
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(odd) {
        Err(LineError::Name)
    } else {
        Ok(name.into())
    }
}

fn sha256_digits(digits: &str) -> Result<[u8; 32], LineError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut digest).map_err(|_| LineError::Digest)?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$QEFqVFsb8vTxWq6pIYTqWWGTvhXhpB0zAOzrYPAeGS4";

    #[test]
    fn users_have_a_name_and_a_hash() {
        let text = format!("# ours\n\n alice:{HASH}\nbob:{HASH}\r\n");
        let read = users(&text).unwrap();
        let names: Vec<_> = read.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["alice", "bob"]);
        let wrong = format!("alice {HASH}\n\n:{HASH}\na b:{HASH}\nc:{HASH}\nc:{HASH}\nd:{HASH}x!");
        let said = users(&wrong).unwrap_err();
        for line in ["line 1: no `:`", "line 3: the name", "line 4: the name"] {
            assert!(said.contains(line), "{said}");
        }
        assert!(said.contains("line 6: the name stands twice"), "{said}");
        assert!(
            said.contains("line 7: ") && !said.contains("c29tZXNhbHQ"),
            "{said}"
        );
        assert!(users("# nobody\n").unwrap_err().contains("nobody"));
        let many = "x\n".repeat(9);
        assert!(users(&many).unwrap_err().ends_with("; and 4 lines more"));
    }

    #[test]
    fn tokens_have_a_name_and_a_digest() {
        let digest = "ab".repeat(32);
        let text = format!("ci:{digest}\nci:{}\n", digest.to_uppercase());
        assert_eq!(tokens(&text).unwrap().len(), 2);
        for wrong in ["ci", "ci:", "ci:ab", ":", &format!("ci:{digest}0")] {
            assert!(
                tokens(wrong).unwrap_err().starts_with("line 1: "),
                "{wrong}"
            );
        }
    }

    #[test]
    fn certificates_are_known_by_subject_or_key() {
        let digest = "ab".repeat(32);
        let text = format!("a subject=CN=client one,O=Example\nb\tspki={digest}\n");
        let read = certificates(&text).unwrap();
        assert_eq!(read[1].1, Known::Key([0xab; 32]));
        let subject = ComparableName::from_text("CN=Client One,O=example");
        assert_eq!(subject.map(Known::Subject), Some(read[0].1.clone()));
        for wrong in ["a", "a subject=", "a subject=x", "a spki=00", "a cn=x", "a"] {
            assert!(certificates(wrong).is_err(), "{wrong}");
        }
    }
}
