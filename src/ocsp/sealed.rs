//! Answers that were signed once and are given to everybody who asks the same: [`Sealed`] is one of them
//! with its HTTP cache headers (RFC 9919 7.2), [`SealedAnswers`] keeps them within a bound.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, RwLock},
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

type Answers = HashMap<Box<[u8]>, Arc<Sealed>>;

#[derive(Debug, Default)]
struct Shard {
    young: Answers,
    old: Answers,
}

impl SealedAnswers {
    /// Keeps about `most` answers.
    pub fn new(most: usize) -> Self {
        // More than there are cores, so that readers and the writer seldom meet.
        const SHARDS: usize = 16;
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
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(sealed) = shard.young.get(key) {
                return Some(Arc::clone(sealed));
            }
            if !shard.old.contains_key(key) {
                return None;
            }
        }
        // Asked for again: it lives on for another round.
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let (key, sealed) = shard.old.remove_entry(key)?;
        shard.insert(key, Arc::clone(&sealed), self.generation);
        Some(sealed)
    }

    /// Keeps `sealed` for `key`, instead of what was there.
    pub fn keep(&self, key: &[u8], sealed: Arc<Sealed>) {
        if let Some(shard) = self.shard(key) {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.old.remove(key);
            shard.insert(key.into(), sealed, self.generation);
        }
    }

    fn shard(&self, key: &[u8]) -> Option<&RwLock<Shard>> {
        let shards = u64::try_from(self.shards.len()).ok()?;
        let index = self.hasher.hash_one(key) % shards;
        self.shards.get(usize::try_from(index).ok()?)
    }
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

    fn sealed() -> Arc<Sealed> {
        let now = Seconds::new(1_800_000_000);
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
    fn dates_end_in_gmt() {
        assert_eq!(
            &sealed().last_modified[..],
            b"Fri, 15 Jan 2027 07:55:00 GMT"
        );
    }
}
