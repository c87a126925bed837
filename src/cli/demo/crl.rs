//! The demo's CRL: [`revoked`] makes an entry, [`Crl`] reads back what an earlier start left.

use der::Decode;

use crate::wire::{
    algorithm::SignatureAlgorithm,
    certificate::Certificate,
    oid,
    time::Seconds,
    tlv::{self, Reader, tag},
};

use super::pki::{HOUR, extension, time};

/// An entry of a CRL (RFC 5280 5.1.2.6) with its CRLReason.
pub fn revoked(certificate: &Certificate, reason: u8) -> Vec<u8> {
    let mut serial = Vec::new();
    tlv::put_unsigned(&mut serial, certificate.serial());
    let reason = tlv::wrap(tag::ENUMERATED, &[&[reason]]);
    let extensions = tlv::wrap(
        tag::SEQUENCE,
        &[&extension(oid::REASON_CODE, false, &reason)],
    );
    // As soon as it was issued; the one instant that is known again at every later start.
    let date = time(certificate.not_before().plus(HOUR));
    tlv::wrap(tag::SEQUENCE, &[&serial, &date, &extensions])
}

/// What a later start needs to know of a CRL.
#[derive(Debug)]
pub struct Crl {
    pub number: u64,
    pub this_update: Seconds,
    /// 1970 where it is absent.
    pub next_update: Seconds,
    /// Serials as INTEGER content octets, each with the entry's whole encoding.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    issuer: Vec<u8>,
    tbs: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Crl {
    /// From DER; `None` where it is no CRL.
    pub fn read(der: &[u8]) -> Option<Self> {
        let list = x509_cert::crl::CertificateList::from_der(der).ok()?;
        // The same walk as RFC 5280 5.1, for the slices whose exact bytes are kept.
        let mut outer = Reader::whole(der, tag::SEQUENCE).ok()?.reader();
        let tbs = outer.expect(tag::SEQUENCE).ok()?;
        let algorithm = outer.expect(tag::SEQUENCE).ok()?.raw.to_vec();
        let mut fields = tbs.reader();
        fields.optional(tag::INTEGER).ok()?;
        fields.expect(tag::SEQUENCE).ok()?;
        let issuer = fields.expect(tag::SEQUENCE).ok()?.raw.to_vec();
        while matches!(fields.peek(), Some(tag::UTC_TIME | tag::GENERALIZED_TIME)) {
            fields.next_element().ok()?;
        }
        let mut entries = Vec::new();
        if let Some(revoked) = fields.optional(tag::SEQUENCE).ok()? {
            let mut revoked = revoked.reader();
            while !revoked.is_empty() {
                let entry = revoked.expect(tag::SEQUENCE).ok()?;
                let serial = entry.reader().integer().ok()?;
                entries.push((serial.to_vec(), entry.raw.to_vec()));
            }
        }
        let decoded = &list.tbs_cert_list;
        let extensions = decoded.crl_extensions.iter().flatten();
        let number = extensions
            .filter(|extension| extension.extn_id == oid::CRL_NUMBER)
            .find_map(|extension| {
                let mut value = Reader::new(extension.extn_value.as_bytes());
                value.integer().ok()
            })
            .unwrap_or_default();
        Some(Self {
            number: number.iter().fold(0u64, |sum, &octet| {
                sum.saturating_mul(256).saturating_add(octet.into())
            }),
            this_update: decoded.this_update.into(),
            next_update: decoded.next_update.map_or(Seconds::EPOCH, Seconds::from),
            entries,
            issuer,
            tbs: tbs.raw.to_vec(),
            algorithm,
            signature: list.signature.as_bytes()?.to_vec(),
        })
    }

    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        let algorithm = SignatureAlgorithm::from_identifier(&self.algorithm);
        self.issuer == *issuer.subject()
            && algorithm.ok().flatten().is_some_and(|algorithm| {
                algorithm.verify(issuer.public_key(), &self.tbs, &self.signature)
            })
    }

    pub fn lists(&self, certificate: &Certificate) -> bool {
        let mut serials = self.entries.iter().map(|(serial, _)| serial);
        serials.any(|serial| serial == certificate.serial())
    }
}
