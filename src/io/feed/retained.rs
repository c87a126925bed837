//! The list of serials that stay revoked though the CA's CRLs no longer show them, as a file: one a line, serial, time
//! and reason, and the digest of it all at its end. It cannot be fetched again, so that a damaged one is read as far
//! as it can be.

use std::{
    io::{self, Write},
    path::Path,
};

use aws_lc_rs::digest::{Context, SHA256};

use crate::{
    revocation::{Retained, Revocation, Serial},
    wire::{algorithm::sha256, time::Seconds},
};

const DIGEST: &str = "sha256 ";

/// Writes the file's content.
pub fn write(retained: &Retained, out: impl Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let mut digest = Context::new(&SHA256);
    for (serial, Revocation { time, reason }) in retained.iter() {
        let reason = reason.map_or_else(|| "-".to_owned(), |reason| reason.to_string());
        let line = format!("{} {} {reason}\n", hex::encode(serial.octets()), time.get());
        digest.update(line.as_bytes());
        out.write_all(line.as_bytes())?;
    }
    writeln!(out, "{DIGEST}{}", hex::encode(digest.finish()))?;
    out.flush()
}

/// What stands in the file, nothing where there is none; and what is wrong with it, if something is.
pub fn read(path: &Path) -> (Retained, Option<String>) {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return (Retained::default(), None);
        }
        Err(error) => {
            return (
                Retained::default(),
                Some(format!("cannot be read: {error}")),
            );
        }
    };
    decode(&content)
}

fn decode(content: &[u8]) -> (Retained, Option<String>) {
    let text = String::from_utf8_lossy(content);
    let (lines, digest) = text.rsplit_once(DIGEST).unwrap_or((&text, ""));
    let entries: Vec<_> = lines.lines().map(entry).collect();
    let lost = entries.iter().filter(|entry| entry.is_none()).count();
    let retained = Retained::of(|| entries.iter().flatten().copied());
    let whole = digest.trim_end() == hex::encode(sha256(&[lines.as_bytes()])) && lost == 0;
    let wrong = (!whole).then(|| {
        format!(
            "is damaged: {} serials that stay revoked were read from it, and {lost} lines or more are lost; restore it \
             from a backup",
            retained.len()
        )
    });
    (retained, wrong)
}

fn entry(line: &str) -> Option<(Serial, Revocation)> {
    let mut fields = line.split(' ');
    let serial = Serial::new(&hex::decode(fields.next()?).ok()?).ok()?;
    let time = Seconds::new(fields.next()?.parse().ok()?);
    let reason = match fields.next()? {
        "-" => None,
        code => Some(code.parse().ok()?),
    };
    fields
        .next()
        .is_none()
        .then_some((serial, Revocation { time, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_told() {
        let entries = [
            (&[1][..], None),
            (&[0, 0xff], Some(1)),
            (&[0x7f; 20], Some(9)),
        ];
        let retained = Retained::of(|| {
            entries.iter().map(|(serial, reason)| {
                let (time, reason) = (Seconds::new(1_800_000_000), *reason);
                (Serial::new(serial).unwrap(), Revocation { time, reason })
            })
        });
        let encode = |retained: &Retained| {
            let mut file = Vec::new();
            write(retained, &mut file).unwrap();
            file
        };
        let file = encode(&retained);
        let (again, wrong) = decode(&file);
        assert_eq!(wrong, None);
        assert!(again.iter().eq(retained.iter()));
        assert_eq!(decode(&encode(&Retained::default())).1, None);
        let cut = decode(&file[..file.len() - 90]);
        assert!(cut.0.len() == 2 && cut.1.unwrap().contains("2 serials"));
        let mut flipped = file.clone();
        flipped[1] ^= 1;
        assert!(decode(&flipped).1.is_some());
        assert!(decode(&[]).1.is_some() && decode(&[0xff; 99]).1.is_some());
    }
}
