//! Who may ask, and how much, as configured: [`AccessConfig`] is one rule, which listeners and TSUs name; [`problems`]
//! holds the rules against where they are named, [`advice`] says what lets secrets or clients through.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use super::{
    Config,
    exposure::{is_local, open_file},
};

/// One rule: who matches it may pass, within its quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessConfig {
    pub name: String,
    /// `NAME:HASH` lines, the hash an argon2id PHC string.
    pub users: Option<PathBuf>,
    /// `NAME:DIGEST` lines, the digest a bearer token's SHA-256.
    pub tokens: Option<PathBuf>,
    /// `NAME subject=DN` and `NAME spki=DIGEST` lines.
    pub certificates: Option<PathBuf>,
    /// Who must have issued those certificates.
    pub client_ca: Option<PathBuf>,
    /// Where clients must come from; empty for anywhere.
    pub addresses: Vec<IpNet>,
    pub rate: Option<Rate>,
    /// Requests a client has in a day of UTC.
    pub daily: Option<u64>,
}

/// So many requests in so long a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// Where the operator and Prometheus connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    pub listen: SocketAddr,
    /// Both or neither: with them HTTPS is spoken.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub access: Vec<String>,
}

impl AdminConfig {
    /// Certificate and key, where HTTPS is spoken.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        self.certificate.as_deref().zip(self.key.as_deref())
    }
}

impl AccessConfig {
    /// Whether a client must show something, and not only come from somewhere.
    const fn wants_credentials(&self) -> bool {
        self.has_secrets() || self.certificates.is_some()
    }

    /// Whether what clients show can be read on the way.
    const fn has_secrets(&self) -> bool {
        self.users.is_some() || self.tokens.is_some()
    }
}

/// As many rules as one configuration may have.
const MOST_RULES: usize = 64;

/// Each place where rules can be named: the field, and what stands there.
fn places(config: &Config) -> impl Iterator<Item = (String, &[String])> {
    let tls = config.tls.as_ref();
    let admin = config.admin.as_ref();
    let tsus = config.tsus.iter().enumerate();
    std::iter::once(("http.access".to_owned(), config.http.access.as_slice()))
        .chain(tls.map(|tls| ("tls.access".to_owned(), tls.access.as_slice())))
        .chain(admin.map(|admin| ("admin.access".to_owned(), admin.access.as_slice())))
        .chain(tsus.map(|(index, tsu)| (format!("tsu[{index}].access"), tsu.access.as_slice())))
}

/// Tells `wrong` of every field that cannot be as it is.
pub fn problems(config: &Config, wrong: &mut impl FnMut(String, &str)) {
    if config.access.len() > MOST_RULES {
        let what = format!("more than {MOST_RULES} rules; put clients together");
        wrong("access".into(), &what);
    }
    let mut named = HashSet::new();
    for (field, names) in places(config) {
        for name in names {
            named.insert(name.as_str());
            if !config.access.iter().any(|rule| rule.name == *name) {
                let what = format!("there is no [[access]] named `{name}`; add it or remove this");
                wrong(field.clone(), &what);
            }
        }
    }
    for (index, rule) in config.access.iter().enumerate() {
        let field = |name: &str| format!("access[{index}].{name}");
        let has_quotas = rule.rate.is_some() || rule.daily.is_some();
        if !rule.wants_credentials() && rule.addresses.is_empty() && !has_quotas {
            wrong(
                field("name"),
                "the rule asks for nothing; give users, tokens, certificates, addresses, rate or daily",
            );
        }
        if !named.contains(rule.name.as_str()) {
            wrong(
                field("name"),
                "no `access` names this rule, so that it holds nowhere; name it at http, tls, admin or a [[tsu]], or remove it",
            );
        }
        match (&rule.certificates, &rule.client_ca) {
            (Some(_), None) => wrong(
                field("client_ca"),
                "missing; name the file with the CAs that issue the certificates of clients",
            ),
            (None, Some(_)) => wrong(
                field("certificates"),
                "missing; name the file that lists which certificates of client_ca may pass",
            ),
            _ => {}
        }
        if rule.certificates.is_some() && !is_served_by_tls(config, &rule.name) {
            wrong(
                field("certificates"),
                "no TLS where this rule is named, so that nobody can show one; add [tls], or certificate and key at admin",
            );
        }
        if rule.daily == Some(0) {
            wrong(field("daily"), "must be at least 1");
        }
    }
    check_admin(config, wrong);
}

fn check_admin(config: &Config, wrong: &mut impl FnMut(String, &str)) {
    if let Some(admin) = &config.admin
        && admin.certificate.is_some() != admin.key.is_some()
    {
        let missing = match admin.key {
            Some(_) => "admin.certificate",
            None => "admin.key",
        };
        wrong(missing.into(), "missing; HTTPS wants both");
    }
    if let Some(admin) = &config.admin
        && let Some(tls) = &config.tls
        && admin.listen.port() != 0
        && tls.listen.contains(&admin.listen)
    {
        wrong(
            "admin".into(),
            "clients connect there by HTTPS; choose another port",
        );
    }
}

/// Whether anywhere that this rule is named can be reached by TLS.
fn is_served_by_tls(config: &Config, rule: &str) -> bool {
    let names = |names: &[String]| names.iter().any(|name| name == rule);
    let by_tsu = config.tsus.iter().any(|tsu| names(&tsu.access));
    let admin = config.admin.as_ref();
    let by_tls = config.tls.as_ref();
    by_tls.is_some_and(|tls| by_tsu || names(&tls.access))
        || admin.is_some_and(|admin| admin.tls().is_some() && names(&admin.access))
}

/// One line each, naming the field.
pub fn advice(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, rule) in config.access.iter().enumerate() {
        for (name, path) in [("users", &rule.users), ("tokens", &rule.tokens)] {
            let field = format!("access[{index}].{name}");
            let path = path.as_deref();
            lines.extend(path.and_then(|path: &Path| open_file(path, &field)));
        }
    }
    let sends_secrets = |names: &[String]| {
        let mut rules = config.access.iter().filter(|rule| rule.has_secrets());
        rules.any(|rule| names.contains(&rule.name))
    };
    let is_far = config.listen.iter().any(|address| !is_local(*address));
    for (field, names) in places(config) {
        let is_plain = match field.as_str() {
            "tls.access" => false,
            "admin.access" => config
                .admin
                .as_ref()
                .is_some_and(|admin| admin.tls().is_none() && !is_local(admin.listen)),
            _ => is_far,
        };
        if is_plain && sends_secrets(names) {
            lines.push(format!("{field}: passwords and tokens come over plain HTTP, where others can read them; serve them by TLS alone"));
        }
    }
    if let Some(tls) = &config.tls
        && !config.listen.is_empty()
        && tls.access.is_empty() != config.http.access.is_empty()
    {
        let (open, closed) = match tls.access.is_empty() {
            true => ("tls", "http"),
            false => ("http", "tls"),
        };
        lines.push(format!("{open}.access: not set though {closed}.access is, so that the same is open to everybody there"));
    }
    lines
}
