//! The demo's signing keys on a PKCS #11 token: [`DemoToken`] finds them there by label, or makes them.

use std::path::PathBuf;

use crate::{
    config::PinSource,
    daemon::token_key,
    io::pkcs11::{
        Modules, TokenChoice,
        keys::{Vault, VaultError, tokens},
    },
    wire::{algorithm::KeyKind, certificate::PublicKey},
};

use super::{DemoError, pki::Leaf};

/// A token that the demo may make keys on.
#[derive(Debug, Clone)]
pub struct DemoToken {
    pub module: PathBuf,
    /// The only token of the module unless it is named.
    pub label: Option<String>,
    pub pin_file: PathBuf,
}

impl DemoToken {
    /// The token's label: as named, or that of the only one there is.
    pub fn label(&self) -> Result<String, DemoError> {
        if let Some(label) = &self.label {
            return Ok(label.clone());
        }
        let modules = Modules::default();
        let module = modules.open(&self.module).map_err(VaultError::from)?;
        let found = tokens(&module).map_err(|error| {
            let path = self.module.clone();
            VaultError::from(crate::io::pkcs11::Pkcs11Error::Module { path, error })
        })?;
        match found.as_slice() {
            [only] => Ok(only.label.clone()),
            [] => Err(DemoError::Token(
                "the module has no initialised token; make one, such as with softhsm2-util --init-token".into(),
            )),
            several => {
                let labels: Vec<_> = several.iter().map(|token| token.label.as_str()).collect();
                let labels = labels.join("`, `");
                Err(DemoError::Token(format!("the module has several tokens; name one with --token: `{labels}`")))
            }
        }
    }

    /// The public half of a leaf's key, which is made where it is missing.
    pub fn key(&self, leaf: &Leaf) -> Result<PublicKey, DemoError> {
        let pin = token_key::pin(&PinSource::File(self.pin_file.clone()));
        let pin = pin.map_err(DemoError::Token)?;
        // Before the library is opened here: who opens it ends it too.
        let choice = TokenChoice::Label(self.label()?);
        let modules = Modules::default();
        let module = modules.open(&self.module).map_err(VaultError::from)?;
        let vault = Vault::open(&module, choice, pin.as_ref())?;
        let label = key_label(leaf.stem);
        match vault.key(&label, None) {
            Err(VaultError::NoKey(_)) => {
                let kind: KeyKind = leaf.kind.into();
                Ok(vault.generate(kind, &label, label.as_bytes())?)
            }
            key => Ok(vault.public_key(&key?)?),
        }
    }
}

/// What a leaf's key is called on the token.
pub fn key_label(stem: &str) -> String {
    format!("gnomon-demo-{stem}")
}
