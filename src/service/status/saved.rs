//! Sealed answers over a restart: [`Statuses::to_save`] is what an orderly stop writes down, [`Statuses::take_back`] is what
//! the next start begins with. Each is looked at only when it is asked for, so that a start waits for nothing, and is verified like
//! anything that comes from outside: whoever can write the file can at most make answers be signed anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Question, Signed, Statuses};
use crate::{
    ocsp::{saved::Saved, sealed::Sealed},
    wire::time::Seconds,
};

/// Answers by what was asked, as [`crate::ocsp::sealed::SealedAnswers`] has them.
type ByKey = HashMap<Box<[u8]>, Saved>;

/// What is left of them.
#[derive(Debug)]
pub(super) struct SavedAnswers {
    left: Mutex<ByKey>,
    most: usize,
}

impl SavedAnswers {
    /// At most `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            left: Mutex::default(),
            most,
        }
    }

    fn left(&self) -> MutexGuard<'_, ByKey> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Statuses {
    /// Begins with what the process before this one has saved.
    pub fn take_back(&self, answers: impl IntoIterator<Item = (Box<[u8]>, Saved)>) {
        let answers = answers.into_iter().take(self.kept.saved.most);
        *self.kept.saved.left() = answers.collect();
    }

    /// At the stop: what can still be given out, to be saved; with what was saved before and nobody has asked for yet.
    pub fn to_save(&self) -> Vec<(Box<[u8]>, Saved)> {
        let now = self.clock.reading();
        let lasts = |sealed: &Sealed| !sealed.window.is_over(now);
        let mut answers = std::mem::take(&mut *self.kept.saved.left());
        for (key, sealed) in self.kept.answers.parts(lasts).flatten() {
            if let Some(saved) = Saved::of(&sealed) {
                answers.insert(key, saved);
            }
        }
        answers.into_iter().take(self.kept.saved.most).collect()
    }

    /// The answer that was saved for `key`, if it still holds.
    pub(super) fn take_up(&self, question: &Question<'_>, key: &[u8]) -> Option<Arc<Sealed>> {
        let saved = self.kept.saved.left().remove(key)?;
        let (now, issuer) = (self.clock.reading(), question.issuer);
        let snapshot = issuer.snapshot();
        let finding = snapshot.look_up(question.first.serial, now);
        let cert_id = question.first.raw;
        let (body, window) = saved.resealed(issuer, question.responder, cert_id, &finding, now)?;
        let signed = Signed {
            body,
            window,
            said: finding.status,
            is_stranger: issuer.is_stranger(&snapshot, &finding),
        };
        Some(self.keep(question, key, signed))
    }

    /// Forgets what was saved and can no longer hold.
    pub(super) fn lapse_saved(&self, now: Seconds) {
        let longest = self.issuers.all().iter().map(|issuer| issuer.validity);
        let longest = longest.max().unwrap_or(0);
        let mut left = self.kept.saved.left();
        left.retain(|_, saved| now < saved.signed.plus(longest));
        if left.is_empty() {
            left.shrink_to_fit();
        }
    }
}
