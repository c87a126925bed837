//! Certificate status from bytes to bytes. [`Statuses::sealed`] is the fast path: an answer signed before
//! that still holds. [`Statuses::answer`] is the whole path: parse, find the issuer, look for a sealed
//! answer, else wait for a place at the key, *then* read the clock and the snapshot, draft, sign, keep.
//! Many who ask the same at once are answered by one signature.

mod refresh;
mod saved;
mod strangers;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use saved::SavedAnswers;
use strangers::Budget;

use super::{
    code,
    flight::{Flights, Turn},
    trouble::Trouble,
};
use crate::{
    clock::{Clock, Unproven},
    ocsp::{
        answer::answer,
        draft::{Draft, Judged},
        issuer::{Issuer, Issuers},
        sealed::{Sealed, SealedAnswers},
        window::Window,
    },
    revocation::{SerialStatus, Snapshot},
    signing::{Share, SignError, Signer, credential::CredentialError},
    wire::{
        ocsp_request::{CertId, OcspRequest, RequestError},
        ocsp_response::ErrorStatus,
        time::Seconds,
    },
};

pub use refresh::{Refresh, Step};

/// Requests that may wait for an answer that another is fetching. More means that the signer has stopped.
const WAITERS: usize = 4_096;

/// All issuers of the appliance and what they need.
pub struct Statuses {
    issuers: Issuers,
    clock: Arc<dyn Clock>,
    kept: Arc<Kept>,
    nonce: bool,
    flights: Flights<Result<Arc<Sealed>, ErrorStatus>>,
    trouble: Arc<Trouble>,
}

/// The answers that were signed before, by places among the issuers.
struct Kept {
    answers: SealedAnswers,
    /// Answers about strangers, apart, so that no flood of serials pushes out real ones.
    strangers: SealedAnswers,
    budget: Budget,
    /// What the process before this one has left and nobody has asked for yet.
    saved: SavedAnswers,
    /// About how many are kept.
    most: usize,
}

/// What goes back to the client.
#[derive(Debug)]
pub enum Reply {
    /// An answer that caches may keep.
    Sealed(Arc<Sealed>),
    /// An answer for this request alone.
    Fresh(Bytes),
    /// No status, and why.
    Refused(ErrorStatus),
}

impl Reply {
    /// A bounded label for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Sealed(_) => "sealed",
            Self::Fresh(_) => "fresh",
            Self::Refused(status) => status.name(),
        }
    }
}

/// Why there is no answer, by whose fault.
#[derive(Debug, thiserror::Error)]
enum Failure {
    // The client's.
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(
        "the request names an issuer that is not answered for, or several that no key may answer for together"
    )]
    Issuer,
    #[error("{}", .0.name())]
    NoStatus(ErrorStatus),
    // The clock's.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    // The appliance's.
    #[error("the responder's certificate cannot be used now: {0}")]
    Credential(#[from] CredentialError),
    #[error("signing: {0}")]
    Sign(#[from] SignError),
    #[error("too many wait for an answer")]
    Waiters,
    #[error("too many ask about serials of no certificate")]
    Strangers,
    /// Told by who led.
    #[error("{}", .0.name())]
    Followed(ErrorStatus),
}

impl Failure {
    /// The one map from failure to wire code.
    const fn status(&self) -> ErrorStatus {
        match self {
            Self::Request(_) => ErrorStatus::MalformedRequest,
            Self::Issuer => ErrorStatus::Unauthorized,
            Self::NoStatus(status) | Self::Followed(status) => *status,
            Self::Unproven(_) | Self::Sign(_) | Self::Waiters | Self::Strangers => {
                ErrorStatus::TryLater
            }
            Self::Credential(_) => ErrorStatus::InternalError,
        }
    }

    const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Unproven(_)
                | Self::Credential(_)
                | Self::Sign(SignError::Failed)
                | Self::NoStatus(ErrorStatus::TryLater)
        )
    }
}

/// What one responder is to answer.
struct Question<'a> {
    /// At least one.
    cert_ids: Vec<CertId<'a>>,
    first: CertId<'a>,
    issuer_index: usize,
    issuer: &'a Issuer,
    responder: usize,
}

impl Statuses {
    /// `nonce`: whether nonces are echoed. `sealed_answers`: about how many are kept in memory.
    pub fn new(
        issuers: Issuers,
        clock: Arc<dyn Clock>,
        nonce: bool,
        sealed_answers: usize,
    ) -> Self {
        let kept = Kept {
            answers: SealedAnswers::new(sealed_answers),
            strangers: SealedAnswers::new(strangers::most_answers(sealed_answers)),
            budget: Budget::default(),
            saved: SavedAnswers::new(sealed_answers),
            most: sealed_answers,
        };
        let trouble = Arc::new(Trouble::new("ocsp", code::STATUS_REFUSED));
        Self::with(Arc::new(kept), issuers, clock, nonce, trouble)
    }

    /// What takes the place of `self` under another configuration, with what it has signed: the store itself where all of
    /// it still stands for the same, else what was saved as for a restart, to be verified when somebody asks.
    pub fn succeeded(&self, issuers: Issuers, nonce: bool, sealed_answers: usize) -> Self {
        let clock = Arc::clone(&self.clock);
        let mut pairs = self.issuers.all().iter().zip(issuers.all());
        // Sealed answers know their issuer by its place, so each must have kept its own.
        let goes_on = self.kept.most == sealed_answers
            && self.issuers.all().len() <= issuers.all().len()
            && pairs.all(|(old, new)| old.is_like(new));
        let trouble = Arc::clone(&self.trouble);
        if goes_on {
            return Self::with(Arc::clone(&self.kept), issuers, clock, nonce, trouble);
        }
        let new = Self {
            trouble,
            ..Self::new(issuers, clock, nonce, sealed_answers)
        };
        new.take_back(self.to_save());
        new
    }

    fn with(
        kept: Arc<Kept>,
        issuers: Issuers,
        clock: Arc<dyn Clock>,
        nonce: bool,
        trouble: Arc<Trouble>,
    ) -> Self {
        Self {
            issuers,
            clock,
            kept,
            nonce,
            flights: Flights::new(WAITERS),
            trouble,
        }
    }

    /// A sealed answer to `request`, if one still holds.
    pub fn sealed(&self, request: &[u8]) -> Option<Arc<Sealed>> {
        let request = OcspRequest::parse(request).ok()?;
        if request.has_preference() || !self.is_cacheable(&request) {
            return None;
        }
        let cert_id = request.cert_ids().next()?;
        self.find_sealed(cert_id.raw, cert_id.serial, None)
    }

    /// Answers one request: a whole HTTP body, or what a GET path carried.
    pub async fn answer(&self, request: &[u8]) -> Reply {
        match self.try_answer(request).await {
            Ok(reply) => {
                self.trouble.ends();
                reply
            }
            Err(failure) => {
                if failure.is_ours() {
                    self.trouble.begins(&failure);
                }
                Reply::Refused(failure.status())
            }
        }
    }

    /// The clock that answers go by.
    pub fn now(&self) -> Seconds {
        self.clock.reading()
    }

    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Whether every issuer can be answered for now; why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        let now = self.clock.reading();
        for issuer in self.issuers.all() {
            let name = &issuer.name;
            if let Some(shortage) = issuer.snapshot().shortage(now) {
                return Err(format!("issuer `{name}`: {shortage}"));
            }
            for responder in &issuer.responders {
                let usable = responder.credential().usable_at(now);
                usable.map_err(|error| format!("issuer `{name}`: {error}"))?;
                if !responder.credential().signer().is_available() {
                    return Err(format!(
                        "issuer `{name}`: a responder's key cannot be reached"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The keys whose turn it is.
    pub fn signers(&self) -> impl Iterator<Item = &dyn Signer> {
        let now = self.clock.reading();
        let issuers = self.issuers.all().iter();
        let responders = issuers.flat_map(|issuer| &issuer.responders);
        let usable = responders.filter(move |responder| responder.signs_at(now));
        usable.map(|responder| responder.credential().signer().as_ref())
    }

    async fn try_answer(&self, request: &[u8]) -> Result<Reply, Failure> {
        let request = OcspRequest::parse(request)?;
        let question = self.question(&request)?;
        if !self.is_cacheable(&request) {
            let nonce = request.nonce().filter(|_| self.nonce);
            let signed = self.sign(&question, Share::Client, nonce).await?;
            return Ok(Reply::Fresh(signed.body));
        }
        let mut key = question.first.raw.to_vec();
        if request.has_preference() {
            // A CertID is one element, so what follows it cannot make it another's.
            key.extend_from_slice(&question.responder.to_be_bytes());
        }
        if let Some(sealed) =
            self.find_sealed(&key, question.first.serial, Some(question.responder))
        {
            return Ok(Reply::Sealed(sealed));
        }
        loop {
            match self.flights.join(&key).ok_or(Failure::Waiters)? {
                Turn::Lead(lead) => {
                    let result = match self.take_up(&question, &key) {
                        Some(sealed) => Ok(sealed),
                        None => self.sign_sealed(&question, &key).await,
                    };
                    lead.land(match &result {
                        Ok(sealed) => Ok(Arc::clone(sealed)),
                        Err(failure) => Err(failure.status()),
                    });
                    return result.map(Reply::Sealed);
                }
                Turn::Follow(follower) => match follower.landed().await {
                    Some(Ok(sealed)) => return Ok(Reply::Sealed(sealed)),
                    Some(Err(status)) => return Err(Failure::Followed(status)),
                    // Whoever led has gone, as a client that hangs up does; one of those who waited leads now.
                    None => {}
                },
            }
        }
    }

    fn question<'a>(&'a self, request: &OcspRequest<'a>) -> Result<Question<'a>, Failure> {
        let cert_ids: Vec<_> = request.cert_ids().collect();
        let first = *cert_ids.first().ok_or(RequestError::Count)?;
        let issuer_index = self.issuers.find(&first).ok_or(Failure::Issuer)?;
        let mut others = cert_ids.iter().skip(1);
        if others.any(|cert_id| self.issuers.find(cert_id) != Some(issuer_index)) {
            return Err(Failure::Issuer);
        }
        let issuer = self.issuers.at(issuer_index).ok_or(Failure::Issuer)?;
        let responder = issuer.responder(request.preferred(), self.clock.reading());
        Ok(Question {
            cert_ids,
            first,
            issuer_index,
            issuer,
            responder,
        })
    }

    fn is_cacheable(&self, request: &OcspRequest<'_>) -> bool {
        request.count() == 1 && (request.nonce().is_none() || !self.nonce)
    }

    /// The sealed answer under `key`, if the snapshot still says the same and no fresher one is due.
    /// `responder` is whose answer it must be; without one, that of who signs now without any preference.
    fn find_sealed(
        &self,
        key: &[u8],
        serial: &[u8],
        responder: Option<usize>,
    ) -> Option<Arc<Sealed>> {
        let found = self.kept.answers.find(key);
        let sealed = found.or_else(|| self.kept.strangers.find(key))?;
        let issuer = self.issuers.at(sealed.issuer)?;
        let now = self.clock.reading();
        let expected = responder.unwrap_or_else(|| issuer.responder(std::iter::empty(), now));
        if sealed.responder != expected || issuer.is_revoked(sealed.responder) {
            return None;
        }
        let snapshot = issuer.snapshot();
        let finding = snapshot.look_up(serial, now);
        let limit = issuer.limit(sealed.responder, &finding)?;
        let holds = finding.status == sealed.said && sealed.window.holds(now, limit);
        holds.then_some(sealed)
    }

    async fn sign_sealed(
        &self,
        question: &Question<'_>,
        key: &[u8],
    ) -> Result<Arc<Sealed>, Failure> {
        let signed = self.sign(question, Share::Client, None).await?;
        Ok(self.keep(question, key, signed))
    }

    fn keep(&self, question: &Question<'_>, key: &[u8], signed: Signed) -> Arc<Sealed> {
        let is_stranger = signed.is_stranger;
        let sealed = signed.sealed(question);
        // A serial may have come onto the list since, or gone from it.
        let (here, not_here) = if is_stranger {
            (&self.kept.strangers, &self.kept.answers)
        } else {
            (&self.kept.answers, &self.kept.strangers)
        };
        here.keep(key, Arc::clone(&sealed));
        not_here.remove(key);
        sealed
    }

    async fn sign(
        &self,
        question: &Question<'_>,
        share: Share,
        nonce: Option<&[u8]>,
    ) -> Result<Signed, Failure> {
        let issuer = question.issuer;
        // What needs no signature takes no place at the key.
        let now = self.clock.reading();
        let judgement = question.judge(&issuer.snapshot(), now)?;
        let share = if judgement.is_stranger {
            self.kept.budget.take(now).ok_or(Failure::Strangers)?;
            Share::WhenIdle
        } else {
            share
        };
        let responder = issuer
            .responders
            .get(question.responder)
            .ok_or(Failure::Issuer)?;
        let signer = responder.credential().signer();
        let permit = signer.permit(share).await?;
        let time = self.clock.trusted()?;
        let now = time.seconds();
        responder.credential().usable_at(now)?;
        let judgement = question.judge(&issuer.snapshot(), now)?;
        let window = judgement.answers.first().ok_or(RequestError::Count)?.window;
        let cutoff = issuer.archive_cutoff.at(now);
        let draft = Draft::new(responder, &time, &judgement.answers, cutoff, nonce);
        let signature = signer.sign(permit, draft.message()).await?;
        Ok(Signed {
            body: draft.seal(&signature),
            window,
            said: judgement.said,
            is_stranger: judgement.is_stranger,
        })
    }
}

impl<'a> Question<'a> {
    /// What to say of each CertID, in order; one that cannot be answered stands for all.
    fn judge(&self, snapshot: &Snapshot, now: Seconds) -> Result<Judgement<'a>, Failure> {
        let issuer = self.issuer;
        let mut judgement = Judgement {
            answers: Vec::with_capacity(self.cert_ids.len()),
            said: SerialStatus::Stale,
            is_stranger: false,
        };
        for cert_id in &self.cert_ids {
            let finding = snapshot.look_up(cert_id.serial, now);
            if judgement.answers.is_empty() {
                judgement.said = finding.status;
            }
            judgement.is_stranger |= issuer.is_stranger(snapshot, &finding);
            let limit = issuer
                .limit(self.responder, &finding)
                .ok_or(Failure::Issuer)?;
            let answer = answer(finding.status, issuer.unlisted).map_err(Failure::NoStatus)?;
            let window = issuer.window(now, answer.status, limit);
            judgement.answers.push(Judged {
                cert_id: cert_id.raw,
                answer,
                window,
            });
        }
        Ok(judgement)
    }
}

/// What to say, from one state of the snapshot.
struct Judgement<'a> {
    answers: Vec<Judged<'a>>,
    /// Of the first certificate.
    said: SerialStatus,
    /// Some serial is of no certificate that is known of.
    is_stranger: bool,
}

/// A signed response and what it says of the first certificate.
struct Signed {
    body: Bytes,
    window: Window,
    said: SerialStatus,
    is_stranger: bool,
}

impl Signed {
    fn sealed(self, question: &Question<'_>) -> Arc<Sealed> {
        let (issuer, responder) = (question.issuer_index, question.responder);
        Arc::new(Sealed::new(
            self.body,
            self.window,
            self.said,
            issuer,
            responder,
        ))
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statuses")
            .field("issuers", &self.issuers)
            .finish_non_exhaustive()
    }
}
