//! What is legal but unwise: [`advice`] names each with the reason, for `gnomon check`.

use std::{path::Path, time::Duration};

use rustix::fs::{Access, access};

use super::{
    AdminConfig, ClockConfig, ClockSource, Config, IssuerConfig, KeyConfig, KeyPlace,
    SuccessorConfig, TsuConfig,
    exposure::{is_local, open_file},
};
use crate::{clock::LeapPolicy, ocsp::issuer::Unlisted};

/// One line each, naming the field.
pub fn advice(config: &Config) -> Vec<String> {
    let mut lines = of_clock(&config.clock);
    match &config.admin {
        None => {
            lines.push("admin: not set, so there are no metrics and no readiness to watch".into())
        }
        Some(admin) => lines.extend(of_admin(admin)),
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
        lines.extend(of_tsu(tsu, &format!("tsu[{index}]")));
    }
    for (index, issuer) in config.issuers.iter().enumerate() {
        lines.extend(of_issuer(issuer, &format!("issuer[{index}]")));
    }
    lines
}

fn of_clock(clock: &ClockConfig) -> Vec<String> {
    let mut lines = Vec::new();
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
    lines
}

fn of_admin(admin: &AdminConfig) -> Vec<String> {
    let mut lines = Vec::new();
    if admin.access.is_empty() && !is_local(admin.listen) {
        lines.push("admin: reachable from other hosts, and open to them; set admin.access or bind it to 127.0.0.1".into());
    }
    if let Some((_, key)) = admin.tls() {
        lines.extend(open_file(key, "admin.key"));
    }
    lines
}

fn of_tsu(tsu: &TsuConfig, field: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if tsu.demo {
        lines.push(format!(
            "{field}.demo: `{}` signs without a proven clock; its tokens prove nothing",
            tsu.name
        ));
    }
    if tsu.accuracy.worst() > Duration::from_secs(1) {
        lines.push(format!("{field}.accuracy: worse than the 1 s that ETSI EN 319 421 asks of the best-practices policy"));
    }
    lines.extend(open_keys(&tsu.key, tsu.successor.as_ref(), field));
    lines
}

fn of_issuer(issuer: &IssuerConfig, field: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if issuer.unlisted == Unlisted::Good {
        lines.push(format!("{field}.unlisted: \"good\" for serials never issued is forbidden by ETSI EN 319 411-1 and the CSBR; feed the issued serials instead"));
    }
    if let Some(push) = &issuer.issued_push {
        let token_file = format!("{field}.issued_push.token_file");
        lines.extend(open_file(&push.token_file, &token_file));
    }
    if issuer.issued.is_empty()
        && issuer.issued_push.is_none()
        && issuer.unlisted == Unlisted::Unauthorized
    {
        lines.push(format!(
            "{field}.issued: none, so every serial that is not revoked gets `unauthorized`"
        ));
    }
    let mut crls = issuer.crls.iter();
    let is_sharded = issuer.crls.len() > 1 && crls.any(|crl| crl.distribution_point.is_some());
    // Certificates in a folder name their shards themselves.
    let lists = issuer.issued_push.is_some() || issuer.issued.iter().any(|path| !path.is_dir());
    if is_sharded && lists {
        lines.push(format!("{field}.issued: while the CRL of one shard is missing or over, every serial gets tryLater of which no list names the shard; have each line end with its certificate's distribution point"));
    }
    for (number, responder) in issuer.responders.iter().enumerate() {
        let field = format!("{field}.responder[{number}]");
        let successor = responder.successor.as_ref();
        lines.extend(open_keys(&responder.key, successor, &field));
    }
    lines
}

/// The present key and the next.
fn open_keys(present: &KeyConfig, successor: Option<&SuccessorConfig>, field: &str) -> Vec<String> {
    let next = successor.map(|successor| (&successor.key, format!("{field}.successor.key")));
    let keys = std::iter::once((present, format!("{field}.key"))).chain(next);
    let open = |(key, field): (&KeyConfig, String)| match &key.place {
        KeyPlace::File(path) => open_file(path, &field),
        KeyPlace::Token(_) => None,
    };
    keys.filter_map(open).collect()
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn keys_of_successors_are_looked_at_too() {
        let dir = std::env::temp_dir().join(format!("gnomon-successors-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for name in ["now", "next"] {
            fs::write(dir.join(name), "").unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        let successor =
            "successor = { key = \"next\", certificate = \"c\", from = 2027-01-31T12:00:00Z }";
        let text = format!(
            "listen = [\"127.0.0.1:1\"]\n[journal]\ndir = \"j\"\n\
             [[tsu]]\nname = \"a\"\nkey = \"now\"\ncertificate = \"c\"\npolicies = [\"1.2.3\"]\n{successor}\n\
             [[issuer]]\nname = \"i\"\ncertificate = \"c\"\ncrl = [\"c.crl\"]\n\
             responder = {{ key = \"now\", certificate = \"c\", {successor} }}\n"
        );
        let config = Config::parse(&text, &dir.join("gnomon.toml")).unwrap();
        let told = advice(&config);
        for field in [
            "tsu[0].key",
            "tsu[0].successor.key",
            "issuer[0].responder[0].key",
            "issuer[0].responder[0].successor.key",
        ] {
            let start = format!("{field}: {}", dir.display());
            assert!(
                told.iter().any(|line| line.starts_with(&start)),
                "{field}: {told:?}"
            );
        }
        fs::remove_dir_all(&dir).unwrap();
    }

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
