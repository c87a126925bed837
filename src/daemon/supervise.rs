//! All that runs: [`Appliance`] starts it, waits for signals, and stops it in order.

use std::{
    io::{self, IsTerminal},
    net::TcpListener,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    assemble::Parts,
    reload::Reloader,
    sockets::Sockets,
    standing::{Base, Standing, StartError},
};
use crate::{
    config::Config,
    io::{
        http::{
            listener::{self, Listener},
            peer::Door,
            tls::Identity,
        },
        metrics::{ConnectionMetrics, Metrics},
        systemd,
    },
    service::code,
};

/// How long a stop waits for a reload that is under way, once requests have been answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// What signals come to. SIGHUP is waited for from early on, so that whoever sends it during the start does not end it.
pub struct Signals {
    runtime: tokio::runtime::Runtime,
    hang_up: Signal,
    /// Whether a person has started this.
    on_terminal: bool,
}

impl Signals {
    pub fn catch() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let hang_up = signal(SignalKind::hangup())?;
        drop(inside);
        Ok(Self {
            runtime,
            hang_up,
            on_terminal: io::stdin().is_terminal(),
        })
    }
}

/// The whole.
pub struct Appliance {
    standing: Arc<Standing>,
    public: listener::Workers,
    admin: listener::Workers,
    reloader: Reloader,
    signals: Signals,
    /// SIGTERM and SIGINT.
    ends: [Signal; 2],
}

impl Appliance {
    pub fn start(
        config: &Config,
        parts: Parts,
        base: Base,
        sockets: Sockets,
        signals: Signals,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
        metrics.journal_limits(config.journal.warn_free, config.journal.stop_free);
        let hidden = ConnectionMetrics::hidden().map_err(io::Error::other)?;
        let (tls, admin_tls) = (parts.tls.clone(), parts.admin_tls.clone());
        let standing = Standing::begin(config, parts, base, metrics, hidden)?;
        let standing = Arc::new(standing);
        let listener = |door: Door, tls: Option<Arc<Identity>>| {
            move |socket: TcpListener| Listener {
                socket,
                tls: tls.clone(),
                door,
            }
        };
        let plain = sockets.public.into_iter().map(listener(Door::Plain, None));
        let https = sockets.tls.into_iter().map(listener(Door::Tls, tls));
        let public: Vec<_> = plain.chain(https).collect();
        let admin = sockets.admin.into_iter();
        let admin: Vec<_> = admin.map(listener(Door::Admin, admin_tls)).collect();
        let [limits, operator_limits] = &standing.limits;
        let (for_clients, for_operator) = (Arc::clone(&standing), Arc::clone(&standing));
        // A start ends at these as any program does; whoever is served already is to have the answer.
        let inside = signals.runtime.enter();
        let ends = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ];
        drop(inside);
        // The workers have their own handles of the sockets: these must go once they run, or the kernel would go on to
        // accept after a stop has begun.
        Ok(Self {
            admin: listener::serve("admin", &admin, 1, operator_limits, move |request, peer| {
                for_operator.operator.load_full().respond(request, peer)
            })?,
            public: listener::serve(
                "http",
                &public,
                config.http.workers,
                limits,
                move |request, peer| for_clients.public.load_full().respond(request, peer),
            )?,
            reloader: Reloader::begin(Arc::clone(&standing))?,
            standing,
            signals,
            ends,
        })
    }

    /// What it tells of itself at this moment.
    pub fn status(&self) -> serde_json::Value {
        self.standing.operator.load().status.as_json()
    }

    /// How many clients' connections it takes.
    pub fn connections(&self) -> usize {
        let [limits, _] = &self.standing.limits;
        limits.load().connections
    }

    /// Reloads at SIGHUP, and ends at SIGTERM or SIGINT, whose name it gives. Where SIGHUP says that the terminal this was
    /// started from is gone, it ends too.
    pub fn serve_until_told(self) -> &'static str {
        let Signals {
            runtime,
            mut hang_up,
            on_terminal,
        } = self.signals;
        let [mut terminate, mut interrupt] = self.ends;
        let standing = &self.standing;
        let works = || match standing.is_stuck() {
            true => Err("a call into a signing device has not come back, and no key signs"),
            false if !self.public.go_on() || !self.admin.go_on() => {
                Err("a thread that serves requests does not come back from one")
            }
            false => Ok(()),
        };
        let reload_until_gone = async {
            while hang_up.recv().await.is_some() {
                if on_terminal && !io::stdin().is_terminal() {
                    return;
                }
                self.reloader.order();
            }
        };
        let told = runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                () = reload_until_gone => "SIGHUP",
                _ = interrupt.recv() => "SIGINT",
                never = systemd::feed_watchdog(works) => match never {},
            }
        });
        tracing::info!("{told}: finishing what is under way");
        systemd::stopping();
        standing.stopping.store(true, Ordering::Release);
        self.public.stop();
        self.admin.stop();
        self.reloader.stop(PATIENCE);
        match standing.running_if_free() {
            Some(mut running) => running.stop(),
            None => tracing::error!(
                code = code::RELOAD_LEFT,
                "a reload has not come to its end, and is left behind; sealed answers are not saved"
            ),
        }
        tracing::info!("stopped");
        told
    }
}
