//! From answers and a trusted time to a response: [`Draft::new`] is pure, [`Draft::message`] is what must
//! be signed, [`Draft::seal`] gives the OCSPResponse. What was signed before needs no trusted time: [`resealed`].

use bytes::Bytes;

use super::{Responder, answer::Answer, window::Window};
use crate::{
    clock::TrustedTime,
    wire::{
        ocsp_response::{self, SingleResponse},
        time::Seconds,
    },
};

/// A response but for its signature.
#[derive(Debug)]
pub struct Draft<'a> {
    responder: &'a Responder,
    response_data: Vec<u8>,
}

/// What to say of one certificate, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The CertID as it was asked, whole.
    pub cert_id: &'a [u8],
    pub answer: Answer,
    pub window: Window,
}

impl<'a> Draft<'a> {
    /// `answers`: one for each CertID, in the order they were asked.
    pub fn new(
        responder: &'a Responder,
        time: &TrustedTime,
        answers: &[Judged<'_>],
        archive_cutoff: Option<Seconds>,
        nonce: Option<&[u8]>,
    ) -> Self {
        Self::of(responder, time.seconds(), answers, archive_cutoff, nonce)
    }

    fn of(
        responder: &'a Responder,
        produced_at: Seconds,
        answers: &[Judged<'_>],
        archive_cutoff: Option<Seconds>,
        nonce: Option<&[u8]>,
    ) -> Self {
        let singles: Vec<_> = answers
            .iter()
            .map(|judged| SingleResponse {
                cert_id: judged.cert_id,
                status: judged.answer.status,
                this_update: judged.window.this_update,
                next_update: judged.window.next_update,
                archive_cutoff,
            })
            .collect();
        let never_issued = answers.iter().any(|judged| judged.answer.never_issued);
        let response_data = ocsp_response::response_data(
            &responder.key_hash,
            produced_at,
            &singles,
            nonce,
            never_issued,
        );
        Self {
            responder,
            response_data,
        }
    }

    /// The octets to sign: the ResponseData (RFC 6960 4.2.1).
    pub fn message(&self) -> &[u8] {
        &self.response_data
    }

    /// The response with this signature.
    pub fn seal(self, signature: &[u8]) -> Bytes {
        let algorithm = self.responder.credential.signer().algorithm();
        let certificate = self.responder.certificate.as_deref();
        ocsp_response::successful(&self.response_data, algorithm, signature, certificate).into()
    }
}

/// The response that says this of one certificate, if the responder's key has signed just that at `judged`'s window
/// before.
pub fn resealed(
    responder: &Responder,
    judged: &Judged<'_>,
    archive_cutoff: Option<Seconds>,
    signature: &[u8],
) -> Option<Bytes> {
    let produced_at = judged.window.signed();
    let answers = std::slice::from_ref(judged);
    let draft = Draft::of(responder, produced_at, answers, archive_cutoff, None);
    let signer = responder.credential.signer();
    let signed = signer
        .algorithm()
        .verify(signer.public_key(), draft.message(), signature);
    signed.then(|| draft.seal(signature))
}
