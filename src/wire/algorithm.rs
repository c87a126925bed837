//! Digests and signatures by their wire names: [`DigestAlgorithm`] and [`SignatureAlgorithm`], each with
//! its AlgorithmIdentifier and with the one way this crate computes or verifies it (aws-lc-rs).

use std::{fmt, str::FromStr};

use aws_lc_rs::{digest, signature};
use const_oid::ObjectIdentifier;

use super::{
    certificate::PublicKey,
    oid,
    tlv::{self, DerError, Reader, tag},
};

pub use aws_lc_rs::digest::Digest;

/// A message digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// Only as the hash of a CertID (RFC 6960 4.3); never of an imprint or a signature.
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl DigestAlgorithm {
    /// Every digest there is, weakest first.
    pub const ALL: [Self; 7] = [
        Self::Sha1,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
    ];

    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => oid::SHA1,
            Self::Sha256 => oid::SHA256,
            Self::Sha384 => oid::SHA384,
            Self::Sha512 => oid::SHA512,
            Self::Sha3_256 => oid::SHA3_256,
            Self::Sha3_384 => oid::SHA3_384,
            Self::Sha3_512 => oid::SHA3_512,
        }
    }

    /// The digest an OBJECT IDENTIFIER's content octets name.
    pub fn from_oid(content: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.oid().as_bytes() == content)
    }

    /// Octets of output.
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// The digest of `message`.
    pub fn digest(self, message: &[u8]) -> Digest {
        digest::digest(self.engine(), message)
    }

    /// The AlgorithmIdentifier with absent parameters, as RFC 5754 2 asks for SHA-2.
    pub fn identifier(self) -> Vec<u8> {
        let mut oid = Vec::new();
        tlv::put(&mut oid, tag::OID, self.oid().as_bytes());
        tlv::wrap(tag::SEQUENCE, &[&oid])
    }

    /// The name in configuration, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
        }
    }

    fn engine(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
            Self::Sha3_256 => &digest::SHA3_256,
            Self::Sha3_384 => &digest::SHA3_384,
            Self::Sha3_512 => &digest::SHA3_512,
        }
    }
}

/// SHA-256 of some octets in several pieces.
pub fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no digest known here; use one of sha256, sha384, sha512, sha3-256, sha3-384, sha3-512"
)]
pub struct UnknownDigest(String);

impl FromStr for DigestAlgorithm {
    type Err = UnknownDigest;

    fn from_str(name: &str) -> Result<Self, UnknownDigest> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownDigest(name.to_owned()))
    }
}

/// A signature algorithm together with its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    RsaSha384,
    RsaSha512,
    /// RSASSA-PSS with SHA-256, MGF1 with the same digest, salt as long as it.
    PssSha256,
    PssSha384,
    PssSha512,
    Ed25519,
}

impl SignatureAlgorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 10] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::RsaSha256,
        Self::RsaSha384,
        Self::RsaSha512,
        Self::PssSha256,
        Self::PssSha384,
        Self::PssSha512,
        Self::Ed25519,
    ];

    /// The digest within. For Ed25519 the one that CMS puts beside it (RFC 8419 2.3).
    pub const fn digest(self) -> DigestAlgorithm {
        match self {
            Self::EcdsaSha256 | Self::RsaSha256 | Self::PssSha256 => DigestAlgorithm::Sha256,
            Self::EcdsaSha384 | Self::RsaSha384 | Self::PssSha384 => DigestAlgorithm::Sha384,
            Self::EcdsaSha512 | Self::RsaSha512 | Self::PssSha512 | Self::Ed25519 => {
                DigestAlgorithm::Sha512
            }
        }
    }

    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaSha256 => oid::ECDSA_WITH_SHA256,
            Self::EcdsaSha384 => oid::ECDSA_WITH_SHA384,
            Self::EcdsaSha512 => oid::ECDSA_WITH_SHA512,
            Self::RsaSha256 => oid::SHA256_WITH_RSA,
            Self::RsaSha384 => oid::SHA384_WITH_RSA,
            Self::RsaSha512 => oid::SHA512_WITH_RSA,
            Self::PssSha256 | Self::PssSha384 | Self::PssSha512 => oid::RSASSA_PSS,
            Self::Ed25519 => oid::ED25519,
        }
    }

    /// The AlgorithmIdentifier: NULL parameters for PKCS #1 v1.5 (RFC 4055 5), all of them spelt out for
    /// PSS (RFC 4055 3.1), none for ECDSA and Ed25519 (RFC 5758 3.2, RFC 8410 3).
    pub fn identifier(self) -> Vec<u8> {
        const NULL: &[u8] = &[tag::NULL, 0];
        let oid = tlv::wrap(tag::OID, &[self.oid().as_bytes()]);
        match self {
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 | Self::Ed25519 => {
                tlv::wrap(tag::SEQUENCE, &[&oid])
            }
            Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512 => {
                tlv::wrap(tag::SEQUENCE, &[&oid, NULL])
            }
            Self::PssSha256 | Self::PssSha384 | Self::PssSha512 => {
                let digest_oid = tlv::wrap(tag::OID, &[self.digest().oid().as_bytes()]);
                let digest = tlv::wrap(tag::SEQUENCE, &[&digest_oid, NULL]);
                let mgf1_oid = tlv::wrap(tag::OID, &[oid::MGF1.as_bytes()]);
                let mgf1 = tlv::wrap(tag::SEQUENCE, &[&mgf1_oid, &digest]);
                let mut salt = Vec::new();
                let length = u8::try_from(self.digest().output_len()).unwrap_or(u8::MAX);
                tlv::put_unsigned(&mut salt, &[length]);
                let parameters = tlv::wrap(
                    tag::SEQUENCE,
                    &[
                        &tlv::wrap(tag::context_constructed(0), &[&digest]),
                        &tlv::wrap(tag::context_constructed(1), &[&mgf1]),
                        &tlv::wrap(tag::context_constructed(2), &[&salt]),
                    ],
                );
                tlv::wrap(tag::SEQUENCE, &[&oid, &parameters])
            }
        }
    }

    /// Reads an AlgorithmIdentifier (its whole encoding). `None` for what is not known here, SHA-1 and
    /// MD5 among it. Digests inside PSS parameters may come with or without NULL (RFC 4055 2.1).
    pub fn from_identifier(identifier: &[u8]) -> Result<Option<Self>, DerError> {
        let mut fields = Reader::whole(identifier, tag::SEQUENCE)?.reader();
        let oid = fields.oid()?;
        let parameters = fields.rest();
        Ok(Self::ALL.into_iter().find(|algorithm| {
            algorithm.oid().as_bytes() == oid
                && match algorithm {
                    Self::PssSha256 | Self::PssSha384 | Self::PssSha512 => {
                        without_nulls(parameters)
                            == Reader::whole(&algorithm.identifier(), tag::SEQUENCE)
                                .ok()
                                .and_then(|element| {
                                    let mut fields = element.reader();
                                    fields.oid().ok()?;
                                    without_nulls(fields.rest())
                                })
                    }
                    Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512 => {
                        parameters.is_empty() || parameters == [tag::NULL, 0]
                    }
                    _ => parameters.is_empty(),
                }
        }))
    }

    /// Whether `signature` over `message` is that of `key`. False as well where key and algorithm do not
    /// go together, and for RSA keys under 2048 bits.
    pub fn verify(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let engine: &'static dyn signature::VerificationAlgorithm = match (self, key.kind()) {
            (Self::EcdsaSha256, KeyKind::P256) => &signature::ECDSA_P256_SHA256_ASN1,
            (Self::EcdsaSha384, KeyKind::P256) => &signature::ECDSA_P256_SHA384_ASN1,
            (Self::EcdsaSha512, KeyKind::P256) => &signature::ECDSA_P256_SHA512_ASN1,
            (Self::EcdsaSha256, KeyKind::P384) => &signature::ECDSA_P384_SHA256_ASN1,
            (Self::EcdsaSha384, KeyKind::P384) => &signature::ECDSA_P384_SHA384_ASN1,
            (Self::EcdsaSha512, KeyKind::P384) => &signature::ECDSA_P384_SHA512_ASN1,
            (Self::EcdsaSha256, KeyKind::P521) => &signature::ECDSA_P521_SHA256_ASN1,
            (Self::EcdsaSha384, KeyKind::P521) => &signature::ECDSA_P521_SHA384_ASN1,
            (Self::EcdsaSha512, KeyKind::P521) => &signature::ECDSA_P521_SHA512_ASN1,
            (Self::RsaSha256, KeyKind::Rsa { .. }) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Self::RsaSha384, KeyKind::Rsa { .. }) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Self::RsaSha512, KeyKind::Rsa { .. }) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Self::PssSha256, KeyKind::Rsa { .. }) => &signature::RSA_PSS_2048_8192_SHA256,
            (Self::PssSha384, KeyKind::Rsa { .. }) => &signature::RSA_PSS_2048_8192_SHA384,
            (Self::PssSha512, KeyKind::Rsa { .. }) => &signature::RSA_PSS_2048_8192_SHA512,
            (Self::Ed25519, KeyKind::Ed25519) => &signature::ED25519,
            _ => return false,
        };
        signature::UnparsedPublicKey::new(engine, key.bits())
            .verify(message, signature)
            .is_ok()
    }

    /// The name in configuration, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaSha256 => "ecdsa-sha256",
            Self::EcdsaSha384 => "ecdsa-sha384",
            Self::EcdsaSha512 => "ecdsa-sha512",
            Self::RsaSha256 => "rsa-sha256",
            Self::RsaSha384 => "rsa-sha384",
            Self::RsaSha512 => "rsa-sha512",
            Self::PssSha256 => "rsa-pss-sha256",
            Self::PssSha384 => "rsa-pss-sha384",
            Self::PssSha512 => "rsa-pss-sha512",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What kind of key a SubjectPublicKeyInfo holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    P256,
    P384,
    P521,
    Rsa {
        /// Of the modulus.
        bits: usize,
    },
    Ed25519,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// `der` with every NULL element taken out, at any depth and lengths ignored: enough to compare two PSS
/// parameter blocks that differ only in written-out NULLs.
fn without_nulls(der: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut reader = Reader::new(der);
    while !reader.is_empty() {
        let element = reader.next_element().ok()?;
        if element.tag == tag::NULL {
            continue;
        }
        out.push(element.tag);
        if element.tag & 0x20 == 0 {
            out.extend_from_slice(element.value);
        } else {
            out.extend(without_nulls(element.value)?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_back() {
        for algorithm in SignatureAlgorithm::ALL {
            let identifier = algorithm.identifier();
            assert_eq!(
                SignatureAlgorithm::from_identifier(&identifier),
                Ok(Some(algorithm))
            );
        }
    }

    #[test]
    fn sha1_signatures_are_unknown() {
        // sha1WithRSAEncryption, NULL
        let identifier = hex::decode("300d06092a864886f70d0101050500").unwrap();
        assert_eq!(SignatureAlgorithm::from_identifier(&identifier), Ok(None));
    }

    #[test]
    fn digests_are_found_by_oid_and_by_name() {
        for algorithm in DigestAlgorithm::ALL {
            assert_eq!(
                DigestAlgorithm::from_oid(algorithm.oid().as_bytes()),
                Some(algorithm)
            );
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert_eq!(
                algorithm.digest(b"x").as_ref().len(),
                algorithm.output_len()
            );
        }
        assert!("md5".parse::<DigestAlgorithm>().is_err());
    }
}
