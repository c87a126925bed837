//! The appliance as a process: [`run`] assembles it from the configuration, serves until it is told to
//! stop, and lets what is under way finish. Nothing is served before everything has been shown to work.
#![allow(clippy::disallowed_methods)] // owns sockets and threads

mod access;
mod assemble;
mod chronicle;
mod generation;
pub mod in_force;
pub mod log;
mod refresh;
mod reload;
mod sockets;
mod standing;
mod supervise;
pub mod token_key;

use std::{net::SocketAddr, sync::Arc};

use crate::{
    audit::event::Event,
    config::{Config, JournalConfig, Problem},
    io::{
        feed::Followers,
        journal::{self, JournalError, Opened, Settings},
        pkcs11::Modules,
        systemd,
    },
    service::code,
};
use assemble::{Inherited, assemble};
use in_force::InForce;
use sockets::Sockets;
use standing::{Base, StartError};
use supervise::{Appliance, Signals};

/// Where the appliance is reached, with the ports that the kernel chose where 0 was configured.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub public: Vec<SocketAddr>,
    /// HTTPS.
    pub tls: Vec<SocketAddr>,
    pub admin: Option<SocketAddr>,
    /// Whether the operator's side speaks HTTPS.
    pub admin_tls: bool,
}

/// Everything that would stop a start, or what is no error but should be known. Serves nothing, and
/// touches neither the journal nor a port.
pub fn check(config: &Config) -> Result<Vec<String>, Vec<Problem>> {
    let (modules, mut followers) = (Modules::default(), Followers::default());
    let parts = assemble(config, Inherited::nothing(&modules, &mut followers))?.whole()?;
    assemble::clock(config, parts.tolerance)?;
    Ok(parts.cautions)
}

/// Serves until SIGTERM or SIGINT. `ready` is called once, when every socket accepts, with what is
/// in force.
pub fn run(config: &Config, ready: impl FnOnce(&Addresses, InForce)) -> Result<(), Vec<Problem>> {
    let unserved = |error: StartError| vec![error.problem(config)];
    let passed = systemd::sockets();
    let modules = Arc::new(Modules::default());
    let signals = Signals::catch().map_err(|error| unserved(error.into()))?;
    let mut followers = Followers::default();
    let parts = assemble(config, Inherited::nothing(&modules, &mut followers))?.some()?;
    let clock = assemble::clock(config, parts.tolerance)?;
    let sockets = Sockets::open(config, passed)?;
    let addresses = sockets.addresses();
    let opened = journal::open(&settings(&config.journal));
    let Opened {
        journal,
        threads,
        mended,
    } = opened.map_err(|error| {
        let problem = Problem::new(&config.file, "journal.dir", &error);
        vec![match error {
            JournalError::Held(_) => problem.that_may_pass(),
            _ => problem,
        }]
    })?;
    for what in &mended {
        tracing::warn!(code = code::JOURNAL_MENDED, "{what}");
    }
    for caution in &parts.cautions {
        tracing::warn!(code = code::CAUTION, "{caution}");
    }
    for away in &parts.away {
        tracing::warn!(
            code = code::TOKEN_AWAY,
            "{away}; it is tried until it signs, and the other keys serve"
        );
    }
    let base = Base {
        modules: Arc::clone(&modules),
        clock,
        journal: journal.clone(),
        followers,
    };
    let stopped = match Appliance::start(config, parts, base, sockets, signals) {
        Ok(appliance) => {
            let (status, connections) = (appliance.status(), appliance.connections());
            let in_force = InForce::new(config, &addresses, &status, connections);
            ready(&addresses, in_force);
            systemd::ready();
            Ok(appliance.serve_until_told())
        }
        Err(error) => Err(unserved(error)),
    };
    let reason = match &stopped {
        Ok(signal) => (*signal).to_owned(),
        Err(problems) => problems
            .iter()
            .map(|problem| problem.what.as_str())
            .collect(),
    };
    journal.note(&Event::Stopped { reason });
    threads.close();
    stopped.map(|_| ())
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
