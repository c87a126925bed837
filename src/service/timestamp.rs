//! Time-stamping from bytes to bytes: [`Timestamping::answer`]. The order is the point: parse, admit, wait
//! for a place at the key, *then* read the clock, draft, sign, record, and only then release.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{code, trouble::Trouble};
use crate::{
    audit::{RecordError, Recorder},
    clock::Clock,
    signing::{Share, SignError, Signer, credential::CredentialError},
    tsa::{
        Token, Tsu,
        admission::{Admitted, Refusal, admit},
        draft::Draft,
        sequence::SequenceError,
        set::TsuSet,
    },
    wire::{
        tlv::DerError,
        tsp::{self, FailInfo, TimeStampReq},
    },
};

/// How often a signature that came too late for its time is drafted anew before giving up.
const ATTEMPTS: usize = 3;

/// All TSUs of the appliance and what they need.
pub struct Timestamping {
    tsus: TsuSet,
    clock: Arc<dyn Clock>,
    recorder: Arc<dyn Recorder<Token>>,
    trouble: Arc<Trouble>,
}

/// What goes back to the client.
#[derive(Debug)]
pub struct Reply {
    /// A TimeStampResp; `None` when the appliance is too busy, and the client shall come back later.
    pub body: Option<Bytes>,
    /// The TSU that was asked.
    pub tsu: String,
    pub outcome: Outcome,
}

/// What became of a request, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Granted,
    Rejected(FailInfo),
    Busy,
}

impl Outcome {
    /// A bounded label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Rejected(failure) => failure.name(),
            Self::Busy => "busy",
        }
    }
}

/// Why there is no token, by whose fault.
#[derive(Debug, thiserror::Error)]
enum Failure {
    // The client's.
    #[error("the request is not a DER TimeStampReq: {0}")]
    Format(#[from] DerError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    // The clock's.
    #[error("the time is not available: {0}")]
    Time(#[from] SequenceError),
    #[error("the clock can be further from UTC than the declared accuracy allows")]
    Inaccurate,
    // The appliance's.
    #[error("the TSU's key cannot be used now: {0}")]
    Credential(#[from] CredentialError),
    #[error("signing: {0}")]
    Sign(#[from] SignError),
    #[error("signing takes longer than the declared accuracy allows")]
    Late,
    #[error("recording: {0}")]
    Record(#[from] RecordError),
}

impl Failure {
    /// The one map from failure to wire code; `None` is an answer without a TimeStampResp.
    const fn fail_info(&self) -> Option<FailInfo> {
        Some(match self {
            Self::Format(_) => FailInfo::BadDataFormat,
            Self::Refused(refusal) => refusal.fail_info(),
            Self::Time(SequenceError::Exhausted) => FailInfo::SystemFailure,
            Self::Time(_) | Self::Inaccurate => FailInfo::TimeNotAvailable,
            Self::Sign(SignError::Busy) | Self::Record(RecordError::Busy) => return None,
            Self::Credential(_)
            | Self::Sign(SignError::Failed)
            | Self::Late
            | Self::Record(RecordError::Stopped | RecordError::Hangs) => FailInfo::SystemFailure,
        })
    }

    const fn is_ours(&self) -> bool {
        !matches!(self, Self::Format(_) | Self::Refused(_))
    }

    /// What the client is told: its own faults in full, ours without the appliance's insides.
    fn told(&self) -> String {
        match self {
            Self::Format(_) | Self::Refused(_) => self.to_string(),
            Self::Time(_) | Self::Inaccurate => "the clock is not proven to be UTC".into(),
            _ => "the time-stamping unit cannot issue tokens at present".into(),
        }
    }
}

impl Timestamping {
    pub fn new(tsus: TsuSet, clock: Arc<dyn Clock>, recorder: Arc<dyn Recorder<Token>>) -> Self {
        Self {
            tsus,
            clock,
            recorder,
            trouble: Arc::new(Trouble::new("tsa", code::TIME_STAMPS_REFUSED)),
        }
    }

    /// What takes the place of `self` under another configuration, and says when its trouble is over.
    #[must_use]
    pub fn succeeded(&self, tsus: TsuSet) -> Self {
        Self {
            tsus,
            clock: Arc::clone(&self.clock),
            recorder: Arc::clone(&self.recorder),
            trouble: Arc::clone(&self.trouble),
        }
    }

    pub const fn tsus(&self) -> &TsuSet {
        &self.tsus
    }

    /// Answers one request: a whole HTTP body, sent to the TSU `name`, or to whichever its policy picks.
    pub async fn answer(&self, name: Option<&str>, body: &[u8]) -> Reply {
        let request = TimeStampReq::parse(body);
        let policy = request.as_ref().ok().and_then(|request| request.policy);
        let Some(tsu) = self.tsus.choose(name, policy) else {
            // Unreachable over HTTP, which asks `TsuSet::knows` first.
            return Self::rejected("", FailInfo::BadRequest, "there is no such TSU");
        };
        let token = match request {
            Err(error) => Err(Failure::from(error)),
            Ok(request) => self.issue(tsu, request).await,
        };
        match token {
            Ok(token) => {
                self.trouble.ends();
                Reply {
                    body: Some(tsp::granted(token.as_bytes()).into()),
                    tsu: tsu.name().to_owned(),
                    outcome: Outcome::Granted,
                }
            }
            Err(failure) => match failure.fail_info() {
                Some(code) => {
                    if failure.is_ours() {
                        self.trouble
                            .begins(&format_args!("tsu `{}`: {failure}", tsu.name()));
                    }
                    Self::rejected(tsu.name(), code, &failure.told())
                }
                None => Reply {
                    body: None,
                    tsu: tsu.name().to_owned(),
                    outcome: Outcome::Busy,
                },
            },
        }
    }

    /// Whether every TSU can issue tokens now; why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        let time = self
            .clock
            .trusted()
            .map_err(|unproven| unproven.to_string())?;
        for tsu in self.tsus.all() {
            if !tsu.accepts(&time) {
                return Err(format!("tsu `{}`: {}", tsu.name(), Failure::Inaccurate));
            }
            let signatory = tsu.signatory(time.seconds());
            let usable = signatory.credential().usable_at(time.seconds());
            usable.map_err(|error| format!("tsu `{}`: {error}", tsu.name()))?;
            if !signatory.credential().signer().is_available() {
                return Err(format!("tsu `{}`: its key cannot be reached", tsu.name()));
            }
        }
        Ok(())
    }

    /// The keys whose turn it is.
    pub fn signers(&self) -> impl Iterator<Item = &dyn Signer> {
        let now = self.clock.reading();
        let signatories = self.tsus.all().iter().map(move |tsu| tsu.signatory(now));
        let usable =
            signatories.filter(move |signatory| signatory.credential().usable_at(now).is_ok());
        usable.map(|signatory| signatory.credential().signer().as_ref())
    }

    async fn issue(&self, tsu: &Tsu, request: TimeStampReq<'_>) -> Result<Token, Failure> {
        let admitted = admit(request, tsu.terms())?;
        for _ in 0..ATTEMPTS {
            if let Some(token) = self.attempt(tsu, &admitted).await? {
                return Ok(token);
            }
        }
        Err(Failure::Late)
    }

    /// One signature; `None` where it came too late for its time or its key, and nothing has left.
    async fn attempt(&self, tsu: &Tsu, admitted: &Admitted<'_>) -> Result<Option<Token>, Failure> {
        let signatory = tsu.signatory(self.clock.reading());
        let signer = signatory.credential().signer();
        let permit = signer.permit(Share::Client).await?;
        let stamp = tsu.sequence().next(|| self.clock.trusted())?;
        if !tsu.accepts(&stamp.time) {
            return Err(Failure::Inaccurate);
        }
        let now = stamp.time.seconds();
        if !std::ptr::eq(signatory, tsu.signatory(now)) {
            // The successor's hour has come while this waited for a place at the old key.
            return Ok(None);
        }
        signatory.credential().usable_at(now)?;
        let coming = self.recorder.announce();
        let draft = Draft::new(tsu, signatory, admitted, stamp);
        let signature = signer.sign(permit, draft.message()).await?;
        let done = self.clock.trusted().map_err(SequenceError::from)?;
        if !draft.in_time(&done) {
            return Ok(None);
        }
        let (token, entry) = draft.seal(&signature);
        Ok(Some(
            self.recorder.record(coming, entry, token).await?.release(),
        ))
    }

    fn rejected(tsu: &str, failure: FailInfo, why: &str) -> Reply {
        Reply {
            body: Some(tsp::rejection(failure, why).into()),
            tsu: tsu.to_owned(),
            outcome: Outcome::Rejected(failure),
        }
    }
}

impl fmt::Debug for Timestamping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timestamping")
            .field("tsus", &self.tsus)
            .finish()
    }
}
