//! Signatures that wait for a thread to make them: [`Jobs`] is the queue that the threads of one key share,
//! [`Job`] one signature to make. Who asked may give a job up when it takes too long; the thread that has it
//! is then known to be stuck.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::signing::{Permit, SignError};

/// At most so many who asked for brief signatures are told together, by one wake-up.
pub const TOGETHER: usize = 3;

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

/// One signature to make. Who asked is told when it is dropped.
#[derive(Debug)]
pub struct Job {
    pub message: Vec<u8>,
    progress: Arc<Mutex<Progress>>,
    /// The place it takes at the key, which is free by the time that who asked is told.
    _permit: Permit,
    /// Wakes who asked, by its end.
    _asker: oneshot::Sender<Infallible>,
}

/// The asker's end of a job.
#[derive(Debug)]
pub struct Pending {
    told: oneshot::Receiver<Infallible>,
    progress: Arc<Mutex<Progress>>,
}

#[derive(Debug)]
enum Progress {
    Waits,
    Runs,
    Made(Result<Vec<u8>, SignError>),
    GivenUp,
}

/// How far a job had come when it was given up.
#[derive(Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It is not begun any more.
    Waiting,
    /// A thread is stuck with it.
    Stuck,
    /// It was made all the same, and nobody had said so yet.
    Made(Result<Vec<u8>, SignError>),
}

impl Jobs {
    /// Queues a signature. How many wait is bounded by the permits there are.
    pub fn push(&self, message: &[u8], permit: Permit) -> Pending {
        let (asker, told) = oneshot::channel();
        let progress = Arc::new(Mutex::new(Progress::Waits));
        let job = Job {
            message: message.to_vec(),
            progress: Arc::clone(&progress),
            _permit: permit,
            _asker: asker,
        };
        let mut queue = self.lock();
        // Into a closed queue it would wait for ever; dropped, it is answered with a failure.
        if !queue.closed {
            queue.jobs.push_back(job);
        }
        drop(queue);
        self.work.notify_one();
        Pending { told, progress }
    }

    /// The next job that somebody still waits for; `None` when the queue is closed. Who asked for the jobs `before` is
    /// told, at the latest, when there is none to be had at once.
    pub fn take(&self, before: &mut Vec<Job>) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            match queue.jobs.pop_front() {
                Some(job) if job.begin() => return Some(job),
                Some(_) => {}
                None if !before.is_empty() => {
                    // The wake-up takes longer than all else here: nobody shall wait for the queue meanwhile.
                    drop(queue);
                    before.clear();
                    queue = self.lock();
                }
                None => {
                    queue = self
                        .work
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// How many wait for a thread.
    pub fn waiting(&self) -> usize {
        self.lock().jobs.len()
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
        let mut progress = lock(&self.progress);
        let waits = matches!(*progress, Progress::Waits);
        if waits {
            *progress = Progress::Runs;
        }
        waits
    }

    /// Keeps the answer for who asked; false where they have given up and thought this thread stuck.
    pub fn finish(&self, result: Result<Vec<u8>, SignError>) -> bool {
        let before = std::mem::replace(&mut *lock(&self.progress), Progress::Made(result));
        matches!(before, Progress::Runs)
    }
}

impl Pending {
    /// The signature. A job that was dropped unmade has failed.
    pub async fn signature(&mut self) -> Result<Vec<u8>, SignError> {
        let Err(_end) = (&mut self.told).await;
        match std::mem::replace(&mut *lock(&self.progress), Progress::GivenUp) {
            Progress::Made(signature) => signature,
            _ => Err(SignError::Failed),
        }
    }

    /// Waits no longer.
    pub fn give_up(self) -> GivenUp {
        match std::mem::replace(&mut *lock(&self.progress), Progress::GivenUp) {
            Progress::Made(signature) => GivenUp::Made(signature),
            Progress::Runs => GivenUp::Stuck,
            Progress::Waits | Progress::GivenUp => GivenUp::Waiting,
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_given_up_is_not_begun_and_what_was_begun_is_told() {
        let jobs = Jobs::default();
        let unwanted = jobs.push(b"a", Permit::in_place());
        let mut wanted = jobs.push(b"b", Permit::in_place());
        assert_eq!(unwanted.give_up(), GivenUp::Waiting);
        let job = jobs.take(&mut Vec::new()).unwrap();
        assert_eq!(job.message, b"b");
        assert!(job.finish(Ok(vec![1])));
        drop(job);
        assert_eq!(wanted.signature().await, Ok(vec![1]));

        let stuck = jobs.push(b"c", Permit::in_place());
        let job = jobs.take(&mut Vec::new()).unwrap();
        assert_eq!(stuck.give_up(), GivenUp::Stuck);
        assert!(!job.finish(Ok(vec![2])));

        let made = jobs.push(b"d", Permit::in_place());
        let job = jobs.take(&mut Vec::new()).unwrap();
        assert!(job.finish(Ok(vec![3])));
        assert_eq!(made.give_up(), GivenUp::Made(Ok(vec![3])));
    }

    #[tokio::test]
    async fn nobody_is_told_later_than_when_the_queue_is_empty() {
        let jobs = Arc::new(Jobs::default());
        let mut made = jobs.push(b"a", Permit::in_place());
        let mut before = vec![jobs.take(&mut Vec::new()).unwrap()];
        assert!(before[0].finish(Ok(vec![1])));
        // Others may have taken all that waited, or it was given up.
        let unwanted = jobs.push(b"b", Permit::in_place());
        assert_eq!(unwanted.give_up(), GivenUp::Waiting);
        let thread = {
            let jobs = Arc::clone(&jobs);
            std::thread::spawn(move || jobs.take(&mut before).is_none())
        };
        let told = tokio::time::timeout(Duration::from_secs(20), made.signature());
        assert_eq!(told.await.unwrap(), Ok(vec![1]));
        jobs.close();
        assert!(thread.join().unwrap());
    }

    #[tokio::test]
    async fn closing_answers_everybody() {
        let jobs = Jobs::default();
        let mut waiting = jobs.push(b"a", Permit::in_place());
        jobs.close();
        assert_eq!(waiting.signature().await, Err(SignError::Failed));
        assert!(jobs.take(&mut Vec::new()).is_none());
        assert!(jobs.closes_within(Duration::from_secs(60)));
        assert_eq!(
            jobs.push(b"b", Permit::in_place()).signature().await,
            Err(SignError::Failed)
        );
    }
}
