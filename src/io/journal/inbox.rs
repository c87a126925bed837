//! Events and requests from outside the daemon. `gnomon keys`, `gnomon clock reset` and `gnomon crl reset-mark` leave
//! them as files in the journal's folder `inbox`, whether the daemon runs or not; [`Inbox`] puts events on record, and
//! hands requests to whoever does them.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    process,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Journal,
    disk::{Disk, Folder},
};
use crate::{audit::event::Event, io::wall_clock::since_1970, service::code};

const FOLDER: &str = "inbox";

/// What an operator asks of the daemon. Who may write to the journal's folder may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request")]
pub enum Request {
    /// `gnomon clock reset`.
    #[serde(rename = "reset the clock")]
    ResetClock,
    /// `gnomon crl reset-mark`.
    #[serde(rename = "reset CRL marks")]
    ResetMarks {
        /// Its name in the configuration.
        issuer: String,
        /// One file or URL; all without it.
        source: Option<String>,
    },
}

/// Leaves a key's event for the daemon of this journal, durably.
pub fn leave(dir: &Path, action: &str, details: &Value) -> io::Result<()> {
    put(
        dir,
        &serde_json::json!({ "action": action, "details": details }),
    )
}

/// Asks the daemon of this journal for something.
pub fn ask(dir: &Path, request: &Request) -> io::Result<()> {
    put(dir, &serde_json::json!(request))
}

fn put(dir: &Path, content: &Value) -> io::Result<()> {
    let disk = Folder::new(dir);
    // In the order of time, and no two of a name.
    let now = since_1970().as_nanos();
    let file = format!("{FOLDER}/{now:020}-{}.json", process::id());
    disk.hand_in(&file, content.to_string().as_bytes())
}

/// The daemon's side of the inbox.
#[derive(Debug)]
pub struct Inbox {
    dir: PathBuf,
    /// What could not be read, or was put on record and could not be renamed; once is enough.
    stuck: HashSet<String>,
}

impl Inbox {
    /// That of the journal in `dir`. It is made now, so that it belongs to the daemon's user whoever runs
    /// `gnomon keys`.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir.join(FOLDER))?;
        Ok(Self {
            dir: dir.to_owned(),
            stuck: HashSet::new(),
        })
    }

    /// Puts on record what lies there, and gives what the operator asks for. What is neither is said and left alone.
    pub fn take(&mut self, journal: &Journal) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut names = Folder::new(&self.dir).names(FOLDER).unwrap_or_default();
        names.retain(|name| name.ends_with(".json") && !self.stuck.contains(name));
        names.sort();
        for name in names {
            let path = self.dir.join(FOLDER).join(&name);
            let content = match fs::read(&path) {
                Ok(content) => content,
                Err(error) => {
                    tracing::error!(
                        code = code::INBOX,
                        "{}: it cannot be read: {error}; it stays there until the next start",
                        path.display()
                    );
                    self.stuck.insert(name);
                    continue;
                }
            };
            let event = serde_json::from_slice::<Value>(&content).ok();
            let request = event
                .as_ref()
                .and_then(|event| Request::deserialize(event).ok());
            let read = event.and_then(|event| {
                Some(Event::Key {
                    action: event.get("action")?.as_str()?.to_owned(),
                    details: event.get("details")?.clone(),
                })
            });
            let away = match read {
                // Before it is renamed: a request that is taken twice does no harm.
                None if request.is_some() => {
                    requests.extend(request);
                    path.with_extension("recorded")
                }
                // It stays for the next look where the journal takes nothing now.
                Some(event) if !journal.note(&event) => continue,
                Some(_) => path.with_extension("recorded"),
                None => {
                    tracing::error!(
                        code = code::INBOX,
                        "{}: it is neither an event nor a request of gnomon's",
                        path.display()
                    );
                    path.with_extension("unreadable")
                }
            };
            // Not removed: the record may be lost with the power within the next moment.
            if let Err(error) = fs::rename(&path, away) {
                tracing::error!(
                    code = code::INBOX,
                    "{}: it cannot be renamed: {error}",
                    path.display()
                );
                self.stuck.insert(name);
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown};

    use super::*;

    #[test]
    fn what_root_leaves_is_the_daemons() {
        let dir = std::env::temp_dir().join(format!("gnomon-inbox-{}", process::id()));
        let inbox = dir.join(FOLDER);
        fs::create_dir_all(&inbox).unwrap();
        // Only root can; to others everything is their own anyway.
        let _ = chown(&inbox, Some(65_534), Some(65_534));
        ask(&dir, &Request::ResetClock).unwrap();
        let files: Vec<_> = fs::read_dir(&inbox).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        let (file, inbox) = (files[0].metadata().unwrap(), fs::metadata(&inbox).unwrap());
        assert_eq!((file.uid(), file.gid()), (inbox.uid(), inbox.gid()));
        fs::remove_dir_all(&dir).unwrap();
    }
}
