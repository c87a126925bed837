//! Time on the wire: whole seconds since 1970 as [`Seconds`], and GeneralizedTime both ways. Fractions
//! exist only in a TSTInfo's genTime and are written there ([`super`] has no use for them elsewhere).

use std::fmt;

use der::DateTime;

/// Whole seconds since 1970-01-01T00:00:00Z, 0 to the end of the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(u64);

impl Seconds {
    /// 1970-01-01T00:00:00Z, the revocation time of a serial that was never issued (RFC 6960 2.2).
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59Z: "no well-defined end" (RFC 5280 4.1.2.5), and the most DER can say.
    pub const END: Self = Self(253_402_300_799);

    /// From a count; beyond [`Seconds::END`] it is that.
    pub const fn new(seconds: u64) -> Self {
        if seconds > Self::END.0 {
            Self::END
        } else {
            Self(seconds)
        }
    }

    /// The count since 1970.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Later by `seconds`, at most [`Seconds::END`].
    pub const fn plus(self, seconds: u64) -> Self {
        Self::new(self.0.saturating_add(seconds))
    }

    /// Earlier by `seconds`, at least 1970.
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this, 0 if that is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `YYYYMMDDHHMMSS`, the part that every GeneralizedTime shares (RFC 5280 4.1.2.5.2).
    pub fn digits(self) -> [u8; 14] {
        let (year, month, day, hour, minute, second) = self.civil();
        let mut out = [b'0'; 14];
        let fields = [
            (year / 100, 0),
            (year % 100, 2),
            (month, 4),
            (day, 6),
            (hour, 8),
            (minute, 10),
            (second, 12),
        ];
        for (value, at) in fields {
            if let Some([tens, units]) = out.get_mut(at..at + 2) {
                *tens = b'0' + u8::try_from(value / 10 % 10).unwrap_or(0);
                *units = b'0' + u8::try_from(value % 10).unwrap_or(0);
            }
        }
        out
    }

    /// The 15 octets of a GeneralizedTime's content: `YYYYMMDDHHMMSSZ`.
    pub fn generalized(self) -> [u8; 15] {
        let mut out = [b'Z'; 15];
        for (to, from) in out.iter_mut().zip(self.digits()) {
            *to = from;
        }
        out
    }

    fn civil(self) -> (u64, u64, u64, u64, u64, u64) {
        // Days to a civil date over 400-year eras that begin on 1 March; exact for the whole range.
        let days = self.0 / 86_400 + 719_468;
        let rest = self.0 % 86_400;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        (year, month, day, rest / 3_600, rest / 60 % 60, rest % 60)
    }
}

impl From<DateTime> for Seconds {
    fn from(time: DateTime) -> Self {
        Self::new(time.unix_duration().as_secs())
    }
}

impl From<x509_cert::time::Time> for Seconds {
    fn from(time: x509_cert::time::Time) -> Self {
        Self::from(time.to_date_time())
    }
}

/// `2026-11-24T09:00:00Z` (RFC 3339), for people.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_der_crate_over_the_whole_range() {
        for step in 0..20_000u64 {
            let seconds = Seconds::new(step * 12_670_117);
            let theirs =
                DateTime::from_unix_duration(std::time::Duration::from_secs(seconds.get()))
                    .unwrap();
            assert_eq!(theirs.to_string(), seconds.to_string());
        }
        assert_eq!(Seconds::END.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(&Seconds::END.generalized(), b"99991231235959Z");
        assert_eq!(Seconds::new(u64::MAX), Seconds::END);
    }
}
