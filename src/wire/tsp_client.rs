//! The other side of RFC 3161 2.4: what is asked of a time-stamping authority that is not ours, with [`request`],
//! and what it says to that, a [`Reply`]. What a granted one holds is for [`super::token`] to read.

use super::{
    algorithm::DigestAlgorithm,
    tlv::{self, DerError, Reader, tag},
    tsp::FailInfo,
};

/// A TimeStampReq for what has this digest, with certificates wanted. `nonce` is taken as a positive number.
pub fn request(algorithm: DigestAlgorithm, digest: &[u8], nonce: &[u8]) -> Vec<u8> {
    const VERSION: [u8; 3] = [tag::INTEGER, 1, 1];
    const CERT_REQ: [u8; 3] = [tag::BOOLEAN, 1, 0xff];
    let hashed = tlv::wrap(tag::OCTET_STRING, &[digest]);
    let imprint = tlv::wrap(tag::SEQUENCE, &[&algorithm.identifier(), &hashed]);
    let mut number = Vec::new();
    tlv::put_unsigned(&mut number, nonce);
    tlv::wrap(tag::SEQUENCE, &[&VERSION, &imprint, &number, &CERT_REQ])
}

/// A TimeStampResp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Status granted(0), with the token's whole encoding.
    Granted(&'a [u8]),
    /// Any other status, also grantedWithMods(1): we take what we asked for or nothing.
    Refused {
        status: &'static str,
        failures: Vec<FailInfo>,
        /// The statusString, as the authority wrote it.
        text: String,
    },
}

impl<'a> Reply<'a> {
    /// Reads a whole response.
    pub fn parse(response: &'a [u8]) -> Result<Self, DerError> {
        let mut fields = Reader::whole(response, tag::SEQUENCE)?.reader();
        let mut info = fields.expect(tag::SEQUENCE)?.reader();
        let status = info.integer()?;
        let mut text = Vec::new();
        if let Some(lines) = info.optional(tag::SEQUENCE)? {
            let mut lines = lines.reader();
            while !lines.is_empty() {
                let line = lines.expect(tag::UTF8_STRING)?.value;
                text.push(std::str::from_utf8(line).map_err(|_| DerError::Value)?);
            }
        }
        let failures = info.optional(tag::BIT_STRING)?;
        info.finish()?;
        if let ([0], None) = (status, failures) {
            let token = fields.expect(tag::SEQUENCE)?.raw;
            fields.finish()?;
            return Ok(Self::Granted(token));
        }
        let set = failures.map_or(&[][..], |bits| bits.value);
        Ok(Self::Refused {
            status: name(status),
            failures: FailInfo::ALL
                .into_iter()
                .filter(|failure| failure.is_in(set))
                .collect(),
            text: text.join("; "),
        })
    }
}

/// PKIStatus (RFC 3161 2.4.2).
const fn name(status: &[u8]) -> &'static str {
    match status {
        [0] => "granted with a failure",
        [1] => "grantedWithMods",
        [2] => "rejection",
        [3] => "waiting",
        [4] => "revocationWarning",
        [5] => "revocationNotification",
        _ => "an unknown status",
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tsp::{TimeStampReq, granted, rejection},
        *,
    };

    #[test]
    fn a_request_is_what_the_server_reads() {
        let octets = request(DigestAlgorithm::Sha256, &[7; 32], &[0, 0xff, 1]);
        let parsed = TimeStampReq::parse(&octets).unwrap();
        assert_eq!(parsed.hashed, [7; 32]);
        assert_eq!(parsed.digest, DigestAlgorithm::Sha256.oid().as_bytes());
        assert_eq!(parsed.nonce, Some(&[0, 0xff, 1][..]));
        assert!(parsed.cert_req && !parsed.has_extensions && parsed.policy.is_none());
    }

    #[test]
    fn replies_are_what_the_server_writes() {
        let token = [0x30, 1, 5];
        assert_eq!(Reply::parse(&granted(&token)), Ok(Reply::Granted(&token)));
        for failure in FailInfo::ALL {
            let reply = rejection(failure, "not now");
            let Ok(Reply::Refused {
                status,
                failures,
                text,
            }) = Reply::parse(&reply)
            else {
                panic!("{failure:?}");
            };
            assert_eq!((status, text.as_str()), ("rejection", "not now"));
            assert_eq!(failures, [failure]);
        }
        // grantedWithMods; granted with a failInfo; granted without a token; something behind it.
        let modified: &[u8] = &[0x30, 8, 0x30, 3, 2, 1, 1, 0x30, 1, 5];
        let failed: &[u8] = &[0x30, 12, 0x30, 7, 2, 1, 0, 3, 2, 7, 0x80, 0x30, 1, 5];
        for refused in [modified, failed] {
            let reply = Reply::parse(refused);
            assert!(matches!(reply, Ok(Reply::Refused { .. })), "{reply:?}");
        }
        for wrong in [&[0x30, 5, 0x30, 3, 2, 1, 0][..], &[0x30, 0], &[]] {
            assert!(Reply::parse(wrong).is_err());
        }
        let trailing = [granted(&token), vec![0]].concat();
        assert!(Reply::parse(&trailing).is_err());
    }
}
