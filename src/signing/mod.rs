//! Signatures without knowing what they are for. The port is [`Signer`]: it sees bytes, never ASN.1 to
//! interpret, and whoever encodes never sees a key. [`credential::Credential`] is a signer that has
//! proved to belong to a certificate.

pub mod credential;

use std::{fmt, future::Future, pin::Pin};

use crate::wire::{algorithm::SignatureAlgorithm, certificate::PublicKey};

/// A boxed future, so that signers can stand behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who asks for a signature. What is for time-stamps and what for status need not be told apart: no key signs both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// A client, who waits for it.
    Client,
    /// What nobody waits for, or nobody can count on: only where the device is idle, and at once or not at all.
    WhenIdle,
}

/// Why there is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Every place at the key is taken: try again soon.
    #[error("the signer's queue is full")]
    Busy,
    /// The key or its device does not work.
    #[error("the key cannot sign")]
    Failed,
}

/// The right to one signature. Time is read only after it was given, so that no wait lies between the
/// reading and the signature. Dropping it frees the place.
#[derive(Debug)]
pub struct Permit(#[allow(dead_code)] Option<tokio::sync::OwnedSemaphorePermit>);

impl Permit {
    /// For a key that signs in place and has no queue.
    pub const fn in_place() -> Self {
        Self(None)
    }

    /// A place at a key with a queue.
    pub const fn queued(place: tokio::sync::OwnedSemaphorePermit) -> Self {
        Self(Some(place))
    }
}

/// How a key's device fares, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceFigures {
    /// That are wanted.
    pub sessions: usize,
    /// That are open and not stuck.
    pub serving: usize,
    /// Signatures, and sessions to be opened, that the device has failed since the start.
    pub failures: u64,
    /// Signatures that the device has made since the start.
    pub signatures: u64,
}

/// The port to a private key.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// The algorithm of every signature this signer makes.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Whether the key can be reached at present.
    fn is_available(&self) -> bool {
        true
    }

    /// Whether a call into its device has not come back and nothing but a new process can help.
    fn is_stuck(&self) -> bool {
        false
    }

    /// How its device fares, if it has one.
    fn device(&self) -> Option<DeviceFigures> {
        None
    }

    /// Waits for a place, bounded in number and time; [`SignError::Busy`] where there is none.
    fn permit(&self, share: Share) -> BoxFuture<'_, Result<Permit, SignError>>;

    /// The signature over `message`, in its wire form (ECDSA: DER).
    fn sign<'a>(
        &'a self,
        permit: Permit,
        message: &'a [u8],
    ) -> BoxFuture<'a, Result<Vec<u8>, SignError>>;
}
