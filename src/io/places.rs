//! Places at a key: [`Places::permit`] gives one, waits a little for one, or says at once that there is none.
//! As many signatures as there are sessions are made at once, and one job more waits at each, so that no
//! session idles between two. Anybody may use an idle key; a reserve of the places is for time-stamps alone,
//! so that no flood of status requests keeps tokens waiting. What can wait ([`Share::WhenIdle`]) has a place only
//! where a session stands idle, and another one for whoever comes next if the key has several.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::signing::{Permit, Share, SignError};

/// Waiting for a place: in number for each session, and in time. Two seconds are what a client bears before
/// it asks again.
const WAITERS: usize = 128;
const WAIT: Duration = Duration::from_secs(2);

/// The places at one key.
#[derive(Debug)]
pub struct Places {
    anybody: Arc<Semaphore>,
    time_stamps: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    /// Places that must be free before what can wait has one.
    idle: usize,
}

impl Places {
    /// For a key with this many sessions (or threads).
    pub fn new(sessions: usize) -> Self {
        let all = sessions.saturating_mul(2).max(2);
        let reserve = (all / 4).max(1);
        Self {
            anybody: Arc::new(Semaphore::new(all - reserve)),
            time_stamps: Arc::new(Semaphore::new(reserve)),
            waiting: AtomicUsize::new(0),
            most_waiting: sessions.saturating_mul(WAITERS),
            // With this one taken, a session is left for whoever comes next, unless there is only one.
            idle: all - sessions.saturating_sub(2),
        }
    }

    /// A place for one signature, to be held until the signature is made.
    pub async fn permit(&self, share: Share) -> Result<Permit, SignError> {
        let reserved = share == Share::TimeStamp;
        let anybody = || Arc::clone(&self.anybody);
        let time_stamps = || Arc::clone(&self.time_stamps);
        if share == Share::WhenIdle {
            let free = self.anybody.available_permits() + self.time_stamps.available_permits();
            return match anybody().try_acquire_owned() {
                Ok(place) if free >= self.idle => Ok(Permit::queued(place)),
                _ => Err(SignError::Busy),
            };
        }
        if let Ok(place) = anybody().try_acquire_owned() {
            return Ok(Permit::queued(place));
        }
        if reserved && let Ok(place) = time_stamps().try_acquire_owned() {
            return Ok(Permit::queued(place));
        }
        let _waiting = Waiting::enter(&self.waiting, self.most_waiting)?;
        let wait = async {
            if reserved {
                tokio::select! {
                    place = anybody().acquire_owned() => place,
                    place = time_stamps().acquire_owned() => place,
                }
            } else {
                anybody().acquire_owned().await
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
    async fn status_never_takes_the_reserve_and_time_stamps_may_take_all() {
        let places = Places::new(4);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(places.permit(Share::Status).await.unwrap());
        }
        assert_eq!(
            places.permit(Share::StatusWithNonce).await.map(|_| ()),
            Err(SignError::Busy)
        );
        held.push(places.permit(Share::TimeStamp).await.unwrap());
        held.push(places.permit(Share::TimeStamp).await.unwrap());
        assert_eq!(
            places.permit(Share::TimeStamp).await.map(|_| ()),
            Err(SignError::Busy)
        );
        held.clear();
        for _ in 0..8 {
            held.push(places.permit(Share::TimeStamp).await.unwrap());
        }
    }

    #[tokio::test]
    async fn what_can_wait_takes_nothing_but_an_idle_session() {
        for (sessions, at_once) in [(1, 1), (2, 1), (3, 2), (8, 7)] {
            let places = Places::new(sessions);
            let mut held = Vec::new();
            while let Ok(place) = places.permit(Share::WhenIdle).await {
                held.push(place);
            }
            assert_eq!(held.len(), at_once, "{sessions} sessions");
            held.clear();
            let clients: Vec<_> = [Share::TimeStamp, Share::Status]
                .into_iter()
                .cycle()
                .take(sessions)
                .collect();
            for share in clients {
                held.push(places.permit(share).await.unwrap());
            }
            assert!(places.permit(Share::WhenIdle).await.is_err());
        }
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_at_once() {
        let places = Arc::new(Places::new(1));
        let held: Vec<_> = [
            places.permit(Share::TimeStamp).await.unwrap(),
            places.permit(Share::TimeStamp).await.unwrap(),
        ]
        .into();
        let waiters: Vec<_> = (0..WAITERS)
            .map(|_| {
                let places = Arc::clone(&places);
                tokio::spawn(async move { places.permit(Share::TimeStamp).await.map(drop) })
            })
            .collect();
        while places.waiting.load(Ordering::Relaxed) < WAITERS {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            places.permit(Share::TimeStamp).await.map(|_| ()),
            Err(SignError::Busy)
        );
        drop(held);
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(()));
        }
    }
}
