//! A checkpoint's time-stamp by another authority, from outside the appliance: whoever holds both knows that the
//! records under the checkpoint were there at that time, whatever has become of our keys since. [`verify`] makes
//! an [`Anchored`] of a reply; [`request`] is what is sent for one, and [`check_nonce`] what is asked of an
//! answer that has just come in.

use std::time::Duration;

use super::path::{self, PathError, name, plain};
use crate::wire::{
    algorithm::DigestAlgorithm,
    certificate::{Certificate, CertificateError},
    oid,
    time::Seconds,
    tlv::DerError,
    token::{Token, TokenError},
    tsp::FailInfo,
    tsp_client::{self, Reply},
    tst_info::Stamp,
};

/// Octets of our nonces: what `openssl ts` takes, and every authority accepts.
pub const NONCE: usize = 8;

/// A time-stamp over a checkpoint whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// Since 1970.
    pub gen_time: Duration,
    /// The subject of the certificate that signed.
    pub tsa: String,
    /// The subject of the trusted certificate that this one leads to. `None` from [`verify_unchained`]: then the
    /// TSA is whoever it says.
    pub trusted: Option<String>,
}

/// Why a reply is no anchor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    #[error("the reply is no TimeStampResp: {0}")]
    Reply(DerError),
    #[error("the TSA did not grant it: {status}{failures}{text}")]
    Refused {
        status: &'static str,
        failures: String,
        text: String,
    },
    #[error("the token in the reply cannot be used: {0}")]
    Token(TokenError),
    #[error("the TSTInfo in the reply is malformed: {0}")]
    Stamp(DerError),
    #[error("the TSTInfo has a critical extension, and none is understood")]
    Extension,
    #[error("it is a time-stamp of something else than this checkpoint")]
    Imprint,
    #[error("it is not the answer to our request: the nonce is another")]
    Nonce,
    #[error("the certificate that the signer names is not in the reply")]
    NoCertificate,
    #[error("the signer's certificate cannot be used: {0}")]
    Certificate(CertificateError),
    #[error("the certificate of {0} is not the one that the signed attributes name")]
    Binding(String),
    #[error(
        "the certificate of {0} is no TSA's: it needs the extended key usage timeStamping, critical and alone (RFC 3161 \
         2.3), and a key usage for signatures if any"
    )]
    Role(String),
    #[error("the signature by the key of {0} is wrong: the reply was altered")]
    Signature(String),
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The TimeStampReq for a checkpoint's note.
pub fn request(note: &[u8], nonce: &[u8; NONCE]) -> Vec<u8> {
    let algorithm = DigestAlgorithm::Sha256;
    tsp_client::request(algorithm, algorithm.digest(note).as_ref(), nonce)
}

/// Whether a reply has the nonce of the request.
pub fn check_nonce(reply: &[u8], nonce: &[u8; NONCE]) -> Result<(), AnchorError> {
    let opened = Opened::read(reply)?;
    let mut ours = nonce.as_slice();
    while let [0, rest @ ..] = ours {
        ours = rest;
    }
    let theirs = opened.stamp.nonce.ok_or(AnchorError::Nonce)?;
    let positive = theirs.first().is_some_and(|first| first & 0x80 == 0);
    let theirs = theirs.strip_prefix(&[0]).unwrap_or(theirs);
    match positive && theirs == ours {
        true => Ok(()),
        false => Err(AnchorError::Nonce),
    }
}

/// Verifies that `reply` is a granted time-stamp of `note`, the signed checkpoint as it is, by a TSA whose
/// certificate leads to one of `trust` and was valid at the time that it gives.
pub fn verify(reply: &[u8], note: &[u8], trust: &[Certificate]) -> Result<Anchored, AnchorError> {
    let (anchored, signer, others) = Opened::read(reply)?.verify(note)?;
    let when = Seconds::new(anchored.gen_time.as_secs());
    let trusted = path::find(&signer, &others, trust, oid::KP_TIME_STAMPING, when)?;
    Ok(Anchored {
        trusted: Some(name(trusted)),
        ..anchored
    })
}

/// The same where nobody has said whom to trust: everything but the path above the TSA's certificate. It shows
/// that the reply belongs to the checkpoint and is whole, but anybody can have made it.
pub fn verify_unchained(reply: &[u8], note: &[u8]) -> Result<Anchored, AnchorError> {
    Ok(Opened::read(reply)?.verify(note)?.0)
}

/// A reply that has been read.
struct Opened<'a> {
    token: Token<'a>,
    stamp: Stamp<'a>,
}

impl<'a> Opened<'a> {
    fn read(reply: &'a [u8]) -> Result<Self, AnchorError> {
        let token = match Reply::parse(reply).map_err(AnchorError::Reply)? {
            Reply::Granted(token) => token,
            Reply::Refused {
                status,
                failures,
                text,
            } => return Err(refused(status, &failures, &text)),
        };
        let token = Token::parse(token).map_err(AnchorError::Token)?;
        let stamp = Stamp::parse(token.tst_info).map_err(AnchorError::Stamp)?;
        Ok(Self { token, stamp })
    }

    /// All but the path: gives the signer's certificate and those that came with it.
    fn verify(
        &self,
        note: &[u8],
    ) -> Result<(Anchored, Certificate, Vec<Certificate>), AnchorError> {
        let stamp = &self.stamp;
        if stamp.has_critical_extension {
            return Err(AnchorError::Extension);
        }
        let taken = [
            DigestAlgorithm::Sha256,
            DigestAlgorithm::Sha384,
            DigestAlgorithm::Sha512,
        ];
        let algorithm = DigestAlgorithm::from_oid(stamp.digest);
        let of_note = algorithm
            .filter(|algorithm| taken.contains(algorithm))
            .is_some_and(|algorithm| algorithm.digest(note).as_ref() == stamp.hashed);
        if !of_note {
            return Err(AnchorError::Imprint);
        }
        let (signer, others) = self.certificates()?;
        if !self.token.is_bound_to(&signer) {
            return Err(AnchorError::Binding(name(&signer)));
        }
        if !is_tsa(&signer) {
            return Err(AnchorError::Role(name(&signer)));
        }
        if !self.token.is_signed_by(signer.public_key()) {
            return Err(AnchorError::Signature(name(&signer)));
        }
        let when = Seconds::new(stamp.gen_time.as_secs());
        path::check_any(&signer, when)?;
        let anchored = Anchored {
            gen_time: stamp.gen_time,
            tsa: name(&signer),
            trusted: None,
        };
        Ok((anchored, signer, others))
    }

    /// The signer's certificate, and the others. One that we cannot read is no obstacle unless it is needed.
    fn certificates(&self) -> Result<(Certificate, Vec<Certificate>), AnchorError> {
        let mut signer = None;
        let mut others = Vec::new();
        let mut unreadable = None;
        for der in &self.token.certificates {
            match Certificate::from_der(der) {
                Ok(one) if signer.is_none() && self.token.names(&one) => signer = Some(one),
                Ok(one) => others.push(one),
                Err(error) => unreadable = Some(error),
            }
        }
        let missing = match unreadable {
            Some(error) => AnchorError::Certificate(error),
            None => AnchorError::NoCertificate,
        };
        Ok((signer.ok_or(missing)?, others))
    }
}

/// What RFC 3161 2.3 asks of a TSA's certificate.
fn is_tsa(certificate: &Certificate) -> bool {
    let usage = certificate.extended_key_usage();
    let may_sign = match certificate.extension(oid::KEY_USAGE) {
        None => true,
        Some(_) => certificate
            .key_usage()
            .is_some_and(|usage| usage.digital_signature() || usage.non_repudiation()),
    };
    may_sign && usage == Some((true, vec![oid::KP_TIME_STAMPING]))
}

fn refused(status: &'static str, failures: &[FailInfo], text: &str) -> AnchorError {
    let failures = failures
        .iter()
        .map(|failure| format!(", {}", failure.name()));
    AnchorError::Refused {
        status,
        failures: failures.collect(),
        text: match text {
            "" => String::new(),
            text => format!(": {}", plain(text)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tsp;

    #[test]
    fn what_is_no_granted_reply_says_so() {
        let refusal = tsp::rejection(FailInfo::TimeNotAvailable, "no\nclock");
        let error = verify_unchained(&refusal, b"note").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the TSA did not grant it: rejection, timeNotAvailable: no\u{fffd}clock"
        );
        let empty = verify_unchained(b"", b"note").unwrap_err();
        assert_eq!(empty, AnchorError::Reply(DerError::Truncated));
        let no_token = tsp::granted(&[0x30, 0]);
        assert!(matches!(
            verify_unchained(&no_token, b"note"),
            Err(AnchorError::Token(_))
        ));
        assert!(check_nonce(&no_token, &[1; NONCE]).is_err());
    }
}
