//! Answers that were signed once and are given to everybody who asks the same: [`Sealed`] is one of them
//! with its HTTP cache headers (RFC 9919 7.2), [`SealedAnswers`] keeps them within a bound.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;

use super::window::Window;
use crate::{
    revocation::SerialStatus,
    wire::{algorithm::DigestAlgorithm, time::Seconds},
};

/// A signed answer about one certificate, without a nonce.
#[derive(Debug)]
pub struct Sealed {
    /// The OCSPResponse.
    pub body: Bytes,
    /// The quoted SHA-256 of the body.
    pub etag: Bytes,
    /// thisUpdate as an IMF-fixdate.
    pub last_modified: Bytes,
    /// nextUpdate as an IMF-fixdate.
    pub expires: Bytes,
    pub window: Window,
    /// What the snapshot said when this was signed.
    pub said: SerialStatus,
    /// The issuer's place in [`super::issuer::Issuers`].
    pub issuer: usize,
    /// The responder's place in its issuer.
    pub responder: usize,
    /// Somebody has asked for it since it was signed.
    asked: AtomicBool,
}

impl Sealed {
    pub fn new(
        body: Bytes,
        window: Window,
        said: SerialStatus,
        issuer: usize,
        responder: usize,
    ) -> Self {
        let digest = hex::encode(DigestAlgorithm::Sha256.digest(&body));
        Self {
            etag: format!("\"{digest}\"").into(),
            last_modified: http_date(window.this_update),
            expires: http_date(window.next_update),
            body,
            window,
            said,
            issuer,
            responder,
            asked: AtomicBool::new(false),
        }
    }

    /// Whether somebody has asked for it since it was signed, beyond who had it signed.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        // Cores share the line as long as nobody writes to it.
        if !self.was_asked() {
            self.asked.store(true, Ordering::Relaxed);
        }
    }
}

/// An IMF-fixdate (RFC 9110 5.6.7), which ends in "GMT".
fn http_date(time: Seconds) -> Bytes {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.get())).into()
}

/// Sealed answers by what was asked. Bounded: what has not been asked for in two rounds goes.
#[derive(Debug)]
pub struct SealedAnswers {
    shards: Vec<RwLock<Shard>>,
    hasher: RandomState,
    /// Answers in one generation of one shard.
    generation: usize,
}

/// More than there are cores, so that readers and the writer seldom meet.
const SHARDS: usize = 16;

/// Octets of the longest key. A CertID of SHA-512 with the longest serial of RFC 5280 has 190; a serial may come as
/// long as a request, and is not worth its memory.
pub const LONGEST_KEY: u16 = 256;

type Answers = HashMap<Box<[u8]>, Arc<Sealed>>;

#[derive(Debug, Default)]
struct Shard {
    young: Answers,
    old: Answers,
}

impl SealedAnswers {
    /// Keeps about `most` answers.
    pub fn new(most: usize) -> Self {
        Self {
            shards: std::iter::repeat_with(RwLock::default)
                .take(SHARDS)
                .collect(),
            hasher: RandomState::new(),
            generation: (most / SHARDS / 2).max(1),
        }
    }

    /// The answer for `key`, if there is one; whether it still holds is the caller's question.
    pub fn find(&self, key: &[u8]) -> Option<Arc<Sealed>> {
        let shard = self.shard(key)?;
        {
            let shard = read(shard);
            if let Some(sealed) = shard.young.get(key) {
                sealed.ask();
                return Some(Arc::clone(sealed));
            }
            if !shard.old.contains_key(key) {
                return None;
            }
        }
        // Asked for again: it lives on for another round.
        let mut shard = write(shard);
        let (key, sealed) = shard.old.remove_entry(key)?;
        sealed.ask();
        shard.insert(key, Arc::clone(&sealed), self.generation);
        Some(sealed)
    }

    /// Keeps `sealed` for `key`, instead of what was there.
    pub fn keep(&self, key: &[u8], sealed: Arc<Sealed>) {
        if key.len() > usize::from(LONGEST_KEY) {
            return;
        }
        if let Some(shard) = self.shard(key) {
            let mut shard = write(shard);
            shard.old.remove(key);
            shard.insert(key.into(), sealed, self.generation);
        }
    }

    /// Puts `new` in the place of `old`, and nowhere if `old` is no longer there.
    pub fn replace(&self, key: &[u8], old: &Arc<Sealed>, new: Arc<Sealed>) {
        let Some(shard) = self.shard(key) else {
            return;
        };
        let mut shard = write(shard);
        let Shard { young, old: aged } = &mut *shard;
        if let Some(place) = young.get_mut(key).or_else(|| aged.get_mut(key))
            && Arc::ptr_eq(place, old)
        {
            *place = new;
        }
    }

    /// Whether `sealed` is still what is kept for `key`.
    pub fn keeps(&self, key: &[u8], sealed: &Arc<Sealed>) -> bool {
        self.shard(key).is_some_and(|shard| {
            let shard = read(shard);
            let kept = shard.young.get(key).or_else(|| shard.old.get(key));
            kept.is_some_and(|kept| Arc::ptr_eq(kept, sealed))
        })
    }

    pub fn remove(&self, key: &[u8]) {
        if let Some(shard) = self.shard(key) {
            // Nearly always there is nothing, which readers need not wait for.
            let there = {
                let shard = read(shard);
                shard.young.contains_key(key) || shard.old.contains_key(key)
            };
            if there {
                let mut shard = write(shard);
                shard.young.remove(key);
                shard.old.remove(key);
            }
        }
    }

    /// Everything for which `wanted` holds, part by part, so that nobody waits for long.
    pub fn parts(
        &self,
        wanted: impl Fn(&Sealed) -> bool,
    ) -> impl Iterator<Item = Vec<(Box<[u8]>, Arc<Sealed>)>> {
        self.shards.iter().map(move |shard| {
            let shard = read(shard);
            let all = shard.young.iter().chain(&shard.old);
            all.filter(|(_, sealed)| wanted(sealed))
                .map(|(key, sealed)| (key.clone(), Arc::clone(sealed)))
                .collect()
        })
    }

    /// Drops what is over.
    pub fn lapse(&self, now: Seconds) {
        for shard in &self.shards {
            let over = |sealed: &Arc<Sealed>| sealed.window.is_over(now);
            let any = {
                let shard = read(shard);
                shard.young.values().chain(shard.old.values()).any(over)
            };
            if any {
                let mut shard = write(shard);
                shard.young.retain(|_, sealed| !over(sealed));
                shard.old.retain(|_, sealed| !over(sealed));
            }
        }
    }

    fn shard(&self, key: &[u8]) -> Option<&RwLock<Shard>> {
        let shards = u64::try_from(self.shards.len()).ok()?;
        let index = self.hasher.hash_one(key) % shards;
        self.shards.get(usize::try_from(index).ok()?)
    }
}

fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn insert(&mut self, key: Box<[u8]>, sealed: Arc<Sealed>, generation: usize) {
        if self.young.len() >= generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, sealed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ocsp_response::CertStatus;

    const NOW: Seconds = Seconds::new(1_800_000_000);

    fn sealed() -> Arc<Sealed> {
        let now = NOW;
        let window = Window::new(now, CertStatus::Good, 8 * 3_600, Seconds::END);
        Arc::new(Sealed::new(
            Bytes::from_static(b"x"),
            window,
            SerialStatus::Issued,
            0,
            0,
        ))
    }

    #[test]
    fn the_store_is_bounded_and_keeps_what_is_asked_for() {
        let answers = SealedAnswers::new(320);
        answers.keep(b"wanted", sealed());
        for number in 0..10_000u32 {
            answers.keep(&number.to_be_bytes(), sealed());
            assert!(answers.find(b"wanted").is_some());
        }
        let kept: usize = answers
            .shards
            .iter()
            .map(|shard| shard.read().unwrap())
            .map(|shard| shard.young.len() + shard.old.len())
            .sum();
        assert!(kept <= 320, "{kept}");
    }

    #[test]
    fn what_is_asked_is_marked_and_what_is_over_lapses() {
        let answers = SealedAnswers::new(320);
        let (asked, other) = (sealed(), sealed());
        answers.keep(b"asked", Arc::clone(&asked));
        answers.keep(b"other", Arc::clone(&other));
        assert!(!asked.was_asked());
        answers.find(b"asked");
        assert!(asked.was_asked() && !other.was_asked());
        let marked: Vec<_> = answers.parts(Sealed::was_asked).flatten().collect();
        assert_eq!(marked.len(), 1);
        answers.lapse(other.window.next_update.minus(1));
        assert!(answers.keeps(b"other", &other));
        answers.lapse(other.window.next_update);
        assert!(!answers.keeps(b"other", &other) && answers.find(b"asked").is_none());
    }

    #[test]
    fn an_answer_takes_only_the_place_of_the_one_it_renews() {
        let answers = SealedAnswers::new(320);
        let (first, second, third) = (sealed(), sealed(), sealed());
        answers.replace(b"a", &first, Arc::clone(&second));
        assert!(answers.find(b"a").is_none());
        answers.keep(b"a", Arc::clone(&first));
        answers.replace(b"a", &first, Arc::clone(&second));
        answers.replace(b"a", &first, third);
        assert!(answers.keeps(b"a", &second));
        answers.remove(b"a");
        assert!(answers.find(b"a").is_none());
    }

    #[test]
    fn no_key_is_longer_than_a_cert_id_needs() {
        let answers = SealedAnswers::new(320);
        let key = vec![7; usize::from(LONGEST_KEY) + 1];
        answers.keep(&key, sealed());
        answers.keep(&key[1..], sealed());
        assert_eq!(answers.parts(|_| true).flatten().count(), 1);
    }

    #[test]
    fn dates_end_in_gmt() {
        assert_eq!(
            &sealed().last_modified[..],
            b"Fri, 15 Jan 2027 07:55:00 GMT"
        );
    }
}
