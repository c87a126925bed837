//! What outlives the process: [`Kept`] is a folder with the last accepted CRLs, as they were signed, and lists of
//! what they once revoked. A start needs no network, and a CRL that is older than the one kept is a rollback.

use std::path::PathBuf;

use crate::wire::{
    algorithm::{DigestAlgorithm, sha256},
    certificate::Certificate,
};

/// The folder. It is made with the first CRL that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept(PathBuf);

/// Complete CRLs and deltas have high-water marks each of their own, since a CA may issue both with one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Complete,
    Delta,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Delta => "delta",
        }
    }
}

impl Kept {
    pub const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Where the CRL of this issuer is kept that is the `nth` of those configured for a distribution point; `.crl`,
    /// to which the others belong with their own endings. A re-keyed CA is another issuer.
    pub fn path(&self, issuer: &Certificate, distribution_point: &str, nth: usize) -> PathBuf {
        let nth = nth.to_string();
        self.0
            .join(named(issuer, &[distribution_point, &nth]) + ".crl")
    }
}

/// By what a high-water mark is known: issuer, key, issuing distribution point (its encoding), and kind.
pub fn scope(issuer: &Certificate, distribution_point: &[u8], kind: Kind) -> String {
    let of = named(issuer, &[kind.name(), &hex::encode(distribution_point)]);
    format!("{} {of}", of_issuer(issuer))
}

/// What the scopes of an issuer begin with.
pub fn of_issuer(issuer: &Certificate) -> String {
    named(issuer, &[])
}

fn named(issuer: &Certificate, parts: &[&str]) -> String {
    let key = issuer.public_key().key_hash(DigestAlgorithm::Sha256);
    let parts = parts.join("\n");
    let digest = sha256(&[issuer.subject(), key.as_ref(), parts.as_bytes()]);
    hex::encode(digest).chars().take(32).collect()
}
