//! Answers that are asked for are signed again before clients would have to wait for it: [`Refresh`] walks through the
//! sealed answers, one signature at a [`Step`], and only where the key is idle. What nobody has asked for since it was
//! signed lapses.

use std::{collections::VecDeque, sync::Arc};

use super::{Failure, Question, Statuses};
use crate::{
    ocsp::sealed::Sealed,
    signing::{Share, SignError},
    wire::{ocsp_request::CertId, time::Seconds},
};

/// A walk without end. Whoever drives it decides how fast.
#[derive(Debug)]
pub struct Refresh {
    statuses: Arc<Statuses>,
    /// What was found due and is not yet signed.
    due: VecDeque<(Box<[u8]>, Arc<Sealed>)>,
}

/// What a step has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// One answer was signed again.
    Signed,
    /// One is due, but the key has other work, or the clock is not proven.
    Waits,
    /// None is due.
    Rests,
}

impl Refresh {
    pub const fn new(statuses: Arc<Statuses>) -> Self {
        Self {
            statuses,
            due: VecDeque::new(),
        }
    }

    /// Looks for what is due, if nothing is left of the look before, and signs one.
    pub async fn step(&mut self) -> Step {
        let statuses = &self.statuses;
        if self.due.is_empty() {
            self.due = statuses.due();
        }
        while let Some((key, sealed)) = self.due.pop_front() {
            let Some(question) = statuses.still_due(&key, &sealed) else {
                continue;
            };
            match statuses.sign(&question, Share::WhenIdle, None).await {
                Ok(signed) => {
                    let fresh = signed.sealed(&question);
                    statuses.kept.answers.replace(&key, &sealed, fresh);
                    return Step::Signed;
                }
                Err(Failure::Sign(SignError::Busy) | Failure::Unproven(_)) => {
                    // Behind the others: they may be for another key.
                    self.due.push_back((key, sealed));
                    return Step::Waits;
                }
                // Whoever asks for it hears why.
                Err(_) => return Step::Waits,
            }
        }
        Step::Rests
    }
}

impl Statuses {
    /// Drops what is over, and gives what is asked for and soon due.
    fn due(&self) -> VecDeque<(Box<[u8]>, Arc<Sealed>)> {
        let now = self.now();
        self.kept.answers.lapse(now);
        self.kept.strangers.lapse(now);
        self.lapse_saved(now);
        let due = |sealed: &Sealed| sealed.was_asked() && sealed.window.nears_refresh(now);
        self.kept
            .answers
            .parts(due)
            .flatten()
            .filter(|(key, sealed)| self.question_of(key, sealed, now).is_some())
            .collect()
    }

    /// The question that `sealed` answers, unless somebody has had it answered anew meanwhile.
    fn still_due<'a>(&'a self, key: &'a [u8], sealed: &Arc<Sealed>) -> Option<Question<'a>> {
        let question = self.question_of(key, sealed, self.now())?;
        self.kept.answers.keeps(key, sealed).then_some(question)
    }

    /// The question behind `key`, if a new answer would hold longer than `sealed`.
    fn question_of<'a>(
        &'a self,
        key: &'a [u8],
        sealed: &Sealed,
        now: Seconds,
    ) -> Option<Question<'a>> {
        let first = CertId::first(key).ok()?;
        let issuer = self.issuers.at(sealed.issuer)?;
        // Behind the CertID stands the responder that a client's preference has led to.
        let responder = if key.len() > first.raw.len() {
            sealed.responder
        } else {
            issuer.responder(std::iter::empty(), now)
        };
        let snapshot = issuer.snapshot();
        let finding = snapshot.look_up(first.serial, now);
        let limit = issuer.limit(responder, &finding)?;
        let better = sealed.window.can_be_bettered(limit);
        (better && !issuer.is_stranger(&snapshot, &finding)).then(|| Question {
            cert_ids: vec![first],
            first,
            issuer_index: sealed.issuer,
            issuer,
            responder,
        })
    }
}
