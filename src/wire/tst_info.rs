//! TSTInfo (RFC 3161 2.4.2): [`TstInfo::encode`] writes ours, [`Stamp::parse`] reads that of another authority.
//! What is the same in every token of a TSU comes in encoded already ([`accuracy`], [`tsa_name`],
//! [`qualified_extension`]).

use std::time::Duration;

use der::DateTime;

use super::{
    oid,
    time::Seconds,
    tlv::{self, DerError, Element, Reader, tag},
};

/// How genTime is cut: never rounded up, so that no token is ahead of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
pub enum Precision {
    #[serde(rename = "s")]
    Seconds,
    #[default]
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "us")]
    Micros,
}

impl Precision {
    /// The unit that genTime is cut to.
    pub const fn unit(self) -> Duration {
        match self {
            Self::Seconds => Duration::from_secs(1),
            Self::Millis => Duration::from_millis(1),
            Self::Micros => Duration::from_micros(1),
        }
    }

    const fn digits(self) -> u32 {
        match self {
            Self::Seconds => 0,
            Self::Millis => 3,
            Self::Micros => 6,
        }
    }

    /// `time` cut to the unit.
    pub const fn cut(self, time: Duration) -> Duration {
        let kept = match self {
            Self::Seconds => 0,
            Self::Millis => time.subsec_millis() * 1_000_000,
            Self::Micros => time.subsec_micros() * 1_000,
        };
        Duration::new(time.as_secs(), kept)
    }
}

/// The fields of one TSTInfo. `ordering` is always FALSE and therefore never written.
#[derive(Debug, Clone, Copy)]
pub struct TstInfo<'a> {
    /// The content octets of the policy's OBJECT IDENTIFIER.
    pub policy: &'a [u8],
    /// The request's MessageImprint, whole.
    pub imprint: &'a [u8],
    /// Big-endian; written as a positive INTEGER.
    pub serial: &'a [u8],
    /// Since 1970; cut to `precision` when written.
    pub gen_time: Duration,
    pub precision: Precision,
    /// From [`accuracy`].
    pub accuracy: &'a [u8],
    /// The request's nonce, content octets.
    pub nonce: Option<&'a [u8]>,
    /// From [`tsa_name`], or empty.
    pub tsa: &'a [u8],
    /// From [`qualified_extension`], or empty.
    pub extensions: &'a [u8],
}

impl TstInfo<'_> {
    /// The whole DER encoding.
    pub fn encode(&self) -> Vec<u8> {
        const VERSION: [u8; 3] = [tag::INTEGER, 1, 1];
        let mut fields = Vec::with_capacity(256);
        fields.extend_from_slice(&VERSION);
        tlv::put(&mut fields, tag::OID, self.policy);
        fields.extend_from_slice(self.imprint);
        tlv::put_unsigned(&mut fields, self.serial);
        put_gen_time(&mut fields, self.gen_time, self.precision);
        fields.extend_from_slice(self.accuracy);
        if let Some(nonce) = self.nonce {
            tlv::put(&mut fields, tag::INTEGER, nonce);
        }
        fields.extend_from_slice(self.tsa);
        fields.extend_from_slice(self.extensions);
        tlv::wrap(tag::SEQUENCE, &[&fields])
    }
}

/// What another authority's TSTInfo says, as far as we ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The content octets of the imprint's digest OID.
    pub digest: &'a [u8],
    /// hashedMessage.
    pub hashed: &'a [u8],
    /// Since 1970.
    pub gen_time: Duration,
    /// The nonce INTEGER's content octets.
    pub nonce: Option<&'a [u8]>,
    /// Whether an extension in it is critical; none is understood here.
    pub has_critical_extension: bool,
}

impl<'a> Stamp<'a> {
    /// Reads a whole TSTInfo of version 1.
    pub fn parse(tst_info: &'a [u8]) -> Result<Self, DerError> {
        let mut fields = Reader::whole(tst_info, tag::SEQUENCE)?.reader();
        if fields.integer()? != [1] {
            return Err(DerError::Value);
        }
        fields.oid()?; // policy
        let mut imprint = fields.expect(tag::SEQUENCE)?.reader();
        let digest = imprint.expect(tag::SEQUENCE)?.reader().oid()?;
        let hashed = imprint.expect(tag::OCTET_STRING)?.value;
        imprint.finish()?;
        fields.integer()?; // serial
        let gen_time = read_gen_time(fields.expect(tag::GENERALIZED_TIME)?.value)?;
        fields.optional(tag::SEQUENCE)?; // accuracy
        if fields.peek() == Some(tag::BOOLEAN) {
            fields.boolean()?; // ordering
        }
        let nonce = match fields.peek() {
            Some(tag::INTEGER) => Some(fields.integer()?),
            _ => None,
        };
        fields.optional(tag::context_constructed(0))?; // tsa
        let extensions = fields.optional(tag::context_constructed(1))?;
        fields.finish()?;
        Ok(Self {
            digest,
            hashed,
            gen_time,
            nonce,
            has_critical_extension: match extensions {
                Some(extensions) => any_critical(extensions)?,
                None => false,
            },
        })
    }
}

fn any_critical(extensions: Element<'_>) -> Result<bool, DerError> {
    let mut extensions = extensions.reader();
    let mut any = false;
    while !extensions.is_empty() {
        let mut extension = extensions.expect(tag::SEQUENCE)?.reader();
        extension.oid()?;
        if extension.peek() == Some(tag::BOOLEAN) {
            any |= extension.boolean()?;
        }
    }
    Ok(any)
}

/// `YYYYMMDDhhmmss[.f]Z`; what is finer than nanoseconds is cut.
fn read_gen_time(text: &[u8]) -> Result<Duration, DerError> {
    let digits = |text: &[u8]| {
        text.iter().try_fold(0u32, |number, octet| match octet {
            b'0'..=b'9' => Ok(number * 10 + u32::from(octet - b'0')),
            _ => Err(DerError::Value),
        })
    };
    let Some((whole, [fraction @ .., b'Z'])) = text.split_at_checked(14) else {
        return Err(DerError::Value);
    };
    let nanos = match fraction {
        [] => 0,
        [b'.', places @ ..] if !places.is_empty() => {
            if !places.iter().all(u8::is_ascii_digit) {
                return Err(DerError::Value);
            }
            let padded = places.iter().copied().chain(std::iter::repeat(b'0'));
            digits(&padded.take(9).collect::<Vec<_>>())?
        }
        _ => return Err(DerError::Value),
    };
    let number = |at: usize, length: usize| {
        let number = digits(whole.get(at..at + length).unwrap_or_default())?;
        u16::try_from(number).map_err(|_| DerError::Value)
    };
    let small = |at| {
        let number = number(at, 2)?;
        u8::try_from(number).map_err(|_| DerError::Value)
    };
    let time = DateTime::new(
        number(0, 4)?,
        small(4)?,
        small(6)?,
        small(8)?,
        small(10)?,
        small(12)?,
    );
    let time = time.map_err(|_| DerError::Value)?.unix_duration();
    Ok(time + Duration::from_nanos(nanos.into()))
}

/// `YYYYMMDDhhmmss[.f]Z` without trailing zeros and without a bare dot (RFC 3161 2.4.2).
fn put_gen_time(out: &mut Vec<u8>, time: Duration, precision: Precision) {
    let mut digits = [b'0'; 6];
    let mut rest = time.subsec_micros();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    let kept = usize::try_from(precision.digits()).unwrap_or(0);
    let mut fraction = digits.get(..kept).unwrap_or_default();
    while let [shorter @ .., b'0'] = fraction {
        fraction = shorter;
    }
    let dot: &[u8] = if fraction.is_empty() { b"" } else { b"." };
    let whole = Seconds::new(time.as_secs()).digits();
    tlv::put_header(
        out,
        tag::GENERALIZED_TIME,
        whole.len() + dot.len() + fraction.len() + 1,
    );
    for part in [&whole[..], dot, fraction, b"Z"] {
        out.extend_from_slice(part);
    }
}

/// Accuracy: members of 1 to 999 (seconds: without end), zero members left out.
pub fn accuracy(accuracy: Duration) -> Vec<u8> {
    let mut fields = Vec::new();
    if accuracy.as_secs() > 0 {
        tlv::put_unsigned(&mut fields, &accuracy.as_secs().to_be_bytes());
    }
    for (number, value) in [
        (0, accuracy.subsec_millis()),
        (1, accuracy.subsec_micros() % 1_000),
    ] {
        if value > 0 {
            let mut integer = Vec::new();
            tlv::put_unsigned(&mut integer, &value.to_be_bytes());
            // IMPLICIT: the context tag stands for the INTEGER's.
            if let Some(first) = integer.first_mut() {
                *first = tag::context(number);
            }
            fields.extend_from_slice(&integer);
        }
    }
    tlv::wrap(tag::SEQUENCE, &[&fields])
}

/// The tsa field: `[0] EXPLICIT GeneralName`, a directoryName around the certificate's subject as it is.
pub fn tsa_name(subject: &[u8]) -> Vec<u8> {
    let directory_name = tlv::wrap(tag::context_constructed(4), &[subject]);
    tlv::wrap(tag::context_constructed(0), &[&directory_name])
}

/// `[1] Extensions` with the one statement of a qualified time-stamp (ETSI EN 319 422 9.1), not critical.
pub fn qualified_extension() -> Vec<u8> {
    let oid = |id: oid::ObjectIdentifier| tlv::wrap(tag::OID, &[id.as_bytes()]);
    let statement = tlv::wrap(tag::SEQUENCE, &[&oid(oid::QTST_STATEMENT)]);
    let statements = tlv::wrap(tag::SEQUENCE, &[&statement]);
    let value = tlv::wrap(tag::OCTET_STRING, &[&statements]);
    let extension = tlv::wrap(tag::SEQUENCE, &[&oid(oid::QC_STATEMENTS), &value]);
    tlv::wrap(tag::context_constructed(1), &[&extension])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gen_time(nanos: u32, precision: Precision) -> String {
        let mut out = Vec::new();
        put_gen_time(&mut out, Duration::new(1_795_512_612, nanos), precision);
        assert_eq!(usize::from(out[1]), out.len() - 2);
        String::from_utf8(out[2..].to_vec()).unwrap()
    }

    #[test]
    fn gen_time_is_cut_and_has_no_trailing_zeros() {
        assert_eq!(gen_time(999_999_999, Precision::Seconds), "20261124093012Z");
        assert_eq!(
            gen_time(999_999_999, Precision::Millis),
            "20261124093012.999Z"
        );
        assert_eq!(
            gen_time(120_456_999, Precision::Millis),
            "20261124093012.12Z"
        );
        assert_eq!(
            gen_time(120_456_999, Precision::Micros),
            "20261124093012.120456Z"
        );
        assert_eq!(gen_time(999_999, Precision::Millis), "20261124093012Z");
        assert_eq!(gen_time(1_000, Precision::Micros), "20261124093012.000001Z");
    }

    #[test]
    fn accuracy_leaves_zero_members_out() {
        assert_eq!(accuracy(Duration::from_secs(1)), [0x30, 3, 2, 1, 1]);
        assert_eq!(
            accuracy(Duration::from_millis(500)),
            [0x30, 4, 0x80, 2, 1, 0xf4]
        );
        assert_eq!(
            accuracy(Duration::from_micros(1_000_200)),
            [0x30, 7, 2, 1, 1, 0x81, 2, 0, 200]
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let imprint = tlv::wrap(
            tag::SEQUENCE,
            &[&[0x30, 4, 6, 2, 0x2a, 3], &[tag::OCTET_STRING, 1, 9]],
        );
        let mut info = TstInfo {
            policy: &[0x2a, 3],
            imprint: &imprint,
            serial: &[1],
            gen_time: Duration::new(1_795_512_612, 120_456_999),
            precision: Precision::Micros,
            accuracy: &accuracy(Duration::from_secs(1)),
            nonce: Some(&[5]),
            tsa: &tsa_name(&[tag::SEQUENCE, 0]),
            extensions: &qualified_extension(),
        };
        let octets = info.encode();
        let stamp = Stamp::parse(&octets).unwrap();
        let gen_time = Duration::new(1_795_512_612, 120_456_000);
        assert_eq!(stamp.gen_time, gen_time);
        assert_eq!((stamp.digest, stamp.hashed), (&[0x2a, 3][..], &[9][..]));
        assert_eq!(stamp.nonce, Some(&[5][..]));
        assert!(!stamp.has_critical_extension);
        for end in 0..octets.len() {
            assert!(Stamp::parse(&octets[..end]).is_err());
        }
        let critical = [0xa1, 9, 0x30, 7, 6, 2, 0x2a, 3, 1, 1, 0xff];
        info.extensions = &critical;
        assert!(Stamp::parse(&info.encode()).unwrap().has_critical_extension);
    }

    #[test]
    fn times_are_read_in_their_one_form() {
        let read = |text: &str| read_gen_time(text.as_bytes());
        assert_eq!(read("19700101000001Z"), Ok(Duration::from_secs(1)));
        assert_eq!(
            read("19700101000001.2500000009Z"),
            Ok(Duration::from_millis(1_250))
        );
        for wrong in [
            "",
            "Z",
            "19700101000001",
            "19700101000001.Z",
            "19700101000001,5Z",
            "19700101000001+0100",
            "19701301000001Z",
            "1970010100000xZ",
            "19700101000001.5xZ",
            "197001010000Z",
            "19690101000001Z",
        ] {
            assert_eq!(read(wrong), Err(DerError::Value), "{wrong}");
        }
    }

    #[test]
    fn cutting_never_goes_up() {
        let time = Duration::new(5, 999_999_999);
        for precision in [Precision::Seconds, Precision::Millis, Precision::Micros] {
            let cut = precision.cut(time);
            assert!(cut <= time && time - cut < precision.unit());
        }
    }
}
