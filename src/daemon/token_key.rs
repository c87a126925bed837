//! From a configured key on a token to what `io::pkcs11` opens: [`key_on_token`] reads the PIN where it is.

use std::{fmt::Display, os::unix::fs::PermissionsExt, path::Path};

use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::{
    config::{PinSource, TokenKeyConfig, TokenName},
    io::pkcs11::{KeyOnToken, TokenChoice},
};

/// Everything to open the key with, or what is wrong with its PIN.
pub fn key_on_token(key: &TokenKeyConfig) -> Result<KeyOnToken, String> {
    let tokens = key.tokens.iter().map(|name| match name {
        TokenName::Label(label) => TokenChoice::Label(label.clone()),
        TokenName::Serial(serial) => TokenChoice::Serial(serial.clone()),
        TokenName::Slot(slot) => TokenChoice::Slot(*slot),
    });
    Ok(KeyOnToken {
        module: key.module.clone(),
        tokens: tokens.collect(),
        label: key.label.clone(),
        id: key.id.clone(),
        pin: pin(&key.pin)?,
        sessions: key.sessions,
        queue: key.queue,
        deadline: key.deadline,
        verify: key.verify_signatures,
    })
}

/// The PIN from where the configuration says.
pub fn pin(source: &PinSource) -> Result<Option<AuthPin>, String> {
    match source {
        PinSource::None => Ok(None),
        PinSource::Several => Err("several places are named for the PIN; keep one".into()),
        PinSource::File(path) => {
            let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
            let mode = metadata.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(format!(
                    "{}: the PIN's file can be read by others than its owner (mode {:o}); chmod 600 it",
                    path.display(),
                    mode & 0o777
                ));
            }
            from_file(path).map(Some)
        }
        PinSource::Credential(name) => {
            let dir = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                format!("the PIN is the credential `{name}`, but systemd gave none; set LoadCredential={name}:FILE in the unit")
            })?;
            from_file(&Path::new(&dir).join(name)).map(Some)
        }
        PinSource::Environment(name) => {
            let pin = std::env::var(name).map_err(|_| {
                format!("the environment variable {name}, which holds the PIN, is not set")
            })?;
            if pin.is_empty() {
                return Err(format!(
                    "the environment variable {name}, which holds the PIN, is empty"
                ));
            }
            Ok(Some(AuthPin::from(pin)))
        }
    }
}

fn from_file(path: &Path) -> Result<AuthPin, String> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| unreadable(path, error))?;
    match text.lines().next() {
        // A token would count it as a wrong one.
        None | Some("") => Err(format!(
            "{}: the PIN's file has nothing in its first line",
            path.display()
        )),
        Some(pin) => Ok(AuthPin::from(pin.to_owned())),
    }
}

fn unreadable(path: &Path, error: impl Display) -> String {
    format!("{}: the PIN's file cannot be read: {error}", path.display())
}
