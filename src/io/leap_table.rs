//! The table of leap seconds that the host has (`leap-seconds.list`, as IERS and NIST publish it). Only its expiry is
//! read here: [`expiry`]. chronyd has the leap seconds themselves from the tz database, and does not warn.

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
    #[error("it has no line `#@` with the expiry, so it is no table of leap seconds")]
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
}
