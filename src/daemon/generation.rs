//! One configuration in force: [`Generation`] is the services made of it. Requests hold on to the one that they began
//! with, and the next takes over from it what must not begin anew.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    assemble::{Inherited, Parts, TokenKey},
    chronicle::Subjects,
};
use crate::{
    audit::event::Event,
    config::Config,
    io::{
        appliance_status::ApplianceStatus,
        descriptors,
        feed::{Followers, World},
        http::{
            Public,
            access::Access,
            admin::Admin,
            body::BodyLimits,
            issued::{BearerToken, IssuedFeed},
            listener::ListenerLimits,
            log::PublicLog,
            own_names::OwnNames,
            request_log::RequestLog,
        },
        metrics::{ConnectionMetrics, Metrics},
        pkcs11::Modules,
    },
    ocsp::issuer::Issuers,
    service::{code, own_certificates::OwnCertificates, status::Statuses, timestamp::Timestamping},
    tsa::set::TsuSet,
};

/// The services of one configuration.
pub struct Generation {
    pub config: Config,
    pub public: Arc<Public>,
    /// How far the clock may be off at most.
    pub tolerance: Duration,
    /// The certificates that sign, or will.
    pub certificates: Vec<Event>,
    push_tokens: Vec<(String, BearerToken)>,
    token_keys: Vec<TokenKey>,
    access: Option<Arc<Access>>,
}

impl Generation {
    /// Of `parts`, of what `before` has signed, and of the trouble that it has told.
    pub fn new(config: Config, parts: Parts, world: &World, before: Option<&Self>) -> Self {
        let old = before.and_then(|before| before.public.timestamping.as_ref());
        let timestamping = parts.tsus.map(|tsus| match old {
            Some(old) => old.succeeded(tsus),
            None => {
                let journal = Arc::new(world.journal.clone());
                Timestamping::new(tsus, Arc::clone(&world.clock), journal)
            }
        });
        let old = before.and_then(|before| before.public.statuses.as_ref());
        let statuses = parts.issuers.map(|issuers| match old {
            Some(old) => old.succeeded(issuers, config.nonce, config.sealed_answers),
            None => Statuses::new(
                issuers,
                Arc::clone(&world.clock),
                config.nonce,
                config.sealed_answers,
            ),
        });
        let log = || PublicLog::new(config.journal.dir.clone());
        let public = Public {
            timestamping: timestamping.map(Arc::new),
            statuses: statuses.map(Arc::new),
            log: config.journal.publish.then(log),
            metrics: Arc::clone(&world.metrics),
            body: BodyLimits {
                size: config.http.body,
                time: config.http.body_timeout,
            },
            access: parts.access.clone().filter(|access| !access.is_open()),
            requests: config
                .log
                .requests
                .then(|| RequestLog::new(config.log.request_lines)),
        };
        Self {
            public: Arc::new(public),
            tolerance: parts.tolerance,
            certificates: parts.certificates,
            push_tokens: parts.push_tokens,
            token_keys: parts.token_keys,
            access: parts.access,
            config,
        }
    }

    pub fn tsus(&self) -> Option<&TsuSet> {
        self.public.timestamping.as_deref().map(Timestamping::tsus)
    }

    pub fn issuers(&self) -> Option<&Issuers> {
        self.public.statuses.as_deref().map(Statuses::issuers)
    }

    /// The operator's side of it.
    pub fn operator(&self, started: Instant, world: &World, feeds: &Followers) -> Arc<Admin> {
        let issued = self.push_tokens.iter().filter_map(|(name, token)| {
            Some(IssuedFeed {
                name: name.clone(),
                token: token.clone(),
                pushes: feeds.pushes(name)?.clone(),
            })
        });
        let journal = &self.config.journal;
        Arc::new(Admin {
            status: ApplianceStatus {
                timestamping: self.public.timestamping.clone(),
                statuses: self.public.statuses.clone(),
                clock: Arc::clone(&world.clock),
                journal: world.journal.clone(),
                free_limits: [journal.warn_free, journal.stop_free],
                feeds: feeds.orders(),
                metrics: Arc::clone(&world.metrics),
                started,
            },
            issued: issued.collect(),
            names: OwnNames::new(&self.config.admin_names),
            access: self.access.clone(),
        })
    }

    /// What clients may take, and what the operator may.
    pub fn limits(&self, metrics: &Metrics, hidden: ConnectionMetrics) -> [ListenerLimits; 2] {
        let http = &self.config.http;
        let room = descriptors::room(http.connections);
        if let Some(caution) = &room.caution {
            tracing::warn!(code = code::DESCRIPTORS_FEW, "{caution}");
        }
        let limits = ListenerLimits {
            header_time: http.header_timeout,
            write_time: http.write_timeout,
            connections: room.connections,
            grace: http.grace,
            proxies: http.proxy_protocol_from.as_slice().into(),
            figures: metrics.connections(),
            handshakes: metrics.handshakes("tls"),
            requests: self.public.requests.clone(),
        };
        // The operator's side asks little and must answer when the public side is full.
        let operator = ListenerLimits {
            connections: 64,
            grace: Duration::from_secs(1),
            proxies: Arc::default(),
            figures: hidden,
            handshakes: metrics.handshakes("admin"),
            requests: None,
            ..limits.clone()
        };
        [limits, operator]
    }

    /// What is to be watched while it is in force.
    pub fn subjects(&self, feeds: &Followers) -> Subjects {
        let tsus = self.config.tsus.iter().map(|tsu| tsu.name.clone());
        Subjects {
            tsus: tsus.collect(),
            own_certificates: OwnCertificates::new(self.tsus(), self.issuers()),
            feeds: feeds.orders(),
        }
    }

    /// What the next one goes on with.
    pub fn leaves<'a>(&self, modules: &'a Modules, followers: &'a mut Followers) -> Inherited<'a> {
        let tsus = self.tsus().map(TsuSet::all).unwrap_or_default().iter();
        Inherited {
            modules,
            followers,
            sequences: tsus
                .map(|tsu| (tsu.name().to_owned(), Arc::clone(tsu.sequence())))
                .collect(),
            token_keys: self.token_keys.clone(),
            access: self.access.clone(),
        }
    }

    /// Whether a request is still answered by it, once another is in force.
    pub fn is_in_use(&self) -> bool {
        let public = &self.public;
        let timestamping = public.timestamping.as_ref().map_or(1, Arc::strong_count);
        let statuses = public.statuses.as_ref().map_or(1, Arc::strong_count);
        [Arc::strong_count(public), timestamping, statuses] != [1; 3]
    }
}
