//! What the journal is told beside tokens: [`started`] at the start, and [`Chronicle`] what happens meanwhile, on
//! a thread of its own: the clock proven or lost, refusals by count, and what `gnomon keys` has left in the
//! journal's inbox.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    audit::{event::Event, tree::sha256},
    clock::{Basis, Clock},
    config::Config,
    io::{
        journal::{Journal, inbox::Inbox},
        metrics::Metrics,
    },
    service::timestamp::Outcome,
    wire::tsp::FailInfo,
};

/// How often the clock and the inbox are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Over how long refusals are counted for one record.
const REFUSALS: Duration = Duration::from_secs(60);

/// Puts on record that the appliance begins to serve, with what.
pub fn started(journal: &Journal, config: &Config, certificates: &[Event]) {
    journal.note(&Event::Started {
        version: env!("CARGO_PKG_VERSION"),
    });
    // It was read a moment ago; where it is gone since, the record shows the digest of nothing.
    let content = std::fs::read(&config.file).unwrap_or_default();
    journal.note(&Event::Configuration {
        file: config.file.display().to_string(),
        sha256: hex::encode(sha256(&[&content])),
    });
    for certificate in certificates {
        journal.note(certificate);
    }
}

/// The thread.
#[derive(Debug)]
pub struct Chronicle {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Chronicle {
    pub fn begin(
        journal: Journal,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        tsus: Vec<String>,
        inbox: Inbox,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let mut watch = Watch {
            journal,
            clock,
            metrics,
            inbox,
            proven: None,
            refused: tsus
                .iter()
                .flat_map(|tsu| outcomes().map(|outcome| (tsu.clone(), outcome, 0)))
                .collect(),
        };
        let thread = std::thread::Builder::new().name("chronicle".into());
        let thread = thread.spawn(move || {
            let mut counted = Instant::now();
            loop {
                watch.look();
                if counted.elapsed() >= REFUSALS {
                    watch.count_refusals();
                    counted = Instant::now();
                }
                if stopped.recv_timeout(LOOK) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break watch.count_refusals();
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Puts the last refusals on record and ends.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

fn outcomes() -> impl Iterator<Item = Outcome> {
    let failures = FailInfo::ALL.into_iter().map(Outcome::Rejected);
    failures.chain([Outcome::Busy])
}

struct Watch {
    journal: Journal,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    inbox: Inbox,
    proven: Option<bool>,
    /// How many were on record already.
    refused: Vec<(String, Outcome, u64)>,
}

impl Watch {
    fn look(&mut self) {
        self.metrics.journal(self.journal.figures());
        let time = self.clock.trusted();
        if self.proven.replace(time.is_ok()) != Some(time.is_ok()) {
            self.journal.note(&match time {
                Ok(time) => match time.basis() {
                    Basis::Proven => Event::ClockProven {
                        bound_us: u64::try_from(time.bound().as_micros()).unwrap_or(u64::MAX),
                    },
                    Basis::Demo => Event::ClockDemo {},
                },
                Err(unproven) => Event::ClockLost {
                    reason: unproven.to_string(),
                },
            });
        }
        self.inbox.take(&self.journal);
    }

    fn count_refusals(&mut self) {
        for (tsu, outcome, recorded) in &mut self.refused {
            let total = self.metrics.refusals(tsu, *outcome);
            let count = total.saturating_sub(*recorded);
            if count > 0 {
                self.journal.note(&Event::Refusals {
                    tsu: tsu.clone(),
                    failure: outcome.label().to_owned(),
                    count,
                });
            }
            *recorded = total;
        }
    }
}
