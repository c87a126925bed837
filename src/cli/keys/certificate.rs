//! `keys csr` and `keys install`: from a key to a certificate that may serve.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::Args;
use der::{
    Encode,
    pem::{LineEnding, encode_string},
};
use serde::Serialize;
use x509_cert::name::RdnSequence;

use super::{KeysError, Name, OnRecord, Place, Use, print_json, read, usage, write};
use crate::{
    io::{
        pkcs11::{self, KeyOnToken, Modules},
        wall_clock::wall_clock,
    },
    signing::credential::{Credential, Role},
    wire::{certificate::Certificate, pkcs10},
};

#[derive(Debug, Args)]
pub struct Csr {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    name: Name,
    /// The subject, such as "CN=TSU 1,O=Example,C=DE".
    #[arg(long)]
    subject: String,
    /// What the certificate shall be for.
    #[arg(long = "for", value_enum)]
    purpose: Use,
    /// Where the request goes (PEM).
    #[arg(long)]
    out: PathBuf,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Requested<'a> {
    label: &'a str,
    request: &'a Path,
}

impl Csr {
    pub fn run(&self) -> Result<(), KeysError> {
        let subject = RdnSequence::from_str(&self.subject)
            .and_then(|name| name.to_der())
            .map_err(|error| {
                usage(&format!(
                    "--subject `{}`: no name as RFC 4514 has it ({error}); write one such as \"CN=TSU 1,O=Example,C=DE\", \
                     without slashes, and without a blank behind a comma",
                    self.subject
                ))
            })?;
        let request = self.place.with_vault(|vault| {
            let key = self.name.find(vault)?;
            let public = vault.public_key(&key)?;
            let info = pkcs10::request_info(&subject, public.spki(), self.purpose.into());
            let (algorithm, signature) = vault.sign(&key, &public, None, &info)?;
            if !algorithm.verify(&public, &info, &signature) {
                return Err(KeysError::WrongSignature(key.label));
            }
            Ok(pkcs10::request(&info, algorithm, &signature))
        })?;
        let pem = encode_string("CERTIFICATE REQUEST", LineEnding::LF, &request)
            .map_err(|error| usage(&error))?;
        write(&self.out, pem)?;
        if self.json {
            return print_json(&Requested {
                label: &self.name.label,
                request: &self.out,
            });
        }
        say!(
            "wrote {}; have the CA issue the certificate, then:",
            self.out.display()
        );
        say!(
            "next: gnomon keys install --label {} ... --certificate FILE --to FILE --chain FILE --chain-to FILE",
            self.name.label
        );
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    name: Name,
    /// What the certificate is for.
    #[arg(long = "for", value_enum)]
    purpose: Use,
    /// The certificate that the CA issued.
    #[arg(long)]
    certificate: PathBuf,
    /// The intermediates above it, nearest first; checked, and put where --chain-to says.
    #[arg(long)]
    chain: Option<PathBuf>,
    /// Where the configuration looks for the chain.
    #[arg(long, requires = "chain")]
    chain_to: Option<PathBuf>,
    /// The TSU has `code_signing = true`: its key signs for 15 months after the certificate's notBefore.
    #[arg(long)]
    code_signing: bool,
    /// The CA that a responder answers for.
    #[arg(long, required_if_eq("purpose", "ocsp"))]
    issuer: Option<PathBuf>,
    /// Where the configuration looks for the certificate.
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    record: OnRecord,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Installed<'a> {
    subject: String,
    /// RFC 3339.
    until: String,
    certificate: &'a Path,
    /// None where the chain was checked alone, or there is none.
    chain: Option<&'a Path>,
}

impl Install {
    pub fn run(&self) -> Result<(), KeysError> {
        self.record.check()?;
        let content = read(&self.certificate)?;
        let certificate = first(&self.certificate, &content)?;
        let chain_content = self.chain.as_deref().map(read).transpose()?;
        let chain = match (&self.chain, &chain_content) {
            (Some(path), Some(content)) => all(path, content)?,
            _ => Vec::new(),
        };
        let issuer = match &self.issuer {
            None => None,
            Some(path) => Some(first(path, &read(path)?)?),
        };
        let role = match (self.purpose, &issuer) {
            (Use::Ocsp, Some(issuer)) => Role::DelegatedResponder { issuer },
            _ => Role::TimeStamping {
                code_signing: self.code_signing,
            },
        };
        let choice = self.place.choice().ok_or(KeysError::NoToken)?;
        let key = KeyOnToken {
            module: self.place.module.clone(),
            tokens: vec![choice],
            label: Some(self.name.label.clone()),
            id: self.name.id()?,
            pin: self.place.pin()?,
            sessions: 1,
            queue: 0,
            deadline: Duration::from_secs(30),
            verify: true,
        };
        let modules = Modules::default();
        let signer = pkcs11::open(&modules, &key, certificate.public_key(), None)?.present()?;
        let now = wall_clock();
        let credential = Credential::prove(role, certificate, chain, signer, now)?;
        if let (Some(to), Some(content)) = (&self.chain_to, &chain_content) {
            write(to, content)?;
        }
        write(&self.to, &content)?;
        let installed = Installed {
            subject: credential.certificate().subject_text(),
            until: credential.end().to_string(),
            certificate: &self.to,
            chain: self.chain_to.as_deref(),
        };
        self.record.note("certificate installed", &installed)?;
        if self.json {
            return print_json(&installed);
        }
        say!(
            "installed {} until {} in {}",
            credential.certificate().subject_text(),
            credential.end(),
            self.to.display()
        );
        match (&self.chain, &self.chain_to) {
            (_, Some(to)) => say!("installed its chain in {}", to.display()),
            (Some(chain), None) => say!(
                "checked its chain, and put it nowhere: the configuration's `chain` must name a file with what is in {}",
                chain.display()
            ),
            (None, None) => {}
        }
        Ok(())
    }
}

fn all(path: &Path, content: &[u8]) -> Result<Vec<Certificate>, KeysError> {
    Certificate::read_all(content).map_err(|error| KeysError::Certificate {
        path: path.to_owned(),
        error,
    })
}

fn first(path: &Path, content: &[u8]) -> Result<Certificate, KeysError> {
    let none = || usage(&format!("{}: holds no certificate", path.display()));
    all(path, content)?.into_iter().next().ok_or_else(none)
}
