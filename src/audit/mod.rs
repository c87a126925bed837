//! What must be on record before it leaves. [`Recorded`] is a thing whose journal entry is on stable
//! storage; the port [`Recorder`] makes it so. The files beside this one are the journal's form, from the
//! [`record`] to the [`frame`] it is written in, and the log's, from the [`tree`] to the [`proof`] that anybody
//! can check and the [`anchor`] that another authority gives. Nothing here touches a disk.

pub mod anchor;
pub mod checkpoint;
pub mod event;
pub mod frame;
pub mod octets;
pub mod path;
pub mod proof;
pub mod record;
pub mod tile;
pub mod tree;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use crate::{
    clock::Basis,
    signing::BoxFuture,
    wire::{algorithm::DigestAlgorithm, oid::PolicyOid},
};

/// The record of one issued token.
#[derive(Debug, Clone)]
pub struct TokenIssued {
    /// The TSU's name in the configuration.
    pub tsu: String,
    pub serial: [u8; 16],
    pub policy: PolicyOid,
    /// As in the token, since 1970.
    pub gen_time: Duration,
    /// The clock's reading, of which genTime is the cut to the precision.
    pub reading: Duration,
    /// How far genTime can be from UTC, and on whose word.
    pub bound: Duration,
    pub basis: Basis,
    pub imprint_algorithm: DigestAlgorithm,
    pub imprint: Vec<u8>,
    /// SHA-256 of the nonce's contents octets, where there was one.
    pub nonce_digest: Option<[u8; 32]>,
    /// SHA-256 of the token.
    pub token_digest: [u8; 32],
    pub token: Bytes,
}

/// `T`, now that its record is on stable storage.
#[derive(Debug)]
pub struct Recorded<T>(T);

impl<T> Recorded<T> {
    /// The one constructor: called in `io/journal/mod.rs` and nowhere else.
    pub(crate) fn assertion(value: T) -> Self {
        Self(value)
    }

    /// What was recorded, free to leave.
    pub fn release(self) -> T {
        self.0
    }
}

/// A record that is on its way: its token is being signed. The journal waits a little for it, so that one sync
/// serves both; dropping it takes the announcement back.
#[derive(Debug)]
pub struct Coming(Arc<AtomicUsize>);

impl Coming {
    /// Counts one more in `count`, until it is dropped.
    pub fn announce(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The record could not be brought to stable storage; nothing may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the journal's queue is full")]
    Busy,
    #[error("the journal cannot be written; see the log for the reason")]
    Stopped,
    #[error("the journal's disk does not take what is written")]
    Hangs,
}

/// The port to the journal, for things of type `T`.
pub trait Recorder<T>: Send + Sync {
    /// Announces a record before its token is signed.
    fn announce(&self) -> Coming;

    /// Brings `entry` to stable storage and then gives `held` back.
    fn record(
        &self,
        coming: Coming,
        entry: TokenIssued,
        held: T,
    ) -> BoxFuture<'_, Result<Recorded<T>, RecordError>>;
}
