//! The embedded store of the CRL feeds' state: [`Store`] has, for each source, what its server said, how far each scope
//! has come, and the ledger of what was accepted and refused. All of it can be had again, from the files beside it, the
//! journal, and the CA: a store that is damaged or cannot be opened costs a fetch and an alarm, and never a start.
//!
//! The engine is sled, which no other file names. It can panic over damaged files, so that every call is caught.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use crate::service::code;

/// Octets of the engine's cache: its content is some kilobytes.
const CACHE: u64 = 1 << 20;

/// Entries of the ledger that are kept: a year of CRLs that come every hour.
const LEDGER: usize = 10_000;

/// The store, or nothing where it cannot be used; then nothing is remembered but by files and journal.
#[derive(Debug, Clone, Default)]
pub struct Store(Option<Arc<Trees>>);

#[derive(Debug)]
struct Trees {
    database: sled::Db,
    sources: sled::Tree,
    marks: sled::Tree,
    ledger: sled::Tree,
    /// Nobody has begun it before.
    is_new: bool,
}

/// What an operator has to know of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreTrouble {
    #[error(
        "ALARM: {path}: the store of the CRL feeds is damaged ({error}); it was moved to {aside}, and a new one is filled from \
         the files beside it, the journal and the CA"
    )]
    Damaged {
        path: PathBuf,
        aside: PathBuf,
        error: String,
    },
    #[error(
        "ALARM: {0}: the store of the CRL feeds holds nothing, though CRLs were kept beside it; it is filled from those files, \
         the journal and the CA"
    )]
    Empty(PathBuf),
    #[error(
        "ALARM: {0}: the store of the CRL feeds is not there, though the journal has CRLs that were accepted; with its folder went \
         what stays revoked though its CA no longer shows it, and only the journal's marks are left; restore the folder from \
         a backup, unless revocation.dir was moved on purpose"
    )]
    Missing(PathBuf),
    #[error(
        "ALARM: {path}: the store of the CRL feeds cannot be used: {error}; the feeds go on without it, and what each \
         accepted is told by the files beside it and by the journal"
    )]
    Unusable { path: PathBuf, error: String },
}

impl Store {
    /// Opens the store in the folder `path`, which is made. A damaged one is moved aside.
    pub fn open(path: &Path) -> (Self, Option<StoreTrouble>) {
        let in_use = is_in_use(path);
        let error = match Trees::open(path) {
            Ok(trees) => {
                // The engine takes some damaged files for none at all.
                let lost = in_use && trees.is_new;
                let store = Self::begun(trees);
                let empty = || StoreTrouble::Empty(path.to_owned());
                return (store, lost.then(empty));
            }
            Err(error) => error,
        };
        let unusable = |error| StoreTrouble::Unusable {
            path: path.to_owned(),
            error,
        };
        if !error.is_damage {
            return (Self::default(), Some(unusable(error.what)));
        }
        let aside = path.with_extension("damaged");
        let moved = remove(&aside).and_then(|()| std::fs::rename(path, &aside));
        let opened = moved
            .map_err(|error| error.to_string())
            .and_then(|()| Trees::open(path).map_err(|error| error.what));
        match opened {
            Ok(trees) => {
                let damaged = StoreTrouble::Damaged {
                    path: path.to_owned(),
                    aside,
                    error: error.what,
                };
                (Self::begun(trees), Some(damaged))
            }
            Err(error) => (Self::default(), Some(unusable(error))),
        }
    }

    fn begun(trees: Trees) -> Self {
        let store = Self(Some(Arc::new(trees)));
        store.put(|trees| &trees.sources, BEGUN, &Value::from(true));
        store
    }

    /// Whether it was made when it was opened.
    pub fn is_new(&self) -> bool {
        self.0.as_deref().is_some_and(|trees| trees.is_new)
    }

    /// What is known of a source.
    pub fn source(&self, id: &str) -> Option<Value> {
        self.get(|trees| &trees.sources, id)
    }

    pub fn put_source(&self, id: &str, state: &Value) {
        self.put(|trees| &trees.sources, id, state);
    }

    /// All high-water marks by their scope.
    pub fn marks(&self) -> Vec<(String, Value)> {
        let all = self.run(|trees| {
            let entries = trees.marks.iter().filter_map(Result::ok);
            let read = |(scope, mark): (sled::IVec, sled::IVec)| {
                let scope = String::from_utf8(scope.to_vec()).ok()?;
                Some((scope, serde_json::from_slice(&mark).ok()?))
            };
            Ok(entries.filter_map(read).collect())
        });
        all.unwrap_or_default()
    }

    pub fn put_mark(&self, scope: &str, mark: &Value) {
        self.put(|trees| &trees.marks, scope, mark);
    }

    pub fn remove_mark(&self, scope: &str) {
        self.run(|trees| trees.marks.remove(scope).map(|_| ()));
    }

    /// Up to which record the journal has been read for marks.
    pub fn journal_read(&self) -> u64 {
        let known = self.get(|trees| &trees.sources, JOURNAL);
        known.as_ref().and_then(Value::as_u64).unwrap_or(0)
    }

    pub fn set_journal_read(&self, next: u64) {
        self.put(|trees| &trees.sources, JOURNAL, &Value::from(next));
    }

    /// Puts one more entry into the ledger, and forgets the oldest.
    pub fn log(&self, entry: &Value) {
        self.run(|trees| {
            let last = trees.ledger.last()?.map_or(0, |(key, _)| number(&key));
            let key = last.saturating_add(1).to_be_bytes();
            trees.ledger.insert(key, entry.to_string().as_bytes())?;
            while trees.ledger.len() > LEDGER {
                trees.ledger.pop_min()?;
            }
            Ok(())
        });
    }

    /// The last `most` entries of the ledger, the newest first.
    pub fn ledger(&self, most: usize) -> Vec<Value> {
        let all = self.run(|trees| {
            let entries = trees.ledger.iter().rev().filter_map(Result::ok);
            let read = entries.filter_map(|(_, entry)| serde_json::from_slice(&entry).ok());
            Ok(read.take(most).collect())
        });
        all.unwrap_or_default()
    }

    /// Hands everything to the kernel. What a power loss takes is had again from files and journal.
    pub fn flush(&self) {
        self.run(|trees| trees.database.flush().map(|_| ()));
    }

    fn get(&self, tree: impl FnOnce(&Trees) -> &sled::Tree, key: &str) -> Option<Value> {
        let found = self.run(|trees| tree(trees).get(key)).flatten()?;
        serde_json::from_slice(&found).ok()
    }

    fn put(&self, tree: impl FnOnce(&Trees) -> &sled::Tree, key: &str, value: &Value) {
        self.run(|trees| tree(trees).insert(key, value.to_string().as_bytes()));
    }

    /// A failure is told in the log and costs only what the store was to remember.
    fn run<T>(&self, work: impl FnOnce(&Trees) -> sled::Result<T>) -> Option<T> {
        let trees = self.0.as_deref()?;
        match caught(|| work(trees)) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::error!(
                    code = code::STORE,
                    "the store of the CRL feeds: {}",
                    error.what
                );
                None
            }
        }
    }
}

/// Keys among the sources that are no source's.
const JOURNAL: &str = "journal";
const BEGUN: &str = "begun";

/// Whether CRLs have been accepted here before.
fn is_in_use(path: &Path) -> bool {
    let beside = path.parent().and_then(|folder| folder.read_dir().ok());
    let mut beside = beside.into_iter().flatten().filter_map(Result::ok);
    beside.any(|file| {
        file.path()
            .extension()
            .is_some_and(|ending| ending == "crl")
    })
}

struct Failure {
    /// A new store would work.
    is_damage: bool,
    what: String,
}

impl Trees {
    fn open(path: &Path) -> Result<Self, Failure> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE)
            .flush_every_ms(None);
        caught(|| {
            let database = config.open()?;
            let sources = database.open_tree("sources")?;
            Ok(Self {
                is_new: sources.get(BEGUN)?.is_none(),
                sources,
                marks: database.open_tree("marks")?,
                ledger: database.open_tree("ledger")?,
                database,
            })
        })
    }
}

fn caught<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure {
            is_damage: matches!(
                error,
                sled::Error::Corruption { .. }
                    | sled::Error::Unsupported(_)
                    | sled::Error::ReportableBug(_)
                    | sled::Error::CollectionNotFound(_)
            ),
            what: error.to_string(),
        }),
        Err(_) => Err(Failure {
            is_damage: true,
            what: "its engine gave up on it".to_owned(),
        }),
    }
}

fn number(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Opens a store that was open in this process a moment ago: its engine lets go of the lock a little after it, and a
    /// program that another test starts has it until it runs.
    fn reopened(path: &Path) -> (Store, Option<StoreTrouble>) {
        for _ in 0..2_000 {
            match Store::open(path) {
                (_, Some(StoreTrouble::Unusable { .. })) => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                opened => return opened,
            }
        }
        panic!("{}: is held", path.display());
    }

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gnomon-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_put_is_there_after_a_restart() {
        let place = Place::new("store");
        let path = place.0.join("state");
        let (store, trouble) = Store::open(&path);
        assert!(trouble.is_none() && store.is_new());
        store.put_source("a", &json!({ "etag": "x" }));
        store.put_mark("s", &json!({ "number": "01" }));
        store.put_mark("t", &json!(1));
        store.remove_mark("t");
        store.set_journal_read(7);
        for n in 0..3 {
            store.log(&json!(n));
        }
        store.flush();
        // Nobody else can have it.
        let (second, trouble) = Store::open(&path);
        assert!(matches!(trouble, Some(StoreTrouble::Unusable { .. })));
        assert_eq!(second.source("a"), None);
        drop(store);
        let (store, _) = reopened(&path);
        assert!(!store.is_new());
        assert_eq!(store.source("a"), Some(json!({ "etag": "x" })));
        assert_eq!(store.marks(), [("s".to_owned(), json!({ "number": "01" }))]);
        assert_eq!(store.journal_read(), 7);
        assert_eq!(store.ledger(2), [json!(2), json!(1)]);
    }

    #[test]
    fn a_damaged_store_is_moved_aside() {
        let place = Place::new("store-damaged");
        let path = place.0.join("state");
        let (store, _) = Store::open(&path);
        for n in 0..100 {
            store.put_mark(&n.to_string(), &json!(n));
        }
        store.flush();
        drop(store);
        std::fs::write(place.0.join("1.crl"), "x").unwrap();
        for (file, said) in [("conf", "state.damaged"), ("db", "holds nothing")] {
            std::fs::write(path.join(file), [0x5a; 5000]).unwrap();
            let (store, trouble) = reopened(&path);
            let text = trouble.unwrap().to_string();
            assert!(text.starts_with("ALARM") && text.contains(said), "{text}");
            assert!(store.marks().is_empty());
            store.put_mark("a", &json!(1));
            assert_eq!(store.marks().len(), 1);
            store.flush();
        }
        // Told once.
        std::fs::write(path.join("conf"), [0x5a; 5000]).unwrap();
        for told in [true, false] {
            let (store, trouble) = reopened(&path);
            assert_eq!((trouble.is_some(), store.is_new()), (told, told));
            store.flush();
        }
        // Where no folder can be, the feeds go on without.
        let file = place.0.join("file");
        std::fs::write(&file, "x").unwrap();
        let (store, trouble) = Store::open(&file.join("state"));
        assert!(matches!(trouble, Some(StoreTrouble::Unusable { .. })));
        store.put_mark("a", &json!(1));
        assert!(store.marks().is_empty());
    }
}
