//! From an admitted request and a trusted time to a token: [`Draft::new`] is pure, [`Draft::message`] is
//! what must be signed, [`Draft::seal`] makes the [`Token`].

use super::{
    Token, Tsu,
    admission::Admitted,
    sequence::{Serial, Stamp},
    signatory::Signatory,
};
use crate::{
    audit::TokenIssued,
    clock::TrustedTime,
    wire::{
        algorithm::sha256,
        tst_info::{TstInfo, accuracy},
    },
};

/// A token but for its signature.
#[derive(Debug)]
pub struct Draft<'a> {
    tsu: &'a Tsu,
    signatory: &'a Signatory,
    admitted: &'a Admitted<'a>,
    serial: Serial,
    time: TrustedTime,
    tst_info: Vec<u8>,
    attributes: Vec<u8>,
}

impl<'a> Draft<'a> {
    pub fn new(
        tsu: &'a Tsu,
        signatory: &'a Signatory,
        admitted: &'a Admitted<'a>,
        stamp: Stamp,
    ) -> Self {
        let request = admitted.request();
        let tst_info = TstInfo {
            policy: admitted.policy().as_bytes(),
            imprint: request.imprint,
            serial: &stamp.serial,
            gen_time: stamp.time.since_1970(),
            precision: tsu.terms.precision(),
            accuracy: &accuracy(tsu.terms.accuracy(stamp.time.bound())),
            nonce: request.nonce,
            tsa: signatory.tsa_field(),
            extensions: &tsu.extensions,
        }
        .encode();
        Self {
            attributes: signatory.template().attributes(&tst_info),
            tsu,
            signatory,
            admitted,
            serial: stamp.serial,
            time: stamp.time,
            tst_info,
        }
    }

    /// The octets to sign: the signed attributes as a SET (RFC 5652 5.4).
    pub fn message(&self) -> &[u8] {
        &self.attributes
    }

    /// Whether a signature that was finished at `done` came within the delay the TSU allows for. A clock
    /// that went backwards meanwhile shows nothing, so that is late too.
    pub fn in_time(&self, done: &TrustedTime) -> bool {
        done.since_1970()
            .checked_sub(self.time.since_1970())
            .is_some_and(|taken| taken <= self.tsu.terms.signing_delay())
    }

    /// The token with this signature, and its record for the journal.
    pub fn seal(self, signature: &[u8]) -> (Token, TokenIssued) {
        let request = self.admitted.request();
        let token = self.signatory.template().token(
            &self.tst_info,
            &self.attributes,
            signature,
            request.cert_req,
        );
        let token = Token(token.into());
        let reading = self.time.since_1970();
        let gen_time = self.tsu.terms.precision().cut(reading);
        let issued = TokenIssued {
            tsu: self.tsu.name.clone(),
            serial: self.serial,
            policy: self.admitted.policy().clone(),
            gen_time,
            reading,
            bound: self.time.bound() + reading.saturating_sub(gen_time),
            basis: self.time.basis(),
            imprint_algorithm: self.admitted.digest(),
            imprint: request.hashed.to_vec(),
            nonce_digest: request.nonce.map(|nonce| sha256(&[nonce])),
            token_digest: token.digest(),
            token: token.0.clone(),
        };
        (token, issued)
    }
}
