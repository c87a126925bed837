//! `gnomon keys`: the life of keys on a PKCS #11 token, from an empty token to a certificate that may serve,
//! without a vendor's tool.

mod certificate;
mod inspect;
mod make;

use std::{
    fmt::Display,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use cryptoki::types::AuthPin;
use serde::Serialize;

use crate::{
    config::PinSource,
    daemon::token_key,
    io::{
        journal::{disk::sync_name, inbox},
        pkcs11::{
            Module, Modules, Pkcs11Error, TokenChoice,
            keys::{Doomed, Key, Vault, VaultError},
        },
    },
    signing::credential::CredentialError,
    wire::{certificate::CertificateError, pkcs10::Purpose},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show tokens, and with a PIN their keys.
    List(inspect::List),
    /// Make a key that never leaves the token and can only sign.
    Generate(make::Generate),
    /// Write a certificate request (PKCS #10), signed on the token.
    Csr(certificate::Csr),
    /// Check a certificate against its key and its use, and put it in its place.
    Install(certificate::Install),
    /// Sign on 1 to N sessions and show signatures per second.
    Test(inspect::Test),
    /// Destroy a key. Asks for its label.
    Destroy(make::Destroy),
}

/// Which token, and its PIN.
#[derive(Debug, Args)]
pub struct Place {
    /// The PKCS #11 module (a shared library).
    #[arg(long)]
    module: PathBuf,
    /// The token's label.
    #[arg(long)]
    token: Option<String>,
    /// The token's serial number, where labels are not unique.
    #[arg(long, conflicts_with = "token")]
    token_serial: Option<String>,
    /// The slot's number.
    #[arg(long, conflicts_with_all = ["token", "token_serial"])]
    slot: Option<u64>,
    /// A file with the PIN, mode 0600.
    #[arg(long)]
    pin_file: Option<PathBuf>,
    /// The environment variable with the PIN.
    #[arg(long, conflicts_with = "pin_file")]
    pin_env: Option<String>,
}

/// Which key of the token.
#[derive(Debug, Args)]
pub struct Name {
    /// The key's label.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    label: String,
    /// Its CKA_ID, hexadecimal, where several keys have the label.
    #[arg(long)]
    id: Option<String>,
}

impl Name {
    fn id(&self) -> Result<Option<Vec<u8>>, KeysError> {
        self.id.as_deref().map(hexadecimal).transpose()
    }

    fn find(&self, vault: &Vault<'_>) -> Result<Key, KeysError> {
        Ok(vault.key(&self.label, self.id()?.as_deref())?)
    }

    fn doomed(&self, vault: &Vault<'_>) -> Result<Doomed, KeysError> {
        Ok(vault.doomed(&self.label, self.id()?.as_deref())?)
    }
}

/// Where what is done to a key is put on record.
#[derive(Debug, Args)]
pub struct OnRecord {
    /// The folder of the appliance's journal: what was done is put on record there, at once where the appliance
    /// runs, else at its next start. Without it nothing goes on record.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
}

impl OnRecord {
    /// What to know before something is done that goes on no record.
    fn caution(&self) -> &'static str {
        match self.journal {
            Some(_) => "",
            None => {
                "Nothing of it goes on record; with --journal DIR, the folder of the appliance's journal, it would.\n"
            }
        }
    }

    /// Says early that nothing could be left there.
    fn check(&self) -> Result<(), KeysError> {
        match &self.journal {
            Some(dir) if !dir.is_dir() => Err(usage(&format!(
                "{}: there is no such folder",
                dir.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Leaves an event for the journal, where one is named.
    fn note(&self, action: &str, details: &impl Serialize) -> Result<(), KeysError> {
        let Some(dir) = &self.journal else {
            return Ok(());
        };
        let details = serde_json::to_value(details).map_err(|error| usage(&error))?;
        inbox::leave(dir, action, &details).map_err(|error| KeysError::File {
            path: dir.clone(),
            action: "left a record in",
            error,
        })
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Use {
    /// A time-stamping unit.
    Tsu,
    /// A delegated OCSP responder.
    Ocsp,
}

impl From<Use> for Purpose {
    fn from(purpose: Use) -> Self {
        match purpose {
            Use::Tsu => Self::TimeStamping,
            Use::Ocsp => Self::OcspSigning,
        }
    }
}

/// Why a key command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("name the token with --token, --token-serial or --slot")]
    NoToken,
    #[error("{0}")]
    Pin(String),
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("{path}: {error}")]
    Certificate {
        path: PathBuf,
        error: CertificateError,
    },
    #[error("{path}: cannot be {action}: {error}")]
    File {
        path: PathBuf,
        action: &'static str,
        error: io::Error,
    },
    #[error("the key `{0}` gives signatures that do not verify; do not use it")]
    WrongSignature(String),
    #[error("{0}")]
    Usage(String),
}

/// Does one of the commands.
pub fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::List(list) => list.run(),
        Command::Generate(generate) => generate.run(),
        Command::Csr(csr) => csr.run(),
        Command::Install(install) => install.run(),
        Command::Test(test) => test.run(),
        Command::Destroy(destroy) => destroy.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("error: {error}\n");
            ExitCode::FAILURE
        }
    }
}

impl Place {
    fn choice(&self) -> Option<TokenChoice> {
        let label = self.token.clone().map(TokenChoice::Label);
        let serial = self.token_serial.clone().map(TokenChoice::Serial);
        label.or(serial).or(self.slot.map(TokenChoice::Slot))
    }

    fn pin(&self) -> Result<Option<AuthPin>, KeysError> {
        let source = match (&self.pin_file, &self.pin_env) {
            (Some(file), _) => PinSource::File(file.clone()),
            (None, Some(name)) => PinSource::Environment(name.clone()),
            (None, None) => PinSource::None,
        };
        token_key::pin(&source).map_err(KeysError::Pin)
    }

    /// Opens the token and does `work` with it.
    fn with_vault<T>(
        &self,
        work: impl FnOnce(&Vault<'_>) -> Result<T, KeysError>,
    ) -> Result<T, KeysError> {
        let choice = self.choice().ok_or(KeysError::NoToken)?;
        let modules = Modules::default();
        let module: &Module = &*modules.open(&self.module)?;
        let vault = Vault::open(module, choice, self.pin()?.as_ref())?;
        work(&vault)
    }
}

fn hexadecimal(id: &str) -> Result<Vec<u8>, KeysError> {
    hex::decode(id).map_err(|_| usage(&format!("--id {id}: not hexadecimal")))
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    std::fs::read(path).map_err(|error| KeysError::File {
        path: path.to_owned(),
        action: "read",
        error,
    })
}

/// Writes by a temporary name, so that a file is there whole or not at all, whenever the power fails.
fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), KeysError> {
    let failed = |error| KeysError::File {
        path: path.to_owned(),
        action: "written",
        error,
    };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content.as_ref())?;
        // Before it has the name: a file system may bring the name to the disk before the content.
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_name(path)
    };
    write().map_err(failed)
}

fn print_json(value: &impl Serialize) -> Result<(), KeysError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| usage(&error))?;
    say!("{text}");
    Ok(())
}

fn usage(what: &impl Display) -> KeysError {
    KeysError::Usage(what.to_string())
}
