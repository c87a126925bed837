//! From answers and a trusted time to a response: [`Draft::new`] is pure, [`Draft::message`] is what must
//! be signed, [`Draft::seal`] gives the OCSPResponse.

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

impl<'a> Draft<'a> {
    /// `answers`: each CertID as it was asked, in order, with what to say.
    pub fn new(
        responder: &'a Responder,
        time: &TrustedTime,
        window: &Window,
        answers: &[(&[u8], Answer)],
        archive_cutoff: Option<Seconds>,
        nonce: Option<&[u8]>,
    ) -> Self {
        let now = time.seconds();
        let singles: Vec<_> = answers
            .iter()
            .map(|(cert_id, answer)| SingleResponse {
                cert_id,
                status: answer.status,
                this_update: window.this_update_of(answer.status, now),
                next_update: window.next_update,
                archive_cutoff,
            })
            .collect();
        let never_issued = answers.iter().any(|(_, answer)| answer.never_issued);
        let response_data =
            ocsp_response::response_data(&responder.key_hash, now, &singles, nonce, never_issued);
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
