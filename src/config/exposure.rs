//! What others can reach: [`open_file`] for secrets, [`is_local`] for addresses.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::Path};

/// Whether only this host reaches it.
pub fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A file with secrets that others can read.
pub fn open_file(path: &Path, field: &str) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        format!(
            "{field}: {} can be read by others than its owner (mode {:o}); chmod 600 it",
            path.display(),
            mode & 0o777
        )
    })
}
