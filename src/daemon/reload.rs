//! SIGHUP: [`Reloader`] is the thread that reads the configuration again, builds a whole generation of it beside the one
//! that serves, and puts it in force, or says why not and leaves everything as it was. Nobody who is served waits for it.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    assemble::{Parts, assemble},
    chronicle,
    generation::Generation,
    standing::{Running, Standing},
};
use crate::{
    audit::event::Event,
    config::{Config, Problem, reload},
    io::{
        feed::{BeginError, FeedError},
        metrics::Reload,
        systemd,
        wall_clock::wall_clock,
    },
    service::code,
};

/// How often it is looked whether the last request of an old generation has been answered.
const LOOK: Duration = Duration::from_millis(100);

/// While there is none.
const REST: Duration = Duration::from_secs(3_600);

/// The thread.
pub struct Reloader {
    orders: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Reloader {
    pub fn begin(standing: Arc<Standing>) -> io::Result<Self> {
        let (orders, ordered) = mpsc::channel();
        let thread = std::thread::Builder::new().name("reload".into());
        let thread = thread.spawn(move || {
            let mut old = Vec::new();
            loop {
                let patience = if old.is_empty() { REST } else { LOOK };
                match ordered.recv_timeout(patience) {
                    Ok(()) => {
                        // Whoever asked meanwhile means what is read now; who asks from now on, one more reload.
                        while ordered.try_recv().is_ok() {}
                        old.extend(obey(&standing));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                // Here, and not where the last request ends: giving back millions of entries takes its time.
                old.retain(Generation::is_in_use);
            }
        })?;
        Ok(Self { orders, thread })
    }

    /// Asks for a reload, after the one that may be under way.
    pub fn order(&self) {
        let _ = self.orders.send(());
    }

    /// Ends it; a reload that takes longer than `patience` is left behind.
    pub fn stop(self, patience: Duration) {
        drop(self.orders);
        let deadline = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Reloads, and tells everybody what has come of it. Gives the generation that was in force.
fn obey(standing: &Standing) -> Option<Generation> {
    let mut running = standing.running();
    if standing.stopping.load(Ordering::Acquire) {
        return None;
    }
    systemd::reloading();
    let metrics = Arc::clone(&running.world.metrics);
    match reload(standing, &mut running) {
        Ok((old, told)) => {
            metrics.configured(wall_clock());
            metrics.reloaded(Reload::Done);
            tracing::info!(code = code::RELOAD_REFUSED, "reload: in force: {told}");
            systemd::reloaded();
            Some(old)
        }
        Err(problems) => {
            metrics.reloaded(Reload::Refused);
            for problem in problems {
                tracing::error!(code = code::RELOAD_REFUSED, "reload: {problem}");
            }
            tracing::error!(
                code = code::RELOAD_REFUSED,
                "reload: refused; what was in force before stays so"
            );
            systemd::refused();
            None
        }
    }
}

/// The old generation, and in words what the new one has that it had not.
fn reload(
    standing: &Standing,
    running: &mut Running,
) -> Result<(Generation, String), Vec<Problem>> {
    let before = &running.generation;
    let config = Config::read(&before.config.file)?;
    let fixed = reload::needs_a_restart(&before.config, &config);
    if !fixed.is_empty() {
        return Err(fixed);
    }
    let parts = assemble(
        &config,
        before.leaves(&standing.modules, &mut running.followers),
    );
    let begun = parts.and_then(Parts::whole).and_then(|mut parts| {
        let wrong = |what: String| vec![Problem::new(&config.file, "revocation.dir", what)];
        if standing.stopping.load(Ordering::Acquire) {
            return Err(wrong("gnomon was told to stop".into()));
        }
        let feeds = std::mem::take(&mut parts.feeds);
        let followed = running.follow(&config, feeds);
        followed.map_err(|error| match error {
            BeginError::Threads(error) => wrong(error.to_string()),
            BeginError::Missing(missing) => bare(&config, missing),
        })?;
        Ok(parts)
    });
    match begun {
        Ok(parts) => Ok(take_over(standing, running, config, parts)),
        Err(problems) => {
            if running.followers.resume(&running.world) {
                standing.swap(running);
                let subjects = running.generation.subjects(&running.followers);
                running.chronicle.change(subjects);
            }
            Err(problems)
        }
    }
}

/// The issuers that would lose a CRL, by their fields.
fn bare(config: &Config, missing: Vec<(String, FeedError)>) -> Vec<Problem> {
    let field = |name: &str| {
        let at = config.issuers.iter().position(|issuer| issuer.name == name);
        at.map_or("issuer".into(), |at| format!("issuer[{at}].crl"))
    };
    let missing = missing.into_iter();
    missing
        .map(|(name, error)| Problem::new(&config.file, field(&name), error))
        .collect()
}

/// Puts `parts` in force. Nothing here can be refused any more.
fn take_over(
    standing: &Standing,
    running: &mut Running,
    config: Config,
    mut parts: Parts,
) -> (Generation, String) {
    for caution in &parts.cautions {
        tracing::warn!(code = code::CAUTION, "{caution}");
    }
    let (anchor, tls) = (parts.anchor.take(), parts.tls.take());
    let admin_tls = parts.admin_tls.take();
    let new = Generation::new(config, parts, &running.world, Some(&running.generation));
    running.chronicle.change(new.subjects(&running.followers));
    let world = &running.world;
    world.metrics.watch(new.tsus(), new.issuers());
    chronicle::configured(&world.journal, &new.config, &new.certificates);
    if new.tolerance != running.generation.tolerance {
        world.clock.tolerate(new.tolerance);
    }
    let old = std::mem::replace(&mut running.generation, new);
    standing.swap(running);
    for (what, done) in [
        ("the certificate for TLS", running.identify(tls, admin_tls)),
        ("what is stapled to it", running.staple()),
        ("anchors", running.anchor(anchor)),
        ("the renewal of sealed answers", running.refresh()),
    ] {
        if let Err(error) = done {
            tracing::error!(
                code = code::RELOAD_INCOMPLETE,
                "reload: {what}: {error}; start gnomon anew"
            );
        }
    }
    for source in running.followers.settle() {
        running.world.metrics.forget_crl(&source);
    }
    let told = what_is_new(&old, &running.generation);
    (old, told)
}

fn what_is_new(old: &Generation, new: &Generation) -> String {
    let mut all = reload::changes(&old.config, &new.config);
    let named = |event: &Event| match event {
        Event::Certificate {
            of,
            subject,
            serial,
            sha256,
            ..
        } => Some((of.clone(), subject.clone(), serial.clone(), sha256.clone())),
        _ => None,
    };
    let known: Vec<_> = old.certificates.iter().filter_map(named).collect();
    for (of, subject, serial, sha256) in new.certificates.iter().filter_map(named) {
        let same =
            |(known_of, _, _, known): &(String, _, _, String)| *known_of == of && *known == sha256;
        if !known.iter().any(same) {
            all.push(format!(
                "{of} has the certificate of {subject} with serial {serial}"
            ));
        }
    }
    if all.is_empty() {
        return "nothing is another; keys, certificates and tokens were read again".into();
    }
    all.join("; ")
}
