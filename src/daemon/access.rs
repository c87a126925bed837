//! Who may ask, from the configuration: [`settings`], and the [`problem`] with a rule in words of its file.

use crate::{
    config::{AccessConfig, Config, Problem},
    io::http::access::{AccessError, RuleSettings, Settings, quota::Quota},
};

pub fn settings(config: &Config) -> Settings {
    let tls = config.tls.as_ref().map(|tls| tls.access.clone());
    let admin = config.admin.as_ref().map(|admin| admin.access.clone());
    let tsus = config.tsus.iter();
    Settings {
        rules: config.access.iter().map(rule).collect(),
        plain: config.http.access.clone(),
        tls: tls.unwrap_or_default(),
        admin: admin.unwrap_or_default(),
        tsus: tsus
            .map(|tsu| (tsu.name.clone(), tsu.access.clone()))
            .collect(),
        forwarded_from: config.http.forwarded_from.clone(),
    }
}

fn rule(rule: &AccessConfig) -> RuleSettings {
    RuleSettings {
        name: rule.name.clone(),
        users: rule.users.clone(),
        tokens: rule.tokens.clone(),
        certificates: rule.certificates.clone().zip(rule.client_ca.clone()),
        addresses: rule.addresses.clone(),
        quota: Quota {
            rate: rule.rate.map(|rate| (rate.requests, rate.per)),
            daily: rule.daily,
        },
    }
}

pub fn problem(config: &Config, error: &AccessError) -> Problem {
    let field = format!("access[{}].{}", error.rule, error.field);
    Problem::new(&config.file, field, &error.what)
}
