//! `gnomon crl`: `show` and `diff` print CRLs of any size, `check` says whether one would be accepted; `status`,
//! `refresh` and `reset-mark` are about the running appliance.

mod show;
mod status;
mod stream;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use hyper::Method;

use super::{
    admin::{ask, leave},
    fail,
    journal::query::parse_serial,
};
use crate::{
    config::{Config, CrlPlace, DeltaConfig, Problem},
    io::{
        feed::{
            in_date,
            kept::{self, Kind},
            marks,
        },
        journal::inbox::Request,
        store::Store,
        wall_clock::wall_clock,
    },
    revocation::{Facts, Overlaid, Part, Retained, VerifiedCrl, verify, verify_delta},
    wire::certificate::Certificate,
};
use show::Entries;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what a CRL of any size holds. Nothing is verified.
    Show {
        /// Every entry: serial, time, reason.
        #[arg(long, conflicts_with = "serial")]
        entries: bool,
        /// The entry of this serial, hexadecimal.
        #[arg(long, value_parser = parse_serial)]
        serial: Option<String>,
        /// The CRL, DER or PEM.
        crl: PathBuf,
    },
    /// Print what a CRL revokes (+), no longer shows (-), or shows otherwise (~) than another.
    Diff { old: PathBuf, new: PathBuf },
    /// Say whether a CRL would be accepted, and why not.
    Check(Check),
    /// Print what every CRL source of the running appliance has.
    Status {
        #[command(flatten)]
        appliance: Appliance,
        /// With what was accepted and refused lately.
        #[arg(long)]
        ledger: bool,
        /// For scripts.
        #[arg(long)]
        json: bool,
    },
    /// Have the running appliance look at every CRL source now; its log says what it found.
    Refresh {
        #[command(flatten)]
        appliance: Appliance,
    },
    /// Let the CRL numbers of a CA go back that was restored from a backup.
    ResetMark {
        #[command(flatten)]
        appliance: Appliance,
        /// Only of this file or URL; without it of all that the issuer has.
        #[arg(long)]
        source: Option<String>,
        /// The issuer's name in the configuration.
        issuer: String,
    },
}

#[derive(Debug, Args)]
pub struct Appliance {
    /// The configuration file (TOML) of the running appliance.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The certificate of the CA that issued it.
    #[arg(long)]
    issuer: PathBuf,
    /// A name that its issuing distribution point must have, if it is one shard of several.
    #[arg(long)]
    distribution_point: Option<String>,
    /// The CRL that it would take the place of.
    #[arg(long)]
    after: Option<PathBuf>,
    /// The complete CRL that it is a delta to.
    #[arg(long, conflicts_with = "after")]
    base: Option<PathBuf>,
    /// The appliance's configuration file (TOML): by its journal, how far its CRLs have come counts too.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The CRL, DER or PEM.
    crl: PathBuf,
}

impl Command {
    pub fn run(&self) -> ExitCode {
        let done = match self {
            Self::Show {
                entries,
                serial,
                crl,
            } => {
                let entries = match (entries, serial) {
                    (_, Some(serial)) => Entries::One(serial.clone()),
                    (true, None) => Entries::All,
                    (false, None) => Entries::Count,
                };
                show::show(crl, &entries).map_err(|what| vec![what])
            }
            Self::Diff { old, new } => match show::diff(old, new) {
                // As diff(1) has it.
                Ok(true) => return ExitCode::FAILURE,
                Ok(false) => Ok(()),
                Err(what) => Err(vec![what]),
            },
            Self::Check(check) => check.run(),
            Self::Status {
                appliance,
                ledger,
                json,
            } => match appliance.ask(|config| status::status(config, *json, *ledger)) {
                Ok(false) => return ExitCode::FAILURE,
                Ok(true) => Ok(()),
                Err(problems) => Err(problems),
            },
            Self::Refresh { appliance } => appliance.ask(refresh),
            Self::ResetMark {
                appliance,
                source,
                issuer,
            } => appliance.ask(|config| reset_mark(config, issuer, source.as_deref())),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => fail(&problems),
        }
    }
}

impl Appliance {
    fn ask<T>(
        &self,
        work: impl FnOnce(&Config) -> Result<T, Vec<Problem>>,
    ) -> Result<T, Vec<Problem>> {
        Config::read(&self.config).and_then(|config| work(&config))
    }
}

impl Check {
    fn run(&self) -> Result<(), Vec<Problem>> {
        let config = self.config.as_deref().map(Config::read).transpose()?;
        self.judge(config.as_ref()).map_err(|what| vec![what])
    }

    fn judge(&self, config: Option<&Config>) -> Result<(), Problem> {
        let certificates = Certificate::read_all(&read(&self.issuer)?);
        let certificates = certificates.map_err(|error| wrong(&self.issuer, error))?;
        let issuer = certificates
            .first()
            .ok_or_else(|| wrong(&self.issuer, "holds no certificate"))?;
        say!("issuer      {}", issuer.subject_text());
        let Some(base) = &self.base else {
            let crl = self.complete(&self.crl, issuer)?;
            print(&crl);
            self.admit(&crl, issuer, Kind::Complete, config)?;
            if let Some(after) = &self.after {
                let old = self.complete(after, issuer)?;
                let admitted = old.mark().admits(&crl.mark());
                let admitted = admitted.and_then(|()| {
                    Part::new(old, Retained::default())
                        .succeeded_by(crl)
                        .map(|_| ())
                });
                admitted.map_err(|error| wrong(&self.crl, error))?;
            }
            self.say_accepted();
            return Ok(());
        };
        let base = Part::new(self.complete(base, issuer)?, Retained::default());
        let content = read(&self.crl)?;
        let delta = verify_delta(&content, issuer, self.distribution_point.as_deref());
        let delta = delta.map_err(|error| wrong(&self.crl, error))?;
        print(&delta);
        self.admit(&delta, issuer, Kind::Delta, config)?;
        match base.with_delta(delta) {
            Ok(Overlaid::New(_)) => self.say_accepted(),
            Ok(Overlaid::Superseded) => say!("the complete CRL holds all of it already"),
            Err(error) => return Err(wrong(&self.crl, error)),
        }
        Ok(())
    }

    /// Whether its dates fit at present, and its number with what the appliance has accepted.
    fn admit(
        &self,
        crl: &Facts,
        issuer: &Certificate,
        kind: Kind,
        config: Option<&Config>,
    ) -> Result<(), Problem> {
        in_date(crl, wall_clock()).map_err(|error| wrong(&self.crl, error))?;
        let Some(config) = config else {
            return Ok(());
        };
        let journal = &config.journal.dir;
        let (marks, trouble) = marks::known(&Store::default(), journal);
        if let Some(trouble) = trouble {
            return Err(wrong(journal, trouble));
        }
        let scope = kept::scope(issuer, crl.distribution_point(), kind);
        let known = marks.get(&scope);
        let admitted = known.map_or(Ok(()), |known| known.admits(&crl.mark()));
        admitted.map_err(|error| wrong(&self.crl, error))
    }

    fn say_accepted(&self) {
        if self.config.is_some() {
            say!("it would be accepted");
        } else {
            say!("it would be accepted, unless the appliance has come further: --config tells");
        }
    }

    fn complete(&self, path: &Path, issuer: &Certificate) -> Result<VerifiedCrl, Problem> {
        let verified = verify(&read(path)?, issuer, self.distribution_point.as_deref());
        verified.map_err(|error| wrong(path, error))
    }
}

fn wrong(file: &Path, what: impl ToString) -> Problem {
    Problem::new(file, "", what.to_string())
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(file).map_err(|error| wrong(file, format!("cannot be read: {error}")))
}

fn print(crl: &Facts) {
    let number = crl.number().map(hex::encode);
    say!("number      {}", number.as_deref().unwrap_or("none"));
    say!("thisUpdate  {}", crl.this_update());
    say!("nextUpdate  {}", crl.next_update());
    say!("covers      {}", crl.scope());
    say!("entries     {}", crl.len());
    if crl.duplicates() > 0 {
        say!("            {} serials stand there again", crl.duplicates());
    }
    say!("SHA-256     {}", hex::encode(crl.digest()));
}

fn refresh(config: &Config) -> Result<(), Vec<Problem>> {
    ask(config, Method::POST, "/crl/refresh")?;
    say!("asked; every source is looked at now, and the log says what was found");
    Ok(())
}

fn deltas(delta: &DeltaConfig) -> &[CrlPlace] {
    match delta {
        DeltaConfig::At(places) => places,
        DeltaConfig::None | DeltaConfig::Freshest => &[],
    }
}

fn reset_mark(config: &Config, issuer: &str, source: Option<&str>) -> Result<(), Vec<Problem>> {
    let wrong = |field: &str, what: String| vec![Problem::new(&config.file, field, what)];
    let known = config.issuers.iter().find(|known| known.name == issuer);
    let known = known.ok_or_else(|| wrong("issuer", format!("there is no issuer `{issuer}`")))?;
    let is_source = |source: &str| {
        let places = known
            .crls
            .iter()
            .flat_map(|crl| crl.places.iter().chain(deltas(&crl.delta)));
        places.into_iter().any(|place| match place {
            CrlPlace::File(path) => path == Path::new(source),
            CrlPlace::Url(url) => url == source,
        })
    };
    if let Some(source) = source.filter(|source| !is_source(source)) {
        let what = format!("`{source}` is none of the files and URLs of `{issuer}`");
        return Err(wrong("issuer.crl", what));
    }
    let request = Request::ResetMarks {
        issuer: issuer.to_owned(),
        source: source.map(str::to_owned),
    };
    leave(config, &request)?;
    say!(
        "asked; the appliance takes it up within a second, or when it starts, and puts it on record"
    );
    Ok(())
}
