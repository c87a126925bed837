//! What outlives the process of a sealed answer: [`Saved`] has only what the snapshot and the configuration do not
//! say themselves. An answer is made anew of what they say now, and is the old one if the signature still fits. So
//! whatever has changed meanwhile, status, policy, responder or certificate, an old answer to it cannot come back.

use bytes::Bytes;

use super::{
    answer::answer,
    draft::{Judged, resealed},
    issuer::Issuer,
    sealed::Sealed,
    window::Window,
};
use crate::{
    revocation::Finding,
    wire::{ocsp_response, time::Seconds},
};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The reading of the clock that it was signed at.
    pub signed: Seconds,
    /// The end that nothing signed then could pass.
    pub limit: Seconds,
    pub signature: Vec<u8>,
}

impl Saved {
    /// What to keep of `sealed`.
    pub fn of(sealed: &Sealed) -> Option<Self> {
        Some(Self {
            signed: sealed.window.signed(),
            limit: sealed.window.limit(),
            signature: ocsp_response::signature(&sealed.body).ok()?.to_vec(),
        })
    }

    /// The answer by this responder about `cert_id`, if it says what `finding` says and still holds at `now`.
    pub fn resealed(
        &self,
        issuer: &Issuer,
        responder: usize,
        cert_id: &[u8],
        finding: &Finding,
        now: Seconds,
    ) -> Option<(Bytes, Window)> {
        let answer = answer(finding.status, issuer.unlisted).ok()?;
        let window = issuer.window(self.signed, answer.status, self.limit);
        let limit = issuer.limit(responder, finding)?;
        // One from the future was signed by a clock that has been found wrong since.
        if self.signed > now || !window.holds(now, limit) {
            return None;
        }
        let judged = Judged {
            cert_id,
            answer,
            window,
        };
        let responder = issuer.responders.get(responder)?;
        if !responder.signs_at(now) {
            return None;
        }
        let cutoff = issuer.archive_cutoff.at(window.signed());
        let body = resealed(responder, &judged, cutoff, &self.signature)?;
        Some((body, window))
    }
}
