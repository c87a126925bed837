//! The list of serials that stay revoked though the CA's CRLs no longer show them, as a file: one a line, serial, time
//! and reason, and the digest of it all at its end. It cannot be fetched again, so that a damaged one is read as far
//! as it can be.

use std::{io, path::Path};

use crate::{
    audit::tree::sha256,
    revocation::{Retained, Revocation},
    wire::time::Seconds,
};

const DIGEST: &str = "sha256 ";

/// The file's content.
pub fn encode(retained: &Retained) -> Vec<u8> {
    let mut text = String::new();
    for (serial, Revocation { time, reason }) in retained.iter() {
        let reason = reason.map_or_else(|| "-".to_owned(), |reason| reason.to_string());
        text += &format!("{} {} {reason}\n", hex::encode(serial.octets()), time.get());
    }
    let digest = hex::encode(sha256(&[text.as_bytes()]));
    (text + DIGEST + &digest + "\n").into_bytes()
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
    let mut retained = Retained::default();
    let text = String::from_utf8_lossy(content);
    let (lines, digest) = text.rsplit_once(DIGEST).unwrap_or((&text, ""));
    let mut lost = 0;
    for line in lines.lines() {
        let added = entry(line).map(|(serial, revocation)| retained.add(&serial, revocation));
        if !matches!(added, Some(Ok(()))) {
            lost += 1;
        }
    }
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

fn entry(line: &str) -> Option<(Vec<u8>, Revocation)> {
    let mut fields = line.split(' ');
    let serial = hex::decode(fields.next()?).ok()?;
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
        let mut retained = Retained::default();
        for (serial, reason) in [
            (&[1][..], None),
            (&[0, 0xff], Some(1)),
            (&[0x7f; 20], Some(9)),
        ] {
            let time = Seconds::new(1_800_000_000);
            retained.add(serial, Revocation { time, reason }).unwrap();
        }
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
