//! What the helper beside chronyd tells, as octets: [`Report::parse`]. `docs/clock-report.md` has the format; nothing
//! here judges what it says.

use std::{net::Ipv6Addr, time::Duration};

/// Octets of a record.
pub const LENGTH: usize = 512;

const MAGIC: [u8; 4] = *b"GNCR";
const VERSION: u16 = 1;
const SOURCES_AT: usize = 128;
const SOURCE: usize = 23;
const MOST_SOURCES: usize = 16;
const CHECKSUM_AT: usize = LENGTH - 4;

/// One poll of chronyd and the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// CLOCK_BOOTTIME at the poll.
    pub boottime: Duration,
    /// CLOCK_REALTIME at the poll, since 1970.
    pub realtime: Duration,
    /// CLOCK_MONOTONIC at the poll: behind boottime by the time that was slept.
    pub monotonic: Duration,
    /// What chronyd said, or why it said nothing.
    pub chronyd: Result<Tracking, Silence>,
    /// What the kernel said; `None` where it could not be read.
    pub kernel: Option<Kernel>,
}

/// Why there is no word from chronyd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    TimedOut,
    Refused,
    Garbage,
    Unauthorised,
    NotAsked,
}

/// chronyd's `tracking`, and its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking {
    pub ref_id: u32,
    pub stratum: u16,
    /// 0 none, 1 insert, 2 delete, 3 not synchronised.
    pub leap: u16,
    /// When the clock was last updated from a source, since 1970.
    pub ref_time: Duration,
    /// ns.
    pub correction: i64,
    /// ns.
    pub last_offset: i64,
    pub root_delay: Duration,
    pub root_dispersion: Duration,
    /// Parts in 10^9.
    pub skew: u32,
    /// Parts in 10^9.
    pub residual_frequency: i32,
    pub update_interval: Duration,
    /// How many sources chronyd has; `sources` holds the first 16.
    pub source_count: u16,
    pub sources: Vec<Source>,
}

/// One of chronyd's sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// IPv4 as `::ffff:a.b.c.d`; of a reference clock its id in the last four octets.
    pub address: Ipv6Addr,
    pub is_reference_clock: bool,
    pub state: SourceState,
    /// The last eight polls, the newest in the lowest bit.
    pub reach: u8,
    /// log2 of seconds.
    pub poll: i8,
    pub stratum: u8,
}

/// What chronyd makes of a source (candm.h, RPY_SD_ST_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    Selected,
    NotSelectable,
    Falseticker,
    Jittery,
    Combined,
    Selectable,
}

/// adjtimex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// 0 to 4; 5 is TIME_ERROR.
    pub state: i32,
    /// STA_* bits.
    pub status: i32,
    pub max_error: Duration,
    /// TAI - UTC, s; 0 where nobody told the kernel.
    pub tai: i32,
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("a clock report of {0} octets; it has {LENGTH}")]
    Length(usize),
    #[error("no clock report: the octets `GNCR` are missing")]
    Magic,
    #[error(
        "a clock report of version {0}; gnomon and gnomon-clockwatch must be of the same release"
    )]
    Version(u16),
    #[error("a clock report whose checksum does not hold")]
    Checksum,
    #[error("a clock report with a value that stands for nothing: {0}")]
    Value(&'static str),
}

/// Big-endian fields at fixed places. The length was checked, so that none is missing.
struct Fields<'a>(&'a [u8; LENGTH]);

impl Fields<'_> {
    fn octets<const N: usize>(&self, at: usize) -> [u8; N] {
        let octets = self.0.get(at..at + N);
        octets
            .and_then(|octets| octets.try_into().ok())
            .unwrap_or([0; N])
    }

    fn u8(&self, at: usize) -> u8 {
        u8::from_be_bytes(self.octets(at))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.octets(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.octets(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.octets(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.octets(at))
    }

    fn nanos(&self, at: usize) -> Duration {
        Duration::from_nanos(u64::from_be_bytes(self.octets(at)))
    }
}

impl Report {
    /// Reads one message of the helper's.
    pub fn parse(octets: &[u8]) -> Result<Self, ReportError> {
        let whole: &[u8; LENGTH] = octets
            .try_into()
            .map_err(|_| ReportError::Length(octets.len()))?;
        let fields = Fields(whole);
        if fields.octets(0) != MAGIC {
            return Err(ReportError::Magic);
        }
        let version = fields.u16(4);
        if version != VERSION {
            return Err(ReportError::Version(version));
        }
        let summed = whole.get(..CHECKSUM_AT).unwrap_or_default();
        if crc32c::crc32c(summed) != fields.u32(CHECKSUM_AT) {
            return Err(ReportError::Checksum);
        }
        let chronyd = match fields.u8(6) {
            0 => Ok(Self::tracking(&fields)?),
            1 => Err(Silence::TimedOut),
            2 => Err(Silence::Refused),
            3 => Err(Silence::Garbage),
            4 => Err(Silence::Unauthorised),
            5 => Err(Silence::NotAsked),
            _ => return Err(ReportError::Value("what became of chronyd")),
        };
        let kernel = match fields.u8(7) {
            0 => None,
            1 => Some(Kernel {
                state: fields.i32(92),
                status: fields.i32(96),
                max_error: Duration::from_micros(u64::from_be_bytes(fields.octets(100))),
                tai: fields.i32(108),
            }),
            _ => return Err(ReportError::Value("whether the kernel was read")),
        };
        Ok(Self {
            boottime: fields.nanos(8),
            realtime: fields.nanos(16),
            monotonic: fields.nanos(24),
            chronyd,
            kernel,
        })
    }

    fn tracking(fields: &Fields<'_>) -> Result<Tracking, ReportError> {
        let count = usize::from(fields.u16(114));
        if count > MOST_SOURCES {
            return Err(ReportError::Value("the number of sources"));
        }
        let sources = (0..count).map(|index| Self::source(fields, SOURCES_AT + index * SOURCE));
        Ok(Tracking {
            ref_id: fields.u32(32),
            stratum: fields.u16(36),
            leap: fields.u16(38),
            ref_time: fields.nanos(40),
            correction: fields.i64(48),
            last_offset: fields.i64(56),
            root_delay: fields.nanos(64),
            root_dispersion: fields.nanos(72),
            skew: fields.u32(80),
            residual_frequency: fields.i32(84),
            update_interval: Duration::from_millis(u64::from(fields.u32(88))),
            source_count: fields.u16(112),
            sources: sources.collect::<Result<_, _>>()?,
        })
    }

    fn source(fields: &Fields<'_>, at: usize) -> Result<Source, ReportError> {
        let state = match fields.u8(at + 17) {
            0 => SourceState::Selected,
            1 => SourceState::NotSelectable,
            2 => SourceState::Falseticker,
            3 => SourceState::Jittery,
            4 => SourceState::Combined,
            5 => SourceState::Selectable,
            _ => return Err(ReportError::Value("a source's state")),
        };
        Ok(Source {
            address: Ipv6Addr::from(fields.octets::<16>(at)),
            is_reference_clock: fields.u8(at + 16) == 1,
            state,
            reach: fields.u8(at + 18),
            poll: i8::from_be_bytes(fields.octets(at + 19)),
            stratum: fields.u8(at + 20),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the helper's tests make, too.
    fn golden() -> Vec<u8> {
        let digits: String = include_str!("../../tests/clock-report.golden")
            .lines()
            .filter_map(|line| line.split('#').next())
            .flat_map(str::split_whitespace)
            .collect();
        hex::decode(digits).unwrap()
    }

    /// The golden record with other octets at a place, and a checksum that holds.
    fn changed(at: usize, octets: &[u8]) -> Vec<u8> {
        let mut record = golden();
        record[at..at + octets.len()].copy_from_slice(octets);
        let checksum = crc32c::crc32c(&record[..CHECKSUM_AT]);
        record[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
        record
    }

    #[test]
    fn the_golden_record_says_this() {
        let source = |address: &str, state, reach, poll, stratum| Source {
            address: address.parse().unwrap(),
            is_reference_clock: false,
            state,
            reach,
            poll,
            stratum,
        };
        let expected = Report {
            boottime: Duration::new(86_400, 1),
            realtime: Duration::new(1_785_000_000, 123_456_789),
            monotonic: Duration::new(86_399, 2),
            chronyd: Ok(Tracking {
                ref_id: 0xc000_0201,
                stratum: 2,
                leap: 1,
                ref_time: Duration::new(1_784_999_990, 3),
                correction: -12_345,
                last_offset: 6_789,
                root_delay: Duration::from_nanos(1_000_004),
                root_dispersion: Duration::from_nanos(250_005),
                skew: 42,
                residual_frequency: -7,
                update_interval: Duration::from_millis(16_008),
                source_count: 18,
                sources: vec![
                    source("::ffff:192.0.2.1", SourceState::Selected, 0o377, 4, 1),
                    source("2001:db8::123", SourceState::Falseticker, 0o5, 6, 3),
                    Source {
                        is_reference_clock: true,
                        ..source("::80.80.83.48", SourceState::Selectable, 0o177, -2, 0)
                    },
                ],
            }),
            kernel: Some(Kernel {
                state: 1,
                status: 0x2011,
                max_error: Duration::from_micros(16_500),
                tai: 37,
            }),
        };
        assert_eq!(Report::parse(&golden()), Ok(expected));
    }

    #[test]
    fn each_silence_is_told() {
        for (code, silence) in [
            (1, Silence::TimedOut),
            (2, Silence::Refused),
            (3, Silence::Garbage),
            (4, Silence::Unauthorised),
            (5, Silence::NotAsked),
        ] {
            let report = Report::parse(&changed(6, &[code, 0])).unwrap();
            assert_eq!((report.chronyd, report.kernel), (Err(silence), None));
        }
    }

    #[test]
    fn what_is_no_record_is_not_taken() {
        let golden = golden();
        for length in 0..LENGTH {
            let cut = Report::parse(&golden[..length]);
            assert_eq!(cut, Err(ReportError::Length(length)));
        }
        let longer = [&golden[..], &[0]].concat();
        assert_eq!(Report::parse(&longer), Err(ReportError::Length(513)));
        for octet in 0..LENGTH {
            for bit in 0..8 {
                let mut flipped = golden.clone();
                flipped[octet] ^= 1 << bit;
                let expected = match octet {
                    0..4 => ReportError::Magic,
                    4..6 => ReportError::Version(u16::from_be_bytes([flipped[4], flipped[5]])),
                    _ => ReportError::Checksum,
                };
                assert_eq!(Report::parse(&flipped), Err(expected), "octet {octet}");
            }
        }
    }

    #[test]
    fn a_value_that_stands_for_nothing_is_not_taken() {
        for (at, octets, what) in [
            (6, &[6][..], "what became of chronyd"),
            (7, &[2], "whether the kernel was read"),
            (114, &[0, 17], "the number of sources"),
            (128 + 17, &[6], "a source's state"),
            (128 + 2 * 23 + 17, &[255], "a source's state"),
        ] {
            let taken = Report::parse(&changed(at, octets));
            assert_eq!(taken, Err(ReportError::Value(what)));
        }
        assert!(Report::parse(&changed(114, &[0, 16])).is_ok());
    }
}
