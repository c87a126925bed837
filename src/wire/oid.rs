//! The object identifiers the appliance knows by name, each with the document that assigns it, and
//! [`PolicyOid`] for those that operators choose.

use std::{fmt, str::FromStr};

pub use const_oid::ObjectIdentifier;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: ObjectIdentifier = ObjectIdentifier::new_unwrap($value);)*
    };
}

oids! {
    /// SHA-1 (RFC 3279 2.2.1): only ever the hash of a CertID.
    SHA1 = "1.3.14.3.2.26";
    /// SHA-256 (RFC 5754 2.2).
    SHA256 = "2.16.840.1.101.3.4.2.1";
    /// SHA-384 (RFC 5754 2.3).
    SHA384 = "2.16.840.1.101.3.4.2.2";
    /// SHA-512 (RFC 5754 2.4).
    SHA512 = "2.16.840.1.101.3.4.2.3";
    /// SHA3-256 (RFC 8702 3.1's sibling registrations at NIST CSOR).
    SHA3_256 = "2.16.840.1.101.3.4.2.8";
    /// SHA3-384 (NIST CSOR).
    SHA3_384 = "2.16.840.1.101.3.4.2.9";
    /// SHA3-512 (NIST CSOR).
    SHA3_512 = "2.16.840.1.101.3.4.2.10";

    /// ecdsa-with-SHA256 (RFC 5758 3.2).
    ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
    /// ecdsa-with-SHA384 (RFC 5758 3.2).
    ECDSA_WITH_SHA384 = "1.2.840.10045.4.3.3";
    /// ecdsa-with-SHA512 (RFC 5758 3.2).
    ECDSA_WITH_SHA512 = "1.2.840.10045.4.3.4";
    /// sha256WithRSAEncryption (RFC 4055 5).
    SHA256_WITH_RSA = "1.2.840.113549.1.1.11";
    /// sha384WithRSAEncryption (RFC 4055 5).
    SHA384_WITH_RSA = "1.2.840.113549.1.1.12";
    /// sha512WithRSAEncryption (RFC 4055 5).
    SHA512_WITH_RSA = "1.2.840.113549.1.1.13";
    /// id-RSASSA-PSS (RFC 4055 3.1).
    RSASSA_PSS = "1.2.840.113549.1.1.10";
    /// id-mgf1 (RFC 4055 2.2).
    MGF1 = "1.2.840.113549.1.1.8";
    /// rsaEncryption (RFC 3279 2.3.1).
    RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
    /// id-ecPublicKey (RFC 5480 2.1.1).
    EC_PUBLIC_KEY = "1.2.840.10045.2.1";
    /// secp256r1 (RFC 5480 2.1.1.1).
    P256 = "1.2.840.10045.3.1.7";
    /// secp384r1 (RFC 5480 2.1.1.1).
    P384 = "1.3.132.0.34";
    /// secp521r1 (RFC 5480 2.1.1.1).
    P521 = "1.3.132.0.35";
    /// id-Ed25519 (RFC 8410 3).
    ED25519 = "1.3.101.112";

    /// id-signedData (RFC 5652 5.1).
    SIGNED_DATA = "1.2.840.113549.1.7.2";
    /// id-ct-TSTInfo (RFC 3161 2.4.2).
    TST_INFO = "1.2.840.113549.1.9.16.1.4";
    /// extensionRequest (RFC 2985 5.4.2).
    EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
    /// id-contentType (RFC 5652 11.1).
    CONTENT_TYPE = "1.2.840.113549.1.9.3";
    /// id-messageDigest (RFC 5652 11.2).
    MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
    /// id-aa-signingCertificate (RFC 2634 5.4).
    SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12";
    /// id-aa-signingCertificateV2 (RFC 5035 3).
    SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47";
    /// qcStatements (RFC 3739 3.2.6); as a TSTInfo extension in ETSI EN 319 422 9.1.
    QC_STATEMENTS = "1.3.6.1.5.5.7.1.3";
    /// esi4-qtstStatement-1 (ETSI EN 319 422 9.1).
    QTST_STATEMENT = "0.4.0.19422.1.1";

    /// subjectKeyIdentifier (RFC 5280 4.2.1.2).
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
    /// keyUsage (RFC 5280 4.2.1.3).
    KEY_USAGE = "2.5.29.15";
    /// privateKeyUsagePeriod (RFC 3280 4.2.1.4; RFC 5280 only names it).
    PRIVATE_KEY_USAGE_PERIOD = "2.5.29.16";
    /// subjectAltName (RFC 5280 4.2.1.6).
    SUBJECT_ALT_NAME = "2.5.29.17";
    /// basicConstraints (RFC 5280 4.2.1.9).
    BASIC_CONSTRAINTS = "2.5.29.19";
    /// cRLNumber (RFC 5280 5.2.3).
    CRL_NUMBER = "2.5.29.20";
    /// reasonCode (RFC 5280 5.3.1).
    REASON_CODE = "2.5.29.21";
    /// invalidityDate (RFC 5280 5.3.2).
    INVALIDITY_DATE = "2.5.29.24";
    /// deltaCRLIndicator (RFC 5280 5.2.4).
    DELTA_CRL_INDICATOR = "2.5.29.27";
    /// issuingDistributionPoint (RFC 5280 5.2.5).
    ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
    /// certificateIssuer (RFC 5280 5.3.3).
    CERTIFICATE_ISSUER = "2.5.29.29";
    /// certificatePolicies (RFC 5280 4.2.1.4).
    CERTIFICATE_POLICIES = "2.5.29.32";
    /// authorityKeyIdentifier (RFC 5280 4.2.1.1).
    AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
    /// extKeyUsage (RFC 5280 4.2.1.12).
    EXT_KEY_USAGE = "2.5.29.37";
    /// freshestCRL (RFC 5280 5.2.6).
    FRESHEST_CRL = "2.5.29.46";
    /// authorityInfoAccess (RFC 5280 4.2.2.1).
    AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1";
    /// cRLDistributionPoints (RFC 5280 4.2.1.13).
    CRL_DISTRIBUTION_POINTS = "2.5.29.31";

    /// anyExtendedKeyUsage (RFC 5280 4.2.1.12).
    ANY_EXTENDED_KEY_USAGE = "2.5.29.37.0";
    /// id-kp-timeStamping (RFC 3161 2.3).
    KP_TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
    /// id-kp-OCSPSigning (RFC 6960 4.2.2.2).
    KP_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";

    /// id-ad-ocsp (RFC 5280 4.2.2.1).
    AD_OCSP = "1.3.6.1.5.5.7.48.1";
    /// id-pkix-ocsp-basic (RFC 6960 4.2.1).
    OCSP_BASIC = "1.3.6.1.5.5.7.48.1.1";
    /// id-pkix-ocsp-nonce (RFC 9654 2.1).
    OCSP_NONCE = "1.3.6.1.5.5.7.48.1.2";
    /// id-pkix-ocsp-response (RFC 6960 4.4.3).
    OCSP_RESPONSE = "1.3.6.1.5.5.7.48.1.4";
    /// id-pkix-ocsp-nocheck (RFC 6960 4.2.2.2.1).
    OCSP_NOCHECK = "1.3.6.1.5.5.7.48.1.5";
    /// id-pkix-ocsp-archive-cutoff (RFC 6960 4.4.4).
    OCSP_ARCHIVE_CUTOFF = "1.3.6.1.5.5.7.48.1.6";
    /// id-pkix-ocsp-pref-sig-algs (RFC 6960 4.4.7).
    OCSP_PREF_SIG_ALGS = "1.3.6.1.5.5.7.48.1.8";
    /// id-pkix-ocsp-extended-revoke (RFC 6960 4.4.8).
    OCSP_EXTENDED_REVOKE = "1.3.6.1.5.5.7.48.1.9";
}

/// A TSAPolicyId from the configuration. [`ObjectIdentifier`] cannot hold every OID: not 2.999 (the arc
/// for examples), nor arcs over 32 bits, and operators' policies may have either.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyOid(Vec<u8>);

/// The text is no object identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no object identifier such as \"1.3.6.1.4.1.99999.1\"")]
pub struct NotAnOid(String);

impl PolicyOid {
    /// The most content octets taken: twice what any registered policy needs.
    const LONGEST: usize = 64;

    /// From content octets that were read somewhere; nothing is said of whether they name anything.
    pub fn from_content(content: &[u8]) -> Self {
        Self(content.to_vec())
    }

    /// The content octets (X.690 8.19).
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut arcs = text.split('.').map(|arc| {
            let plain = arc.bytes().all(|octet| octet.is_ascii_digit())
                && (arc.len() == 1 || !arc.starts_with('0'));
            plain.then(|| arc.parse::<u128>().ok()).flatten()
        });
        let (root, second) = (arcs.next()??, arcs.next()??);
        if root > 2 || (root < 2 && second > 39) {
            return None;
        }
        let mut content = Vec::new();
        put_arc(&mut content, second.checked_add(root * 40)?);
        for arc in arcs {
            put_arc(&mut content, arc?);
        }
        (content.len() <= Self::LONGEST).then_some(Self(content))
    }
}

/// One sub-identifier: base 128, most significant first, the top bit set on all but the last octet.
fn put_arc(out: &mut Vec<u8>, arc: u128) {
    let groups = (128 - arc.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let bits = u8::try_from(arc >> (7 * group) & 0x7f).unwrap_or(0);
        out.push(if group == 0 { bits } else { bits | 0x80 });
    }
}

impl FromStr for PolicyOid {
    type Err = NotAnOid;

    fn from_str(text: &str) -> Result<Self, NotAnOid> {
        Self::from_text(text).ok_or_else(|| NotAnOid(text.to_owned()))
    }
}

impl fmt::Display for PolicyOid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arc = 0u128;
        let mut first = true;
        for &octet in &self.0 {
            arc = arc << 7 | u128::from(octet & 0x7f);
            if octet & 0x80 != 0 {
                continue;
            }
            if first {
                let root = (arc / 40).min(2);
                write!(f, "{root}.{}", arc - root * 40)?;
                first = false;
            } else {
                write!(f, ".{arc}")?;
            }
            arc = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_the_octets_that_others_give_them() {
        for text in ["1.3.6.1.4.1.99999.1", "0.4.0.2023.1.1", "2.5.29.32.0"] {
            let policy: PolicyOid = text.parse().unwrap();
            assert_eq!(
                policy.as_bytes(),
                ObjectIdentifier::new_unwrap(text).as_bytes()
            );
            assert_eq!(policy.to_string(), text);
        }
        // X.660 A: 2.999 is 88 37.
        let example: PolicyOid = "2.999.3161.1".parse().unwrap();
        assert_eq!(example.as_bytes(), [0x88, 0x37, 0x98, 0x59, 0x01]);
        let uuid = "2.25.329800735698586629295641978511506172918";
        assert_eq!(uuid.parse::<PolicyOid>().unwrap().to_string(), uuid);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for bad in [
            "", "1", "1.", ".1", "3.1", "1.40", "1.2.x", "1.02.3", "1.2.-3", "1..2",
        ] {
            assert!(bad.parse::<PolicyOid>().is_err(), "{bad}");
        }
        let endless = format!("1.2{}", ".4294967295".repeat(20));
        assert!(endless.parse::<PolicyOid>().is_err());
    }
}
