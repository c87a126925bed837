//! Keys, certificates and the CRL of the demo, hand-encoded. Start with [`Authority`], a CA that
//! signs, and [`LEAVES`], what it signs. Nothing here touches files.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, KeyPair},
};
use zeroize::Zeroizing;

use crate::wire::{
    algorithm::{DigestAlgorithm, KeyKind, SignatureAlgorithm},
    certificate::{Certificate, CertificateError, PublicKey},
    oid::{self, ObjectIdentifier},
    time::Seconds,
    tlv::{self, tag},
};

/// What every name in the demo carries, and what a folder of ours is known by.
pub const ORGANIZATION: &str = "Gnomon demo (proves nothing)";

pub const DAY: u64 = 86_400;
/// How long a CRL serves.
pub const CRL_LIFE: u64 = 7 * DAY;
pub const HOUR: u64 = 3_600;
/// 2050-01-01T00:00:00Z: from here on GeneralizedTime (RFC 5280 4.1.2.5).
const GENERALIZED_FROM: u64 = 2_524_608_000;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const KP_SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const KP_CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const KP_CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const KP_EMAIL_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4");

/// keyUsage values (RFC 5280 4.2.1.3) as whole BIT STRINGs.
const DIGITAL_SIGNATURE: &[u8] = &[tag::BIT_STRING, 2, 7, 0x80];
const DIGITAL_SIGNATURE_NON_REPUDIATION: &[u8] = &[tag::BIT_STRING, 2, 6, 0xc0];
const KEY_CERT_SIGN_CRL_SIGN: &[u8] = &[tag::BIT_STRING, 2, 1, 0x06];

/// Why a key or a certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("the cryptographic library cannot {0}")]
    Crypto(&'static str),
    #[error("not an unencrypted PKCS #8 key on P-256 or P-384, or RSA")]
    NotPkcs8,
    #[error("the key does not belong to the certificate")]
    OtherKey,
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The kinds of key in the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    P256,
    P384,
    Rsa3072,
}

/// A private key with its public half.
#[derive(Debug)]
pub struct Key {
    pair: Pair,
    public: PublicKey,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(Box<EcdsaKeyPair>, SignatureAlgorithm),
    Rsa(Box<rsa::KeyPair>),
}

impl Key {
    pub fn generate(kind: Kind) -> Result<Self, PkiError> {
        let failed = |_| PkiError::Crypto("generate a key");
        let ecdsa = |engine, algorithm| {
            let pair = EcdsaKeyPair::generate(engine).map_err(failed)?;
            Self::ecdsa(pair, algorithm)
        };
        match kind {
            Kind::P256 => ecdsa(
                &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha256,
            ),
            Kind::P384 => ecdsa(
                &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha384,
            ),
            Kind::Rsa3072 => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa3072).map_err(failed)?;
                Self::rsa(pair)
            }
        }
    }

    /// From an unencrypted PKCS #8 key in DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PkiError> {
        for (engine, algorithm) in [
            (
                &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha256,
            ),
            (
                &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                SignatureAlgorithm::EcdsaSha384,
            ),
        ] {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(engine, der) {
                return Self::ecdsa(pair, algorithm);
            }
        }
        Self::rsa(rsa::KeyPair::from_pkcs8(der).map_err(|_| PkiError::NotPkcs8)?)
    }

    fn ecdsa(pair: EcdsaKeyPair, algorithm: SignatureAlgorithm) -> Result<Self, PkiError> {
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(no_public)?;
        let public = PublicKey::from_spki(spki.as_ref())?;
        Ok(Self {
            pair: Pair::Ecdsa(Box::new(pair), algorithm),
            public,
        })
    }

    fn rsa(pair: rsa::KeyPair) -> Result<Self, PkiError> {
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(no_public)?;
        let public = PublicKey::from_spki(spki.as_ref())?;
        Ok(Self {
            pair: Pair::Rsa(Box::new(pair)),
            public,
        })
    }

    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// As PKCS #8 in DER.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, PkiError> {
        let failed = |_| PkiError::Crypto("write a key as PKCS #8");
        Ok(Zeroizing::new(match &self.pair {
            Pair::Ecdsa(pair, _) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                der.as_ref().to_vec()
            }
        }))
    }

    /// SEQUENCE { `tbs`, algorithm, signature }: the shape of certificate and CRL. Only CAs sign here,
    /// and those have ECDSA keys.
    fn signed(&self, tbs: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Vec<u8>, PkiError> {
        let Pair::Ecdsa(pair, algorithm) = &self.pair else {
            return Err(PkiError::Crypto("sign as a CA with an RSA key"));
        };
        let identifier = algorithm.identifier();
        let tbs = tbs(&identifier);
        let signature = pair
            .sign(&SystemRandom::new(), &tbs)
            .map_err(|_| PkiError::Crypto("sign"))?;
        let signature = tlv::wrap(tag::BIT_STRING, &[&[0], signature.as_ref()]);
        Ok(tlv::wrap(tag::SEQUENCE, &[&tbs, &identifier, &signature]))
    }
}

fn no_public(_: aws_lc_rs::error::Unspecified) -> PkiError {
    PkiError::Crypto("write a public key")
}

/// What an end entity is for; it decides keyUsage, extKeyUsage and further extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Tsu,
    Responder,
    Server,
    Client,
    Signer,
}

/// One certificate below the issuing CA: its key is `stem`.key, its certificate `stem`.pem.
#[derive(Debug)]
pub struct Leaf {
    pub stem: &'static str,
    /// For people, one line.
    pub meaning: &'static str,
    pub kind: Kind,
    /// CRLReason if the CRL lists it (RFC 5280 5.3.1).
    pub revoked: Option<u8>,
    role: Role,
}

impl Leaf {
    /// Whether the daemon signs with this key, so that it may live on a token.
    pub const fn serves(&self) -> bool {
        matches!(self.role, Role::Tsu | Role::Responder)
    }
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::P256 => Self::P256,
            Kind::P384 => Self::P384,
            Kind::Rsa3072 => Self::Rsa { bits: 3072 },
        }
    }
}

/// Everything the issuing CA certifies.
pub const LEAVES: [Leaf; 7] = {
    const fn leaf(
        stem: &'static str,
        role: Role,
        revoked: Option<u8>,
        meaning: &'static str,
    ) -> Leaf {
        Leaf {
            stem,
            meaning,
            kind: Kind::P256,
            revoked,
            role,
        }
    }
    [
        leaf("tsu-ecdsa", Role::Tsu, None, "signs time-stamps, P-256"),
        Leaf {
            kind: Kind::Rsa3072,
            ..leaf("tsu-rsa", Role::Tsu, None, "signs time-stamps, RSA 3072")
        },
        leaf("ocsp", Role::Responder, None, "signs OCSP answers"),
        leaf(
            "good",
            Role::Client,
            None,
            "a certificate to ask about: good",
        ),
        leaf(
            "revoked",
            Role::Server,
            Some(1),
            "a certificate to ask about: revoked, keyCompromise",
        ),
        leaf(
            "held",
            Role::Server,
            Some(6),
            "a certificate to ask about: revoked, certificateHold",
        ),
        leaf(
            "signer",
            Role::Signer,
            None,
            "signs code and documents to stamp",
        ),
    ]
};

/// A CA: its certificate and the key to it.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    key: Key,
}

impl Authority {
    /// Puts together what was read from files.
    pub fn new(certificate: Certificate, key: Key) -> Result<Self, PkiError> {
        if certificate.public_key() == key.public() {
            Ok(Self { certificate, key })
        } else {
            Err(PkiError::OtherKey)
        }
    }

    /// A new root for ten years.
    pub fn root(now: Seconds) -> Result<Self, PkiError> {
        let key = Key::generate(Kind::P384)?;
        let identifier = key_identifier(key.public());
        let short = hex::encode(identifier.get(..4).unwrap_or_default());
        let name = name(&format!("Gnomon demo root {short}"));
        let certificate = ToSign {
            issuer: &name,
            subject: &name,
            not_before: now.minus(HOUR),
            not_after: now.plus(3_652 * DAY),
            public: key.public(),
            extensions: ca_extensions(None, key.public(), None),
        }
        .sign(&key)?;
        Self::new(certificate, key)
    }

    /// A new issuing CA below this root, for five years.
    pub fn issuing(&self, now: Seconds) -> Result<Self, PkiError> {
        let key = Key::generate(Kind::P256)?;
        let certificate = ToSign {
            issuer: self.certificate.subject(),
            subject: &name(&format!("Gnomon demo issuing CA {}", self.short())),
            not_before: now.minus(HOUR),
            not_after: now.plus(1_826 * DAY).min(self.certificate.not_after()),
            public: key.public(),
            extensions: ca_extensions(Some(0), key.public(), Some(self.key.public())),
        }
        .sign(&self.key)?;
        Self::new(certificate, key)
    }

    /// A certificate for `leaf` over `public`, for 365 days and never longer than this CA. `ocsp` is the
    /// URL for authorityInfoAccess.
    pub fn certify(
        &self,
        leaf: &Leaf,
        public: &PublicKey,
        ocsp: Option<&str>,
        now: Seconds,
    ) -> Result<Certificate, PkiError> {
        let (stem, short) = (leaf.stem, self.short());
        let host = format!("{stem}.demo.invalid");
        let subject = match leaf.role {
            Role::Tsu => format!("Gnomon demo {stem} {short}"),
            Role::Responder => format!("Gnomon demo OCSP responder {short}"),
            Role::Signer => format!("Gnomon demo signer {short}"),
            Role::Server | Role::Client => host.clone(),
        };
        let (usage, purposes): (_, &[ObjectIdentifier]) = match leaf.role {
            Role::Tsu => (DIGITAL_SIGNATURE, &[oid::KP_TIME_STAMPING]),
            Role::Responder => (DIGITAL_SIGNATURE, &[oid::KP_OCSP_SIGNING]),
            Role::Server => (DIGITAL_SIGNATURE, &[KP_SERVER_AUTH]),
            Role::Client => (DIGITAL_SIGNATURE, &[KP_SERVER_AUTH, KP_CLIENT_AUTH]),
            Role::Signer => (
                DIGITAL_SIGNATURE_NON_REPUDIATION,
                &[KP_CODE_SIGNING, KP_EMAIL_PROTECTION],
            ),
        };
        let purposes: Vec<u8> = purposes.iter().flat_map(|id| object(*id)).collect();
        let mut extensions = vec![
            authority_key_identifier(self.key.public()),
            subject_key_identifier(public),
            extension(oid::KEY_USAGE, true, usage),
            // RFC 3161 2.3: critical, and the only one.
            extension(
                oid::EXT_KEY_USAGE,
                leaf.role == Role::Tsu,
                &tlv::wrap(tag::SEQUENCE, &[&purposes]),
            ),
        ];
        if matches!(leaf.role, Role::Server | Role::Client) {
            let dns = tlv::wrap(tag::context(2), &[host.as_bytes()]);
            extensions.push(extension(
                oid::SUBJECT_ALT_NAME,
                false,
                &tlv::wrap(tag::SEQUENCE, &[&dns]),
            ));
        }
        if leaf.role == Role::Responder {
            extensions.push(extension(oid::OCSP_NOCHECK, false, &[tag::NULL, 0]));
        } else if let Some(url) = ocsp {
            let uri = tlv::wrap(tag::context(6), &[url.as_bytes()]);
            let access = tlv::wrap(tag::SEQUENCE, &[&object(oid::AD_OCSP), &uri]);
            extensions.push(extension(
                oid::AUTHORITY_INFO_ACCESS,
                false,
                &tlv::wrap(tag::SEQUENCE, &[&access]),
            ));
        }
        ToSign {
            issuer: self.certificate.subject(),
            subject: &name(&subject),
            not_before: now.minus(HOUR).max(self.certificate.not_before()),
            not_after: now.plus(365 * DAY).min(self.certificate.not_after()),
            public,
            extensions,
        }
        .sign(&self.key)
    }

    /// A CRL of these entries, as [`super::crl::revoked`] makes them, for seven days.
    pub fn crl(&self, number: u64, entries: &[Vec<u8>], now: Seconds) -> Result<Vec<u8>, PkiError> {
        let mut version = Vec::new();
        tlv::put_unsigned(&mut version, &[1]);
        let mut crl_number = Vec::new();
        tlv::put_unsigned(&mut crl_number, &number.to_be_bytes());
        let extensions = tlv::wrap(
            tag::SEQUENCE,
            &[
                &authority_key_identifier(self.key.public()),
                &extension(oid::CRL_NUMBER, false, &crl_number),
            ],
        );
        let entries = match entries.concat() {
            none if none.is_empty() => none,
            entries => tlv::wrap(tag::SEQUENCE, &[&entries]),
        };
        self.key.signed(|identifier| {
            tlv::wrap(
                tag::SEQUENCE,
                &[
                    &version,
                    identifier,
                    self.certificate.subject(),
                    &time(now),
                    &time(now.plus(CRL_LIFE)),
                    &entries,
                    &tlv::wrap(tag::context_constructed(0), &[&extensions]),
                ],
            )
        })
    }

    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// What tells the names of one PKI from those of another.
    fn short(&self) -> String {
        let text = self.certificate.subject_text();
        let name = text.split(',').find_map(|part| part.strip_prefix("CN="));
        let short = name.and_then(|name| name.rsplit(' ').next());
        short.unwrap_or_default().to_owned()
    }
}

/// A certificate before it is signed.
struct ToSign<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    not_before: Seconds,
    not_after: Seconds,
    public: &'a PublicKey,
    extensions: Vec<Vec<u8>>,
}

impl ToSign<'_> {
    fn sign(self, key: &Key) -> Result<Certificate, PkiError> {
        let mut version = Vec::new();
        tlv::put_unsigned(&mut version, &[2]);
        let mut octets = [0u8; 16];
        aws_lc_rs::rand::fill(&mut octets).map_err(|_| PkiError::Crypto("draw a serial number"))?;
        // Positive, and 16 octets whatever was drawn.
        if let Some(first) = octets.first_mut() {
            *first = *first & 0x7f | 0x40;
        }
        let mut serial = Vec::new();
        tlv::put_unsigned(&mut serial, &octets);
        let extensions = tlv::wrap(tag::SEQUENCE, &[&self.extensions.concat()]);
        let validity = tlv::wrap(
            tag::SEQUENCE,
            &[&time(self.not_before), &time(self.not_after)],
        );
        let der = key.signed(|identifier| {
            tlv::wrap(
                tag::SEQUENCE,
                &[
                    &tlv::wrap(tag::context_constructed(0), &[&version]),
                    &serial,
                    identifier,
                    self.issuer,
                    &validity,
                    self.subject,
                    self.public.spki(),
                    &tlv::wrap(tag::context_constructed(3), &[&extensions]),
                ],
            )
        })?;
        Ok(Certificate::from_der(&der)?)
    }
}

fn ca_extensions(
    path_length: Option<u8>,
    own: &PublicKey,
    issuer: Option<&PublicKey>,
) -> Vec<Vec<u8>> {
    let mut constraints = vec![tag::BOOLEAN, 1, 0xff];
    if let Some(length) = path_length {
        tlv::put_unsigned(&mut constraints, &[length]);
    }
    let mut extensions = vec![
        extension(
            oid::BASIC_CONSTRAINTS,
            true,
            &tlv::wrap(tag::SEQUENCE, &[&constraints]),
        ),
        extension(oid::KEY_USAGE, true, KEY_CERT_SIGN_CRL_SIGN),
        subject_key_identifier(own),
    ];
    extensions.extend(issuer.or(Some(own)).map(authority_key_identifier));
    extensions
}

fn object(id: ObjectIdentifier) -> Vec<u8> {
    tlv::wrap(tag::OID, &[id.as_bytes()])
}

/// A whole Extension (RFC 5280 4.1) around the DER of its value.
pub fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical {
        &[tag::BOOLEAN, 1, 0xff]
    } else {
        &[]
    };
    let value = tlv::wrap(tag::OCTET_STRING, &[value]);
    tlv::wrap(tag::SEQUENCE, &[&object(id), critical, &value])
}

/// RFC 5280 4.2.1.2, the first method.
fn key_identifier(public: &PublicKey) -> Vec<u8> {
    public.key_hash(DigestAlgorithm::Sha1).as_ref().to_vec()
}

fn subject_key_identifier(public: &PublicKey) -> Vec<u8> {
    let value = tlv::wrap(tag::OCTET_STRING, &[&key_identifier(public)]);
    extension(oid::SUBJECT_KEY_IDENTIFIER, false, &value)
}

fn authority_key_identifier(issuer: &PublicKey) -> Vec<u8> {
    let identifier = tlv::wrap(tag::context(0), &[&key_identifier(issuer)]);
    let value = tlv::wrap(tag::SEQUENCE, &[&identifier]);
    extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &value)
}

fn name(common_name: &str) -> Vec<u8> {
    let part = |id, text: &str| {
        let text = tlv::wrap(tag::UTF8_STRING, &[text.as_bytes()]);
        let part = tlv::wrap(tag::SEQUENCE, &[&object(id), &text]);
        tlv::wrap(tag::SET, &[&part])
    };
    tlv::wrap(
        tag::SEQUENCE,
        &[
            &part(ORGANIZATION_NAME, ORGANIZATION),
            &part(COMMON_NAME, common_name),
        ],
    )
}

/// A Time (RFC 5280 4.1.2.5).
pub fn time(at: Seconds) -> Vec<u8> {
    let generalized = at.generalized();
    if at.get() < GENERALIZED_FROM {
        let digits = generalized.get(2..).unwrap_or_default();
        tlv::wrap(tag::UTC_TIME, &[digits])
    } else {
        tlv::wrap(tag::GENERALIZED_TIME, &[&generalized])
    }
}
