//! `keys generate` and `keys destroy`: the beginning and the end of a key.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{KeysError, Place, print_json, usage};
use crate::wire::{
    algorithm::{DigestAlgorithm, KeyKind},
    certificate::PublicKey,
    time::Seconds,
};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    P256,
    P384,
    Rsa3072,
    Rsa4096,
    Ed25519,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::P256 => Self::P256,
            Kind::P384 => Self::P384,
            Kind::Rsa3072 => Self::Rsa { bits: 3072 },
            Kind::Rsa4096 => Self::Rsa { bits: 4096 },
            Kind::Ed25519 => Self::Ed25519,
        }
    }
}

#[derive(Debug, Args)]
pub struct Generate {
    #[command(flatten)]
    place: Place,
    /// The new key's label; none on the token may have it.
    #[arg(long)]
    label: String,
    /// The new key's CKA_ID, hexadecimal; made of the label unless given.
    #[arg(long)]
    id: Option<String>,
    #[arg(long, value_enum, default_value = "p256")]
    kind: Kind,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Made {
    label: String,
    id: String,
    kind: String,
    /// SHA-256 of the SubjectPublicKeyInfo, hexadecimal.
    public_key_sha256: String,
}

impl Generate {
    pub fn run(&self) -> Result<(), KeysError> {
        let id = match &self.id {
            Some(id) => {
                hex::decode(id).map_err(|_| usage(&format!("--id {id}: not hexadecimal")))?
            }
            // The label is unique on the token, so that what is made of it is too.
            None => DigestAlgorithm::Sha256
                .digest(self.label.as_bytes())
                .as_ref()
                .iter()
                .take(8)
                .copied()
                .collect(),
        };
        let public = self
            .place
            .with_vault(|vault| Ok(vault.generate(self.kind.into(), &self.label, &id)?))?;
        let digest = DigestAlgorithm::Sha256.digest(public.spki());
        let made = Made {
            label: self.label.clone(),
            id: hex::encode(id),
            kind: public.kind().to_string(),
            public_key_sha256: hex::encode(digest),
        };
        if self.json {
            return print_json(&made);
        }
        println!("made key `{}`, id {}, {}", made.label, made.id, made.kind);
        println!("public key SHA-256 {}", made.public_key_sha256);
        println!(
            "next: gnomon keys csr --label {} ... --out request.pem",
            made.label
        );
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Destroy {
    #[command(flatten)]
    place: Place,
    /// The key's label.
    #[arg(long)]
    label: String,
    /// A file to which a line about the destroyed key is added: when, what, and which public key.
    #[arg(long)]
    record: Option<PathBuf>,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Destroyed {
    /// RFC 3339.
    destroyed: String,
    label: String,
    id: String,
    kind: String,
    /// SHA-256 of the SubjectPublicKeyInfo, hexadecimal; none where the token did not show it.
    public_key_sha256: Option<String>,
    objects: usize,
}

impl Destroy {
    pub fn run(&self) -> Result<(), KeysError> {
        self.place.with_vault(|vault| {
            let listed = vault.list()?;
            let key = listed.iter().find(|key| key.label == self.label);
            let key = key.ok_or_else(|| {
                usage(&format!(
                    "no private key labelled `{}`; see `gnomon keys list`",
                    self.label
                ))
            })?;
            // Where the record cannot be kept, nothing is destroyed.
            let record = self.record.as_deref().map(open_record).transpose()?;
            eprint!(
                "This destroys key `{}`, id {}, {}, for ever. Type its label to go on: ",
                key.label, key.id, key.kind
            );
            let mut typed = String::new();
            let read = std::io::stdin().lock().read_line(&mut typed);
            if read.is_err() || typed.trim_end() != self.label {
                return Err(usage(&"the label was not typed; nothing was destroyed"));
            }
            let objects = vault.destroy(&self.label)?;
            let since_1970 = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let digest = |public: &PublicKey| DigestAlgorithm::Sha256.digest(public.spki());
            let destroyed = Destroyed {
                destroyed: Seconds::new(since_1970.as_secs()).to_string(),
                label: key.label.clone(),
                id: key.id.clone(),
                kind: key.kind.clone(),
                public_key_sha256: key
                    .public
                    .as_ref()
                    .map(|public| hex::encode(digest(public))),
                objects,
            };
            if let Some((path, mut file)) = record {
                let line = serde_json::to_string(&destroyed).map_err(|error| usage(&error))?;
                writeln!(file, "{line}")
                    .and_then(|()| file.sync_all())
                    .map_err(|error| KeysError::File {
                        path,
                        action: "written",
                        error,
                    })?;
            }
            if self.json {
                return print_json(&destroyed);
            }
            println!("destroyed key `{}`, id {}, {}", key.label, key.id, key.kind);
            if let Some(digest) = &destroyed.public_key_sha256 {
                println!("public key SHA-256 {digest}");
            }
            Ok(())
        })
    }
}

fn open_record(path: &Path) -> Result<(PathBuf, File), KeysError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let opened = opened.map_err(|error| KeysError::File {
        path: path.to_owned(),
        action: "opened",
        error,
    })?;
    Ok((path.to_owned(), opened))
}
