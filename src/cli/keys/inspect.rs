//! `keys list` and `keys test`: what there is, and how fast it signs.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;

use super::{KeysError, Name, Place, print_json, read};
use crate::{
    io::pkcs11::{
        Modules, Pkcs11Error,
        keys::{KeyListing, TokenListing, tokens},
    },
    wire::{
        algorithm::KeyKind,
        certificate::{Certificate, PublicKey},
    },
};

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    place: Place,
    /// Certificates to match with the keys.
    #[arg(long)]
    certificate: Vec<PathBuf>,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Listing {
    tokens: Vec<TokenListing>,
    keys: Vec<ListedKey>,
}

#[derive(Debug, Serialize)]
struct ListedKey {
    #[serde(flatten)]
    key: KeyListing,
    certificates: Vec<PathBuf>,
}

impl List {
    pub fn run(&self) -> Result<(), KeysError> {
        let modules = Modules::default();
        let path = &self.place.module;
        let module = modules.open(path)?;
        let tokens = tokens(&module).map_err(|error| Pkcs11Error::Module {
            path: path.clone(),
            error,
        })?;
        let keys = match self.place.choice() {
            None => Vec::new(),
            Some(_) => self.place.with_vault(|vault| Ok(vault.list()?))?,
        };
        let mut certificates = Vec::new();
        for path in &self.certificate {
            let read =
                Certificate::read_all(&read(path)?).map_err(|error| KeysError::Certificate {
                    path: path.clone(),
                    error,
                })?;
            certificates.extend(read.into_iter().map(|certificate| (path, certificate)));
        }
        let matching = |key: &KeyListing| {
            let is_its = |certificate: &Certificate| {
                key.public
                    .as_ref()
                    .is_some_and(|public| public.spki() == certificate.public_key().spki())
            };
            let matching = certificates
                .iter()
                .filter(|(_, certificate)| is_its(certificate));
            matching.map(|(path, _)| (*path).clone()).collect()
        };
        let keys = keys.into_iter();
        let keys = keys
            .map(|key| ListedKey {
                certificates: matching(&key),
                key,
            })
            .collect();
        let listing = Listing { tokens, keys };
        if self.json {
            print_json(&listing)
        } else {
            let (with_keys, pin) = (self.place.choice().is_some(), self.place.pin()?);
            listing.print(with_keys, pin.is_some());
            Ok(())
        }
    }
}

impl Listing {
    fn print(&self, with_keys: bool, with_pin: bool) {
        for token in &self.tokens {
            say!(
                "token `{}`, serial {}, slot {}, {} {}; signs by {}",
                token.label,
                token.serial,
                token.slot,
                token.manufacturer,
                token.model,
                token.mechanisms.join(" ")
            );
        }
        if self.tokens.is_empty() {
            say!("the module has no initialised token");
        } else if !with_keys {
            say!("name a token and its PIN to see its keys");
        } else if self.keys.is_empty() {
            match with_pin {
                true => say!("no private keys"),
                false => say!("no private keys; without a PIN none are shown"),
            }
        }
        for ListedKey { key, certificates } in &self.keys {
            say!(
                "key `{}`, id {}, {}, {}, {}",
                key.label,
                key.id,
                key.kind,
                secrecy(key),
                uses(key)
            );
            for certificate in certificates {
                say!("  certificate {}", certificate.display());
            }
        }
    }
}

/// Where a key can be, or has been, but on the token.
fn secrecy(key: &KeyListing) -> &'static str {
    let stays = key.sensitive && !key.extractable;
    let stayed = ![key.always_sensitive, key.never_extractable].contains(&Some(false));
    match (stays, key.local, stayed) {
        (false, Some(false), _) => "imported, CAN LEAVE THE TOKEN",
        (false, ..) => "CAN LEAVE THE TOKEN",
        (true, Some(false), _) => "imported, does not leave the token any more",
        (true, _, false) => "could leave the token once, does not any more",
        (true, _, true) => "never leaves the token",
    }
}

fn uses(key: &KeyListing) -> String {
    let mut uses = vec![if key.sign { "signs" } else { "does not sign" }];
    // No mechanism does either with another kind of key, whatever its flags say.
    let public = key.public.as_ref().map(PublicKey::kind);
    if public.is_none_or(|kind| matches!(kind, KeyKind::Rsa { .. })) {
        uses.extend((key.decrypt == Some(true)).then_some("DECRYPTS"));
        uses.extend((key.unwrap == Some(true)).then_some("UNWRAPS"));
    }
    uses.join(", ")
}

#[derive(Debug, Args)]
pub struct Test {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    name: Name,
    /// The most sessions to try.
    #[arg(long, default_value_t = 8)]
    sessions: usize,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Rate {
    sessions: usize,
    signatures_per_second: f64,
}

impl Test {
    pub fn run(&self) -> Result<(), KeysError> {
        const MESSAGE: &[u8] = b"gnomon keys test";
        const TIME: Duration = Duration::from_secs(1);
        self.place.with_vault(|vault| {
            let key = self.name.find(vault)?;
            let public = vault.public_key(&key)?;
            let (algorithm, signature) = vault.sign(&key, &public, None, MESSAGE)?;
            if !algorithm.verify(&public, MESSAGE, &signature) {
                return Err(KeysError::WrongSignature(key.label));
            }
            if !self.json {
                say!(
                    "key `{}`, {}: a signature verifies as {algorithm}",
                    key.label,
                    public.kind()
                );
            }
            let mut rates = Vec::new();
            let most = self.sessions.max(1);
            let doubled =
                std::iter::successors(Some(1), |sessions: &usize| sessions.checked_mul(2));
            let fewer = doubled.take_while(|sessions| *sessions < most);
            for sessions in fewer.chain([most]) {
                let rate = vault.rate(&key, &public, sessions, TIME)?;
                if !self.json {
                    say!("{sessions:4} sessions: {rate:8.0} signatures per second");
                }
                rates.push(Rate {
                    sessions,
                    signatures_per_second: rate,
                });
            }
            if self.json {
                print_json(&rates)
            } else {
                Ok(())
            }
        })
    }
}
