//! The CAs that are answered for: [`Issuers::find`] gives the [`Issuer`] a CertID names.

use std::{collections::HashMap, sync::Arc};

use arc_swap::{ArcSwap, Guard};

use super::{Responder, window::Window};
use crate::{
    revocation::{Finding, SerialStatus, Snapshot},
    wire::{
        algorithm::{DigestAlgorithm, SignatureAlgorithm},
        certificate::Certificate,
        ocsp_request::CertId,
        ocsp_response::CertStatus,
        time::Seconds,
    },
};

/// What to say of a serial that is neither revoked nor known to have been issued (RFC 6960 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unlisted {
    #[default]
    Unauthorized,
    Unknown,
    Revoked,
    Good,
}

/// From when on a revocation is still known after its certificate ended (RFC 6960 4.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveCutoff {
    /// Nothing is said of it.
    #[default]
    None,
    Since(Seconds),
    /// So many seconds before each answer.
    Period(u64),
}

impl ArchiveCutoff {
    /// What an answer of this moment says.
    pub const fn at(self, produced_at: Seconds) -> Option<Seconds> {
        match self {
            Self::None => None,
            Self::Since(time) => Some(time),
            Self::Period(seconds) => Some(produced_at.minus(seconds)),
        }
    }
}

/// One CA: a subject name under one key.
#[derive(Debug)]
pub struct Issuer {
    pub name: String,
    pub certificate: Certificate,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub unlisted: Unlisted,
    /// Seconds from thisUpdate to nextUpdate, if nothing shortens it.
    pub validity: u64,
    pub archive_cutoff: ArchiveCutoff,
    /// The CA has issued its last CRL, which has no end: neither have the answers.
    pub retired: bool,
    /// At least one; the first signs unless the client prefers another's algorithm.
    pub responders: Vec<Responder>,
}

impl Issuer {
    /// What is known of the CA's certificates at this moment.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Whether an answer that was signed for one of the two is one for the other too, as long as both know the same.
    pub fn is_like(&self, other: &Self) -> bool {
        let terms = |one: &Self| (one.unlisted, one.validity, one.archive_cutoff, one.retired);
        let mut responders = self.responders.iter().zip(&other.responders);
        self.certificate == other.certificate
            && terms(self) == terms(other)
            && self.responders.len() == other.responders.len()
            && responders.all(|(one, two)| one.is_like(two))
    }

    /// Which responder signs: among those whose turn it is at `now`, the first whose
    /// algorithm the client prefers, else the first. All were configured, so no preference leads to a
    /// weaker signature than the operator allows.
    pub fn responder(
        &self,
        preferred: impl Iterator<Item = SignatureAlgorithm>,
        now: Seconds,
    ) -> usize {
        let at = |wanted: Option<SignatureAlgorithm>| {
            self.responders.iter().position(|responder| {
                let algorithm = responder.credential().signer().algorithm();
                wanted.is_none_or(|wanted| wanted == algorithm) && responder.signs_at(now)
            })
        };
        let mut wanted = preferred.filter_map(|algorithm| at(Some(algorithm)));
        wanted.next().or_else(|| at(None)).unwrap_or(0)
    }

    /// Whether the certificate of this responder has been revoked: then what it signed before is not given out.
    pub fn is_revoked(&self, responder: usize) -> bool {
        let responder = self.responders.get(responder);
        responder.is_some_and(|responder| responder.credential().revocation().is_some())
    }

    /// Whether the serial of this finding is of no certificate that is known of. Where every good one is unlisted,
    /// since there is no list and the policy says `good`, an unlisted serial is as likely real as any.
    pub fn is_stranger(&self, snapshot: &Snapshot, finding: &Finding) -> bool {
        finding.status == SerialStatus::Unlisted
            && (self.unlisted != Unlisted::Good || snapshot.has_issued_list())
    }

    /// The end that no answer signed now by this responder passes: of what it rests on, and of the certificate. The
    /// final answers of a retired CA have none (ETSI EN 319 411-2).
    pub fn limit(&self, responder: usize, finding: &Finding) -> Option<Seconds> {
        let responder = self.responders.get(responder)?;
        if self.retired && finding.until == Seconds::END {
            return Some(Seconds::END);
        }
        Some(responder.credential().not_after().min(finding.until))
    }

    /// For how long an answer holds that is signed at `now` and does not pass `limit`.
    pub fn window(&self, now: Seconds, status: CertStatus, limit: Seconds) -> Window {
        let endless = self.retired && limit == Seconds::END;
        let validity = if endless { limit.get() } else { self.validity };
        Window::new(now, status, validity, limit)
    }
}

/// All issuers, found by the hashes that clients send.
#[derive(Debug)]
pub struct Issuers {
    issuers: Vec<Issuer>,
    by_key_hash: HashMap<Vec<u8>, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    digest: DigestAlgorithm,
    name_hash: Vec<u8>,
    issuer: usize,
}

/// Two issuers share name and key, so no CertID tells them apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` and `{1}` are the same CA: one name under one key; put all their CRLs under one issuer"
)]
pub struct SameIssuer(String, String);

impl Issuers {
    pub fn new(issuers: Vec<Issuer>) -> Result<Self, SameIssuer> {
        // The four hashes clients use (RFC 6960 4.3; measured: browsers SHA-1, others SHA-256 and up).
        const HASHES: [DigestAlgorithm; 4] = [
            DigestAlgorithm::Sha1,
            DigestAlgorithm::Sha256,
            DigestAlgorithm::Sha384,
            DigestAlgorithm::Sha512,
        ];
        let mut by_key_hash: HashMap<Vec<u8>, Vec<Entry>> = HashMap::new();
        for (index, issuer) in issuers.iter().enumerate() {
            let certificate = &issuer.certificate;
            for digest in HASHES {
                let name_hash = digest.digest(certificate.subject()).as_ref().to_vec();
                let key_hash = certificate.public_key().key_hash(digest).as_ref().to_vec();
                let entries = by_key_hash.entry(key_hash).or_default();
                let same = entries.iter().find(|entry| entry.name_hash == name_hash);
                if let Some(other) = same.and_then(|entry| issuers.get(entry.issuer)) {
                    return Err(SameIssuer(other.name.clone(), issuer.name.clone()));
                }
                entries.push(Entry {
                    digest,
                    name_hash,
                    issuer: index,
                });
            }
        }
        Ok(Self {
            issuers,
            by_key_hash,
        })
    }

    /// The place of the issuer that `cert_id` names, if it is one of ours.
    pub fn find(&self, cert_id: &CertId<'_>) -> Option<usize> {
        let digest = cert_id.digest?;
        let entries = self.by_key_hash.get(cert_id.issuer_key_hash)?;
        let found = entries
            .iter()
            .find(|entry| entry.digest == digest && entry.name_hash == cert_id.issuer_name_hash)?;
        Some(found.issuer)
    }

    /// The issuer at a place that [`Issuers::find`] gave.
    pub fn at(&self, index: usize) -> Option<&Issuer> {
        self.issuers.get(index)
    }

    pub fn all(&self) -> &[Issuer] {
        &self.issuers
    }
}
