//! Signatures that wait for a thread to make them: [`Jobs`] is the queue that the threads of one key share,
//! [`Job`] one signature to make. Who asked may give a job up when it takes too long; the thread that has it
//! is then known to be stuck.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use crate::signing::{Permit, SignError};

/// The queue of one key. Closing it ends its threads.
#[derive(Debug, Default)]
pub struct Jobs {
    queue: Mutex<Queue>,
    work: Condvar,
    /// Apart from `work`, so that no thread that cannot take a job is woken for it.
    closing: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// One signature to make.
#[derive(Debug)]
pub struct Job {
    pub message: Vec<u8>,
    reply: oneshot::Sender<Result<Vec<u8>, SignError>>,
    state: Arc<AtomicU8>,
    /// Held until the signature is made: the place it takes is at the key.
    _permit: Permit,
}

/// The asker's end of a job.
#[derive(Debug)]
pub struct Pending {
    reply: oneshot::Receiver<Result<Vec<u8>, SignError>>,
    state: Arc<AtomicU8>,
}

const WAITS: u8 = 0;
const RUNS: u8 = 1;
const DONE: u8 = 2;
const GIVEN_UP: u8 = 3;

impl Jobs {
    /// Queues a signature. How many wait is bounded by the permits there are.
    pub fn push(&self, message: &[u8], permit: Permit) -> Pending {
        let (reply, receiver) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITS));
        let job = Job {
            message: message.to_vec(),
            reply,
            state: Arc::clone(&state),
            _permit: permit,
        };
        let mut queue = self.lock();
        // Into a closed queue it would wait for ever; dropped, it is answered with a failure.
        if !queue.closed {
            queue.jobs.push_back(job);
        }
        drop(queue);
        self.work.notify_one();
        Pending {
            reply: receiver,
            state,
        }
    }

    /// The next job that somebody still waits for; `None` when the queue is closed.
    pub fn take(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            match queue.jobs.pop_front() {
                Some(job) if job.begin() => return Some(job),
                Some(_) => {}
                None => {
                    queue = self
                        .work
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Ends the threads, and fails what still waits.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        self.work.notify_all();
        self.closing.notify_all();
    }

    /// Waits for this long; whether the queue was closed meanwhile.
    pub fn closes_within(&self, time: Duration) -> bool {
        let queue = self.lock();
        let open = |queue: &mut Queue| !queue.closed;
        let waited = self.closing.wait_timeout_while(queue, time, open);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn begin(&self) -> bool {
        let begun = self
            .state
            .compare_exchange(WAITS, RUNS, Ordering::AcqRel, Ordering::Acquire);
        begun.is_ok()
    }

    /// Answers; false where the asker has given up and thought this thread stuck.
    pub fn finish(self, result: Result<Vec<u8>, SignError>) -> bool {
        let waited_for = self.state.swap(DONE, Ordering::AcqRel) == RUNS;
        let _ = self.reply.send(result);
        waited_for
    }
}

impl Pending {
    /// The signature. A job that was dropped has failed.
    pub async fn signature(&mut self) -> Result<Vec<u8>, SignError> {
        (&mut self.reply).await.unwrap_or(Err(SignError::Failed))
    }

    /// Waits no longer; whether a thread had begun, and is stuck with it.
    pub fn give_up(self) -> bool {
        self.state.swap(GIVEN_UP, Ordering::AcqRel) == RUNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_given_up_is_not_begun_and_what_was_begun_is_told() {
        let jobs = Jobs::default();
        let unwanted = jobs.push(b"a", Permit::in_place());
        let mut wanted = jobs.push(b"b", Permit::in_place());
        assert!(!unwanted.give_up());
        let job = jobs.take().unwrap();
        assert_eq!(job.message, b"b");
        assert!(job.finish(Ok(vec![1])));
        assert_eq!(wanted.signature().await, Ok(vec![1]));

        let stuck = jobs.push(b"c", Permit::in_place());
        let job = jobs.take().unwrap();
        assert!(stuck.give_up());
        assert!(!job.finish(Ok(vec![2])));
    }

    #[tokio::test]
    async fn closing_answers_everybody() {
        let jobs = Jobs::default();
        let mut waiting = jobs.push(b"a", Permit::in_place());
        jobs.close();
        assert_eq!(waiting.signature().await, Err(SignError::Failed));
        assert!(jobs.take().is_none());
        assert!(jobs.closes_within(Duration::from_secs(60)));
        assert_eq!(
            jobs.push(b"b", Permit::in_place()).signature().await,
            Err(SignError::Failed)
        );
    }
}
