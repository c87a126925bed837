//! One piece of work for many who want the same: the first to [`Flights::join`] leads, the others follow
//! and get what the leader lands. The number of followers is bounded.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

/// Work under way, by key.
#[derive(Debug)]
pub struct Flights<T> {
    under_way: Mutex<HashMap<Vec<u8>, watch::Receiver<Option<T>>>>,
    followers: AtomicUsize,
    most: usize,
}

/// What to do.
#[derive(Debug)]
pub enum Turn<'a, T> {
    /// Do the work, then [`Lead::land`].
    Lead(Lead<'a, T>),
    /// Another does it: wait.
    Follow(Follower<'a, T>),
}

/// The one who does the work. Dropping it without landing leaves the followers with nothing: they join anew.
#[derive(Debug)]
pub struct Lead<'a, T> {
    flights: &'a Flights<T>,
    key: Vec<u8>,
    result: watch::Sender<Option<T>>,
}

/// One who waits.
#[derive(Debug)]
pub struct Follower<'a, T> {
    result: watch::Receiver<Option<T>>,
    _place: Place<'a>,
}

impl<T: Clone> Flights<T> {
    /// At most `most` followers, over all keys.
    pub fn new(most: usize) -> Self {
        Self {
            under_way: Mutex::default(),
            followers: AtomicUsize::new(0),
            most,
        }
    }

    /// Leads or follows; `None` where too many follow already.
    pub fn join(&self, key: &[u8]) -> Option<Turn<'_, T>> {
        let mut under_way = self.lock();
        if let Some(result) = under_way.get(key) {
            let result = result.clone();
            return Some(Turn::Follow(Follower {
                result,
                _place: self.place()?,
            }));
        }
        let (result, receiver) = watch::channel(None);
        under_way.insert(key.to_vec(), receiver);
        Some(Turn::Lead(Lead {
            flights: self,
            key: key.to_vec(),
            result,
        }))
    }

    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.followers);
        (self.followers.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }
}

impl<T> Flights<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, watch::Receiver<Option<T>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lead<'_, T> {
    /// Gives `result` to all who follow. Whoever comes later starts anew.
    pub fn land(self, result: T) {
        self.result.send_replace(Some(result));
    }
}

impl<T> Drop for Lead<'_, T> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

impl<T: Clone> Follower<'_, T> {
    /// What the leader landed; `None` if it was lost.
    pub async fn landed(mut self) -> Option<T> {
        self.result.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// Counts one follower for as long as it lives.
#[derive(Debug)]
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead<'a>(flights: &'a Flights<u8>, key: &[u8]) -> Lead<'a, u8> {
        match flights.join(key) {
            Some(Turn::Lead(lead)) => lead,
            other => panic!("{other:?}"),
        }
    }

    fn follow<'a>(flights: &'a Flights<u8>, key: &[u8]) -> Follower<'a, u8> {
        match flights.join(key) {
            Some(Turn::Follow(follower)) => follower,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn followers_get_what_the_leader_lands_and_later_ones_start_anew() {
        let flights = Flights::new(2);
        let leader = lead(&flights, b"a");
        let (first, second) = (follow(&flights, b"a"), follow(&flights, b"a"));
        assert!(flights.join(b"a").is_none(), "a third follower is too many");
        drop(lead(&flights, b"b"));
        leader.land(7);
        assert_eq!(
            (first.landed().await, second.landed().await),
            (Some(7), Some(7))
        );
        drop(lead(&flights, b"a"));
    }

    #[tokio::test]
    async fn a_lost_leader_strands_nobody() {
        let flights = Flights::new(2);
        let leader = lead(&flights, b"a");
        let (first, second) = (follow(&flights, b"a"), follow(&flights, b"a"));
        drop(leader);
        assert_eq!((first.landed().await, second.landed().await), (None, None));
        // One of the two leads, the other follows.
        let leader = lead(&flights, b"a");
        let follower = follow(&flights, b"a");
        leader.land(7);
        assert_eq!(follower.landed().await, Some(7));
    }
}
