//! From a message to a signature by a token's mechanisms: [`Scheme`]. The digest is made here, and what ECDSA
//! gives back is put in DER form.

use cryptoki::{
    error::Error,
    mechanism::{
        Mechanism, MechanismType,
        eddsa::{EddsaParams, EddsaSignatureScheme},
        rsa::{PkcsMgfType, PkcsPssParams},
    },
    object::ObjectHandle,
    session::Session,
};

use super::Pkcs11Error;
use crate::wire::{
    algorithm::{DigestAlgorithm, KeyKind, SignatureAlgorithm},
    tlv::{self, tag},
};

/// How one key signs.
#[derive(Debug, Clone, Copy)]
pub struct Scheme(SignatureAlgorithm);

impl Scheme {
    /// For a key of this kind; `algorithm` chooses where there is a choice.
    pub fn new(kind: KeyKind, algorithm: Option<SignatureAlgorithm>) -> Result<Self, Pkcs11Error> {
        use SignatureAlgorithm as A;
        let chosen = algorithm.unwrap_or(match kind {
            KeyKind::P256 => A::EcdsaSha256,
            KeyKind::P384 => A::EcdsaSha384,
            KeyKind::P521 => A::EcdsaSha512,
            KeyKind::Rsa { .. } => A::RsaSha256,
            KeyKind::Ed25519 => A::Ed25519,
        });
        let fits = match chosen {
            A::EcdsaSha256 | A::EcdsaSha384 | A::EcdsaSha512 => {
                matches!(kind, KeyKind::P256 | KeyKind::P384 | KeyKind::P521)
            }
            A::Ed25519 => kind == KeyKind::Ed25519,
            _ => matches!(kind, KeyKind::Rsa { .. }),
        };
        fits.then_some(Self(chosen))
            .ok_or_else(|| Pkcs11Error::WrongAlgorithm {
                kind: kind.to_string(),
                algorithm: chosen,
            })
    }

    pub const fn algorithm(self) -> SignatureAlgorithm {
        self.0
    }

    /// The signature over `message` in its wire form.
    pub fn sign(
        self,
        session: &Session,
        key: ObjectHandle,
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        use SignatureAlgorithm as A;
        let digest = self.0.digest();
        match self.0 {
            A::EcdsaSha256 | A::EcdsaSha384 | A::EcdsaSha512 => {
                let digest = digest.digest(message);
                let raw = session.sign(&Mechanism::Ecdsa, key, digest.as_ref())?;
                Ok(ecdsa_to_der(&raw))
            }
            A::RsaSha256 | A::RsaSha384 | A::RsaSha512 => {
                session.sign(&Mechanism::RsaPkcs, key, &digest_info(digest, message))
            }
            A::PssSha256 | A::PssSha384 | A::PssSha512 => {
                let mechanism = Mechanism::RsaPkcsPss(pss(digest)?);
                session.sign(&mechanism, key, digest.digest(message).as_ref())
            }
            A::Ed25519 => {
                let parameters = EddsaParams::new(EddsaSignatureScheme::Ed25519);
                session.sign(&Mechanism::Eddsa(parameters), key, message)
            }
        }
    }
}

fn pss(digest: DigestAlgorithm) -> Result<PkcsPssParams, Error> {
    let (hash_alg, mgf) = match digest {
        DigestAlgorithm::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        DigestAlgorithm::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
        _ => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
    };
    let salt = u64::try_from(digest.output_len()).map_err(Error::TryFromInt)?;
    Ok(PkcsPssParams {
        hash_alg,
        mgf,
        s_len: salt.into(),
    })
}

/// DigestInfo with NULL parameters, which CKM_RSA_PKCS pads (RFC 8017 9.2).
fn digest_info(digest: DigestAlgorithm, message: &[u8]) -> Vec<u8> {
    const NULL: &[u8] = &[tag::NULL, 0];
    let oid = tlv::wrap(tag::OID, &[digest.oid().as_bytes()]);
    let algorithm = tlv::wrap(tag::SEQUENCE, &[&oid, NULL]);
    let octets = tlv::wrap(tag::OCTET_STRING, &[digest.digest(message).as_ref()]);
    tlv::wrap(tag::SEQUENCE, &[&algorithm, &octets])
}

/// Ecdsa-Sig-Value (RFC 3279 2.2.3) of r || s.
fn ecdsa_to_der(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let mut fields = Vec::with_capacity(raw.len() + 6);
    tlv::put_unsigned(&mut fields, r);
    tlv::put_unsigned(&mut fields, s);
    tlv::wrap(tag::SEQUENCE, &[&fields])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecdsa_values_lose_leading_zeros_and_keep_their_sign() {
        assert_eq!(
            ecdsa_to_der(&[0, 5, 0x80, 1]),
            [0x30, 8, 2, 1, 5, 2, 3, 0, 0x80, 1]
        );
        assert_eq!(ecdsa_to_der(&[0, 0, 0, 1]), [0x30, 6, 2, 1, 0, 2, 1, 1]);
    }
}
