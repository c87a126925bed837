//! `gnomon crl`: `check` says whether a file would be accepted as an issuer's CRL, `refresh` has the running
//! appliance look at all its sources at once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use hyper::Method;

use super::{admin::ask, fail};
use crate::{
    config::{Config, Problem},
    revocation::verify,
    wire::certificate::Certificate,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a CRL holds and whether it would be accepted, but for its number and dates.
    Check {
        /// The certificate of the CA that issued it.
        #[arg(long)]
        issuer: PathBuf,
        /// The URI that its issuing distribution point must name, if it is one shard of several.
        #[arg(long)]
        distribution_point: Option<String>,
        /// The CRL, DER or PEM.
        crl: PathBuf,
    },
    /// Have the running appliance look at every CRL source now; its log says what it found.
    Refresh {
        /// The configuration file (TOML) of the running appliance.
        #[arg(long)]
        config: PathBuf,
    },
}

impl Command {
    pub fn run(&self) -> ExitCode {
        let done = match self {
            Self::Check {
                issuer,
                distribution_point,
                crl,
            } => check(issuer, distribution_point.as_deref(), crl).map_err(|what| vec![what]),
            Self::Refresh { config } => Config::read(config).and_then(|config| refresh(&config)),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => fail(&problems),
        }
    }
}

fn check(issuer: &Path, distribution_point: Option<&str>, crl: &Path) -> Result<(), Problem> {
    fn wrong(file: &Path, what: impl ToString) -> Problem {
        Problem::new(file, "", what.to_string())
    }
    let read =
        |file| fs::read(file).map_err(|error| wrong(file, format!("cannot be read: {error}")));
    let certificates = Certificate::read_all(&read(issuer)?);
    let certificates = certificates.map_err(|error| wrong(issuer, error))?;
    let certificate = certificates
        .first()
        .ok_or_else(|| wrong(issuer, "holds no certificate"))?;
    let verified = verify(&read(crl)?, certificate, distribution_point);
    let verified = verified.map_err(|error| wrong(crl, error))?;
    let number = verified.number().map(hex::encode);
    println!("issuer      {}", certificate.subject_text());
    println!("number      {}", number.as_deref().unwrap_or("none"));
    println!("thisUpdate  {}", verified.this_update());
    println!("nextUpdate  {}", verified.next_update());
    println!("covers      {}", verified.scope());
    println!("entries     {}", verified.len());
    println!("SHA-256     {}", hex::encode(verified.digest()));
    println!("it would be accepted, unless one with a higher number already was");
    Ok(())
}

fn refresh(config: &Config) -> Result<(), Vec<Problem>> {
    ask(config, Method::POST, "/crl/refresh")?;
    println!("asked; every source is looked at now, and the log says what was found");
    Ok(())
}
