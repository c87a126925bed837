//! Fields that are lists. Where something else stands, such as a text alone, each says what to write: [`list`].

use std::{fmt, marker::PhantomData, net::SocketAddr, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::wire::{algorithm::DigestAlgorithm, oid::PolicyOid};

/// Where to listen. No names, since they may lead elsewhere at the next start.
pub fn addresses<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = list::<_, String>(d, "a list of addresses, such as [\"0.0.0.0:3180\"]")?;
    let parse = |text: &String| {
        text.parse().map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is no IP address with a port; write one such as \"0.0.0.0:3180\" or \"[::]:3180\""
            ))
        })
    };
    texts.iter().map(parse).collect()
}

pub fn policies<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PolicyOid>, D::Error> {
    let texts: Vec<String> = list(d, "a list of OIDs, such as [\"1.2.3.4\"]")?;
    let parse = |text: &String| text.parse().map_err(D::Error::custom);
    texts.iter().map(parse).collect()
}

pub fn digests<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<DigestAlgorithm>>, D::Error> {
    let names: Vec<String> = list(d, "a list of digests, such as [\"sha256\", \"sha512\"]")?;
    let parse = |name: &String| name.parse().map_err(D::Error::custom);
    names.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

pub fn names<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    list(d, "a list of names, such as [\"tsa1.example\"]")
}

pub fn paths<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PathBuf>, D::Error> {
    list(d, "a list of files and folders, such as [\"issued.txt\"]")
}

/// A list; `expected` says what to write.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<Vec<T>, D::Error> {
    let elements = PhantomData;
    deserializer.deserialize_seq(List { expected, elements })
}

struct List<T> {
    expected: &'static str,
    elements: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element()? {
            all.push(element);
        }
        Ok(all)
    }
}
