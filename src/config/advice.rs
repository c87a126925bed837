//! What is legal but unwise: [`advice`] names each with the reason, for `gnomon check`.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use rustix::fs::{Access, access};

use super::{ClockSource, Config, KeyConfig, KeyPlace};
use crate::{clock::LeapPolicy, ocsp::issuer::Unlisted};

/// One line each, naming the field.
pub fn advice(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let clock = &config.clock;
    match clock.source {
        ClockSource::Unproven => lines.push("clock.source: \"unproven\" vouches for nothing; in production use \"chrony\"".into()),
        ClockSource::Kernel => lines.push("clock.source: \"kernel\" believes whatever NTP daemon there is; \"chrony\" sees its sources too".into()),
        ClockSource::Chrony => {
            if !clock.kernel_gate {
                lines.push("clock.kernel_gate: off, so chronyd's word alone decides; with `rtcsync` in chrony.conf it can be on".into());
            }
            if clock.usable_sources < 3 {
                lines.push("clock.usable_sources: with fewer than 3 sources a single one that lies cannot be outvoted".into());
            }
            if clock.leap == LeapPolicy::Ignore {
                lines.push("clock.leap: \"ignore\" signs through leap seconds; say so in the practice statement".into());
            }
        }
    }
    if config.admin.is_none() {
        lines.push("admin: not set, so there are no metrics and no readiness to watch".into());
    }
    if let Some(admin) = &config.admin {
        if admin.access.is_empty() && !is_local(admin.listen) {
            lines.push("admin: reachable from other hosts, and open to them; set admin.access or bind it to 127.0.0.1".into());
        }
        if let Some((_, key)) = admin.tls() {
            lines.extend(open_file(key, "admin.key"));
        }
    }
    lines.extend(super::access::advice(config));
    if let Some(tls) = &config.tls {
        lines.extend(open_file(&tls.key, "tls.key"));
    }
    lines.extend(closed_folder(&config.journal.dir, "journal.dir"));
    lines.extend(closed_folder(&config.revocation.dir, "revocation.dir"));
    lines.extend(open_file(&config.journal.log_key, "journal.log_key"));
    if config.journal.publish && config.journal.origin.is_none() {
        lines.push("journal.origin: not set, though the log is published; give it a name that others know, such as \"tsa.example/log\"".into());
    }
    for (index, tsu) in config.tsus.iter().enumerate() {
        if tsu.demo {
            lines.push(format!(
                "tsu[{index}].demo: `{}` signs without a proven clock; its tokens prove nothing",
                tsu.name
            ));
        }
        if tsu.accuracy.worst() > Duration::from_secs(1) {
            lines.push(format!("tsu[{index}].accuracy: worse than the 1 s that ETSI EN 319 421 asks of the best-practices policy"));
        }
        lines.extend(open_key(&tsu.key, &format!("tsu[{index}].key")));
    }
    for (index, issuer) in config.issuers.iter().enumerate() {
        if issuer.unlisted == Unlisted::Good {
            lines.push(format!("issuer[{index}].unlisted: \"good\" for serials never issued is forbidden by ETSI EN 319 411-1 and the CSBR; feed the issued serials instead"));
        }
        if let Some(push) = &issuer.issued_push {
            lines.extend(open_file(
                &push.token_file,
                &format!("issuer[{index}].issued_push.token_file"),
            ));
        }
        if issuer.issued.is_empty()
            && issuer.issued_push.is_none()
            && issuer.unlisted == Unlisted::Unauthorized
        {
            lines.push(format!("issuer[{index}].issued: none, so every serial that is not revoked gets `unauthorized`"));
        }
        for (number, responder) in issuer.responders.iter().enumerate() {
            lines.extend(open_key(
                &responder.key,
                &format!("issuer[{index}].responder[{number}].key"),
            ));
        }
    }
    lines
}

fn open_key(key: &KeyConfig, field: &str) -> Option<String> {
    match &key.place {
        KeyPlace::File(path) => open_file(path, field),
        KeyPlace::Token(_) => None,
    }
}

/// Whether only this host reaches it.
pub(super) fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A folder that whoever asks cannot write to, nor make where it is not there yet. A parent that is missing too may be
/// systemd's to make (`StateDirectory=`).
fn closed_folder(path: &Path, field: &str) -> Option<String> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        parent => parent?,
    };
    let found = [path, parent].into_iter().find(|path| path.exists())?;
    let error = access(found, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!(
        "{field}: {} cannot be written to by the user that asks ({error}); it must belong to the user that serves, and that \
         user should ask",
        found.display()
    ))
}

/// A file with secrets that others can read.
pub(super) fn open_file(path: &Path, field: &str) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        format!(
            "{field}: {} can be read by others than its owner (mode {:o}); chmod 600 it",
            path.display(),
            mode & 0o777
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told() {
        let parent = std::env::temp_dir().join(format!("gnomon-advice-{}", std::process::id()));
        let (open, closed) = (parent.join("open"), parent.join("closed"));
        fs::create_dir_all(&open).unwrap();
        fs::create_dir_all(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
        let told = |path: &Path| closed_folder(path, "journal.dir").is_some();
        // root may write everywhere.
        let denied = fs::write(closed.join("x"), "").is_err();
        assert_eq!(
            [
                &*closed,
                &closed.join("journal"),
                &open.join("journal"),
                &open.join("a/b")
            ]
            .map(told),
            [denied, denied, false, false]
        );
        fs::remove_dir_all(&parent).unwrap();
    }
}
