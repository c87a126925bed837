//! One thread, one session: [`Worker::run`] opens it, signs what the queue holds, and opens it again when the
//! device loses it. A device in trouble is a normal event: the job fails, the log says so once, and the
//! session is tried again at growing intervals.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cryptoki::{
    error::Error,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{KeyOnToken, Module, Pkcs11Error, Scheme, TokenChoice, sessions::Sessions};
use crate::{
    io::jobs::{Jobs, TOGETHER},
    service::code,
    signing::SignError,
    wire::{algorithm::KeyKind, certificate::PublicKey},
};

/// Between two attempts to open a session: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// After how many failed attempts the library is started anew.
const PATIENCE: u32 = 4;

/// Errors of one kind are said once in this time, over all sessions of a key: a device that fails every other
/// signature would otherwise fill the log.
const SILENCE: Duration = Duration::from_secs(10);

/// What becomes of an error that may pass.
const GOES_ON: &str = "sessions are opened anew until it works";

/// Says errors and recoveries, but not all.
#[derive(Debug, Default)]
pub struct Voice(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// An error was said, and no recovery since.
    trouble: bool,
}

impl Voice {
    fn trouble(&self, what: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_none_or(|last| last.elapsed() >= SILENCE) {
            *said = Said {
                last: Some(Instant::now()),
                trouble: true,
            };
            tracing::error!(code = code::DEVICE_FAILS, "{what}");
        }
    }

    /// Trouble that others say.
    pub fn leave_to_others(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Said {
            last: Some(Instant::now()),
            trouble: true,
        };
    }

    fn recovery(&self, choice: &TokenChoice) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut said.trouble, false) {
            tracing::info!(code = code::DEVICE_FAILS, "{choice}: signs again");
        }
    }
}

/// What a thread needs to sign with one key on one token.
#[derive(Debug, Clone)]
pub struct Worker {
    pub module: Arc<Module>,
    pub choice: TokenChoice,
    pub key: KeyOnToken,
    pub scheme: Scheme,
    pub public: PublicKey,
    pub jobs: Arc<Jobs>,
    pub sessions: Arc<Sessions>,
    /// Shared by the sessions of one key on one token.
    pub voice: Arc<Voice>,
}

/// An open session with the key found on it.
struct Open {
    session: Session,
    key: ObjectHandle,
    /// The library's start it belongs to.
    generation: u64,
}

impl Worker {
    /// Shows with one signature that the key on the token is the one.
    pub fn prove(&self) -> Result<(), Pkcs11Error> {
        let open = self.open()?;
        let _ = open.session.close();
        Ok(())
    }

    /// Signs until the queue is closed, as the thread of this number.
    pub fn run(self, number: usize) {
        let mut failures = 0;
        loop {
            let mut open = match self.sessions.inside(number, || self.open()) {
                Ok(open) => open,
                Err(error) => {
                    self.sessions.failed();
                    self.voice.trouble(&match error {
                        Pkcs11Error::PinRefused(_) => error.to_string(),
                        _ => format!("{error}; {GOES_ON}"),
                    });
                    failures += 1;
                    if failures % PATIENCE == 0 && !matches!(error, Pkcs11Error::PinRefused(_)) {
                        let generation = *self.module.enter();
                        self.module.start_anew(generation);
                    }
                    let pause = FIRST_PAUSE
                        .saturating_mul(1 << failures.min(7))
                        .min(LONGEST_PAUSE);
                    if self.jobs.closes_within(pause) {
                        return;
                    }
                    continue;
                }
            };
            self.voice.recovery(&self.choice);
            failures = 0;
            self.sessions.serves(true);
            self.module.works(true);
            let end = self.serve(number, &mut open);
            self.module.works(false);
            self.sessions.serves(false);
            // The handle of a session that the library's new start voided may be another's by now.
            if *self.module.enter() == open.generation {
                let _ = open.session.close();
            }
            match end {
                None => return,
                Some(error) => {
                    self.sessions.failed();
                    self.voice
                        .trouble(&format!("{}: {error}; {GOES_ON}", self.choice));
                }
            }
        }
    }

    /// Signs with an open session until the queue is closed or something fails.
    ///
    /// To wake who asked can cost a quarter of a brief signature. Where enough others wait to keep every session
    /// busy meanwhile, a brief signature's asker is told with those of the next ones, by one wake-up for all.
    fn serve(&self, number: usize, open: &mut Open) -> Option<String> {
        let mut told_later = Vec::with_capacity(TOGETHER);
        while let Some(job) = self.jobs.take(&mut told_later) {
            let begun = Instant::now();
            let sign = || self.sign(open, &job.message);
            let signature = self.sessions.inside(number, sign);
            let (reply, failure) = match signature {
                Ok(signature) => {
                    self.sessions.signed(begun.elapsed());
                    (Ok(signature), None)
                }
                Err(failure) => (Err(SignError::Failed), Some(failure)),
            };
            if !job.finish(reply) {
                // Who gave it up has counted this session out; the call has come back after all.
                self.sessions.serves(true);
            }
            if failure.is_some() {
                return failure;
            }
            told_later.push(job);
            let can_wait = told_later.len() < TOGETHER
                && self.sessions.are_brief()
                && self.jobs.waiting() > self.sessions.threads();
            if !can_wait {
                told_later.clear();
            }
        }
        None
    }

    fn sign(&self, open: &mut Open, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut inside = self.module.enter();
        while *inside != open.generation {
            // Another thread started the library anew; this session ended with the old one.
            drop(inside);
            *open = self.open().map_err(|error| error.to_string())?;
            inside = self.module.enter();
        }
        let signature = self.scheme.sign(&open.session, open.key, message);
        drop(inside);
        let signature = signature.map_err(|error| super::said(&error))?;
        if self.key.verify && !self.verifies(message, &signature) {
            return Err("the token gave a wrong signature, which was not used".into());
        }
        Ok(signature)
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.scheme
            .algorithm()
            .verify(&self.public, message, signature)
    }

    fn open(&self) -> Result<Open, Pkcs11Error> {
        let inside = self.module.enter();
        let session = self.module.session(&self.choice, self.key.pin.as_ref())?;
        match self.find_and_try(&session) {
            Ok(key) => Ok(Open {
                session,
                key,
                generation: *inside,
            }),
            Err(error) => {
                // It is tried again and again, and a token has room for so many sessions.
                let _ = session.close();
                Err(error)
            }
        }
    }

    /// The key, once it has shown by a signature that it is the one.
    fn find_and_try(&self, session: &Session) -> Result<ObjectHandle, Pkcs11Error> {
        const MESSAGE: &[u8] = b"gnomon: is this the key?";
        let key = find(session, &self.choice, &self.key)?;
        let failed = |error| Pkcs11Error::Device {
            choice: self.choice.clone(),
            error,
        };
        let is_it = is_of_kind(session, key, self.public.kind()).map_err(failed)? && {
            let signature = self.scheme.sign(session, key, MESSAGE).map_err(failed)?;
            self.verifies(MESSAGE, &signature)
        };
        is_it.then_some(key).ok_or_else(|| Pkcs11Error::WrongKey {
            choice: self.choice.clone(),
        })
    }
}

/// Whether the key can be of the certificate's kind at all; a mechanism on another kind makes some modules
/// fail for good.
fn is_of_kind(session: &Session, key: ObjectHandle, kind: KeyKind) -> Result<bool, Error> {
    let wanted = match kind {
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => KeyType::EC,
        KeyKind::Rsa { .. } => KeyType::RSA,
        KeyKind::Ed25519 => KeyType::EC_EDWARDS,
    };
    let found = session.get_attributes(key, &[AttributeType::KeyType])?;
    Ok(found.contains(&Attribute::KeyType(wanted)))
}

/// The private key by label and id: exactly one.
fn find(
    session: &Session,
    choice: &TokenChoice,
    key: &KeyOnToken,
) -> Result<ObjectHandle, Pkcs11Error> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let mut wanted = Vec::new();
    if let Some(label) = &key.label {
        template.push(Attribute::Label(label.clone().into_bytes()));
        wanted.push(format!("labelled `{label}`"));
    }
    if let Some(id) = &key.id {
        template.push(Attribute::Id(id.clone()));
        wanted.push(format!("of id {}", hex::encode(id)));
    }
    let (choice, wanted) = (choice.clone(), wanted.join(" "));
    let found = match session.find_objects(&template) {
        Ok(found) => found,
        Err(error) => return Err(Pkcs11Error::Device { choice, error }),
    };
    match found.as_slice() {
        [] => Err(Pkcs11Error::NoKey { choice, wanted }),
        [one] => Ok(*one),
        several => Err(Pkcs11Error::SeveralKeys {
            choice,
            wanted,
            count: several.len(),
        }),
    }
}
