//! The appliance's own certificates, watched by its own feeds: [`OwnCertificates::look`] holds each TSU's and each
//! responder's certificate against what is known of the CA that issued it. A revoked one stops at once, since
//! [`Credential::usable_at`] is asked before every signature; a hold that is lifted lets it go on.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    audit::event::Event,
    ocsp::issuer::Issuers,
    revocation::{Part, SerialStatus, Snapshot},
    signing::credential::{Credential, Revocation},
    tsa::set::TsuSet,
    wire::{certificate::Certificate, crl::reason_name, time::Seconds},
};

/// Those whose CA is one that is answered for. About the others nothing is known here.
#[derive(Debug, Default)]
pub struct OwnCertificates {
    watched: Vec<Watched>,
}

/// One credential and what is known of its CA.
#[derive(Debug)]
struct Watched {
    /// Whose it is.
    of: String,
    credential: Arc<Credential>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// It is a responder's. Where its CA is compromised, somebody has to say so, and no other key is trusted to.
    answers: bool,
}

/// One certificate was revoked, or is no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose it is.
    pub of: String,
    pub subject: String,
    /// Content octets.
    pub serial: Vec<u8>,
    /// None: the hold was lifted.
    pub revocation: Option<Revocation>,
}

impl Change {
    /// For the journal.
    pub fn event(&self) -> Event {
        Event::CertificateRevoked {
            of: self.of.clone(),
            subject: self.subject.clone(),
            serial: hex::encode(&self.serial),
            revoked: self
                .revocation
                .map(|revocation| revocation.time.to_string()),
            reason: self
                .revocation
                .map(|revocation| reason_name(revocation.reason)),
        }
    }
}

impl OwnCertificates {
    pub fn new(tsus: Option<&TsuSet>, issuers: Option<&Issuers>) -> Self {
        let issuers = issuers.map(Issuers::all).unwrap_or_default();
        let tsus = tsus.map(TsuSet::all).unwrap_or_default().iter();
        let signatories = tsus.flat_map(|tsu| {
            let of = format!("tsu `{}`", tsu.name());
            let signatories = tsu.signatories();
            signatories.map(move |signatory| (of.clone(), signatory.credential(), false))
        });
        let responders = issuers.iter().flat_map(|issuer| {
            let of = format!("a responder of issuer `{}`", issuer.name);
            let responders = issuer.responders.iter();
            responders.map(move |responder| (of.clone(), responder.credential(), true))
        });
        let all = signatories.chain(responders);
        let watch = |(of, credential, answers): (String, &Arc<Credential>, bool)| {
            let certificate = credential.certificate();
            let issued = |ca: &Certificate| certificate.is_issued_by(ca);
            let issuer = issuers.iter().find(|issuer| issued(&issuer.certificate))?;
            Some(Watched {
                of,
                credential: Arc::clone(credential),
                snapshot: Arc::clone(&issuer.snapshot),
                answers,
            })
        };
        Self {
            watched: all.filter_map(watch).collect(),
        }
    }

    /// Stops what is revoked by now and lets go on what no longer is; gives what has changed.
    pub fn look(&self, now: Seconds) -> Vec<Change> {
        self.watched
            .iter()
            .filter_map(|own| own.look(now))
            .collect()
    }

    /// How many are revoked.
    pub fn revoked(&self) -> usize {
        let revocations = self.watched.iter().map(|own| own.credential.revocation());
        revocations.flatten().count()
    }
}

impl Watched {
    fn look(&self, now: Seconds) -> Option<Change> {
        let certificate = self.credential.certificate();
        let snapshot = self.snapshot.load();
        let by_crls = self.answers.then(|| snapshot.by_crls_alone());
        let snapshot = by_crls.as_ref().unwrap_or(&snapshot);
        // A CRL that has run out, or that a clock set back takes for one of the future, still says what is revoked.
        let newest = snapshot
            .parts()
            .iter()
            .flatten()
            .map(Part::this_update)
            .max();
        let when = now
            .min(snapshot.next_update().minus(1))
            .max(newest.unwrap_or(Seconds::EPOCH));
        let revocation = match snapshot.status(certificate.serial(), when) {
            SerialStatus::Revoked { time, reason } => Some(Revocation { time, reason }),
            SerialStatus::Issued | SerialStatus::Unlisted => None,
            // Nothing may be said, so nothing changes.
            SerialStatus::Stale => return None,
        };
        let before = self.credential.revocation();
        if revocation == before {
            return None;
        }
        self.credential.set_revocation(revocation);
        Some(Change {
            of: self.of.clone(),
            subject: certificate.subject_text(),
            serial: certificate.serial().to_vec(),
            revocation,
        })
    }
}
