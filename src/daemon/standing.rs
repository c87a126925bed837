//! What is in force, and what runs beside it: [`Standing`] is where requests and signals find the way, [`Running`] what
//! one configuration has made and what goes on over reloads.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, TryLockError, atomic::AtomicBool},
    time::Instant,
};

use arc_swap::ArcSwap;

use super::{
    assemble::Parts,
    chronicle::{self, Chronicle},
    generation::Generation,
    refresh::Refresher,
};
use crate::{
    clock::Clock,
    config::{ClockSource, Config, Problem},
    io::{
        anchor,
        feed::{
            BeginError, Followers, Opened, World,
            marks::{self, Marks},
        },
        http::{
            Public,
            admin::Admin,
            listener::ListenerLimits,
            tls::{Identity, renewal, staple::Stapler},
        },
        journal::{Journal, inbox::Inbox},
        metrics::{ConnectionMetrics, CrlAlarm, Metrics},
        pkcs11::Modules,
        sealed_answers,
        store::{Store, StoreTrouble},
        wall_clock::wall_clock,
    },
    service::{code, status::Statuses},
};

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Feeds(BeginError),
    #[error("threads or signal handlers cannot be had: {0}")]
    Threads(#[from] io::Error),
}

impl StartError {
    /// By the setting that it is about.
    pub fn problem(&self, config: &Config) -> Problem {
        let of = |field: &str| Problem::new(&config.file, field, self);
        match self {
            Self::Feeds(_) => of("revocation.dir"),
            Self::Threads(_) => of("").that_may_pass(),
        }
    }
}

/// What the process has before anything of a configuration runs.
pub struct Base {
    pub modules: Arc<Modules>,
    pub clock: Arc<dyn Clock>,
    pub journal: Journal,
    pub followers: Followers,
}

/// What is in force, where each request finds it.
pub struct Standing {
    pub modules: Arc<Modules>,
    pub started: Instant,
    pub public: ArcSwap<Public>,
    pub operator: ArcSwap<Admin>,
    /// Of the public listeners, and of the operator's.
    pub limits: [Arc<ArcSwap<ListenerLimits>>; 2],
    hidden: ConnectionMetrics,
    /// A stop has begun: nothing new may come into force.
    pub stopping: AtomicBool,
    running: Mutex<Running>,
}

/// What runs beside the listeners. Whoever reloads holds it.
pub struct Running {
    pub generation: Generation,
    pub world: World,
    pub followers: Followers,
    pub chronicle: Chronicle,
    has_store: bool,
    anchor: Option<(anchor::Settings, anchor::Follower)>,
    tls: Option<(Arc<Identity>, renewal::Follower)>,
    admin_tls: Option<(Arc<Identity>, renewal::Follower)>,
    stapler: Option<Stapler>,
    refresher: Option<Refresher>,
}

impl Standing {
    pub fn begin(
        config: &Config,
        mut parts: Parts,
        base: Base,
        metrics: Arc<Metrics>,
        hidden: ConnectionMetrics,
    ) -> Result<Self, StartError> {
        let Base {
            modules,
            clock,
            journal,
            mut followers,
        } = base;
        let mut world = World {
            journal,
            metrics,
            clock,
            store: Store::default(),
        };
        let mut has_store = false;
        chronicle::started(&world.journal);
        chronicle::configured(&world.journal, config, &parts.certificates);
        let feeds = std::mem::take(&mut parts.feeds);
        let marks = recall(config, &feeds, &mut world, &mut has_store);
        let begun = followers.begin(feeds, &world, &marks);
        begun.map_err(StartError::Feeds)?;
        let (anchor, tls) = (parts.anchor.take(), parts.tls.take());
        let admin_tls = parts.admin_tls.take();
        let generation = Generation::new(config.clone(), parts, &world, None);
        world.metrics.watch(generation.tsus(), generation.issuers());
        world.metrics.configured(wall_clock());
        let table = config.clock.leap_table.clone();
        let chronicle = Chronicle::begin(
            &world,
            generation.subjects(&followers),
            Inbox::open(&config.journal.dir)?,
            (config.clock.source == ClockSource::Chrony).then_some(table),
        )?;
        if let Some(statuses) = &generation.public.statuses {
            let sealed = sealed_answers::path(&config.revocation.dir);
            match sealed_answers::take(&sealed, config.sealed_answers) {
                Ok(saved) => statuses.take_back(saved),
                Err(error) => tracing::warn!(code = code::SEALED_ANSWERS, "{error}"),
            }
        }
        let mut running = Running {
            generation,
            world,
            followers,
            chronicle,
            has_store,
            anchor: None,
            tls: None,
            admin_tls: None,
            stapler: None,
            refresher: None,
        };
        running.identify(tls, admin_tls)?;
        running.staple()?;
        running.anchor(anchor)?;
        running.refresh()?;
        let metrics = &running.world.metrics;
        let limits = running.generation.limits(metrics, hidden.clone());
        let started = Instant::now();
        let operator = running.operator(started);
        Ok(Self {
            modules,
            started,
            public: ArcSwap::new(Arc::clone(&running.generation.public)),
            operator: ArcSwap::new(operator),
            limits: limits.map(|limits| Arc::new(ArcSwap::from_pointee(limits))),
            hidden,
            stopping: AtomicBool::new(false),
            running: Mutex::new(running),
        })
    }

    /// For a reload. The one other that takes it is the stop.
    pub fn running(&self) -> MutexGuard<'_, Running> {
        self.running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// For the stop; none where a reload has it.
    pub fn running_if_free(&self) -> Option<MutexGuard<'_, Running>> {
        match self.running.try_lock() {
            Ok(running) => Some(running),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Answers by the generation that is in `running` from now on.
    pub fn swap(&self, running: &Running) {
        let metrics = &running.world.metrics;
        let limits = running.generation.limits(metrics, self.hidden.clone());
        for (place, new) in self.limits.iter().zip(limits) {
            place.store(Arc::new(new));
        }
        self.public.store(Arc::clone(&running.generation.public));
        self.operator.store(running.operator(self.started));
    }

    /// Whether no key signs, and only a new process can have one of them back. While another one signs, the process is
    /// not to end for it.
    pub fn is_stuck(&self) -> bool {
        let public = self.public.load();
        let tsus = public.timestamping.iter().flat_map(|all| all.signers());
        let responders = public.statuses.iter().flat_map(|all| all.signers());
        let mut stuck = false;
        for signer in tsus.chain(responders) {
            if signer.is_available() {
                return false;
            }
            stuck |= signer.is_stuck();
        }
        stuck
    }
}

impl Running {
    fn operator(&self, started: Instant) -> Arc<Admin> {
        self.generation
            .operator(started, &self.world, &self.followers)
    }

    /// Has these feeds followed, and all others no longer once [`Followers::settle`] says so.
    pub fn follow(&mut self, config: &Config, feeds: Vec<Opened>) -> Result<(), BeginError> {
        let marks = recall(config, &feeds, &mut self.world, &mut self.has_store);
        self.followers.begin(feeds, &self.world, &marks)
    }

    /// Has the certificates for TLS followed, or takes these in the place of those that are.
    pub fn identify(
        &mut self,
        tls: Option<Arc<Identity>>,
        admin: Option<Arc<Identity>>,
    ) -> io::Result<()> {
        let metrics = &self.world.metrics;
        let both = [
            ("tls", tls, &mut self.tls),
            ("admin", admin, &mut self.admin_tls),
        ];
        for (section, new, followed) in both {
            match (new, &followed) {
                (Some(new), Some((old, _))) => old.become_like(&new),
                (Some(new), None) => {
                    metrics.show_tls(section).map_err(io::Error::other)?;
                    let (identity, metrics) = (Arc::clone(&new), Arc::clone(metrics));
                    let follower = renewal::Follower::begin(section, identity, metrics)?;
                    *followed = Some((new, follower));
                }
                // Whether there is one is settled with the sockets.
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Has the certificate for TLS stapled to by the generation in force, unless it wants none.
    pub fn staple(&mut self) -> io::Result<()> {
        let told = self.stapler.take().map(Stapler::stop).unwrap_or_default();
        let wanted = self.generation.config.tls.as_ref();
        let wanted = wanted.is_some_and(|tls| tls.staple);
        let metrics = &self.world.metrics;
        metrics.show_staple(wanted).map_err(io::Error::other)?;
        let Some((identity, _)) = &self.tls else {
            return Ok(());
        };
        if wanted {
            let statuses = self.generation.public.statuses.clone();
            let (identity, metrics) = (Arc::clone(identity), Arc::clone(metrics));
            self.stapler = Some(Stapler::begin(identity, statuses, metrics, told)?);
        } else {
            identity.show_bare();
            told.end();
        }
        Ok(())
    }

    /// Has the log's checkpoints time-stamped like this from now on.
    pub fn anchor(&mut self, new: Option<anchor::Settings>) -> io::Result<()> {
        let old = self.anchor.as_ref().map(|(settings, _)| settings);
        if old == new.as_ref() {
            return Ok(());
        }
        let metrics = &self.world.metrics;
        if old.is_some() != new.is_some() {
            let shown = metrics.show_anchors(new.is_some());
            shown.map_err(io::Error::other)?;
        }
        if let Some((_, follower)) = self.anchor.take() {
            follower.stop();
        }
        if let Some(new) = new {
            let follower = anchor::follow(new.clone(), Arc::clone(metrics))?;
            self.anchor = Some((new, follower));
        }
        Ok(())
    }

    /// Has the sealed answers of the generation in force signed again in time.
    pub fn refresh(&mut self) -> io::Result<()> {
        if let Some(refresher) = self.refresher.take() {
            refresher.stop();
        }
        if let Some(statuses) = self.generation.public.statuses.clone() {
            let metrics = Arc::clone(&self.world.metrics);
            self.refresher = Some(Refresher::begin(statuses, metrics)?);
        }
        Ok(())
    }

    /// Ends all of it, and saves what the next start can use.
    pub fn stop(&mut self) {
        self.followers.stop();
        if let Some(refresher) = self.refresher.take() {
            refresher.stop();
        }
        if let Some(statuses) = &self.generation.public.statuses {
            let dir = &self.generation.config.revocation.dir;
            save(statuses, &sealed_answers::path(dir));
        }
        if let Some(stapler) = self.stapler.take() {
            stapler.stop();
        }
        for (_, tls) in self.tls.take().into_iter().chain(self.admin_tls.take()) {
            tls.stop();
        }
        if let Some((_, anchor)) = self.anchor.take() {
            anchor.stop();
        }
        self.chronicle.stop();
    }
}

/// How far CRLs had come by what is remembered, where there are feeds that have just been read from their files.
fn recall(config: &Config, feeds: &[Opened], world: &mut World, has_store: &mut bool) -> Marks {
    if !feeds.iter().any(Opened::is_new) {
        return Marks::default();
    }
    let path = config.revocation.dir.join("state");
    let is_opened = !std::mem::replace(has_store, true);
    let mut of_store = None;
    if is_opened {
        (world.store, of_store) = Store::open(&path);
    }
    let (marks, trouble) = marks::known(&world.store, &config.journal.dir);
    let is_missing = is_opened && world.store.is_new() && marks.iter().next().is_some();
    let of_store = of_store.or_else(|| is_missing.then_some(StoreTrouble::Missing(path)));
    if let Some(of_store) = of_store {
        tracing::error!(code = code::STORE, "{of_store}");
        world.metrics.crl_alarm(CrlAlarm::Store);
    }
    if let Some(trouble) = trouble {
        tracing::error!(
            code = code::MARKS_UNREADABLE,
            "the journal cannot be read for how far CRLs had come: {trouble}"
        );
    }
    marks
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
            code = code::SEALED_ANSWERS,
            "{}: the sealed answers cannot be saved: {error}; the next start signs them again",
            path.display()
        ),
    }
}
