//! The appliance as a process: [`run`] assembles it from the configuration, serves until it is told to
//! stop, and lets what is under way finish. Nothing is served before everything has been shown to work.
#![allow(clippy::disallowed_methods)] // owns sockets and threads

mod assemble;
mod chronicle;
mod refresh;
pub mod token_key;

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    audit::event::Event,
    config::{ClockSource, Config, JournalConfig, Problem},
    io::{
        anchor,
        appliance_status::ApplianceStatus,
        descriptors,
        feed::{
            self,
            pushed::{self, Accepting},
        },
        http::{
            Public,
            admin::Admin,
            body::BodyLimits,
            issued::IssuedFeed,
            listener::{self, Listener, ListenerLimits},
            log::PublicLog,
            own_names::OwnNames,
            tls::renewal,
        },
        journal::{self, Journal, JournalError, Opened, Settings, inbox::Inbox},
        metrics::{ConnectionMetrics, Metrics},
        pkcs11::Modules,
        sealed_answers,
        store::Store,
        systemd,
    },
    service::{own_certificates::OwnCertificates, status::Statuses, timestamp::Timestamping},
};
use assemble::{Parts, assemble};
use chronicle::Chronicle;
use refresh::Refresher;

/// Where the appliance is reached, with the ports that the kernel chose where 0 was configured.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub public: Vec<SocketAddr>,
    /// HTTPS.
    pub tls: Vec<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// Everything that would stop a start, or what is no error but should be known. Serves nothing, and
/// touches neither the journal nor a port.
pub fn check(config: &Config) -> Result<Vec<String>, Vec<Problem>> {
    assemble(config, &Modules::default()).map(|parts| parts.cautions)
}

/// Serves until SIGTERM or SIGINT. `ready` is called once, when every socket accepts.
pub fn run(config: &Config, ready: impl FnOnce(&Addresses)) -> Result<(), Vec<Problem>> {
    let modules = Modules::default();
    let mut parts = assemble(config, &modules)?;
    let wrong = |field: &str, what: String| vec![Problem::new(&config.file, field, what)];
    let public = bind(config, "listen", &config.listen)?;
    let https = config.tls.as_ref().map(|tls| tls.listen.as_slice());
    let https = bind(config, "tls.listen", https.unwrap_or_default())?;
    let admin = bind(config, "admin", config.admin.as_slice())?;
    let opened = journal::open(&settings(&config.journal));
    let Opened {
        journal,
        threads,
        mended,
        ..
    } = opened.map_err(|error| {
        let problem = Problem::new(&config.file, "journal.dir", &error);
        vec![match error {
            JournalError::Held(_) => problem.that_may_pass(),
            _ => problem,
        }]
    })?;
    for caution in mended.iter().chain(&parts.cautions) {
        tracing::warn!("{caution}");
    }
    let store = recall(config, &mut parts);
    let pushes = accept_pushes(&mut parts);
    let pushes = pushes.map_err(|error| wrong("revocation.dir", error.to_string()))?;
    chronicle::started(&journal, config, &parts.certificates);
    let addresses = Addresses {
        public: addresses(&public),
        tls: addresses(&https),
        admin: addresses(&admin).pop(),
    };
    let plain = public.into_iter().map(Listener::plain);
    let tls = parts.tls.clone();
    let https = https.into_iter().map(|socket| Listener {
        socket,
        tls: tls.clone(),
    });
    let sockets = Sockets {
        public: plain.chain(https).collect(),
        admin: admin.into_iter().map(Listener::plain).collect(),
    };
    let started = Appliance::start(config, parts, &journal, store, sockets, pushes);
    let appliance = started.map_err(|error| {
        let what = format!("threads or signal handlers cannot be had: {error}");
        vec![Problem::new(&config.file, "", what).that_may_pass()]
    })?;
    ready(&addresses);
    systemd::ready();
    let stopped = appliance.serve_until_told();
    let reason = match &stopped {
        Ok(signal) => (*signal).to_owned(),
        Err(error) => error.to_string(),
    };
    journal.note(&Event::Stopped { reason });
    threads.close();
    stopped
        .map(|_| ())
        .map_err(|error| wrong("", format!("signals cannot be waited for: {error}")))
}

/// What is listened on. The workers have their own handles: these must go once they run, or the kernel would go on
/// to accept after a stop has begun.
struct Sockets {
    public: Vec<Listener>,
    admin: Vec<Listener>,
}

/// All that runs.
struct Appliance {
    public: listener::Workers,
    admin: listener::Workers,
    feeds: feed::Followers,
    accepting: Vec<Accepting>,
    anchor: Option<anchor::Follower>,
    tls: Option<renewal::Follower>,
    refresher: Option<Refresher>,
    /// What has sealed answers to save, and where.
    to_save: Option<(Arc<Statuses>, PathBuf)>,
    chronicle: Chronicle,
    runtime: tokio::runtime::Runtime,
    is_stuck: Box<dyn Fn() -> bool>,
}

impl Appliance {
    fn start(
        config: &Config,
        parts: Parts,
        journal: &Journal,
        store: Store,
        sockets: Sockets,
        (issued, accepting): (Vec<IssuedFeed>, Vec<Accepting>),
    ) -> std::io::Result<Self> {
        let Parts {
            tsus,
            issuers,
            clock,
            feeds,
            anchor,
            tls,
            ..
        } = parts;
        let names: Vec<_> = config.tsus.iter().map(|tsu| tsu.name.clone()).collect();
        let metrics = Arc::new(Metrics::new(&names).map_err(std::io::Error::other)?);
        metrics.watch_keys(tsus.as_ref(), issuers.as_ref());
        metrics.journal_limits(config.journal.warn_free, config.journal.stop_free);
        let anchor = match anchor {
            Some(settings) => {
                metrics.show_anchors().map_err(std::io::Error::other)?;
                Some(anchor::follow(settings, Arc::clone(&metrics))?)
            }
            None => None,
        };
        let tls = match tls {
            Some(identity) => {
                metrics.show_tls().map_err(std::io::Error::other)?;
                Some(renewal::Follower::begin(identity, Arc::clone(&metrics))?)
            }
            None => None,
        };
        let world = feed::World {
            journal: journal.clone(),
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
            store,
        };
        let feeds = feed::follow(feeds, &world)?;
        let chronicle = Chronicle::begin(
            journal.clone(),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            names,
            OwnCertificates::new(tsus.as_ref(), issuers.as_ref()),
            (Inbox::open(&config.journal.dir)?, feeds.orders().clone()),
            (config.clock.source == ClockSource::Chrony).then(|| config.clock.leap_table.clone()),
        )?;
        let timestamping = tsus.map(|tsus| {
            Arc::new(Timestamping::new(
                tsus,
                Arc::clone(&clock),
                Arc::new(journal.clone()),
            ))
        });
        let statuses = issuers
            .map(|issuers| {
                Statuses::new(
                    issuers,
                    Arc::clone(&clock),
                    config.nonce,
                    config.sealed_answers,
                )
            })
            .map(Arc::new);
        let sealed = sealed_answers::path(&config.revocation.dir);
        if let Some(statuses) = &statuses {
            match sealed_answers::take(&sealed, config.sealed_answers) {
                Ok(saved) => statuses.take_back(saved),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        let refresher = statuses
            .clone()
            .map(|statuses| Refresher::begin(statuses, Arc::clone(&metrics)))
            .transpose()?;
        let to_save = statuses.clone().map(|statuses| (statuses, sealed));
        let is_stuck = {
            let (timestamping, statuses) = (timestamping.clone(), statuses.clone());
            move || {
                timestamping.as_deref().is_some_and(Timestamping::is_stuck)
                    || statuses.as_deref().is_some_and(Statuses::is_stuck)
            }
        };
        let operator = Arc::new(Admin {
            status: ApplianceStatus {
                timestamping: timestamping.clone(),
                statuses: statuses.clone(),
                clock,
                journal: journal.clone(),
                free_limits: [config.journal.warn_free, config.journal.stop_free],
                feeds: feeds.orders().clone(),
                metrics: Arc::clone(&metrics),
                started: Instant::now(),
            },
            issued,
            names: OwnNames::new(&config.admin_names),
        });
        let publish = config.journal.publish;
        let figures = metrics.connections();
        let room = descriptors::room(config.http.connections);
        if let Some(caution) = &room.caution {
            tracing::warn!("{caution}");
        }
        let service = Arc::new(Public {
            timestamping,
            statuses,
            log: publish.then(|| PublicLog::new(config.journal.dir.clone())),
            metrics,
            body: BodyLimits {
                size: config.http.body,
                time: config.http.body_timeout,
            },
        });
        let limits = ListenerLimits {
            header_time: config.http.header_timeout,
            write_time: config.http.write_timeout,
            connections: room.connections,
            grace: config.http.grace,
            figures,
        };
        // The operator's side asks little and must answer when the public side is full.
        let operator_limits = ListenerLimits {
            connections: 64,
            grace: Duration::from_secs(1),
            figures: ConnectionMetrics::hidden().map_err(std::io::Error::other)?,
            ..limits.clone()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            feeds,
            accepting,
            anchor,
            tls,
            refresher,
            to_save,
            chronicle,
            admin: listener::serve(
                "admin",
                &sockets.admin,
                1,
                &operator_limits,
                move |request| Arc::clone(&operator).respond(request),
            )?,
            public: listener::serve(
                "http",
                &sockets.public,
                config.http.workers,
                &limits,
                move |request| Arc::clone(&service).respond(request),
            )?,
            runtime,
            is_stuck: Box::new(is_stuck),
        })
    }

    fn serve_until_told(self) -> std::io::Result<&'static str> {
        let told = self.runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                _ = terminate.recv() => Ok("SIGTERM"),
                interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "SIGINT"),
                never = systemd::feed_watchdog(|| !(self.is_stuck)()) => match never {},
            }
        });
        if let Ok(signal) = &told {
            tracing::info!("{signal}: finishing what is under way");
        }
        systemd::stopping();
        self.public.stop();
        self.admin.stop();
        self.feeds.stop();
        self.accepting.into_iter().for_each(Accepting::stop);
        if let Some(refresher) = self.refresher {
            refresher.stop();
        }
        if let Some((statuses, path)) = self.to_save {
            save(&statuses, &path);
        }
        if let Some(tls) = self.tls {
            tls.stop();
        }
        if let Some(anchor) = self.anchor {
            anchor.stop();
        }
        tracing::info!("stopped");
        self.chronicle.stop();
        told
    }
}

/// Holds the CRLs that were read at the start against how far the CAs had come by what is remembered.
fn recall(config: &Config, parts: &mut Parts) -> Store {
    if parts.feeds.is_empty() {
        return Store::default();
    }
    let (store, trouble) = Store::open(&config.revocation.dir.join("state"));
    if let Some(trouble) = trouble {
        tracing::error!("{trouble}");
    }
    let (marks, trouble) = feed::marks::known(&store, &config.journal.dir);
    if let Some(trouble) = trouble {
        tracing::error!("the journal cannot be read for how far CRLs had come: {trouble}");
    }
    for feed in &mut parts.feeds {
        feed.recall(&store, &marks);
    }
    store
}

/// Starts to take the serials that CAs push, where that is configured.
fn accept_pushes(parts: &mut Parts) -> std::io::Result<(Vec<IssuedFeed>, Vec<Accepting>)> {
    let (mut issued, mut all) = (Vec::new(), Vec::new());
    let tokens = parts.push_tokens.drain(..);
    for (feed, token) in parts.feeds.iter_mut().zip(tokens) {
        if let (Some((name, token)), Some((pushes, accepting))) = (token, pushed::accept(feed)?) {
            issued.push(IssuedFeed {
                name,
                token,
                pushes,
            });
            all.push(accepting);
        }
    }
    Ok((issued, all))
}

/// Without the file the next start only has to sign again.
fn save(statuses: &Statuses, path: &Path) {
    let answers = statuses.to_save();
    if answers.is_empty() {
        return;
    }
    match sealed_answers::save(path, &answers) {
        Ok(()) => tracing::info!("{} sealed answers saved for the next start", answers.len()),
        Err(error) => tracing::warn!(
            "{}: the sealed answers cannot be saved: {error}; the next start signs them again",
            path.display()
        ),
    }
}

fn settings(config: &JournalConfig) -> Settings {
    Settings {
        dir: config.dir.clone(),
        log_key: config.log_key.clone(),
        origin: config.origin.clone(),
        checkpoint_interval: config.checkpoint_interval,
        segment_size: config.segment_size,
        keep_tokens: config.keep_tokens,
        warn_free: config.warn_free,
        stop_free: config.stop_free,
    }
}

fn bind(
    config: &Config,
    field: &str,
    wanted: &[SocketAddr],
) -> Result<Vec<TcpListener>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut listeners = Vec::new();
    for address in wanted {
        match TcpListener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let advice = match error.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        "another process listens there; stop it or choose another port"
                    }
                    std::io::ErrorKind::PermissionDenied => {
                        "ports below 1024 want CAP_NET_BIND_SERVICE"
                    }
                    _ => "choose an address of this host",
                };
                let what = format!("{address}: cannot be listened on: {error}; {advice}");
                let problem = Problem::new(&config.file, field, what);
                problems.push(match error.kind() {
                    std::io::ErrorKind::PermissionDenied => problem,
                    _ => problem.that_may_pass(),
                });
            }
        }
    }
    if problems.is_empty() {
        Ok(listeners)
    } else {
        Err(problems)
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect()
}
