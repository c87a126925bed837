//! The SignedData around a TSTInfo (RFC 5652 5, RFC 3161 2.4.2, RFC 5816). [`TokenTemplate`] holds what is
//! the same in every token of a TSU, encoded once; [`TokenTemplate::attributes`] gives the bytes to sign
//! and [`TokenTemplate::token`] the finished ContentInfo.

use super::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    certificate::Certificate,
    oid::{self, ObjectIdentifier},
    tlv::{self, header_len, put_header, tag},
};

/// The constant parts of one TSU's tokens.
#[derive(Debug)]
pub struct TokenTemplate {
    digest: DigestAlgorithm,
    /// The signed attributes as a SET, with zeros where the message digest goes.
    attributes: Vec<u8>,
    digest_at: usize,
    /// SignedData from its version up to and with the digestAlgorithms.
    head: Vec<u8>,
    /// `[0] certificates`, the SET in DER order.
    certificates: Vec<u8>,
    /// SignerInfo's version, issuerAndSerialNumber and digestAlgorithm.
    signer: Vec<u8>,
    signature_algorithm: Vec<u8>,
}

impl TokenTemplate {
    /// For tokens signed by `certificate`'s key with `algorithm`, which carry `chain` when asked to.
    pub fn new(
        certificate: &Certificate,
        chain: &[Certificate],
        algorithm: SignatureAlgorithm,
    ) -> Self {
        let digest = algorithm.digest();
        let digest_identifier = digest.identifier();
        let (attributes, digest_at) = attributes_template(certificate, digest);
        let mut head = vec![tag::INTEGER, 1, 3];
        tlv::put(&mut head, tag::SET, &digest_identifier);
        let mut certificates: Vec<_> = std::iter::once(certificate)
            .chain(chain)
            .map(|one| one.der().clone())
            .collect();
        certificates.sort();
        let certificates: Vec<_> = certificates.iter().map(|der| &**der).collect();
        let serial = tlv::wrap(tag::INTEGER, &[certificate.serial()]);
        let signer_id = tlv::wrap(tag::SEQUENCE, &[certificate.issuer(), &serial]);
        let mut signer = vec![tag::INTEGER, 1, 1];
        signer.extend_from_slice(&signer_id);
        signer.extend_from_slice(&digest_identifier);
        Self {
            digest,
            attributes,
            digest_at,
            head,
            certificates: tlv::wrap(tag::context_constructed(0), &certificates),
            signer,
            signature_algorithm: algorithm.identifier(),
        }
    }

    /// The signed attributes for this TSTInfo, as the SET that gets signed (RFC 5652 5.4).
    pub fn attributes(&self, tst_info: &[u8]) -> Vec<u8> {
        let mut attributes = self.attributes.clone();
        let digest = self.digest.digest(tst_info);
        let slot = attributes.iter_mut().skip(self.digest_at);
        for (to, from) in slot.zip(digest.as_ref()) {
            *to = *from;
        }
        attributes
    }

    /// The token: a ContentInfo. `attributes` are those of [`TokenTemplate::attributes`], `signature` is
    /// over them.
    pub fn token(
        &self,
        tst_info: &[u8],
        attributes: &[u8],
        signature: &[u8],
        with_certificates: bool,
    ) -> Vec<u8> {
        let element = |content: usize| header_len(content) + content;
        let certificates: &[u8] = if with_certificates {
            &self.certificates
        } else {
            &[]
        };
        let content_type = oid_len(oid::TST_INFO);
        let octets = element(tst_info.len());
        let encapsulated = content_type + element(octets);
        let signer_info = self.signer.len()
            + attributes.len()
            + self.signature_algorithm.len()
            + element(signature.len());
        let signer_infos = element(signer_info);
        let signed_data =
            self.head.len() + element(encapsulated) + certificates.len() + element(signer_infos);
        let explicit = element(signed_data);
        let content_info = oid_len(oid::SIGNED_DATA) + element(explicit);

        let mut out = Vec::with_capacity(element(content_info));
        put_header(&mut out, tag::SEQUENCE, content_info);
        tlv::put(&mut out, tag::OID, oid::SIGNED_DATA.as_bytes());
        put_header(&mut out, tag::context_constructed(0), explicit);
        put_header(&mut out, tag::SEQUENCE, signed_data);
        out.extend_from_slice(&self.head);
        put_header(&mut out, tag::SEQUENCE, encapsulated);
        tlv::put(&mut out, tag::OID, oid::TST_INFO.as_bytes());
        put_header(&mut out, tag::context_constructed(0), octets);
        tlv::put(&mut out, tag::OCTET_STRING, tst_info);
        out.extend_from_slice(certificates);
        put_header(&mut out, tag::SET, signer_infos);
        put_header(&mut out, tag::SEQUENCE, signer_info);
        out.extend_from_slice(&self.signer);
        // signedAttrs is [0] IMPLICIT in place, though signed as a SET.
        if let [_, rest @ ..] = attributes {
            out.push(tag::context_constructed(0));
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(&self.signature_algorithm);
        tlv::put(&mut out, tag::OCTET_STRING, signature);
        out
    }
}

fn oid_len(id: ObjectIdentifier) -> usize {
    header_len(id.as_bytes().len()) + id.as_bytes().len()
}

/// contentType, messageDigest (zeros for now) and signingCertificateV2 in DER order, and where the digest
/// goes. Their encodings differ before the digest's octets, so the order holds for every digest.
fn attributes_template(certificate: &Certificate, digest: DigestAlgorithm) -> (Vec<u8>, usize) {
    let oid = |id: ObjectIdentifier| tlv::wrap(tag::OID, &[id.as_bytes()]);
    let attribute =
        |id, value: &[u8]| tlv::wrap(tag::SEQUENCE, &[&oid(id), &tlv::wrap(tag::SET, &[value])]);
    let zeros = vec![0; digest.output_len()];
    let message_digest = attribute(
        oid::MESSAGE_DIGEST,
        &tlv::wrap(tag::OCTET_STRING, &[&zeros]),
    );
    let mut attributes = [
        attribute(oid::CONTENT_TYPE, &oid(oid::TST_INFO)),
        message_digest.clone(),
        attribute(
            oid::SIGNING_CERTIFICATE_V2,
            &signing_certificate(certificate, digest),
        ),
    ];
    attributes.sort();
    let before: usize = attributes
        .iter()
        .take_while(|attribute| **attribute != message_digest)
        .map(Vec::len)
        .sum();
    let parts: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
    let set = tlv::wrap(tag::SET, &parts);
    let content: usize = parts.iter().map(|part| part.len()).sum();
    let digest_at = header_len(content) + before + message_digest.len() - zeros.len();
    (set, digest_at)
}

/// SigningCertificateV2 with one ESSCertIDv2 (RFC 5035 3, 4): SHA-256 is the default and left out;
/// issuerSerial is left out too, since the signer identifier says it already.
fn signing_certificate(certificate: &Certificate, digest: DigestAlgorithm) -> Vec<u8> {
    let identifier = match digest {
        DigestAlgorithm::Sha256 => Vec::new(),
        _ => digest.identifier(),
    };
    let hash = tlv::wrap(
        tag::OCTET_STRING,
        &[digest.digest(certificate.der()).as_ref()],
    );
    let ess_cert_id = tlv::wrap(tag::SEQUENCE, &[&identifier, &hash]);
    let certs = tlv::wrap(tag::SEQUENCE, &[&ess_cert_id]);
    tlv::wrap(tag::SEQUENCE, &[&certs])
}
