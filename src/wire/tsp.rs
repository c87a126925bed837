//! TimeStampReq and TimeStampResp (RFC 3161 2.4). [`TimeStampReq::parse`] borrows a request from the
//! bytes a client sent; [`granted`] and [`rejection`] are the two responses there are.

use super::tlv::{self, DerError, Reader, tag};

/// The longest nonce taken, in octets: 32 are the most seen in the field, and it is echoed.
const LONGEST_NONCE: usize = 128;

/// A request whose form is right. What it asks for has yet to be judged.
#[derive(Debug, Clone, Copy)]
pub struct TimeStampReq<'a> {
    /// The version INTEGER's content octets.
    pub version: &'a [u8],
    /// The MessageImprint's whole encoding, to be echoed byte for byte.
    pub imprint: &'a [u8],
    /// The content octets of the digest's OBJECT IDENTIFIER.
    pub digest: &'a [u8],
    /// The digest's parameters as they came; empty where absent.
    pub digest_parameters: &'a [u8],
    /// hashedMessage.
    pub hashed: &'a [u8],
    /// reqPolicy's content octets.
    pub policy: Option<&'a [u8]>,
    /// The nonce INTEGER's content octets.
    pub nonce: Option<&'a [u8]>,
    pub cert_req: bool,
    /// Whether any extension stands in the request.
    pub has_extensions: bool,
}

impl<'a> TimeStampReq<'a> {
    /// Reads a whole request. `certReq FALSE` written out is DER's only rule that is not enforced:
    /// clients do it.
    pub fn parse(request: &'a [u8]) -> Result<Self, DerError> {
        let mut fields = Reader::whole(request, tag::SEQUENCE)?.reader();
        let version = fields.integer()?;
        let message_imprint = fields.expect(tag::SEQUENCE)?;
        let mut imprint = message_imprint.reader();
        let mut algorithm = imprint.expect(tag::SEQUENCE)?.reader();
        let digest = algorithm.oid()?;
        let digest_parameters = algorithm.rest();
        if !algorithm.is_empty() {
            algorithm.next_element()?;
            algorithm.finish()?;
        }
        let hashed = imprint.expect(tag::OCTET_STRING)?.value;
        imprint.finish()?;
        let policy = match fields.peek() {
            Some(tag::OID) => Some(fields.oid()?),
            _ => None,
        };
        let nonce = match fields.peek() {
            Some(tag::INTEGER) => Some(fields.integer()?),
            _ => None,
        };
        if nonce.is_some_and(|nonce| nonce.len() > LONGEST_NONCE) {
            return Err(DerError::Value);
        }
        let cert_req = match fields.peek() {
            Some(tag::BOOLEAN) => fields.boolean()?,
            _ => false,
        };
        let extensions = fields.optional(tag::context_constructed(0))?;
        fields.finish()?;
        if let Some(extensions) = extensions {
            check_extensions(extensions.reader())?;
        }
        Ok(Self {
            version,
            imprint: message_imprint.raw,
            digest,
            digest_parameters,
            hashed,
            policy,
            nonce,
            cert_req,
            has_extensions: extensions.is_some(),
        })
    }
}

/// `SEQUENCE SIZE (1..MAX) OF Extension` (RFC 5280 4.1).
fn check_extensions(mut extensions: Reader<'_>) -> Result<(), DerError> {
    if extensions.is_empty() {
        return Err(DerError::Value);
    }
    while !extensions.is_empty() {
        let mut extension = extensions.expect(tag::SEQUENCE)?.reader();
        extension.oid()?;
        if extension.peek() == Some(tag::BOOLEAN) {
            extension.boolean()?;
        }
        extension.expect(tag::OCTET_STRING)?;
        extension.finish()?;
    }
    Ok(())
}

/// PKIFailureInfo (RFC 3161 2.4.2): the bits a time-stamping authority sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailInfo {
    BadAlg,
    BadRequest,
    BadDataFormat,
    TimeNotAvailable,
    UnacceptedPolicy,
    UnacceptedExtension,
    SystemFailure,
}

impl FailInfo {
    /// Every bit set here.
    pub const ALL: [Self; 7] = [
        Self::BadAlg,
        Self::BadRequest,
        Self::BadDataFormat,
        Self::TimeNotAvailable,
        Self::UnacceptedPolicy,
        Self::UnacceptedExtension,
        Self::SystemFailure,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::BadAlg => 0,
            Self::BadRequest => 2,
            Self::BadDataFormat => 5,
            Self::TimeNotAvailable => 14,
            Self::UnacceptedPolicy => 15,
            Self::UnacceptedExtension => 16,
            Self::SystemFailure => 25,
        }
    }

    /// The RFC's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadAlg => "badAlg",
            Self::BadRequest => "badRequest",
            Self::BadDataFormat => "badDataFormat",
            Self::TimeNotAvailable => "timeNotAvailable",
            Self::UnacceptedPolicy => "unacceptedPolicy",
            Self::UnacceptedExtension => "unacceptedExtension",
            Self::SystemFailure => "systemFailure",
        }
    }

    /// Whether this bit is set in a BIT STRING's content octets.
    pub fn is_in(self, content: &[u8]) -> bool {
        let octet = content.get(1 + usize::from(self.bit() / 8));
        octet.is_some_and(|octet| octet & (0x80 >> (self.bit() % 8)) != 0)
    }

    /// A BIT STRING with one bit set and no trailing zero bits, as DER wants of named bit lists (X.690
    /// 11.2.2; .NET refuses others).
    fn bit_string(self) -> Vec<u8> {
        let whole = usize::from(self.bit() / 8);
        let within = self.bit() % 8;
        let mut content = vec![0; whole + 2];
        if let Some(unused) = content.first_mut() {
            *unused = 7 - within;
        }
        if let Some(last) = content.last_mut() {
            *last = 0x80 >> within;
        }
        tlv::wrap(tag::BIT_STRING, &[&content])
    }
}

/// A TimeStampResp with status granted(0) around a token's whole encoding.
pub fn granted(token: &[u8]) -> Vec<u8> {
    const STATUS: [u8; 5] = [tag::SEQUENCE, 3, tag::INTEGER, 1, 0];
    tlv::wrap(tag::SEQUENCE, &[&STATUS, token])
}

/// A TimeStampResp with status rejection(2), one failInfo bit, and why in words.
pub fn rejection(failure: FailInfo, why: &str) -> Vec<u8> {
    const REJECTION: [u8; 3] = [tag::INTEGER, 1, 2];
    let text = tlv::wrap(tag::UTF8_STRING, &[why.as_bytes()]);
    let free_text = tlv::wrap(tag::SEQUENCE, &[&text]);
    let status = tlv::wrap(
        tag::SEQUENCE,
        &[&REJECTION, &free_text, &failure.bit_string()],
    );
    tlv::wrap(tag::SEQUENCE, &[&status])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256_IMPRINT: &[u8] = &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

    fn request(tail: &[&[u8]]) -> Vec<u8> {
        let algorithm = tlv::wrap(tag::SEQUENCE, &[SHA256_IMPRINT]);
        let hashed = tlv::wrap(tag::OCTET_STRING, &[&[7; 32]]);
        let imprint = tlv::wrap(tag::SEQUENCE, &[&algorithm, &hashed]);
        let mut parts: Vec<&[u8]> = vec![&[2, 1, 1], &imprint];
        parts.extend(tail);
        tlv::wrap(tag::SEQUENCE, &parts)
    }

    #[test]
    fn every_optional_field_is_read() {
        let bare = request(&[]);
        let parsed = TimeStampReq::parse(&bare).unwrap();
        assert_eq!(
            (parsed.version, parsed.hashed),
            (&[1u8][..], &[7u8; 32][..])
        );
        assert!(!parsed.cert_req && parsed.policy.is_none() && parsed.nonce.is_none());
        let extension: &[u8] = &[0xa0, 9, 0x30, 7, 6, 2, 0x2a, 3, 4, 1, 0];
        let full = request(&[&[6, 2, 0x2a, 3], &[2, 1, 0xff], &[1, 1, 0xff], extension]);
        let parsed = TimeStampReq::parse(&full).unwrap();
        assert_eq!(parsed.policy, Some(&[0x2a, 3][..]));
        assert_eq!(parsed.nonce, Some(&[0xff][..]));
        assert!(parsed.cert_req && parsed.has_extensions);
    }

    #[test]
    fn what_is_not_der_is_refused() {
        let empty_extensions: &[u8] = &[0xa0, 0];
        let long_nonce = tlv::wrap(tag::INTEGER, &[&[0x11; 129]]);
        for tail in [
            empty_extensions,
            &long_nonce,
            &[1, 1, 1],
            &[5, 0],
            &[1, 1, 0, 2, 1, 1],
        ] {
            assert!(
                TimeStampReq::parse(&request(&[tail])).is_err(),
                "{tail:02x?}"
            );
        }
        let mut trailing = request(&[]);
        trailing.push(0);
        assert!(TimeStampReq::parse(&trailing).is_err());
        let good = request(&[&[2, 1, 1]]);
        for end in 0..good.len() {
            assert!(TimeStampReq::parse(&good[..end]).is_err());
        }
    }

    #[test]
    fn fail_info_is_a_named_bit_list() {
        assert_eq!(FailInfo::BadAlg.bit_string(), [3, 2, 7, 0x80]);
        assert_eq!(FailInfo::BadRequest.bit_string(), [3, 2, 5, 0x20]);
        assert_eq!(FailInfo::BadDataFormat.bit_string(), [3, 2, 2, 0x04]);
        assert_eq!(FailInfo::TimeNotAvailable.bit_string(), [3, 3, 1, 0, 0x02]);
        assert_eq!(
            FailInfo::UnacceptedExtension.bit_string(),
            [3, 4, 7, 0, 0, 0x80]
        );
        assert_eq!(
            FailInfo::SystemFailure.bit_string(),
            [3, 5, 6, 0, 0, 0, 0x40]
        );
    }
}
