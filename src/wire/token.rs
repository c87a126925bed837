//! A time-stamp token that others made: [`Token::parse`] reads the SignedData around a TSTInfo (RFC 3161 2.4.2,
//! RFC 5652 5) in DER. The form is checked here, signed attributes included; who signed is asked with
//! [`Token::names`], [`Token::is_bound_to`] and [`Token::is_signed_by`]. Our own are made in [`super::cms`].

use super::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    certificate::{Certificate, PublicKey},
    oid::{self, ObjectIdentifier},
    tlv::{self, DerError, Element, Reader, tag},
};

/// A token with exactly one signer.
#[derive(Debug)]
pub struct Token<'a> {
    /// The TSTInfo's whole encoding.
    pub tst_info: &'a [u8],
    /// The certificates that came with it, in their own encodings and their own order.
    pub certificates: Vec<&'a [u8]>,
    signer: SignerId<'a>,
    digest: DigestAlgorithm,
    /// The signed attributes, one behind the other.
    attributes: &'a [u8],
    message_digest: &'a [u8],
    bindings: Vec<Binding<'a>>,
    algorithm: SignatureAlgorithm,
    signature: &'a [u8],
}

/// How the signer's certificate is named (RFC 5652 5.3).
#[derive(Debug)]
enum SignerId<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    KeyIdentifier(&'a [u8]),
}

/// The digest of the signer's certificate, signed with everything else (RFC 5035 3, RFC 5816).
#[derive(Debug)]
struct Binding<'a> {
    algorithm: DigestAlgorithm,
    digest: &'a [u8],
}

/// Why octets are no token that can be used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error(transparent)]
    Der(#[from] DerError),
    #[error("it is no SignedData around a TSTInfo")]
    ContentType,
    #[error("a version in it is not the one that RFC 5652 gives a time-stamp")]
    Version,
    #[error("it has not exactly one signer")]
    Signers,
    #[error("its digest is unknown, too weak, or named in two ways")]
    Digest,
    #[error("its signature algorithm is unknown or too weak")]
    Signature,
    #[error("the signed attribute {0} is missing, stands twice, or says something else")]
    Attribute(&'static str),
}

impl<'a> Token<'a> {
    /// Reads a whole ContentInfo.
    pub fn parse(token: &'a [u8]) -> Result<Self, TokenError> {
        let mut info = Reader::whole(token, tag::SEQUENCE)?.reader();
        if info.oid()? != oid::SIGNED_DATA.as_bytes() {
            return Err(TokenError::ContentType);
        }
        let mut explicit = info.expect(tag::context_constructed(0))?.reader();
        info.finish()?;
        let mut data = explicit.expect(tag::SEQUENCE)?.reader();
        explicit.finish()?;
        // 3, since the content is none of PKCS #7's; others only with kinds of certificates that nobody uses.
        if data.integer()? != [3] {
            return Err(TokenError::Version);
        }
        let mut digests = data.expect(tag::SET)?.reader();
        let listed = digest(digests.expect(tag::SEQUENCE)?)?;
        digests.finish()?;
        let tst_info = content(data.expect(tag::SEQUENCE)?)?;
        let mut certificates = Vec::new();
        if let Some(set) = data.optional(tag::context_constructed(0))? {
            let mut set = set.reader();
            while !set.is_empty() {
                // The other kinds (attribute certificates and the like) have context tags.
                let certificate = set.next_element()?;
                if certificate.tag == tag::SEQUENCE {
                    certificates.push(certificate.raw);
                }
            }
        }
        data.optional(tag::context_constructed(1))?; // CRLs
        let mut signers = data.expect(tag::SET)?.reader();
        data.finish()?;
        let signer = signers
            .optional(tag::SEQUENCE)?
            .ok_or(TokenError::Signers)?;
        if !signers.is_empty() {
            return Err(TokenError::Signers);
        }
        let token = Self::of_signer(signer, tst_info, certificates)?;
        if token.digest != listed {
            return Err(TokenError::Digest);
        }
        Ok(token)
    }

    fn of_signer(
        signer: Element<'a>,
        tst_info: &'a [u8],
        certificates: Vec<&'a [u8]>,
    ) -> Result<Self, TokenError> {
        let mut fields = signer.reader();
        let version = fields.integer()?;
        let name = fields.next_element()?;
        let signer = match (version, name.tag) {
            ([1], tag::SEQUENCE) => {
                let mut name = name.reader();
                let issuer = name.expect(tag::SEQUENCE)?.raw;
                let serial = name.integer()?;
                name.finish()?;
                SignerId::IssuerAndSerial { issuer, serial }
            }
            ([3], KEY_IDENTIFIER) => SignerId::KeyIdentifier(name.value),
            _ => return Err(TokenError::Version),
        };
        let digest = digest(fields.expect(tag::SEQUENCE)?)?;
        let attributes = fields.expect(tag::context_constructed(0))?.value;
        let algorithm = fields.expect(tag::SEQUENCE)?.raw;
        let algorithm = signature_algorithm(algorithm, digest)?.ok_or(TokenError::Signature)?;
        let signature = fields.expect(tag::OCTET_STRING)?.value;
        fields.optional(tag::context_constructed(1))?; // attributes that are not signed
        fields.finish()?;
        let signed = Attributes::read(attributes)?;
        let content_type = signed.one(oid::CONTENT_TYPE, "contentType")?;
        if content_type.map(|value| value.value) != Some(oid::TST_INFO.as_bytes()) {
            return Err(TokenError::Attribute("contentType"));
        }
        let message_digest = signed
            .one(oid::MESSAGE_DIGEST, "messageDigest")?
            .filter(|value| value.tag == tag::OCTET_STRING)
            .ok_or(TokenError::Attribute("messageDigest"))?;
        let mut bindings = Vec::new();
        for (id, is_second) in [
            (oid::SIGNING_CERTIFICATE, false),
            (oid::SIGNING_CERTIFICATE_V2, true),
        ] {
            if let Some(value) = signed.one(id, "signingCertificate")? {
                bindings.push(binding(value, is_second)?);
            }
        }
        if bindings.is_empty() {
            return Err(TokenError::Attribute("signingCertificate"));
        }
        Ok(Self {
            tst_info,
            certificates,
            signer,
            digest,
            attributes,
            message_digest: message_digest.value,
            bindings,
            algorithm,
            signature,
        })
    }

    /// Whether the signer says that its certificate is this one.
    pub fn names(&self, certificate: &Certificate) -> bool {
        match self.signer {
            SignerId::IssuerAndSerial { issuer, serial } => {
                issuer == certificate.issuer() && serial == certificate.serial()
            }
            SignerId::KeyIdentifier(id) => {
                certificate.subject_key_identifier().as_deref() == Some(id)
            }
        }
    }

    /// Whether the signed attributes name exactly this certificate, by its digest. Their issuerSerial says less
    /// and is not looked at.
    pub fn is_bound_to(&self, certificate: &Certificate) -> bool {
        self.bindings
            .iter()
            .all(|it| it.algorithm.digest(certificate.der()).as_ref() == it.digest)
    }

    /// Whether the TSTInfo is the one that was signed, and by this key.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        if self.digest.digest(self.tst_info).as_ref() != self.message_digest {
            return false;
        }
        // They stand as [0] IMPLICIT and are signed as a SET (RFC 5652 5.4).
        let signed = tlv::wrap(tag::SET, &[self.attributes]);
        self.algorithm.verify(key, &signed, self.signature)
    }
}

/// `[0]` IMPLICIT SubjectKeyIdentifier.
const KEY_IDENTIFIER: u8 = tag::context(0);

/// A digest's AlgorithmIdentifier, with parameters NULL or absent. SHA-1 is none that a signature may rest on.
fn digest(identifier: Element<'_>) -> Result<DigestAlgorithm, TokenError> {
    let mut fields = identifier.reader();
    let algorithm = DigestAlgorithm::from_oid(fields.oid()?);
    let plain = fields.is_empty() || fields.rest() == NULL;
    algorithm
        .filter(|algorithm| plain && *algorithm != DigestAlgorithm::Sha1)
        .ok_or(TokenError::Digest)
}

const NULL: [u8; 2] = [tag::NULL, 0];

/// The TSTInfo in an EncapsulatedContentInfo.
fn content(encapsulated: Element<'_>) -> Result<&[u8], TokenError> {
    let mut fields = encapsulated.reader();
    if fields.oid()? != oid::TST_INFO.as_bytes() {
        return Err(TokenError::ContentType);
    }
    let mut explicit = fields.expect(tag::context_constructed(0))?.reader();
    fields.finish()?;
    let octets = explicit.expect(tag::OCTET_STRING)?.value;
    explicit.finish()?;
    Ok(octets)
}

/// The algorithm of a signature. Plain rsaEncryption stands for PKCS #1 v1.5 with the digest that is named
/// beside it (RFC 3370 3.2); `openssl ts` writes it.
fn signature_algorithm(
    identifier: &[u8],
    digest: DigestAlgorithm,
) -> Result<Option<SignatureAlgorithm>, DerError> {
    let mut fields = Reader::whole(identifier, tag::SEQUENCE)?.reader();
    if fields.oid()? != oid::RSA_ENCRYPTION.as_bytes() {
        return SignatureAlgorithm::from_identifier(identifier);
    }
    let plain = fields.is_empty() || fields.rest() == NULL;
    Ok(match digest {
        DigestAlgorithm::Sha256 => Some(SignatureAlgorithm::RsaSha256),
        DigestAlgorithm::Sha384 => Some(SignatureAlgorithm::RsaSha384),
        DigestAlgorithm::Sha512 => Some(SignatureAlgorithm::RsaSha512),
        _ => None,
    }
    .filter(|_| plain))
}

/// The first ESSCertID or ESSCertIDv2 in a signingCertificate, which is the signer's (RFC 5035 3). The first
/// kind is always SHA-1; that is enough beside the name of the certificate, and RFC 3161 knows no other.
fn binding(value: Element<'_>, is_second: bool) -> Result<Binding<'_>, TokenError> {
    let mut fields = Reader::whole(value.raw, tag::SEQUENCE)?.reader();
    let mut certificates = fields.expect(tag::SEQUENCE)?.reader();
    let mut id = certificates.expect(tag::SEQUENCE)?.reader();
    let mut algorithm = DigestAlgorithm::Sha1;
    if is_second {
        algorithm = match id.optional(tag::SEQUENCE)? {
            Some(identifier) => digest(identifier)?,
            None => DigestAlgorithm::Sha256,
        };
    }
    let digest = id.expect(tag::OCTET_STRING)?.value;
    Ok(Binding { algorithm, digest })
}

/// Signed attributes: each with its type and its values.
struct Attributes<'a>(Vec<(&'a [u8], Element<'a>)>);

impl<'a> Attributes<'a> {
    fn read(attributes: &'a [u8]) -> Result<Self, DerError> {
        let mut reader = Reader::new(attributes);
        let mut read = Vec::new();
        while !reader.is_empty() {
            let mut attribute = reader.expect(tag::SEQUENCE)?.reader();
            let id = attribute.oid()?;
            let values = attribute.expect(tag::SET)?;
            attribute.finish()?;
            read.push((id, values));
        }
        Ok(Self(read))
    }

    /// The one value of an attribute; `None` where there is no such attribute.
    fn one(
        &self,
        id: ObjectIdentifier,
        name: &'static str,
    ) -> Result<Option<Element<'a>>, TokenError> {
        let mut found = self.0.iter().filter(|(name, _)| *name == id.as_bytes());
        let Some((_, values)) = found.next() else {
            return Ok(None);
        };
        let mut values = values.reader();
        let value = values.next_element()?;
        match values.is_empty() && found.next().is_none() {
            true => Ok(Some(value)),
            false => Err(TokenError::Attribute(name)),
        }
    }
}
