//! OCSP stapling (RFC 6066 8): [`Stapler`] is the thread that keeps a response about our own certificate at hand. Where
//! its CA is one that is answered for here, the response is what any client of our OCSP service gets, so that a
//! revocation shows at once. Else it is fetched from the responder that the certificate names. Only what was verified
//! and says `good` is shown, and never past its end.

use std::{convert::Infallible, io, sync::Arc, thread::JoinHandle, time::Duration};

use reqwest::header::CONTENT_TYPE;
use tokio::sync::oneshot;

use super::{Identity, Pair};
use crate::{
    io::{
        http_client::{self, HttpError},
        metrics::Metrics,
        wall_clock::{since_1970, wall_clock},
    },
    ocsp::verify::{self, Holds, VerifyError},
    service::{
        code,
        status::{Reply, Statuses},
    },
    wire::{certificate::Certificate, ocsp_client, ocsp_response::ErrorStatus, time::Seconds},
};

/// How often it is looked whether the certificate, our own answer or the time is another.
const LOOK: Duration = Duration::from_secs(1);

/// From asking a responder elsewhere to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Octets of the longest answer; they have one or two KiB.
const LONGEST: usize = 64 << 10;

const REDIRECTS: usize = 3;

/// Seconds: the pause after a first failure, the longest one, and the time between two answers of one responder.
const RETRY: (u64, u64) = (10, 600);
const INTERVAL: (u64, u64) = (60, 12 * 3600);

/// Why nothing is stapled.
#[derive(Debug, thiserror::Error)]
enum StapleError {
    #[error(
        "the issuer's certificate is not behind it in the file, so that nobody can be asked; add it"
    )]
    NoIssuer,
    #[error("it names no OCSP responder, and its CA is none that is answered for here")]
    NoResponder,
    #[error("its OCSP responder `{0}` {1}")]
    Url(String, String),
    #[error("our own OCSP service says `{}` of it; put its serial on the issuer's list", .0.name())]
    Own(ErrorStatus),
    #[error("its OCSP responder cannot be asked: {0}")]
    Http(#[from] HttpError),
    #[error("{0}")]
    Verify(#[from] VerifyError),
}

impl StapleError {
    /// Whether the certificate simply is of a kind that has no staple: many are.
    const fn is_by_nature(&self) -> bool {
        matches!(self, Self::NoResponder)
    }

    /// Whether a responder has taken back what it said before.
    const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Verify(VerifyError::Revoked(_) | VerifyError::Unknown)
        )
    }

    /// Whether it is our own OCSP service that is in trouble, and says so itself. What it said before still holds.
    const fn is_told(&self) -> bool {
        matches!(
            self,
            Self::Own(ErrorStatus::TryLater | ErrorStatus::InternalError)
        )
    }
}

/// The thread.
#[derive(Debug)]
pub struct Stapler {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Told>,
}

/// What was said so far, which outlives certificates and reloads: what does not change is said once, and its end too.
#[derive(Debug, Default)]
pub struct Told {
    last: Option<String>,
    is_trouble: bool,
}

impl Stapler {
    /// `told`: by the one before it.
    pub fn begin(
        identity: Arc<Identity>,
        statuses: Option<Arc<Statuses>>,
        metrics: Arc<Metrics>,
        told: Told,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("staple".into());
        let thread = thread.spawn(move || {
            let mut stapling = Stapling::new(identity, statuses, metrics, told);
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    never = stapling.keep() => match never {},
                }
            });
            // A host name that is being looked up is left behind.
            runtime.shutdown_background();
            stapling.told
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it at once; a request under way is dropped. Gives what was said.
    pub fn stop(self) -> Told {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

impl Told {
    /// Nothing is to be stapled any more.
    pub fn end(self) {
        if self.is_trouble {
            tracing::info!(code = code::STAPLE, "tls.staple: off");
        }
    }
}

/// What is stapled to one pair, and what was said of it.
struct Stapling {
    identity: Arc<Identity>,
    statuses: Option<Arc<Statuses>>,
    metrics: Arc<Metrics>,
    pair: Arc<Pair>,
    /// The certificate's CA, where it is one of the issuers that are answered for.
    issuer: Option<Certificate>,
    /// The response that is shown, and its end.
    shown: Option<(Vec<u8>, Seconds)>,
    /// When a responder elsewhere is asked next, and the pause after a failure.
    due: Seconds,
    pause: u64,
    told: Told,
}

impl Stapling {
    fn new(
        identity: Arc<Identity>,
        statuses: Option<Arc<Statuses>>,
        metrics: Arc<Metrics>,
        told: Told,
    ) -> Self {
        let pair = identity.pair.load_full();
        let issuers = statuses.as_ref().map(|statuses| statuses.issuers().all());
        let mut issuers = issuers.unwrap_or_default().iter();
        let own = pair.chain.first();
        let issuer = issuers
            .find(|issuer| own.is_some_and(|own| own.is_issued_by(&issuer.certificate)))
            .map(|issuer| issuer.certificate.clone());
        // What was stapled before a reload is still right where it still holds.
        let stapled = pair.shown.stapled();
        let shown = stapled.and_then(|response| {
            let issuer = issuer.as_ref().or_else(|| pair.chain.get(1))?;
            let holds = verify::verify(&response, own?, issuer, wall_clock()).ok()?;
            Some((response, holds.until))
        });
        if shown.is_none() {
            pair.shown.staple(None);
        }
        metrics.staple_end(shown.as_ref().map(|(_, until)| *until));
        Self {
            pair,
            issuer,
            identity,
            statuses,
            metrics,
            shown,
            due: Seconds::EPOCH,
            pause: RETRY.0,
            told,
        }
    }

    async fn keep(&mut self) -> Infallible {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK.min(self.left())).await;
        }
    }

    async fn look(&mut self) {
        let pair = self.identity.pair.load_full();
        if !Arc::ptr_eq(&pair, &self.pair) {
            let (identity, metrics) = (Arc::clone(&self.identity), Arc::clone(&self.metrics));
            let told = std::mem::take(&mut self.told);
            *self = Self::new(identity, self.statuses.take(), metrics, told);
        }
        if self.left().is_zero() {
            self.show(None);
        }
        // What is not there when the old one ends is asked for again without it.
        match tokio::time::timeout(self.left(), self.renew()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => self.failed(&error),
        }
    }

    /// For how long what is shown may be shown, or for ever where nothing is.
    fn left(&self) -> Duration {
        let Some((_, end)) = &self.shown else {
            return Duration::MAX;
        };
        Duration::from_secs(end.get()).saturating_sub(since_1970())
    }

    async fn renew(&mut self) -> Result<(), StapleError> {
        let pair = Arc::clone(&self.pair);
        let [own, above @ ..] = pair.chain.as_slice() else {
            return Ok(());
        };
        if let (Some(statuses), Some(issuer)) = (self.statuses.clone(), self.issuer.clone()) {
            return self.renew_by_own(&statuses, own, &issuer).await;
        }
        if wall_clock() < self.due {
            return Ok(());
        }
        let fetched = fetch(own, above.first()).await;
        let now = wall_clock();
        let after = match &fetched {
            Ok((_, holds)) => {
                let (shortest, longest) = INTERVAL;
                self.pause = RETRY.0;
                (holds.until.since(now) / 2).clamp(shortest, longest)
            }
            Err(_) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(RETRY.1);
                pause
            }
        };
        self.due = now.plus(after);
        let (response, holds) = fetched.inspect_err(|error| {
            if error.is_final() {
                self.show(None);
            }
        })?;
        self.show(Some((response, holds.until)));
        Ok(())
    }

    /// Each time, since it costs next to nothing: whoever asks next gets the same.
    async fn renew_by_own(
        &mut self,
        statuses: &Statuses,
        own: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), StapleError> {
        let request = ocsp_client::request(own, issuer);
        let sealed = match statuses.sealed(&request) {
            Some(sealed) => sealed,
            None => match statuses.answer(&request).await {
                Reply::Sealed(sealed) => sealed,
                // It has no nonce, so that this does not happen.
                Reply::Fresh(_) => return Ok(()),
                Reply::Refused(status) => {
                    let error = StapleError::Own(status);
                    if !error.is_told() {
                        self.show(None);
                    }
                    return Err(error);
                }
            },
        };
        if matches!(&self.shown, Some((shown, _)) if *shown == sealed.body) {
            return Ok(());
        }
        let holds = verify::verify(&sealed.body, own, issuer, wall_clock());
        let holds = holds.inspect_err(|_| self.show(None))?;
        self.show(Some((sealed.body.to_vec(), holds.until)));
        Ok(())
    }

    fn show(&mut self, response: Option<(Vec<u8>, Seconds)>) {
        if response.is_none() && self.shown.is_none() {
            return;
        }
        if let Some((_, until)) = &response
            && std::mem::take(&mut self.told).is_trouble
        {
            tracing::info!(
                code = code::STAPLE,
                "tls.staple: stapled again, until {until}"
            );
        }
        self.metrics
            .staple_end(response.as_ref().map(|(_, until)| *until));
        let octets = response.as_ref().map(|(response, _)| response.clone());
        self.pair.shown.staple(octets);
        self.shown = response;
    }

    /// Said once as long as it is the same.
    fn failed(&mut self, error: &StapleError) {
        let said = format!("the certificate of {}: {error}", self.pair.subject);
        if error.is_told() || self.told.last.as_ref() == Some(&said) {
            return;
        }
        let is_trouble = !error.is_by_nature();
        if is_trouble {
            tracing::warn!(code = code::STAPLE, "tls.staple: {said}");
        } else {
            // The end of what the certificate before it was in.
            let code = self.told.is_trouble.then_some(code::STAPLE);
            tracing::info!(code, "tls.staple: nothing is stapled: {said}");
        }
        self.told = Told {
            last: Some(said),
            is_trouble,
        };
    }
}

/// Asks the responder that the certificate names.
async fn fetch(
    own: &Certificate,
    issuer: Option<&Certificate>,
) -> Result<(Vec<u8>, Holds), StapleError> {
    let url = ocsp_client::responder(own).ok_or(StapleError::NoResponder)?;
    let issuer = issuer.filter(|issuer| own.is_issued_by(issuer));
    let issuer = issuer.ok_or(StapleError::NoIssuer)?;
    let url = http_client::url(&url).map_err(|what| StapleError::Url(url, what))?;
    let response = http_client::client(PATIENCE, REDIRECTS)?
        .post(url)
        .header(CONTENT_TYPE, "application/ocsp-request")
        .body(ocsp_client::request(own, issuer))
        .send()
        .await
        .map_err(HttpError::from)?;
    let response = http_client::body(response, LONGEST).await?;
    let holds = verify::verify(&response, own, issuer, wall_clock())?;
    Ok((response, holds))
}
