//! The journal of systemd: [`Journald`] sends a line with its fields (systemd.io/JOURNAL_NATIVE_PROTOCOL), and
//! [`is_stderr`] says whether standard error ends there anyway.

use std::{io, os::unix::net::UnixDatagram, path::PathBuf};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to the journal.
#[derive(Debug)]
pub struct Journald {
    socket: UnixDatagram,
    to: PathBuf,
}

impl Journald {
    pub fn new() -> io::Result<Self> {
        Self::at(SOCKET.into())
    }

    fn at(to: PathBuf) -> io::Result<Self> {
        // Not connected: so a journal that was started anew is reached again.
        let socket = UnixDatagram::unbound()?;
        Ok(Self { socket, to })
    }

    /// One line, as fields with their values. One that is too long for a datagram is an error.
    pub fn send(&self, fields: &[(String, String)]) -> io::Result<()> {
        self.socket.send_to(&encoded(fields), &self.to).map(|_| ())
    }
}

/// `NAME=value` and a line feed; where the value has one itself, its length instead, in 8 octets, little-endian.
fn encoded(fields: &[(String, String)]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, value) in fields {
        octets.extend(name.as_bytes());
        if value.contains('\n') {
            octets.push(b'\n');
            let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
            octets.extend(length.to_le_bytes());
        } else {
            octets.push(b'=');
        }
        octets.extend(value.as_bytes());
        octets.push(b'\n');
    }
    octets
}

/// Whether standard error is the stream that systemd gave to the process (`$JOURNAL_STREAM`, systemd.exec(5)).
pub fn is_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_line_feed_in_a_value_begins_no_field() {
        let fields = [field("PRIORITY", "3"), field("MESSAGE", "a\nPRIORITY=0")];
        let expected = b"PRIORITY=3\nMESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        assert_eq!(encoded(&fields), expected);
    }

    #[test]
    fn a_journal_that_comes_back_is_reached_again() {
        let path = std::env::temp_dir().join(format!("gnomon-journald-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let journald = Journald::at(path.clone()).unwrap();
        let fields = [field("MESSAGE", "here")];
        assert!(journald.send(&fields).is_err());
        for _ in 0..2 {
            let journal = UnixDatagram::bind(&path).unwrap();
            journald.send(&fields).unwrap();
            let mut octets = [0; 64];
            let length = journal.recv(&mut octets).unwrap();
            assert_eq!(&octets[..length], b"MESSAGE=here\n");
            drop(journal);
            std::fs::remove_file(&path).unwrap();
        }
        // Longer than any datagram.
        let journal = UnixDatagram::bind(&path).unwrap();
        assert!(
            journald
                .send(&[field("MESSAGE", &"x".repeat(10 << 20))])
                .is_err()
        );
        drop(journal);
        std::fs::remove_file(&path).unwrap();
    }
}
