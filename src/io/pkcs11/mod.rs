//! Keys on a PKCS #11 token: [`open`] gives a [`Signer`] for a [`KeyOnToken`]. One OS thread owns one session;
//! all threads of a key, over all tokens that hold it, take jobs from one queue, so that work goes to
//! whatever works. The batch is the backpressure: who finds no place is told at once. Nothing is looked up
//! after a session was opened.

pub mod keys;
mod module;
mod scheme;
mod sessions;
mod worker;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use cryptoki::{context::Function, error::Error, types::AuthPin};

use super::{
    jobs::{GivenUp, Jobs},
    places::Places,
};
use crate::{
    service::code,
    signing::{BoxFuture, DeviceFigures, Permit, Share, SignError, Signer},
    wire::{algorithm::SignatureAlgorithm, certificate::PublicKey},
};
use scheme::Scheme;
use sessions::Sessions;
use worker::Worker;

pub use module::{Module, Modules, is_same_pin};

/// Of a token until a key has signed for the first time: its slot, the login, a session, the search, the signature. Each may
/// take as long as a signature.
const CALLS: u32 = 5;

/// For so long a token may be proved without a word.
const QUIET: Duration = Duration::from_secs(2);

/// Which token of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenChoice {
    Label(String),
    Serial(String),
    Slot(u64),
}

impl fmt::Display for TokenChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "token `{label}`"),
            Self::Serial(serial) => write!(f, "token of serial `{serial}`"),
            Self::Slot(slot) => write!(f, "slot {slot}"),
        }
    }
}

/// A key on one or more tokens of one module, and how it is used.
#[derive(Debug, Clone)]
pub struct KeyOnToken {
    /// The module's shared library.
    pub module: PathBuf,
    /// Every token that holds the key; work goes to those that are well.
    pub tokens: Vec<TokenChoice>,
    /// CKA_LABEL.
    pub label: Option<String>,
    /// CKA_ID.
    pub id: Option<Vec<u8>>,
    pub pin: Option<AuthPin>,
    /// Sessions on each token.
    pub sessions: usize,
    /// How many may wait for a place, for each session; the next is told at once that there is none.
    pub queue: usize,
    /// For one signature, with its wait at the device.
    pub deadline: Duration,
    /// Whether every signature is verified before it is used.
    pub verify: bool,
}

/// Why a key on a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Pkcs11Error {
    #[error("{path}: the PKCS #11 module cannot be loaded: {}", said(.error))]
    Module { path: PathBuf, error: Error },
    #[error("{0}: no such token; `gnomon keys list` shows those there are")]
    NoToken(TokenChoice),
    #[error(
        "{0}: the PIN was refused; give another one, which a running gnomon takes up by a reload; it does not try this one again"
    )]
    PinRefused(TokenChoice),
    #[error("{choice}: no private key {wanted}; `gnomon keys list` shows those there are")]
    NoKey { choice: TokenChoice, wanted: String },
    #[error("{choice}: {count} private keys {wanted}; name one by label and id")]
    SeveralKeys {
        choice: TokenChoice,
        wanted: String,
        count: usize,
    },
    #[error("{choice}: the key does not belong to the certificate, or signs wrongly")]
    WrongKey { choice: TokenChoice },
    #[error("a {kind} key cannot sign as {algorithm}")]
    WrongAlgorithm {
        kind: String,
        algorithm: SignatureAlgorithm,
    },
    #[error("{choice}: {}", said(.error))]
    Device { choice: TokenChoice, error: Error },
    #[error("{choice}: its calls do not come back, not within {} ms", .time.as_millis())]
    Hangs { choice: TokenChoice, time: Duration },
    #[error("the threads that sign cannot be started: {0}")]
    Threads(std::io::Error),
}

impl Pkcs11Error {
    /// Whether another attempt may go well although nobody has mended anything, and costs no try of the PIN: where the login
    /// fails, the next one may be the last that the token allows, since some call a wrong PIN by codes of their own. A
    /// call that does not come back can be the login, too; but a token that did not answer has judged no PIN.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::NoToken(_) | Self::Hangs { .. } | Self::Threads(_) => true,
            Self::Module { error, .. } => matches!(error, Error::Pkcs11(..)),
            Self::Device { error, .. } => !matches!(error, Error::Pkcs11(_, Function::Login)),
            Self::PinRefused(_)
            | Self::NoKey { .. }
            | Self::SeveralKeys { .. }
            | Self::WrongKey { .. }
            | Self::WrongAlgorithm { .. } => false,
        }
    }
}

/// An error of the library in few words: the function and the code by their names in the standard.
fn said(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("C_{function:?} gave {code:?}"),
        other => other.to_string(),
    }
}

/// A key with its threads.
#[derive(Debug)]
pub struct Opened {
    pub signer: Arc<dyn Signer>,
    /// Why it cannot sign on any token at present. The threads try again until it can.
    pub away: Option<Pkcs11Error>,
}

impl Opened {
    /// The key, if it can sign at present.
    pub fn present(self) -> Result<Arc<dyn Signer>, Pkcs11Error> {
        match self.away {
            None => Ok(self.signer),
            Some(error) => Err(error),
        }
    }
}

/// Opens the key whose public half is `public`, and shows by a signature on every token that it is the one.
/// One token that works is enough; those that do not are tried again while the appliance runs, also where none works
/// and that may pass.
pub fn open(
    modules: &Modules,
    key: &KeyOnToken,
    public: &PublicKey,
    algorithm: Option<SignatureAlgorithm>,
) -> Result<Opened, Pkcs11Error> {
    let scheme = Scheme::new(public.kind(), algorithm)?;
    let module = modules.load(&key.module)?;
    let threads = key.tokens.len().saturating_mul(key.sessions.max(1));
    let (jobs, sessions) = (Arc::new(Jobs::default()), Arc::new(Sessions::new(threads)));
    let (mut works, mut away) = (false, None::<Pkcs11Error>);
    let mut workers = Vec::new();
    for choice in &key.tokens {
        let worker = Worker {
            module: Arc::clone(&module),
            choice: choice.clone(),
            key: key.clone(),
            scheme,
            public: public.clone(),
            jobs: Arc::clone(&jobs),
            sessions: Arc::clone(&sessions),
            voice: Arc::default(),
        };
        match prove(&worker) {
            Ok(()) => works = true,
            // It may come, or come back; what else is wrong is the operator's to mend.
            Err(
                error @ (Pkcs11Error::Module { .. }
                | Pkcs11Error::NoToken(_)
                | Pkcs11Error::Device { .. }
                | Pkcs11Error::Hangs { .. }),
            ) => {
                worker.voice.leave_to_others();
                // What may not pass on one of them is not to be tried again for another's sake.
                if away.as_ref().is_none_or(Pkcs11Error::may_pass) {
                    away = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
        workers.extend(std::iter::repeat_n(worker, key.sessions.max(1)));
    }
    let away = match away {
        Some(error) if works => {
            tracing::warn!(code = code::TOKEN_AWAY, "{error}; the other tokens serve");
            None
        }
        Some(error) if !error.may_pass() => return Err(error),
        away => away,
    };
    // Before its threads, which end with it where not all of them can be had.
    let device = Arc::new(Device {
        public: public.clone(),
        algorithm: scheme.algorithm(),
        jobs,
        sessions,
        places: Places::new(threads, key.queue),
        deadline: key.deadline,
    });
    for (number, worker) in workers.into_iter().enumerate() {
        std::thread::Builder::new()
            .name(format!("hsm-{number}"))
            .spawn(move || worker.run(number))
            .map_err(Pkcs11Error::Threads)?;
    }
    if works {
        device.wait_for_a_session(key.deadline.saturating_mul(CALLS));
    }
    Ok(Opened {
        signer: device,
        away,
    })
}

/// Proves the key on a thread of its own, which is left behind where the token does not come back.
fn prove(worker: &Worker) -> Result<(), Pkcs11Error> {
    let (own, choice) = (worker.clone(), worker.choice.clone());
    let time = worker.key.deadline.saturating_mul(CALLS);
    let (told, proved) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("hsm-proof".into())
        .spawn(move || {
            let _ = told.send(own.prove());
        })
        .map_err(Pkcs11Error::Threads)?;
    let mut result = proved.recv_timeout(time.min(QUIET));
    if result.is_err() && time > QUIET {
        tracing::info!(
            "{choice}: has not signed yet; it is waited for, {} ms at most",
            time.as_millis()
        );
        result = proved.recv_timeout(time - QUIET);
    }
    result.unwrap_or(Err(Pkcs11Error::Hangs { choice, time }))
}

/// A key behind sessions.
struct Device {
    public: PublicKey,
    algorithm: SignatureAlgorithm,
    jobs: Arc<Jobs>,
    sessions: Arc<Sessions>,
    places: Places,
    deadline: Duration,
}

impl Device {
    /// Whoever asks as soon as the key is in force is not to be refused for want of a session that is just being opened.
    fn wait_for_a_session(&self, time: Duration) {
        const LOOK: Duration = Duration::from_millis(2);
        let end = Instant::now() + time;
        while !self.is_available() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.algorithm)
    }
}

impl Signer for Device {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn is_available(&self) -> bool {
        self.sessions.any_serves()
    }

    fn is_stuck(&self) -> bool {
        self.sessions.are_stuck(self.deadline)
    }

    fn device(&self) -> Option<DeviceFigures> {
        Some(self.sessions.figures())
    }

    fn permit(&self, share: Share) -> BoxFuture<'_, Result<Permit, SignError>> {
        Box::pin(async move {
            if !self.is_available() {
                return Err(SignError::Failed);
            }
            self.places.permit(share, self.sessions.are_brief()).await
        })
    }

    fn sign<'a>(
        &'a self,
        permit: Permit,
        message: &'a [u8],
    ) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        let mut pending = self.jobs.push(message, permit);
        Box::pin(async move {
            match tokio::time::timeout(self.deadline, pending.signature()).await {
                Ok(signature) => signature,
                Err(_) => match pending.give_up() {
                    GivenUp::Made(signature) => signature,
                    GivenUp::Waiting => {
                        self.sessions.failed();
                        Err(SignError::Failed)
                    }
                    GivenUp::Stuck => {
                        self.sessions.failed();
                        // The thread is left behind; it counts again when the call returns.
                        self.sessions.serves(false);
                        tracing::error!(
                            code = code::DEVICE_STUCK,
                            "a signature has taken more than {} ms on the token; its session counts as stuck",
                            self.deadline.as_millis()
                        );
                        Err(SignError::Failed)
                    }
                },
            }
        })
    }
}
