//! The journal: an append-only file, one owner thread, one `sync_data` per batch. [`Journal`] is the
//! recorder; what queued while the last sync ran is the next batch. Under load the writer waits up to a
//! millisecond for records that are on their way: a sync costs 60 us of CPU, which one token alone need not
//! pay, and a client that comes alone never waits. A record is one line of `key=value` fields, so that it can be read with any tool. A failed write or sync is final: the
//! kernel may have dropped the pages, and a second sync that succeeds would prove nothing.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use crate::{
    audit::{Coming, RecordError, Recorded, Recorder, TokenIssued},
    clock::Basis,
    signing::BoxFuture,
};

/// How long the writer waits for company. RSA tokens come every 0.3 ms from two cores, so that four share a
/// sync; of elliptic ones all that are under way do.
const LINGER: Duration = Duration::from_millis(1);

/// As many as wait at all under the usual load; a fuller batch gains nothing more.
const FULL_BATCH: usize = 64;

/// Records that may wait for the next sync. More means that the disk has stopped.
const QUEUE: usize = 4_096;

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{path}: the journal's folder cannot be made: {error}")]
    Folder { path: PathBuf, error: io::Error },
    #[error(
        "{0}: another gnomon holds this journal; stop it, or give this one a folder of its own"
    )]
    Held(PathBuf),
    #[error("{path}: the journal cannot be {action}: {error}")]
    File {
        path: PathBuf,
        action: &'static str,
        error: io::Error,
    },
}

/// The journal while it is open. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Handle>);

/// What all clones of a [`Journal`] share. Its end is the writer's.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

/// The thread that writes; [`Writer::close`] waits until all is on disk.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

/// What recorders and the writer share.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when an idle writer gets work, when a batch is full, and at the end.
    changed: Condvar,
    /// Records whose tokens are being signed.
    coming: Arc<AtomicUsize>,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    /// The writer sleeps until there is work.
    idle: bool,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    line: String,
    reply: oneshot::Sender<Result<(), RecordError>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record. The writer is woken only from idleness or for a full batch: to wake it for each record
    /// of a batch would cost more than the batch saves.
    fn push(&self, entry: Entry) -> Result<(), RecordError> {
        let mut queue = self.lock();
        if queue.entries.len() >= QUEUE {
            return Err(RecordError::Busy);
        }
        queue.entries.push(entry);
        let wake = std::mem::take(&mut queue.idle) || queue.entries.len() == FULL_BATCH;
        drop(queue);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The next records, at least one; `None` when every [`Journal`] is gone. `company`: whether the batch
    /// before had more than one, so that others are on their way though nothing is announced.
    fn next_batch(&self, company: bool) -> Option<Vec<Entry>> {
        let mut queue = self.lock();
        while queue.entries.is_empty() {
            if queue.closed {
                return None;
            }
            queue.idle = true;
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if company || self.coming.load(Ordering::Relaxed) > 0 {
            let wanting = |queue: &mut Queue| queue.entries.len() < FULL_BATCH && !queue.closed;
            let waited = self.changed.wait_timeout_while(queue, LINGER, wanting);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(std::mem::take(&mut queue.entries))
    }
}

impl Journal {
    /// Opens or makes `dir/journal.log` and locks it. A torn last line, left by a crash, was never
    /// acknowledged to anybody: it is cut, and the cut is returned as a message for the operator.
    pub fn open(dir: &Path) -> Result<(Self, Writer, Option<String>), JournalError> {
        std::fs::create_dir_all(dir).map_err(|error| JournalError::Folder {
            path: dir.to_owned(),
            error,
        })?;
        let path = dir.join("journal.log");
        let failed = |action| {
            let path = path.clone();
            move |error| JournalError::File {
                path,
                action,
                error,
            }
        };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed("opened"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::Held(path.clone()))?;
        let cut = cut_torn_line(&mut file).map_err(failed("repaired"))?;
        let cut = cut.map(|octets| {
            format!("{}: cut an unfinished record of {octets} octets from the end; it was never acknowledged", path.display())
        });
        file.sync_all().map_err(failed("synced"))?;
        // The folder too, so that a file made just now survives a power loss.
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed("synced"))?;
        let shared = Arc::new(Shared::default());
        let handle = Handle(Arc::clone(&shared));
        let log = path.clone();
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_batches(file, &log, &shared))
            .map_err(failed("served by a thread"))?;
        Ok((Self(Arc::new(handle)), Writer(writer), cut))
    }

    /// Whether a write or sync has failed, after which nothing is recorded any more.
    pub fn has_stopped(&self) -> bool {
        self.0.0.stopped.load(Ordering::Acquire)
    }
}

impl Writer {
    /// Waits until everything queued is on disk. Every [`Journal`] must be gone, or this waits for it.
    pub fn close(self) {
        let _ = self.0.join();
    }
}

impl<T: Send + 'static> Recorder<T> for Journal {
    fn announce(&self) -> Coming {
        Coming::announce(&self.0.0.coming)
    }

    fn record(
        &self,
        coming: Coming,
        entry: TokenIssued,
        held: T,
    ) -> BoxFuture<'_, Result<Recorded<T>, RecordError>> {
        let (reply, synced) = oneshot::channel();
        let queued = self.0.0.push(Entry {
            line: line(&entry),
            reply,
        });
        drop(coming);
        Box::pin(async move {
            queued?;
            synced.await.unwrap_or(Err(RecordError::Stopped))?;
            Ok(Recorded::assertion(held))
        })
    }
}

fn line(entry: &TokenIssued) -> String {
    let basis = match entry.basis {
        Basis::Proven => "proven",
        Basis::Demo => "demo",
    };
    let mut line = String::with_capacity(384);
    let policy = &entry.policy;
    let (seconds, nanos) = (entry.time.as_secs(), entry.time.subsec_nanos());
    let bound = entry.bound.as_micros();
    line.push_str("token serial=");
    push_hex(&mut line, &entry.serial);
    // A String takes whatever is written.
    let _ = write!(
        line,
        " tsu={} policy={policy} time={seconds}.{nanos:09} bound_us={bound} basis={basis} {}=",
        entry.tsu, entry.imprint_algorithm
    );
    push_hex(&mut line, &entry.imprint);
    line.push_str(" token_sha256=");
    push_hex(&mut line, &entry.token_digest);
    line.push('\n');
    line
}

fn push_hex(line: &mut String, octets: &[u8]) {
    // The longest imprint has 64 octets.
    let mut digits = [0; 128];
    if let Some(digits) = digits.get_mut(..octets.len() * 2)
        && hex::encode_to_slice(octets, digits).is_ok()
    {
        line.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

fn write_batches(mut file: File, path: &Path, shared: &Shared) {
    let mut lines = Vec::new();
    let mut company = false;
    while let Some(batch) = shared.next_batch(company) {
        company = batch.len() > 1;
        lines.clear();
        for entry in &batch {
            lines.extend_from_slice(entry.line.as_bytes());
        }
        let result = match shared.stopped.load(Ordering::Acquire) {
            true => Err(RecordError::Stopped),
            false => file.write_all(&lines).and_then(|()| file.sync_data()).map_err(|error| {
                shared.stopped.store(true, Ordering::Release);
                tracing::error!(
                    "{}: the journal cannot be written: {error}; no token is issued until the disk \
                     is mended and gnomon started again",
                    path.display()
                );
                RecordError::Stopped
            }),
        };
        for entry in batch {
            let _ = entry.reply.send(result);
        }
    }
}

/// Cuts what follows the last line end; gives how many octets that were.
fn cut_torn_line(file: &mut File) -> io::Result<Option<u64>> {
    const STEP: u64 = 4_096;
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&octet| octet == b'\n') {
            end = start + u64::try_from(at).unwrap_or(0) + 1;
            break;
        }
        end = start;
    }
    if end == length {
        return Ok(None);
    }
    file.set_len(end)?;
    Ok(Some(length - end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::algorithm::DigestAlgorithm;

    fn folder(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("gnomon-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    fn entry() -> TokenIssued {
        TokenIssued {
            tsu: "a".into(),
            serial: [1; 16],
            policy: "1.2.3.4.1".parse().unwrap(),
            time: Duration::from_millis(1_800_000_000_123),
            bound: Duration::from_millis(3),
            basis: Basis::Proven,
            imprint_algorithm: DigestAlgorithm::Sha256,
            imprint: vec![7; 32],
            token_digest: [9; 32],
        }
    }

    fn announced(journal: &Journal) -> Coming {
        Recorder::<()>::announce(journal)
    }

    #[tokio::test]
    async fn a_record_is_on_disk_before_the_token_is_released() {
        let dir = folder("record");
        let (journal, writer, cut) = Journal::open(&dir).unwrap();
        assert_eq!(cut, None);
        let recorded = journal
            .record(announced(&journal), entry(), "token")
            .await
            .unwrap();
        let text = std::fs::read_to_string(dir.join("journal.log")).unwrap();
        assert!(text.contains(&hex::encode([1; 16])) && text.ends_with('\n'));
        assert_eq!(recorded.release(), "token");
        drop(journal);
        writer.close();
    }

    #[test]
    fn a_torn_line_is_cut_and_said() {
        let dir = folder("torn");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("journal.log"), "token serial=01\ntoken ser").unwrap();
        let (_journal, _writer, cut) = Journal::open(&dir).unwrap();
        assert!(cut.unwrap().contains("9 octets"));
        assert_eq!(
            std::fs::read_to_string(dir.join("journal.log")).unwrap(),
            "token serial=01\n"
        );
    }

    #[test]
    fn a_second_instance_is_refused_by_name() {
        let dir = folder("second");
        let _first = Journal::open(&dir).unwrap();
        let error = Journal::open(&dir).unwrap_err();
        assert!(
            matches!(&error, JournalError::Held(path) if path.starts_with(&dir)),
            "{error}"
        );
    }

    /// Every write to /dev/full fails with "no space left on device".
    #[tokio::test]
    async fn a_full_disk_stops_the_journal_for_good() {
        let dir = folder("full");
        std::fs::create_dir_all(&dir).unwrap();
        let shared = Arc::new(Shared::default());
        let journal = Journal(Arc::new(Handle(Arc::clone(&shared))));
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let writer =
            std::thread::spawn(move || write_batches(file, Path::new("/dev/full"), &shared));
        for _ in 0..2 {
            let refused = journal.record(announced(&journal), entry(), ()).await;
            assert_eq!(refused.map(|_| ()), Err(RecordError::Stopped));
        }
        assert!(journal.has_stopped());
        drop(journal);
        writer.join().unwrap();
    }
}
