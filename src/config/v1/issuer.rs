//! One issuer as it is written: [`IssuerSpec`].

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error};

use super::{KeySpec, SuccessorSpec, instant, lists, signature};
use crate::{
    config::{
        ArchiveCutoffConfig, CrlConfig, CrlPlace, DeltaConfig, IssuerConfig, PushConfig,
        ResponderConfig, units::Span,
    },
    ocsp::issuer::Unlisted,
    wire::{algorithm::SignatureAlgorithm, time::Seconds},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSpec {
    name: String,
    certificate: PathBuf,
    #[serde(deserialize_with = "crls")]
    crl: Vec<CrlSpec>,
    #[serde(default, deserialize_with = "lists::paths")]
    issued: Vec<PathBuf>,
    issued_push: Option<PushSpec>,
    #[serde(default)]
    unlisted: Unlisted,
    validity: Option<Span>,
    #[serde(default, deserialize_with = "archive_cutoff")]
    archive_cutoff: ArchiveCutoffConfig,
    #[serde(default)]
    retired: bool,
    #[serde(default, deserialize_with = "optional_instant")]
    compromised: Option<Seconds>,
    responder: OneOrMany<ResponderSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PushSpec {
    token_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a file name or URL, or { path = \"...\", delta = \"...\", distribution_point = \"...\" } where path and delta may be URLs too, or lists of mirrors"
)]
enum CrlSpec {
    Place(String),
    Table(CrlTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CrlTable {
    path: Places,
    delta: Option<Places>,
    distribution_point: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a file name or URL, or a list of mirrors")]
enum Places {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "{ key = \"...\", certificate = \"...\" }, or a list of them; without `certificate` the key is the CA's own"
)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponderSpec {
    key: KeySpec,
    #[serde(default, deserialize_with = "signature")]
    signature: Option<SignatureAlgorithm>,
    certificate: Option<PathBuf>,
    successor: Option<SuccessorSpec>,
}

impl IssuerSpec {
    pub fn resolve(self, base: &Path) -> IssuerConfig {
        let at = |path: PathBuf| base.join(path);
        let responder = |responder: ResponderSpec| ResponderConfig {
            key: responder.key.resolve(responder.signature, base),
            certificate: responder.certificate.map(at),
            successor: responder.successor.map(|successor| successor.resolve(base)),
        };
        IssuerConfig {
            name: self.name,
            certificate: at(self.certificate),
            crls: self.crl.into_iter().map(|crl| crl.resolve(base)).collect(),
            issued: self.issued.into_iter().map(at).collect(),
            issued_push: self.issued_push.map(|push| PushConfig {
                token_file: at(push.token_file),
            }),
            unlisted: self.unlisted,
            // The shortest the BR allow, so that a revocation shows soonest.
            validity: self
                .validity
                .map_or(Duration::from_secs(8 * 3600), |span| span.0),
            archive_cutoff: self.archive_cutoff,
            retired: self.retired,
            compromised: self.compromised,
            responders: match self.responder {
                OneOrMany::One(one) => vec![responder(one)],
                OneOrMany::Many(many) => many.into_iter().map(responder).collect(),
            },
        }
    }
}

impl CrlSpec {
    fn resolve(self, base: &Path) -> CrlConfig {
        let table = match self {
            Self::Place(place) => CrlTable {
                path: Places::One(place),
                delta: None,
                distribution_point: None,
            },
            Self::Table(table) => table,
        };
        CrlConfig {
            places: table.path.resolve(base),
            delta: match table.delta {
                None => DeltaConfig::None,
                Some(Places::One(word)) if word == "freshest" => DeltaConfig::Freshest,
                Some(places) => DeltaConfig::At(places.resolve(base)),
            },
            distribution_point: table.distribution_point,
        }
    }
}

impl Places {
    fn resolve(self, base: &Path) -> Vec<CrlPlace> {
        let place = |place: String| {
            // Any other scheme too, such as ldap:, is no file name but an address that is refused as one.
            if place.contains("://") {
                CrlPlace::Url(place)
            } else {
                CrlPlace::File(base.join(place))
            }
        };
        match self {
            Self::One(one) => vec![place(one)],
            Self::Many(many) => many.into_iter().map(place).collect(),
        }
    }
}

fn crls<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<CrlSpec>, D::Error> {
    lists::list(d, "a list of CRLs, such as [\"ca.crl\"]")
}

fn archive_cutoff<'de, D: Deserializer<'de>>(d: D) -> Result<ArchiveCutoffConfig, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "true, false, or a retention period such as \"3650d\""
    )]
    enum Written {
        Switch(bool),
        Period(Span),
    }
    Ok(match Written::deserialize(d)? {
        Written::Switch(false) => ArchiveCutoffConfig::None,
        Written::Switch(true) => ArchiveCutoffConfig::NotBefore,
        Written::Period(Span(Duration::ZERO)) => {
            return Err(D::Error::custom(
                "a retention period of nothing; leave it out",
            ));
        }
        Written::Period(period) => ArchiveCutoffConfig::Period(period.0),
    })
}

fn optional_instant<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Seconds>, D::Error> {
    instant(d).map(Some)
}
