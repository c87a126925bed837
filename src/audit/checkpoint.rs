//! The signed head of the tree: a [`Checkpoint`] in a signed note with one Ed25519 signature (C2SP
//! tlog-checkpoint and signed-note). [`VerifierKey`] is the log's public key in the form that others publish
//! and read: `NAME+ID+KEY`.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::tree::Hash;
use crate::wire::algorithm::sha256;

/// Ed25519 in a signed note.
const ED25519_TYPE: u8 = 1;

/// Notes of others may carry many signatures; sixteen of the longest kind are some 80 KB.
const LONGEST_NOTE: usize = 128 << 10;

/// The log's public key with the log's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: [u8; 32],
}

/// A tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    pub root: Hash,
}

/// Why a key or checkpoint is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("`{0}` is no verifier key; its form is NAME+ID+KEY, as in the journal's file log.pub")]
    Key(String),
    #[error("it is no checkpoint: {0}")]
    Form(&'static str),
    #[error("it is of the log `{found}`, not of `{wanted}`")]
    Origin { found: String, wanted: String },
    #[error("it is not signed by the key of `{0}`, but by another key or none")]
    Unsigned(String),
    #[error("its signature by `{0}` is wrong: it was altered")]
    Signature(String),
}

impl VerifierKey {
    /// The public half of a log's key. The name must be free of white space and `+`.
    pub fn of(name: &str, pair: &Ed25519KeyPair) -> Option<Self> {
        let key = pair.public_key().as_ref().try_into().ok()?;
        is_name(name).then(|| Self {
            name: name.to_owned(),
            key,
        })
    }

    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let wrong = || NoteError::Key(text.to_owned());
        let (name, rest) = text.trim().split_once('+').ok_or_else(wrong)?;
        let (id, key) = rest.split_once('+').ok_or_else(wrong)?;
        let key = STANDARD.decode(key).map_err(|_| wrong())?;
        let key = key.strip_prefix(&[ED25519_TYPE]).ok_or_else(wrong)?;
        let key = key.try_into().map_err(|_| wrong())?;
        let parsed = Self {
            name: name.to_owned(),
            key,
        };
        let same_id = hex::encode(parsed.id()) == id.to_ascii_lowercase();
        (is_name(name) && same_id)
            .then_some(parsed)
            .ok_or_else(wrong)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = sha256(&[self.name.as_bytes(), b"\n", &[ED25519_TYPE], &self.key]);
        [a, b, c, d]
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519_TYPE][..], &self.key].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id()))
    }
}

impl Checkpoint {
    fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )
    }

    /// The signed note.
    pub fn sign(&self, key: &VerifierKey, pair: &Ed25519KeyPair) -> String {
        let text = self.text();
        let signature = pair.sign(text.as_bytes());
        let signature = STANDARD.encode([&key.id()[..], signature.as_ref()].concat());
        format!("{text}\n\u{2014} {} {signature}\n", key.name)
    }

    /// Reads a note that `key` has signed; signatures of others are passed over.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let (checkpoint, text, signatures) = Self::split(note)?;
        if checkpoint.origin != key.name {
            return Err(NoteError::Origin {
                found: checkpoint.origin,
                wanted: key.name.clone(),
            });
        }
        let of_key = |line: &str| {
            let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            let signature = STANDARD.decode(signature).ok()?;
            let signature = signature.strip_prefix(&key.id())?.to_vec();
            (name == key.name).then_some(signature)
        };
        let Some(signature) = signatures.lines().find_map(of_key) else {
            return Err(NoteError::Unsigned(key.name.clone()));
        };
        UnparsedPublicKey::new(&ED25519, &key.key)
            .verify(text.as_bytes(), &signature)
            .map_err(|_| NoteError::Signature(key.name.clone()))?;
        Ok(checkpoint)
    }

    /// Reads a note whoever signed it.
    pub fn unverified(note: &str) -> Result<Self, NoteError> {
        Self::split(note).map(|(checkpoint, ..)| checkpoint)
    }

    fn split(note: &str) -> Result<(Self, &str, &str), NoteError> {
        if note.len() > LONGEST_NOTE || note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Form("too long, or not text"));
        }
        let end = note.rfind("\n\n").ok_or(NoteError::Form("no signature"))?;
        let (text, signatures) = note.split_at_checked(end + 1).unwrap_or_default();
        let mut lines = text.lines();
        let origin = lines.next().filter(|origin| !origin.is_empty());
        let origin = origin.ok_or(NoteError::Form("no origin"))?.to_owned();
        let size = lines.next().and_then(|size| {
            let number: u64 = size.parse().ok()?;
            (number.to_string() == size).then_some(number)
        });
        let size = size.ok_or(NoteError::Form("no tree size"))?;
        let root = lines
            .next()
            .and_then(|root| STANDARD.decode(root).ok()?.try_into().ok());
        let root = root.ok_or(NoteError::Form("no root hash"))?;
        let checkpoint = Self { origin, size, root };
        Ok((checkpoint, text, signatures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of Go's golang.org/x/mod/sumdb/note, whose form others took over.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    #[test]
    fn keys_are_read_and_written_as_others_do() {
        let key = VerifierKey::parse(GO_KEY).unwrap();
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(key.to_string(), GO_KEY);
        for wrong in [
            "",
            "a+b",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "P N+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+AQ==",
        ] {
            assert!(VerifierKey::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_checkpoint_opens_by_its_key_alone_and_unaltered() {
        let key = VerifierKey::of("log.example/a", &pair()).unwrap();
        let checkpoint = Checkpoint {
            origin: "log.example/a".into(),
            size: 70_000,
            root: [3; 32],
        };
        let note = checkpoint.sign(&key, &pair());
        assert_eq!(Checkpoint::open(&note, &key), Ok(checkpoint.clone()));
        let more = format!("{note}\u{2014} witness.example AAAAAAAA\n");
        assert_eq!(Checkpoint::open(&more, &key), Ok(checkpoint.clone()));
        assert_eq!(Checkpoint::unverified(&note), Ok(checkpoint));
        let altered = note.replace("70000", "70001");
        assert!(matches!(
            Checkpoint::open(&altered, &key),
            Err(NoteError::Signature(_))
        ));
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let other = VerifierKey::of("log.example/a", &other).unwrap();
        assert!(matches!(
            Checkpoint::open(&note, &other),
            Err(NoteError::Unsigned(_))
        ));
        let other = VerifierKey::of("log.example/b", &pair()).unwrap();
        assert!(matches!(
            Checkpoint::open(&note, &other),
            Err(NoteError::Origin { .. })
        ));
        for wrong in [
            "",
            "a\n",
            "a\n1\n",
            "a\n01\nAAAA\n\n",
            "a\n1\nAAAA\n\n\u{2014} a b\n",
        ] {
            assert!(Checkpoint::unverified(wrong).is_err(), "{wrong}");
        }
    }
}
