//! The table of leap seconds that the host has (`leap-seconds.list`, as IERS and NIST publish it): its [`expiry`], and
//! the [`tai_offset`] that it leads to. chronyd has the leap seconds themselves from the tz database, and does not warn.

use std::{fs, io, path::Path};

use crate::wire::time::Seconds;

/// From 1900, where NTP's count begins, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Why the expiry is not known.
#[derive(Debug, thiserror::Error)]
pub enum LeapTableError {
    #[error(
        "the table of leap seconds cannot be read: {0}; install the package tzdata, or name it in clock.leap_table"
    )]
    File(#[from] io::Error),
    #[error("it lacks the expiry (`#@`) or the leap seconds, so it is no table of leap seconds")]
    Form,
}

/// The date after which the table may lack a leap second.
pub fn expiry(path: &Path) -> Result<Seconds, LeapTableError> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("#@"));
    let number: Option<u64> = line.and_then(|line| line.trim().parse().ok());
    let since_1970 = number.and_then(|number| number.checked_sub(NTP_TO_UNIX));
    since_1970.map(Seconds::new).ok_or(LeapTableError::Form)
}

/// TAI - UTC at `now`, s.
pub fn tai_offset(path: &Path, now: Seconds) -> Result<i32, LeapTableError> {
    let text = fs::read_to_string(path)?;
    // Lines are in order: since when, and what has held since.
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entries = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let since: u64 = fields.next()?.parse().ok()?;
        let since = Seconds::new(since.checked_sub(NTP_TO_UNIX)?);
        Some((since, fields.next()?.parse().ok()?))
    });
    let last = entries.take_while(|(since, _)| *since <= now).last();
    last.map(|(_, offset)| offset).ok_or(LeapTableError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_table_and_no_other_file_has_an_expiry() {
        let expiry = expiry(Path::new("/usr/share/zoneinfo/leap-seconds.list")).unwrap();
        assert!(expiry > Seconds::new(1_700_000_000), "{expiry}");
        assert!(matches!(
            super::expiry(Path::new("Cargo.toml")),
            Err(LeapTableError::Form)
        ));
        assert!(matches!(
            super::expiry(Path::new("/nonexistent")),
            Err(LeapTableError::File(_))
        ));
    }

    #[test]
    fn the_offset_is_that_of_the_last_leap_second_that_has_come() {
        let at = |now| {
            let table = Path::new("/usr/share/zoneinfo/leap-seconds.list");
            tai_offset(table, Seconds::new(now)).unwrap()
        };
        // 2017-01-01, the leap second before it, and 1972-01-01.
        assert_eq!(at(1_483_228_800), 37);
        assert_eq!(at(1_483_228_799), 36);
        assert_eq!(at(63_072_000), 10);
        let none = tai_offset(Path::new("Cargo.toml"), Seconds::new(1_483_228_800));
        assert!(matches!(none, Err(LeapTableError::Form)));
    }
}
