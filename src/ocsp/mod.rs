//! Certificate status (RFC 6960, RFC 9919, RFC 9654): an [`issuer::Issuer`] is one CA that is answered
//! for, a [`Responder`] one key that signs for it. [`answer`] decides what to say, [`window`] for how long
//! it holds, [`draft`] makes the response, [`sealed`] keeps it for the next who asks, and [`saved`] for after a restart.
//! [`verify`] judges a response as a client does.

pub mod answer;
pub mod draft;
pub mod issuer;
pub mod saved;
pub mod sealed;
pub mod verify;
pub mod window;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    signing::credential::Credential,
    wire::{algorithm::DigestAlgorithm, time::Seconds},
};

/// A key that signs status for one issuer.
#[derive(Debug)]
pub struct Responder {
    credential: Arc<Credential>,
    key_hash: Vec<u8>,
    certificate: Option<Bytes>,
    /// From when on it signs, and until when; without an end, for ever.
    from: Seconds,
    until: Seconds,
}

impl Responder {
    /// `delegated`: the certificate goes into every response; without, the key is the CA's own, whose
    /// certificate every client has.
    pub fn new(credential: Credential, delegated: bool) -> Self {
        let certificate = credential.certificate();
        let key_hash = certificate.public_key().key_hash(DigestAlgorithm::Sha1);
        Self {
            key_hash: key_hash.as_ref().to_vec(),
            certificate: delegated.then(|| certificate.der().clone()),
            from: Seconds::EPOCH,
            until: Seconds::END,
            credential: Arc::new(credential),
        }
    }

    /// The same, but that it signs only from `from` on.
    pub const fn starting(mut self, from: Seconds) -> Self {
        self.from = from;
        self
    }

    /// The same, but that it signs only before `until`.
    pub const fn ending(mut self, until: Seconds) -> Self {
        self.until = until;
        self
    }

    /// Whether it is this one's turn at `now`, and its certificate can be used.
    pub fn signs_at(&self, now: Seconds) -> bool {
        self.from <= now && now < self.until && self.credential.usable_at(now).is_ok()
    }

    /// Whether `other` answers with the very same certificate and algorithm at the same times.
    pub fn is_like(&self, other: &Self) -> bool {
        let algorithm = |one: &Self| one.credential.signer().algorithm();
        self.credential.certificate() == other.credential.certificate()
            && self.certificate == other.certificate
            && algorithm(self) == algorithm(other)
            && (self.from, self.until) == (other.from, other.until)
    }

    pub const fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }
}
