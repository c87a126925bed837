//! What a feed tells of itself: to the store, so that the next start knows what its servers said, and to the operator
//! ([`Feed::overview`]).

use serde_json::{Value, json};

use super::{Feed, fetch::Validators, kept::Kind, marks, slot::Slot, source::Source};
use crate::{audit::event::Event, io::wall_clock::wall_clock};

impl Feed {
    /// Every source with what it has, for `gnomon crl status`.
    pub fn overview(&self) -> Value {
        let sources: Vec<_> = self.slots.iter().flat_map(sources).collect();
        json!({
            "issuer": self.name,
            "subject": self.judge.issuer.subject_text(),
            "issued": self.snapshot.load().issued(),
            "sources": sources,
        })
    }

    /// Writes down what these events say, and what the sources' servers said.
    pub fn remember(&mut self, events: &[Event]) {
        for event in events {
            let mut entry: Value = serde_json::from_str(&event.details()).unwrap_or_default();
            if let Some(fields) = entry.as_object_mut() {
                fields.insert("time".into(), wall_clock().to_string().into());
                fields.insert("what".into(), Event::kind_name(event.kind()).into());
            }
            self.store.log(&entry);
        }
        for (scope, mark) in self.judge.marks.iter() {
            let mark = marks::to_json(mark);
            if self.told.get(scope) != Some(&mark.to_string()) {
                self.store.put_mark(scope, &mark);
                self.told.insert(scope.clone(), mark.to_string());
            }
        }
        for slot in &self.slots {
            for (source, kind) in each(slot) {
                let id = slot.id(kind);
                let state = state(slot, source, kind);
                if self.told.get(&id) != Some(&state.to_string()) {
                    self.store.put_source(&id, &state);
                    self.told.insert(id, state.to_string());
                }
            }
        }
    }

    /// Takes up what the servers said of the CRLs in force, so that they need not send them again.
    pub fn recall_validators(&mut self) {
        for slot in &mut self.slots {
            for kind in [Kind::Complete, Kind::Delta] {
                let Some(known) = self.store.source(&slot.id(kind)) else {
                    continue;
                };
                let text = |name: &str| known.get(name).and_then(Value::as_str);
                let digest = slot.crl(kind).map(|crl| hex::encode(crl.digest()));
                let of_this = digest.is_some() && text("sha256") == digest.as_deref();
                if let Some(source) = slot.source(kind)
                    && of_this
                    && text("place") == Some(&source.place())
                {
                    source.validators = Validators::from_texts(text("etag"), text("last_modified"));
                }
            }
        }
    }
}

/// Its sources.
pub fn each(slot: &Slot) -> impl Iterator<Item = (&Source, Kind)> {
    let delta = slot.delta.iter().map(|delta| (delta, Kind::Delta));
    std::iter::once((&slot.base, Kind::Complete)).chain(delta)
}

fn state(slot: &Slot, source: &Source, kind: Kind) -> Value {
    let [etag, last_modified] = source.validators.texts();
    json!({
        "place": source.place(),
        "sha256": slot.crl(kind).map(|crl| hex::encode(crl.digest())),
        "etag": etag,
        "last_modified": last_modified,
    })
}

fn sources(slot: &Slot) -> Vec<Value> {
    let show = |(source, kind): (&Source, Kind)| {
        let crl = slot.crl(kind);
        // A delta in force has the dates of both; without one the complete CRL answers.
        let decides = match kind {
            Kind::Complete => slot.crl(Kind::Delta).is_none(),
            Kind::Delta => crl.is_some(),
        };
        let retained = slot.part.as_ref().map(|part| part.retained().len());
        json!({
            "source": source.name(),
            "place": source.place(),
            "kind": kind.name(),
            "decides": decides,
            "number": crl.and_then(|crl| crl.number()).map(hex::encode),
            "this_update": crl.map(|crl| crl.this_update().to_string()),
            "next_update": crl.map(|crl| crl.next_update().to_string()),
            "entries": crl.map(|crl| crl.len()),
            "retained": retained.filter(|_| kind == Kind::Complete),
            "sha256": crl.map(|crl| hex::encode(crl.digest())),
            "checked": source.checked.map(|time| time.to_string()),
            "next": source.next.map(|time| time.to_string()),
            "failures": source.all_failures,
            "error": source.error,
        })
    };
    each(slot).map(show).collect()
}
