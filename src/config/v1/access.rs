//! `[[access]]`, `access` and `admin` as they are written.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

use super::lists::list;
use crate::config::access::{AccessConfig, AdminConfig, Rate};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSpec {
    name: String,
    users: Option<PathBuf>,
    tokens: Option<PathBuf>,
    certificates: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "networks")]
    addresses: Vec<Range>,
    #[serde(default, deserialize_with = "rate")]
    rate: Option<Rate>,
    daily: Option<u64>,
}

impl AccessSpec {
    pub fn resolve(self, base: &Path) -> AccessConfig {
        let at = |path: Option<PathBuf>| path.map(|path| base.join(path));
        AccessConfig {
            name: self.name,
            users: at(self.users),
            tokens: at(self.tokens),
            certificates: at(self.certificates),
            client_ca: at(self.client_ca),
            addresses: ranges(self.addresses),
            rate: self.rate,
            daily: self.daily,
        }
    }
}

/// The names of rules: one, or several of which one suffices.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "NamesSpec")]
pub struct Names(Vec<String>);

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "the name of an [[access]], or a list of such names"
)]
enum NamesSpec {
    One(String),
    Several(Vec<String>),
}

impl TryFrom<NamesSpec> for Names {
    type Error = &'static str;

    fn try_from(names: NamesSpec) -> Result<Self, Self::Error> {
        match names {
            NamesSpec::One(name) => Ok(Self(vec![name])),
            NamesSpec::Several(names) if names.is_empty() => {
                Err("no name; leave access out to let everybody ask")
            }
            NamesSpec::Several(names) => Ok(Self(names)),
        }
    }
}

impl Names {
    pub fn resolve(self) -> Vec<String> {
        self.0
    }
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "an address such as \"127.0.0.1:3181\", or { listen = \"...\", certificate = \"...\", key = \"...\", access = \"...\" }"
)]
pub enum AdminSpec {
    Address(SocketAddr),
    Table(AdminTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminTable {
    listen: SocketAddr,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    access: Names,
}

impl AdminSpec {
    pub fn resolve(self, base: &Path) -> AdminConfig {
        match self {
            Self::Address(listen) => AdminConfig {
                listen,
                certificate: None,
                key: None,
                access: Vec::new(),
            },
            Self::Table(table) => AdminConfig {
                listen: table.listen,
                certificate: table.certificate.map(|path| base.join(path)),
                key: table.key.map(|path| base.join(path)),
                access: table.access.resolve(),
            },
        }
    }
}

/// A network, or one address.
#[derive(Debug)]
pub struct Range(IpNet);

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        range(&text).map(Self).map_err(D::Error::custom)
    }
}

pub fn networks<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Range>, D::Error> {
    list(
        d,
        "a list of networks, such as [\"10.0.0.0/8\", \"192.0.2.1\"]",
    )
}

/// The networks that these say.
pub fn ranges(ranges: Vec<Range>) -> Vec<IpNet> {
    ranges.into_iter().map(|range| range.0).collect()
}

fn range(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let net: IpNet = text.parse().map_err(|_| {
        format!(
            "`{text}` is no network; write one as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.1\""
        )
    })?;
    match net.trunc() {
        whole if whole == net => Ok(net),
        whole => Err(format!(
            "`{text}` has bits set behind the prefix; write \"{whole}\" for the network, or the address alone"
        )),
    }
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_rate(&text).map(Some).ok_or_else(|| {
        D::Error::custom(format!(
            "`{text}` is no rate; write one as \"10/s\", \"600/min\" or \"5000/h\""
        ))
    })
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (requests, unit) = text.split_once('/')?;
    let per = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let requests = requests.trim().parse().ok()?;
    (1..=1_000_000).contains(&requests).then_some(Rate {
        requests,
        per: Duration::from_secs(per),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_whole() {
        assert_eq!(range("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(range("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(range("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(range("10.0.0.1/8").unwrap_err().contains("\"10.0.0.0/8\""));
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "localhost",
            "10.0.0.0/",
            "::1/129",
        ] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_have_a_number_and_a_unit() {
        let rate = |text| parse_rate(text).map(|rate| (rate.requests, rate.per.as_secs()));
        assert_eq!(rate("10/s"), Some((10, 1)));
        assert_eq!(rate("600 / min"), Some((600, 60)));
        assert_eq!(rate("1000000/h"), Some((1_000_000, 3_600)));
        for wrong in [
            "",
            "10",
            "/s",
            "0/s",
            "-1/s",
            "1000001/s",
            "10/d",
            "10/sec",
            "1.5/s",
        ] {
            assert!(rate(wrong).is_none(), "{wrong}");
        }
    }
}
