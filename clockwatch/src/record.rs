//! What one poll found out, and its 512 octets: [`Record::encode`]. `docs/clock-report.md` has the format;
//! `tests/clock-report.golden` holds both ends to it.

use std::net::Ipv6Addr;

use crate::{chronyd::Silence, clocks::Instants};

/// Octets of a record.
pub const LENGTH: usize = 512;
/// How many sources a record has room for.
pub const MOST_SOURCES: usize = 16;

const MAGIC: [u8; 4] = *b"GNCR";
const VERSION: u16 = 1;
const SOURCES_AT: usize = 128;
const SOURCE: usize = 23;
const CHECKSUM_AT: usize = LENGTH - 4;

/// One poll of chronyd and the kernel.
#[derive(Debug)]
pub struct Record {
    /// From before the question was sent.
    pub instants: Instants,
    pub chronyd: Result<Tracking, Silence>,
    /// `None` where the kernel could not be read.
    pub kernel: Option<adjtimex::Timex>,
}

/// chronyd's `tracking` and its sources, in the record's units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking {
    pub ref_id: u32,
    pub stratum: u16,
    pub leap: u16,
    /// ns since 1970.
    pub ref_time: u64,
    /// ns.
    pub correction: i64,
    /// ns.
    pub last_offset: i64,
    /// ns.
    pub root_delay: u64,
    /// ns.
    pub root_dispersion: u64,
    /// Parts in 10^9.
    pub skew: u32,
    /// Parts in 10^9.
    pub residual_frequency: i32,
    /// ms.
    pub update_interval: u32,
    /// How many sources chronyd has; `sources` holds the first [`MOST_SOURCES`].
    pub source_count: u16,
    pub sources: Vec<Source>,
}

/// One of chronyd's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub address: Ipv6Addr,
    pub is_reference_clock: bool,
    pub state: u8,
    pub reach: u8,
    pub poll: i8,
    pub stratum: u8,
}

/// Big-endian fields at fixed places.
struct Fields([u8; LENGTH]);

impl Fields {
    fn put<const N: usize>(&mut self, at: usize, octets: [u8; N]) {
        if let Some(place) = self.0.get_mut(at..at + N) {
            place.copy_from_slice(&octets);
        }
    }
}

impl Record {
    /// The record as it is sent.
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut fields = Fields([0; LENGTH]);
        fields.put(0, MAGIC);
        fields.put(4, VERSION.to_be_bytes());
        let silence = self.chronyd.as_ref().err();
        fields.put(6, [silence.map_or(0, Silence::code)]);
        fields.put(7, [u8::from(self.kernel.is_some())]);
        fields.put(8, self.instants.boottime.to_be_bytes());
        fields.put(16, self.instants.realtime.to_be_bytes());
        fields.put(24, self.instants.monotonic.to_be_bytes());
        if let Ok(tracking) = &self.chronyd {
            tracking.put(&mut fields);
        }
        if let Some(kernel) = &self.kernel {
            let max_error = u64::try_from(kernel.max_error_us).unwrap_or(0);
            fields.put(92, kernel.state.to_be_bytes());
            fields.put(96, kernel.status.to_be_bytes());
            fields.put(100, max_error.to_be_bytes());
            fields.put(108, kernel.tai.to_be_bytes());
        }
        let summed = fields.0.get(..CHECKSUM_AT).unwrap_or_default();
        let checksum = crc32c::crc32c(summed);
        fields.put(CHECKSUM_AT, checksum.to_be_bytes());
        fields.0
    }
}

impl Tracking {
    fn put(&self, fields: &mut Fields) {
        fields.put(32, self.ref_id.to_be_bytes());
        fields.put(36, self.stratum.to_be_bytes());
        fields.put(38, self.leap.to_be_bytes());
        fields.put(40, self.ref_time.to_be_bytes());
        fields.put(48, self.correction.to_be_bytes());
        fields.put(56, self.last_offset.to_be_bytes());
        fields.put(64, self.root_delay.to_be_bytes());
        fields.put(72, self.root_dispersion.to_be_bytes());
        fields.put(80, self.skew.to_be_bytes());
        fields.put(84, self.residual_frequency.to_be_bytes());
        fields.put(88, self.update_interval.to_be_bytes());
        let standing = self.sources.len().min(MOST_SOURCES);
        let standing_16 = u16::try_from(standing).unwrap_or(0);
        fields.put(112, self.source_count.to_be_bytes());
        fields.put(114, standing_16.to_be_bytes());
        for (index, source) in self.sources.iter().take(standing).enumerate() {
            source.put(fields, SOURCES_AT + index * SOURCE);
        }
    }
}

impl Source {
    fn put(&self, fields: &mut Fields, at: usize) {
        fields.put(at, self.address.octets());
        fields.put(at + 16, [u8::from(self.is_reference_clock)]);
        fields.put(at + 17, [self.state]);
        fields.put(at + 18, [self.reach]);
        fields.put(at + 19, self.poll.to_be_bytes());
        fields.put(at + 20, [self.stratum]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in the golden file; the daemon's test has the same values.
    fn golden() -> Record {
        Record {
            instants: Instants {
                boottime: 86_400_000_000_001,
                realtime: 1_785_000_000_123_456_789,
                monotonic: 86_399_000_000_002,
            },
            chronyd: Ok(Tracking {
                ref_id: 0xc000_0201,
                stratum: 2,
                leap: 1,
                ref_time: 1_784_999_990_000_000_003,
                correction: -12_345,
                last_offset: 6_789,
                root_delay: 1_000_004,
                root_dispersion: 250_005,
                skew: 42,
                residual_frequency: -7,
                update_interval: 16_008,
                source_count: 18,
                sources: vec![
                    Source {
                        address: "::ffff:192.0.2.1".parse().unwrap(),
                        is_reference_clock: false,
                        state: 0,
                        reach: 0xff,
                        poll: 4,
                        stratum: 1,
                    },
                    Source {
                        address: "2001:db8::123".parse().unwrap(),
                        is_reference_clock: false,
                        state: 2,
                        reach: 0x05,
                        poll: 6,
                        stratum: 3,
                    },
                    Source {
                        address: "::80.80.83.48".parse().unwrap(),
                        is_reference_clock: true,
                        state: 5,
                        reach: 0x7f,
                        poll: -2,
                        stratum: 0,
                    },
                ],
            }),
            kernel: Some(adjtimex::Timex {
                state: 1,
                status: 0x2011,
                max_error_us: 16_500,
                est_error_us: 0,
                tai: 37,
            }),
        }
    }

    #[test]
    fn the_record_is_the_golden_one() {
        let text = include_str!("../../tests/clock-report.golden");
        let digits: String = text
            .lines()
            .filter_map(|line| line.split('#').next())
            .flat_map(str::split_whitespace)
            .collect();
        assert_eq!(hex::encode(golden().encode()), digits);
    }

    #[test]
    fn what_was_not_told_is_zeros() {
        let record = Record {
            chronyd: Err(Silence::Refused),
            kernel: None,
            ..golden()
        };
        let octets = record.encode();
        assert_eq!(octets[6..8], [2, 0]);
        assert!(octets[32..CHECKSUM_AT].iter().all(|octet| *octet == 0));
        assert_eq!(octets[8..32], golden().encode()[8..32]);
    }

    #[test]
    fn a_record_has_room_for_sixteen_sources() {
        let mut record = golden();
        let tracking = record.chronyd.as_mut().unwrap();
        tracking.sources = vec![tracking.sources[0].clone(); 17];
        let octets = record.encode();
        assert_eq!(octets[114..116], [0, 16]);
        assert!(octets[496..CHECKSUM_AT].iter().all(|octet| *octet == 0));
    }
}
