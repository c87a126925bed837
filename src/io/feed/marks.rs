//! High-water marks: [`Marks`] knows how far each scope of an issuer has come, by the CRLs in force, the store, and the
//! journal, whose records [`Marks::replay`] reads.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::{
    audit::{
        event::{CRL_ACCEPTED, CRL_MARK_RESET},
        record::{Private, Record},
    },
    io::{
        journal::reader::{ReadError, Stored},
        store::Store,
    },
    revocation::Mark,
    wire::time::Seconds,
};

/// By scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<String, Mark>);

impl Marks {
    pub fn get(&self, scope: &str) -> Option<&Mark> {
        self.0.get(scope)
    }

    pub fn set(&mut self, scope: String, mark: Mark) {
        self.0.insert(scope, mark);
    }

    /// Sets it unless what is known is further.
    pub fn raise(&mut self, scope: String, mark: Mark) {
        if self
            .get(&scope)
            .is_none_or(|known| known.admits(&mark).is_ok())
        {
            self.set(scope, mark);
        }
    }

    pub fn remove(&mut self, scope: &str) -> Option<Mark> {
        self.0.remove(scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Mark)> {
        self.0.iter()
    }

    /// Takes what a record of the journal says, in the order of the journal.
    pub fn replay(&mut self, kind: u8, details: &Value) {
        let Some(scope) = details.get("scope").and_then(Value::as_str) else {
            return;
        };
        match (kind, from_json(details)) {
            (CRL_ACCEPTED, Some(mark)) => self.set(scope.to_owned(), mark),
            (CRL_MARK_RESET, _) => {
                self.remove(scope);
            }
            _ => {}
        }
    }
}

/// What the store remembers, and what the journal has told since the store was last told how far it need not be read:
/// all of it, where there is no store left.
pub fn known(store: &Store, journal: &Path) -> (Marks, Option<ReadError>) {
    let mut marks = Marks::default();
    for (scope, mark) in store.marks() {
        if let Some(mark) = from_json(&mark) {
            marks.set(scope, mark);
        }
    }
    let read = read_journal(&mut marks, store.journal_read(), journal);
    (marks, read.err())
}

fn read_journal(marks: &mut Marks, from: u64, journal: &Path) -> Result<(), ReadError> {
    let stored = Stored::open(journal, &[])?;
    stored.each(from, |_, parts| {
        let record = Record::parse(parts.public);
        if let Ok(record) = record
            && matches!(record.kind, CRL_ACCEPTED | CRL_MARK_RESET)
            && parts.belong()
            && let Ok(Private::Event(details)) = record.private(parts.private)
        {
            marks.replay(record.kind, &details);
        }
        true
    })
}

/// As it stands in the store, and among the details of a record.
pub fn to_json(mark: &Mark) -> Value {
    json!({
        "number": mark.number.as_ref().map(hex::encode),
        "this_update": mark.this_update.to_string(),
        "sha256": hex::encode(mark.digest),
    })
}

pub fn from_json(json: &Value) -> Option<Mark> {
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let this_update: der::DateTime = text("this_update")?.parse().ok()?;
    Some(Mark {
        number: text("number").and_then(|number| hex::decode(number).ok()),
        this_update: Seconds::from(this_update),
        digest: hex::decode(text("sha256")?).ok()?.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u8) -> Mark {
        Mark {
            number: Some(vec![number]),
            this_update: Seconds::new(1_800_000_000),
            digest: [number; 32],
        }
    }

    #[test]
    fn a_journal_is_replayed_in_order() {
        let mut marks = Marks::default();
        let accepted = |number| {
            let mut details = to_json(&mark(number));
            details["scope"] = json!("a");
            details
        };
        marks.replay(CRL_ACCEPTED, &accepted(3));
        marks.replay(CRL_ACCEPTED, &json!({ "scope": "a", "number": "09" }));
        assert_eq!(marks.get("a"), Some(&mark(3)));
        marks.replay(CRL_MARK_RESET, &json!({ "scope": "a" }));
        assert_eq!(marks.get("a"), None);
        marks.replay(CRL_ACCEPTED, &accepted(2));
        marks.replay(2, &accepted(9));
        assert_eq!(marks.get("a"), Some(&mark(2)));
        marks.raise("a".into(), mark(1));
        assert_eq!(marks.get("a"), Some(&mark(2)));
        marks.raise("a".into(), mark(4));
        assert_eq!(marks.get("a"), Some(&mark(4)));
    }
}
