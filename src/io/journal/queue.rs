//! Records on their way to the writer: [`Queue`]. What queued while the last sync ran is the next batch. The writer
//! waits a moment for tokens that are being signed, and for as many records as the last batch had, since the same
//! clients come again: a sync costs some 60 us of CPU, which one token alone need not pay. A client that comes alone
//! never waits, and nobody longer than a millisecond.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use crate::audit::{RecordError, record::Encoded};

/// The longest that the writer waits for company. RSA tokens come every 0.3 ms from two cores, so that four share a
/// sync; of elliptic ones all that are under way do.
const LINGER: Duration = Duration::from_millis(1);

/// As many as wait at all under the usual load; a fuller batch gains nothing more.
const FULL_BATCH: usize = 64;

/// Records that may wait for the next sync. More means that the disk has stopped.
const LONGEST: usize = 4_096;

/// What recorders and the writer share.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    /// Signalled when an idle writer gets work, when a batch is full, and at the end.
    changed: Condvar,
    /// Records whose tokens are being signed.
    pub coming: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// The writer sleeps until so many are here and no token is being signed.
    wanted: Option<usize>,
    closed: bool,
}

/// One record to write, and who waits for it.
#[derive(Debug)]
pub struct Entry {
    pub record: Encoded,
    /// Nobody waits for an event's record.
    pub reply: Option<oneshot::Sender<Result<(), RecordError>>>,
}

impl Queue {
    /// Queues a record, which is on its way no more. The writer is woken only when its batch is whole: to wake it
    /// for each record would cost more than the batch saves.
    pub fn push(&self, entry: Entry) -> Result<(), RecordError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(RecordError::Stopped);
        }
        if waiting.entries.len() >= LONGEST {
            return Err(RecordError::Busy);
        }
        waiting.entries.push(entry);
        let wake = self.is_whole(&waiting) && waiting.wanted.take().is_some();
        drop(waiting);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The next records, at least one; `None` when the queue is closed and empty. `last`: how many the batch before
    /// had.
    pub fn next_batch(&self, last: usize) -> Option<Vec<Entry>> {
        let mut waiting = self.lock();
        while waiting.entries.is_empty() {
            if waiting.closed {
                return None;
            }
            // The first one wakes it, whatever else is on its way.
            waiting.wanted = Some(0);
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        waiting.wanted = Some(last.min(FULL_BATCH));
        let wanting = |waiting: &mut Waiting| !self.is_whole(waiting) && !waiting.closed;
        let waited = self.changed.wait_timeout_while(waiting, LINGER, wanting);
        waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        waiting.wanted = None;
        Some(std::mem::take(&mut waiting.entries))
    }

    /// Whether what the writer sleeps for is here.
    fn is_whole(&self, waiting: &Waiting) -> bool {
        let here = waiting.entries.len();
        waiting.wanted.is_none_or(|wanted| {
            let others = wanted > 0 && self.coming.load(Ordering::Relaxed) > 0;
            here >= FULL_BATCH || (here >= wanted && !others)
        })
    }

    /// Takes no more records; the writer writes what there is and ends.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
