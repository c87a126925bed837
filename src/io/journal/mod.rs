//! The journal: what must be kept, in segment files with one frame a batch, and the public log over it.
//! [`Journal`] is the recorder and takes events as well; [`open`] makes it from what the last start left. One
//! thread writes: one write, one `sync_data`, and all who waited are told. A second one lets the tree follow and
//! signs checkpoints. A failed write or sync is final: the kernel may have dropped the pages, and a second sync
//! that succeeds would prove nothing.

pub mod archive;
pub mod disk;
pub mod inbox;
mod key;
pub mod log;
#[cfg(test)]
mod power_loss;
mod queue;
pub mod reader;
mod recovery;
pub mod segments;
#[cfg(test)]
pub mod testing;
pub mod verify;

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aws_lc_rs::rand;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use crate::{
    audit::{
        Coming, RecordError, Recorded, Recorder, TokenIssued,
        event::Event,
        record::{Encoded, Salt},
    },
    io::{awaited::Awaited, wall_clock::since_1970},
    service::code,
    signing::BoxFuture,
    wire::time::Seconds,
};
use disk::{Disk, Folder, sync_name};
use key::LogKeyError;
use log::Log;
use queue::{Entry, Queue};
use recovery::{RecoveryError, recover};
use segments::Segments;

/// Batches that the tree may be behind the writer: a second's worth. Then the writer waits.
const BEHIND: usize = 1_024;

/// How long a token waits for its record. A disk that takes longer has stopped, for all that clients can tell: most of
/// them go after some 10 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a stop waits for the two threads, over and above what it waits for requests. systemd's own patience
/// (TimeoutStopSec=) is longer than both.
const FAREWELL: Duration = Duration::from_secs(15);

/// How often free space is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How the journal is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    /// The file of the log's Ed25519 key; it is made where there is none.
    pub log_key: PathBuf,
    /// The log's name in its checkpoints; one of its own where none is given.
    pub origin: Option<String>,
    /// How often a checkpoint is signed, if there is something new.
    pub checkpoint_interval: Duration,
    /// Octets of a segment file.
    pub segment_size: u64,
    /// Whether records hold the whole token.
    pub keep_tokens: bool,
    /// Octets of free space at which the operator is warned, and at which no more tokens are issued.
    pub warn_free: u64,
    pub stop_free: u64,
}

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "{0}: another gnomon holds this journal; stop it, or give this one a folder of its own"
    )]
    Held(PathBuf),
    #[error("{path}: the journal's folder cannot be {action}: {error}")]
    Folder {
        path: PathBuf,
        action: &'static str,
        error: io::Error,
    },
    #[error(transparent)]
    Key(#[from] LogKeyError),
    #[error("{dir}: {error}", dir = .dir.display())]
    Recovery { dir: PathBuf, error: RecoveryError },
}

/// The journal while it is open. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

/// Salts drawn at once: each call for random octets costs as much as a hash.
const SALTS: usize = 64;

/// What recorders and the two threads share.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    salts: Mutex<Vec<Salt>>,
    dir: PathBuf,
    keep_tokens: bool,
    state: AtomicU8,
    /// The writer's call to the disk, or its wait for the tree.
    writing: Awaited,
    /// It was said that this one is overdue.
    hangs: AtomicBool,
    records: AtomicU64,
    signed: AtomicU64,
    /// When that was, in seconds since 1970; 0 before the first of this process.
    signed_at: AtomicU64,
    free: AtomicU64,
}

/// The journal takes records.
const RUNS: u8 = 0;
/// Too little space is left; it may come back.
const FULL: u8 = 1;
/// A write failed, for good.
const FAILED: u8 = 2;

/// The threads; [`Threads::close`] ends them.
#[derive(Debug)]
pub struct Threads {
    queue: Journal,
    writer: JoinHandle<()>,
    log: JoinHandle<()>,
    /// Disconnected when both have ended.
    ended: Receiver<()>,
    /// Locked as long as this lives.
    _lock: File,
}

/// What [`open`] gives.
#[derive(Debug)]
pub struct Opened {
    pub journal: Journal,
    pub threads: Threads,
    /// What a crash or damage had left, and was mended; for the operator.
    pub mended: Vec<String>,
}

/// Figures for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Records since the journal's beginning.
    pub records: u64,
    /// Those under the last checkpoint.
    pub signed: u64,
    /// When that was signed, by the system's clock; none before the first of this process.
    pub signed_at: Option<Seconds>,
    /// Octets free on the disk.
    pub free: u64,
    pub state: State,
}

/// Whether the journal takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    /// Too little space is left; it may come back.
    Full,
    /// A write has not come back for seconds; it may.
    Hanging,
    /// A write failed, for good.
    Stopped,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Running, Self::Full, Self::Hanging, Self::Stopped];

    /// A bounded label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Full => "full",
            Self::Hanging => "hanging",
            Self::Stopped => "stopped",
        }
    }
}

/// Locks the folder, mends what a crash left, and starts the threads.
pub fn open(settings: &Settings) -> Result<Opened, JournalError> {
    let dir = &settings.dir;
    let failed = |action| {
        move |error| JournalError::Folder {
            path: dir.clone(),
            action,
            error,
        }
    };
    let missing = dir.ancestors().take_while(|folder| !folder.exists());
    let missing: Vec<_> = missing.collect();
    std::fs::create_dir_all(dir).map_err(failed("made"))?;
    for folder in missing {
        sync_name(folder).map_err(failed("made"))?;
    }
    let lock = lock(dir)?;
    let disk: Arc<dyn Disk> = Arc::new(Folder::new(dir));
    let new = log::checkpoint(&*disk).map_err(failed("read"))?.is_none();
    let key = Arc::new(key::open(
        &settings.log_key,
        settings.origin.as_deref(),
        new,
    )?);
    let recovered = recover(&disk, &key, settings.segment_size);
    let (segments, log, mended) = recovered.map_err(|error| JournalError::Recovery {
        dir: dir.clone(),
        error,
    })?;
    // Only now: a key or name that does not fit the journal must not take the right one's place.
    disk.put_durably("log.pub", format!("{}\n", key.public).as_bytes())
        .map_err(failed("written"))?;
    let shared = Arc::new(Shared {
        queue: Queue::default(),
        salts: Mutex::default(),
        dir: dir.clone(),
        keep_tokens: settings.keep_tokens,
        state: AtomicU8::new(RUNS),
        writing: Awaited::default(),
        hangs: AtomicBool::new(false),
        records: AtomicU64::new(segments.next()),
        signed: AtomicU64::new(0),
        signed_at: AtomicU64::new(0),
        free: AtomicU64::new(u64::MAX),
    });
    let journal = Journal(Arc::clone(&shared));
    for what in &mended {
        journal.note(&Event::Repaired { what: what.clone() });
    }
    let (follow, followed) = sync_channel(BEHIND);
    let thread = |name: &str| std::thread::Builder::new().name(name.into());
    let (to_write, to_log) = (Arc::clone(&shared), Arc::clone(&shared));
    let (writes, ended) = sync_channel(0);
    let logs = writes.clone();
    let writer = thread("journal").spawn(move || {
        write(segments, &to_write, &follow);
        drop(writes);
    });
    let settings = settings.clone();
    let log = thread("log").spawn(move || {
        keep_log(log, &followed, &to_log, &*disk, &settings);
        drop(logs);
    });
    Ok(Opened {
        threads: Threads {
            queue: journal.clone(),
            writer: writer.map_err(failed("served by a thread"))?,
            log: log.map_err(failed("served by a thread"))?,
            ended,
            _lock: lock,
        },
        journal,
        mended,
    })
}

/// Holds the folder against a second instance for as long as the file lives.
fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| JournalError::Folder {
        path: path.clone(),
        action: "locked",
        error,
    })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(JournalError::Held(dir.to_owned())),
    }
}

impl Journal {
    /// Records an event, with the time that the system clock shows. Nobody waits for it; false where the journal
    /// takes none.
    pub fn note(&self, event: &Event) -> bool {
        let now = since_1970();
        let record = self
            .0
            .salt()
            .map(|salt| Encoded::of_event(event, now, &salt));
        let queued = record.and_then(|record| {
            let reply = None;
            self.0.queue.push(Entry { record, reply })
        });
        queued.is_ok() && !self.0.has_failed()
    }

    /// Why nothing is recorded at present, if so.
    pub fn trouble(&self) -> Option<&'static str> {
        match self.0.stands() {
            State::Running => None,
            State::Full => {
                Some("too little space is left for it; make room, and it goes on by itself")
            }
            State::Hanging => {
                Some("its disk does not take what is written; when it does, it goes on by itself")
            }
            State::Stopped => Some("it cannot be written; see the log for the reason"),
        }
    }

    /// Octets of the segment files, as the folder shows them now.
    pub fn octets(&self) -> io::Result<u64> {
        let mut octets = 0;
        for entry in std::fs::read_dir(self.0.dir.join(segments::FOLDER))? {
            octets += entry?.metadata()?.len();
        }
        Ok(octets)
    }

    pub fn figures(&self) -> Figures {
        Figures {
            records: self.0.records.load(Ordering::Relaxed),
            signed: self.0.signed.load(Ordering::Relaxed),
            signed_at: match self.0.signed_at.load(Ordering::Relaxed) {
                0 => None,
                time => Some(Seconds::new(time)),
            },
            free: self.0.free.load(Ordering::Relaxed),
            state: self.0.stands(),
        }
    }
}

impl Threads {
    /// Writes what is queued, signs the last checkpoint, and ends. What comes later is refused. Where the disk does not
    /// come back, the threads are left behind; the next start mends what they leave, as after a crash.
    pub fn close(self) {
        let shared = &self.queue.0;
        shared.queue.close();
        if self.ended.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
            return tracing::error!(
                code = code::JOURNAL_LEFT,
                "{}: the disk has not taken the journal's last records within {} s; it is left without its last \
                 checkpoint",
                shared.dir.display(),
                FAREWELL.as_secs()
            );
        }
        let _ = self.writer.join();
        let _ = self.log.join();
    }
}

impl<T: Send + 'static> Recorder<T> for Journal {
    fn announce(&self) -> Coming {
        Coming::announce(&self.0.queue.coming)
    }

    fn record(
        &self,
        coming: Coming,
        entry: TokenIssued,
        held: T,
    ) -> BoxFuture<'_, Result<Recorded<T>, RecordError>> {
        let (reply, synced) = oneshot::channel();
        // Before it is queued, so that the writer need not wait for it any more.
        drop(coming);
        let queued = match self.0.stands() {
            State::Running => self.0.salt().and_then(|salt| {
                self.0.queue.push(Entry {
                    record: Encoded::of_token(&entry, &salt, self.0.keep_tokens),
                    reply: Some(reply),
                })
            }),
            State::Hanging => Err(RecordError::Hangs),
            State::Full | State::Stopped => Err(RecordError::Stopped),
        };
        Box::pin(async move {
            queued?;
            match tokio::time::timeout(PATIENCE, synced).await {
                Ok(synced) => synced.unwrap_or(Err(RecordError::Stopped))?,
                // It may come on record yet, and then there is a record of a token that nobody has.
                Err(_) => return Err(RecordError::Hangs),
            }
            Ok(Recorded::assertion(held))
        })
    }
}

impl Shared {
    /// A salt that nobody else gets. Without randomness nothing is recorded: the hash over a private part would not
    /// hide it.
    fn salt(&self) -> Result<Salt, RecordError> {
        let mut salts = self.salts.lock().unwrap_or_else(PoisonError::into_inner);
        if salts.is_empty() {
            let mut drawn = [Salt::default(); SALTS];
            rand::fill(drawn.as_flattened_mut()).map_err(|_| RecordError::Stopped)?;
            salts.extend(drawn);
        }
        salts.pop().ok_or(RecordError::Stopped)
    }

    fn fail(&self, what: &str, error: &io::Error) {
        self.state.store(FAILED, Ordering::Release);
        tracing::error!(
            code = code::JOURNAL_STOPPED,
            "{}: {what} cannot be written: {error}; no token is issued until the disk is mended and gnomon started \
             again",
            self.dir.display()
        );
    }

    /// How it stands now; says so, once, when that is because the disk hangs.
    fn stands(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            FAILED => State::Stopped,
            _ if self.writing.is_overdue(PATIENCE) => {
                if !self.hangs.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        code = code::JOURNAL_HANGS,
                        "{}: the disk has not taken the journal's last records for more than {} s; no token is issued \
                         until it does",
                        self.dir.display(),
                        PATIENCE.as_secs()
                    );
                }
                State::Hanging
            }
            FULL => State::Full,
            _ => State::Running,
        }
    }

    /// The writer waits for neither the disk nor the tree.
    fn came_back(&self) {
        if self.hangs.swap(false, Ordering::Relaxed) && !self.has_failed() {
            tracing::info!(
                code = code::JOURNAL_HANGS,
                "{}: the disk takes the journal's records again",
                self.dir.display()
            );
        }
    }

    fn has_failed(&self) -> bool {
        self.state.load(Ordering::Acquire) == FAILED
    }
}

/// The writer's thread.
fn write(mut segments: Segments, shared: &Shared, follow: &SyncSender<Vec<Encoded>>) {
    let mut last = 1;
    while let Some(batch) = shared.queue.next_batch(last) {
        last = batch.len();
        let (records, replies): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|entry| (entry.record, entry.reply))
            .unzip();
        if !shared.has_failed()
            && let Err(error) = shared.writing.during(|| segments.append(&records))
        {
            shared.fail(segments.file_name(), &error);
        }
        let result = match shared.has_failed() {
            true => Err(RecordError::Stopped),
            false => Ok(()),
        };
        for reply in replies.into_iter().flatten() {
            let _ = reply.send(result);
        }
        if result.is_ok() {
            shared.records.store(segments.next(), Ordering::Relaxed);
            // Where the log's thread has ended, it has said so.
            let _ = shared.writing.during(|| follow.send(records));
        }
        shared.came_back();
    }
    if !shared.has_failed()
        && let Err(error) = segments.close()
    {
        tracing::warn!(
            code = code::SEGMENT_NOT_CLOSED,
            "{}: the last segment cannot be closed: {error}",
            shared.dir.display()
        );
    }
}

/// The thread of the log: leaves to the tree, a checkpoint when its time has come, and an eye on the disk.
fn keep_log(
    mut log: Log,
    followed: &Receiver<Vec<Encoded>>,
    shared: &Shared,
    disk: &dyn Disk,
    settings: &Settings,
) {
    let mut keep = || -> io::Result<()> {
        let sign = |log: &mut Log| -> io::Result<()> {
            let signed = log.checkpoint()?;
            // Where nothing is new the last checkpoint stands; what stood at the start may be of any age.
            if shared.signed.swap(signed, Ordering::Relaxed) != signed {
                let now = since_1970().as_secs();
                shared.signed_at.store(now, Ordering::Relaxed);
            }
            Ok(())
        };
        let (mut signed, mut looked) = (Instant::now(), None::<Instant>);
        shared.signed.store(log.checkpoint()?, Ordering::Relaxed);
        loop {
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                look_at_space(shared, disk, settings);
                looked = Some(Instant::now());
            }
            if signed.elapsed() >= settings.checkpoint_interval {
                sign(&mut log)?;
                signed = Instant::now();
            }
            let pause = settings
                .checkpoint_interval
                .saturating_sub(signed.elapsed());
            match followed.recv_timeout(pause.min(LOOK)) {
                Ok(records) => {
                    for record in records {
                        log.add(record.public(), record.leaf())?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break sign(&mut log),
            }
        }
    };
    if let Err(error) = keep() {
        shared.fail("the log", &error);
    }
}

/// Stops issuing while the disk is nearly full, and warns before.
fn look_at_space(shared: &Shared, disk: &dyn Disk, settings: &Settings) {
    let Ok(free) = disk.free() else {
        return;
    };
    let before = shared.free.swap(free, Ordering::Relaxed);
    let mib = free >> 20;
    let dir = shared.dir.display();
    let change = |from, to| {
        let changed = shared
            .state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        changed.is_ok()
    };
    if free < settings.stop_free {
        if change(RUNS, FULL) {
            tracing::error!(
                code = code::JOURNAL_FULL,
                "{dir}: {mib} MiB are free, less than journal.stop_free; no token is issued until there is room"
            );
        }
    } else if change(FULL, RUNS) {
        tracing::info!(
            code = code::JOURNAL_FULL,
            "{dir}: {mib} MiB are free again; tokens are issued"
        );
    } else if free < settings.warn_free && before >= settings.warn_free {
        tracing::warn!(
            code = code::JOURNAL_LOW,
            "{dir}: {mib} MiB are free, less than journal.warn_free; make room, or move closed segments out with \
             `gnomon journal archive`"
        );
    }
}
