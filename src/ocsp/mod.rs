//! Certificate status (RFC 6960, RFC 9919, RFC 9654): an [`issuer::Issuer`] is one CA that is answered
//! for, a [`Responder`] one key that signs for it. [`answer`] decides what to say, [`window`] for how long
//! it holds, [`draft`] makes the response, and [`sealed`] keeps it for the next who asks.

pub mod answer;
pub mod draft;
pub mod issuer;
pub mod sealed;
pub mod window;

use bytes::Bytes;

use crate::{signing::credential::Credential, wire::algorithm::DigestAlgorithm};

/// A key that signs status for one issuer.
#[derive(Debug)]
pub struct Responder {
    credential: Credential,
    key_hash: Vec<u8>,
    certificate: Option<Bytes>,
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
            credential,
        }
    }

    pub const fn credential(&self) -> &Credential {
        &self.credential
    }
}
