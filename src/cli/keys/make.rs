//! `keys generate` and `keys destroy`: the beginning and the end of a key.

use std::io::BufRead;

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use serde::Serialize;

use super::{KeysError, Name, OnRecord, Place, hexadecimal, print_json, usage};
use crate::{
    io::wall_clock::wall_clock,
    wire::{
        algorithm::{DigestAlgorithm, KeyKind},
        certificate::PublicKey,
    },
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
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    label: String,
    /// The new key's CKA_ID, hexadecimal; made of the label unless given.
    #[arg(long)]
    id: Option<String>,
    #[arg(long, value_enum, default_value = "p256")]
    kind: Kind,
    #[command(flatten)]
    record: OnRecord,
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
        self.record.check()?;
        let id = match &self.id {
            Some(id) => hexadecimal(id)?,
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
        self.record.note("generated", &made)?;
        if self.json {
            return print_json(&made);
        }
        say!("made key `{}`, id {}, {}", made.label, made.id, made.kind);
        say!("public key SHA-256 {}", made.public_key_sha256);
        say!(
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
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    record: OnRecord,
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
    /// None before it is done.
    objects: Option<usize>,
}

impl Destroy {
    pub fn run(&self) -> Result<(), KeysError> {
        self.place.with_vault(|vault| {
            let doomed = self.name.doomed(vault)?;
            let public = doomed.public.as_ref();
            let kind = public.map_or("unknown".into(), |public| public.kind().to_string());
            let id = hex::encode(&doomed.id);
            let what = match doomed.signs {
                true => "key",
                false => "what was left behind of key",
            };
            self.record.check()?;
            complain!(
                "{}This destroys {what} `{}`, id {id}, {kind}, for ever. Type its label to go on: ",
                self.record.caution(),
                doomed.label,
            );
            let mut typed = String::new();
            let read = std::io::stdin().lock().read_line(&mut typed);
            if read.is_err() || typed.trim_end() != doomed.label {
                return Err(usage(&"the label was not typed; nothing was destroyed"));
            }
            let digest = |public: &PublicKey| DigestAlgorithm::Sha256.digest(public.spki());
            let mut destroyed = Destroyed {
                destroyed: wall_clock().to_string(),
                label: doomed.label.clone(),
                id,
                kind,
                public_key_sha256: public.map(|public| hex::encode(digest(public))),
                objects: None,
            };
            // First what is to be done: where the record cannot be kept, nothing is destroyed.
            self.record.note("to be destroyed", &destroyed)?;
            destroyed.objects = Some(vault.destroy(&doomed)?);
            destroyed.destroyed = wall_clock().to_string();
            self.record.note("destroyed", &destroyed)?;
            if self.json {
                return print_json(&destroyed);
            }
            say!(
                "destroyed {what} `{}`, id {}, {}",
                destroyed.label,
                destroyed.id,
                destroyed.kind
            );
            if let Some(digest) = &destroyed.public_key_sha256 {
                say!("public key SHA-256 {digest}");
            }
            Ok(())
        })
    }
}
