//! The CAs that are answered for: their certificates, responders, and feeds.

use std::{fmt::Display, sync::Arc};

use zeroize::Zeroizing;

use super::{Assembly, Files};
use crate::{
    config::{ArchiveCutoffConfig, CrlPlace, DeltaConfig, IssuerConfig, ResponderConfig},
    io::{
        feed::{Delta, FeedSettings, IssuedSources, Opened, Place, Wanted, kept::Kept},
        http::issued::BearerToken,
        http_client,
    },
    ocsp::{
        Responder,
        issuer::{ArchiveCutoff, Issuer, Issuers},
    },
    signing::credential::Role,
    wire::certificate::Certificate,
};

/// An issuer before its feed is opened.
struct Draft<'a> {
    field: String,
    config: &'a IssuerConfig,
    settings: FeedSettings,
    /// None: one of them, or a CRL's place, is wrong.
    responders: Option<Vec<Responder>>,
}

impl Draft<'_> {
    fn issuer(config: &IssuerConfig, feed: &Opened, responders: Vec<Responder>) -> Issuer {
        let certificate = feed.issuer().clone();
        Issuer {
            name: config.name.clone(),
            snapshot: Arc::clone(feed.snapshot()),
            unlisted: config.unlisted,
            validity: config.validity.as_secs(),
            archive_cutoff: match config.archive_cutoff {
                ArchiveCutoffConfig::None => ArchiveCutoff::None,
                ArchiveCutoffConfig::NotBefore => ArchiveCutoff::Since(certificate.not_before()),
                ArchiveCutoffConfig::Period(period) => ArchiveCutoff::Period(period.as_secs()),
            },
            retired: config.retired,
            responders,
            certificate,
        }
    }
}

impl Assembly<'_> {
    /// The issuers and their feeds. Feeds come last, and while something is served only if nothing else is wrong: to open
    /// one may halt one that runs.
    pub(super) fn issuers(&mut self) -> (Option<Issuers>, Vec<Opened>) {
        let config = self.config;
        let wanted = config.issuers.iter().enumerate();
        let drafts: Vec<_> = wanted
            .filter_map(|(index, issuer)| self.issuer(&format!("issuer[{index}]"), issuer))
            .collect();
        let (mut issuers, mut feeds) = (Vec::new(), Vec::new());
        for draft in drafts {
            let is_whole = self.problems.is_empty() && self.away.is_empty();
            if !is_whole && self.inherited.followers.has_begun() {
                continue;
            }
            let feed = self.feed(&draft.field, draft.settings);
            let (Some(feed), Some(responders)) = (feed, draft.responders) else {
                continue;
            };
            let issuer = Draft::issuer(draft.config, &feed, responders);
            if let Some(missing) = issuer.snapshot().uncovered() {
                self.cautions.push(format!(
                    "{}.crl: no CRL covers {missing}; right only if `{}` issues none",
                    draft.field, issuer.name
                ));
            }
            issuers.push(issuer);
            feeds.push(feed);
        }
        if issuers.is_empty() {
            return (None, feeds);
        }
        (self.take("issuer", Issuers::new(issuers)), feeds)
    }

    fn feed(&mut self, field: &str, settings: FeedSettings) -> Option<Opened> {
        match self.inherited.followers.open(settings) {
            Ok(feed) => Some(feed),
            Err(errors) => {
                for error in errors {
                    self.wrong(&format!("{field}.crl"), error);
                }
                None
            }
        }
    }

    fn issuer<'c>(&mut self, field: &str, issuer: &'c IssuerConfig) -> Option<Draft<'c>> {
        let at = |name: &str| format!("{field}.{name}");
        let token = self.push_token(field, issuer);
        self.push_tokens
            .extend(token.map(|token| (issuer.name.clone(), token)));
        let certificate = self.certificate(&at("certificate"), &issuer.certificate)?;
        let mut responders = Vec::new();
        let mut complete = true;
        for (index, responder) in issuer.responders.iter().enumerate() {
            let field = at(&format!("responder[{index}]"));
            match self.responder(&field, responder, &certificate) {
                Some(present_and_next) => responders.extend(present_and_next),
                None => complete = false,
            }
        }
        let mut crls = Vec::new();
        for crl in &issuer.crls {
            let places = self.places(&at("crl"), &crl.places);
            let delta = match &crl.delta {
                DeltaConfig::None => Some(Delta::None),
                DeltaConfig::Freshest => Some(Delta::Freshest),
                DeltaConfig::At(places) => self.places(&at("crl"), places).map(Delta::At),
            };
            match (places, delta) {
                (Some(places), Some(delta)) => crls.push(Wanted {
                    places,
                    delta,
                    distribution_point: crl.distribution_point.clone(),
                }),
                _ => complete = false,
            }
        }
        let revocation = &self.config.revocation;
        let kept = Kept::new(revocation.dir.clone());
        let pushed = kept.path(&certificate, "", 0).with_extension("issued");
        let issued = IssuedSources {
            paths: issuer.issued.clone(),
            pushed: issuer.issued_push.is_some().then_some(pushed),
            shards: issuer
                .crls
                .iter()
                .filter_map(|crl| crl.distribution_point.clone())
                .collect(),
        };
        let settings = FeedSettings {
            name: issuer.name.clone(),
            issuer: certificate.clone(),
            crls,
            issued,
            kept,
            fetch_time: revocation.fetch_timeout,
            largest: revocation.largest_crl,
            compromised: issuer.compromised,
        };
        Some(Draft {
            field: field.to_owned(),
            config: issuer,
            settings,
            responders: complete.then_some(responders),
        })
    }

    fn places(&mut self, field: &str, places: &[CrlPlace]) -> Option<Vec<Place>> {
        let mut read = Vec::new();
        for place in places {
            read.push(match place {
                CrlPlace::File(path) => Place::File(path.clone()),
                CrlPlace::Url(text) => Place::Url(self.take(field, http_client::configured(text))?),
            });
        }
        Some(read)
    }

    fn push_token(&mut self, field: &str, issuer: &IssuerConfig) -> Option<BearerToken> {
        let path = &issuer.issued_push.as_ref()?.token_file;
        let field = format!("{field}.issued_push.token_file");
        let said = |error: &dyn Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| said(&format_args!("cannot be read: {error}")));
        let text = self.take(&field, text)?;
        let token = BearerToken::new(&text).map_err(|error| said(&error));
        self.take(&field, token)
    }

    fn responder(
        &mut self,
        field: &str,
        responder: &ResponderConfig,
        issuer: &Certificate,
    ) -> Option<Vec<Responder>> {
        let delegated = responder.certificate.is_some();
        let role = if delegated {
            Role::DelegatedResponder { issuer }
        } else {
            Role::IssuerItself
        };
        let files = Files {
            key: &responder.key,
            certificate: responder.certificate.as_deref(),
            own: (!delegated).then_some(issuer),
            chain: None,
        };
        let credential = self.credential(field, role, &files, self.now);
        let successor = self.successor(field, role, responder.successor.as_ref());
        let (credential, successor) = (credential?, successor?);
        self.check_no_gap(field, &credential, successor.as_ref());
        let present = Responder::new(credential, delegated);
        Some(match successor {
            None => vec![present],
            Some((from, credential)) => {
                vec![
                    present.ending(from),
                    Responder::new(credential, delegated).starting(from),
                ]
            }
        })
    }
}
