//! Places at a key: [`Places::permit`] gives one, waits a little for one, or says at once that there is none.
//! As many signatures as there are sessions are made at once, and one job more waits at each, so that no
//! session idles between two. Each key has sessions or threads, and so places, of its own, so that no flood of status
//! requests takes those of a TSU. What can wait ([`Share::WhenIdle`]) has a place only where a session stands idle, and
//! another one for whoever comes next if the key has several.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::jobs::TOGETHER;
use crate::signing::{Permit, Share, SignError};

/// How long one waits for a place: two seconds are what a client bears before it asks again.
const WAIT: Duration = Duration::from_secs(2);

/// The places at one key.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    /// At each session those for who is told later, only where signatures are brief.
    brief: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    /// Places that must be free before what can wait has one.
    idle: usize,
}

impl Places {
    /// For a key with this many sessions (or threads). For each, `queue` may wait for a place.
    pub fn new(sessions: usize, queue: usize) -> Self {
        let all = sessions.saturating_mul(2).max(2);
        Self {
            free: Arc::new(Semaphore::new(all)),
            brief: Arc::new(Semaphore::new(sessions.saturating_mul(TOGETHER - 1))),
            waiting: AtomicUsize::new(0),
            most_waiting: sessions.saturating_mul(queue),
            // With this one taken, a session is left for whoever comes next, unless there is only one.
            idle: all - sessions.saturating_sub(2),
        }
    }

    /// A place for one signature, to be held until who asked for it is told. Where signatures are `brief`, whoever
    /// is told of one may hold its place for as long as the next ones take, and there are more places for that.
    pub async fn permit(&self, share: Share, brief: bool) -> Result<Permit, SignError> {
        let place = |of: &Arc<Semaphore>| Arc::clone(of);
        if share == Share::WhenIdle {
            let free = self.free.available_permits();
            return match place(&self.free).try_acquire_owned() {
                Ok(place) if free >= self.idle => Ok(Permit::queued(place)),
                _ => Err(SignError::Busy),
            };
        }
        for (of, usable) in [(&self.free, true), (&self.brief, brief)] {
            if usable && let Ok(place) = place(of).try_acquire_owned() {
                return Ok(Permit::queued(place));
            }
        }
        let _waiting = Waiting::enter(&self.waiting, self.most_waiting)?;
        let wait = async {
            tokio::select! {
                place = place(&self.free).acquire_owned() => place,
                place = place(&self.brief).acquire_owned(), if brief => place,
            }
        };
        let waited: Result<Result<OwnedSemaphorePermit, AcquireError>, _> =
            tokio::time::timeout(WAIT, wait).await;
        match waited {
            Ok(Ok(place)) => Ok(Permit::queued(place)),
            Ok(Err(_)) => Err(SignError::Failed),
            Err(_) => Err(SignError::Busy),
        }
    }
}

/// Counts one waiter for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Result<Self, SignError> {
        let entered = Self(count);
        match count.fetch_add(1, Ordering::Relaxed) {
            before if before < most => Ok(entered),
            _ => Err(SignError::Busy),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_session_has_two_places_and_more_where_signatures_are_brief() {
        let places = Places::new(4, 128);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(places.permit(Share::Client, false).await.unwrap());
        }
        assert_eq!(
            places.permit(Share::Client, false).await.map(|_| ()),
            Err(SignError::Busy)
        );
        for _ in 0..4 * (TOGETHER - 1) {
            held.push(places.permit(Share::Client, true).await.unwrap());
        }
        assert!(places.permit(Share::Client, true).await.is_err());
    }

    #[tokio::test]
    async fn what_can_wait_takes_nothing_but_an_idle_session() {
        for (sessions, at_once) in [(1, 1), (2, 1), (3, 2), (8, 7)] {
            let places = Places::new(sessions, 128);
            let mut held = Vec::new();
            while let Ok(place) = places.permit(Share::WhenIdle, false).await {
                held.push(place);
            }
            assert_eq!(held.len(), at_once, "{sessions} sessions");
            held.clear();
            for _ in 0..sessions {
                held.push(places.permit(Share::Client, false).await.unwrap());
            }
            assert!(places.permit(Share::WhenIdle, false).await.is_err());
        }
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_at_once() {
        const WAITERS: usize = 3;
        let places = Arc::new(Places::new(1, WAITERS));
        let held: Vec<_> = [
            places.permit(Share::Client, false).await.unwrap(),
            places.permit(Share::Client, false).await.unwrap(),
        ]
        .into();
        let waiters: Vec<_> = (0..WAITERS)
            .map(|_| {
                let places = Arc::clone(&places);
                tokio::spawn(async move { places.permit(Share::Client, false).await.map(drop) })
            })
            .collect();
        while places.waiting.load(Ordering::Relaxed) < WAITERS {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            places.permit(Share::Client, false).await.map(|_| ()),
            Err(SignError::Busy)
        );
        drop(held);
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(()));
        }
    }
}
