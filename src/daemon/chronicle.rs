//! What the journal is told beside tokens: [`started`] and [`configured`] at the start, the latter at each reload too, and
//! [`Chronicle`] what happens meanwhile, on a thread of its own: the clock proven or lost, our own certificates revoked,
//! refusals by count, and what the command line has left in the journal's inbox.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    audit::event::Event,
    clock::{Basis, Clock, Transition},
    config::Config,
    io::{
        feed::{Orders, World},
        journal::{
            Journal,
            inbox::{Inbox, Request},
        },
        leap_table, logging,
        metrics::Metrics,
    },
    service::{
        code,
        own_certificates::{Change, OwnCertificates},
        timestamp::Outcome,
    },
    wire::{crl::reason_name, time::Seconds, tsp::FailInfo},
};

/// How often the clock and the inbox are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a start may take to prove the clock before that is said: ten good polls are three seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the table of leap seconds is read.
const LEAP_TABLE: Duration = Duration::from_secs(3_600);

/// Over how long refusals are counted for one record.
const REFUSALS: Duration = Duration::from_secs(60);

/// Puts on record that the appliance begins to serve.
pub fn started(journal: &Journal) {
    journal.note(&Event::Started {
        version: env!("CARGO_PKG_VERSION"),
    });
}

/// Puts on record by what configuration is served from now on, and which certificates sign.
pub fn configured(journal: &Journal, config: &Config, certificates: &[Event]) {
    journal.note(&Event::Configuration {
        file: config.file.display().to_string(),
        sha256: hex::encode(config.sha256),
    });
    for certificate in certificates {
        journal.note(certificate);
    }
}

/// What a configuration has to be watched.
pub struct Subjects {
    /// The TSUs whose refusals are counted.
    pub tsus: Vec<String>,
    pub own_certificates: OwnCertificates,
    pub feeds: Orders,
}

/// The thread.
pub struct Chronicle {
    eyes: Eyes,
    /// Where a configuration that has come into force is told, and the thread; none once it is stopped.
    thread: Option<(mpsc::Sender<Subjects>, JoinHandle<()>)>,
}

impl Chronicle {
    pub fn begin(
        world: &World,
        subjects: Subjects,
        inbox: Inbox,
        leap_table: Option<PathBuf>,
    ) -> std::io::Result<Self> {
        let (changes, changed) = mpsc::channel();
        let eyes = Eyes {
            journal: world.journal.clone(),
            clock: Arc::clone(&world.clock),
            metrics: Arc::clone(&world.metrics),
        };
        let mut watch = Watch {
            eyes: eyes.clone(),
            own_certificates: OwnCertificates::default(),
            inbox,
            feeds: subjects.feeds.clone(),
            proven: None,
            unproven_since: Some(Instant::now()),
            leap_table,
            table_read: None,
            refused: Vec::new(),
        };
        // Before anything is served: what was revoked while the appliance stood still must not sign even once.
        eyes.look_at(&subjects.own_certificates);
        watch.change(subjects);
        let thread = std::thread::Builder::new().name("chronicle".into());
        let thread = thread.spawn(move || {
            let mut counted = Instant::now();
            loop {
                watch.look();
                if counted.elapsed() >= REFUSALS {
                    watch.count_refusals();
                    counted = Instant::now();
                }
                match changed.recv_timeout(LOOK) {
                    Ok(subjects) => watch.change(subjects),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break watch.count_refusals(),
                }
            }
        })?;
        Ok(Self {
            eyes,
            thread: Some((changes, thread)),
        })
    }

    /// Watches these from now on. What is revoked among them has stopped when this returns, and so before they serve.
    pub fn change(&self, subjects: Subjects) {
        self.eyes.look_at(&subjects.own_certificates);
        if let Some((changes, _)) = &self.thread {
            let _ = changes.send(subjects);
        }
    }

    /// Puts the last refusals on record and ends.
    pub fn stop(&mut self) {
        if let Some((changes, thread)) = self.thread.take() {
            drop(changes);
            let _ = thread.join();
        }
    }
}

fn outcomes() -> impl Iterator<Item = Outcome> {
    let failures = FailInfo::ALL.into_iter().map(Outcome::Rejected);
    failures.chain([Outcome::Busy])
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn event(transition: &Transition) -> Event {
    match transition {
        Transition::Proven { bound } => Event::ClockProven {
            bound_us: micros(*bound),
        },
        Transition::Degraded { bound } => Event::ClockDegraded {
            bound_us: micros(*bound),
        },
        Transition::Lost {
            reason,
            last_proven,
        } => Event::ClockLost {
            reason: reason.to_string(),
            last_proven: last_proven.map(|time| Seconds::new(time.as_secs()).to_string()),
        },
        Transition::Stepped { by } => Event::ClockStepped {
            by_us: micros(*by),
            slept: false,
        },
        Transition::Suspended { slept } => Event::ClockStepped {
            by_us: micros(*slept),
            slept: true,
        },
        Transition::Latched { losses } => Event::ClockLatched { losses: *losses },
        Transition::Reset => Event::ClockReset {},
        Transition::LeapAnnounced { insert, at } => Event::LeapSecond {
            phase: "announced",
            at: Some(Seconds::new(at.as_secs()).to_string()),
            inserted: Some(*insert),
        },
        Transition::LeapStarted => leap("started"),
        Transition::LeapEnded => leap("ended"),
    }
}

const fn leap(phase: &'static str) -> Event {
    Event::LeapSecond {
        phase,
        at: None,
        inserted: None,
    }
}

/// A line an operator can act on.
fn say(transition: &Transition) {
    match transition {
        Transition::Proven { bound } => {
            tracing::info!(
                code = code::CLOCK_LOST,
                "clock: proven, within {} us of UTC",
                bound.as_micros()
            );
        }
        Transition::Degraded { bound } => tracing::warn!(
            code = code::CLOCK_DEGRADED,
            "clock: degraded, within {} us of UTC; tokens are issued, but look at `gnomon clock`",
            bound.as_micros()
        ),
        Transition::Lost { reason, .. } => {
            tracing::error!(
                code = code::CLOCK_LOST,
                "clock: lost, no token is issued: {reason}"
            );
        }
        Transition::Stepped { by } => {
            tracing::error!(
                code = code::CLOCK_STEPPED,
                "clock: it was stepped by {} us",
                by.as_micros()
            );
        }
        Transition::Suspended { slept } => {
            tracing::error!(
                code = code::HOST_SLEPT,
                "clock: the host slept for {} ms",
                slept.as_millis()
            );
        }
        Transition::Latched { losses } => tracing::error!(
            code = code::CLOCK_LATCHED,
            "clock: lost {losses} times in a short time; no token is issued until you have looked and say `gnomon clock \
             reset`"
        ),
        Transition::Reset => {
            tracing::info!(code = code::CLOCK_LATCHED, "clock: reset by the operator")
        }
        Transition::LeapAnnounced { at, .. } => tracing::info!(
            "clock: a leap second is announced before {}",
            Seconds::new(at.as_secs())
        ),
        Transition::LeapStarted => {
            tracing::warn!(
                code = code::LEAP_SECOND,
                "clock: a leap second is due; no token is issued until it is over"
            );
        }
        Transition::LeapEnded => {
            tracing::info!(code = code::LEAP_SECOND, "clock: the leap second is over")
        }
    }
}

fn alarm(change: &Change) {
    let (of, subject, serial) = (&change.of, &change.subject, hex::encode(&change.serial));
    match change.revocation {
        Some(revocation) => tracing::error!(
            code = code::OWN_CERTIFICATE,
            "ALARM: {of}: its certificate {subject} (serial {serial}) was revoked on {} ({}), so its key signs nothing \
             any more; find out why, and give it a new key and certificate",
            revocation.time,
            reason_name(revocation.reason)
        ),
        None => tracing::warn!(
            code = code::OWN_CERTIFICATE,
            "{of}: its certificate {subject} (serial {serial}) is no longer revoked; its key signs again"
        ),
    }
}

/// What a look needs.
#[derive(Clone)]
struct Eyes {
    journal: Journal,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Eyes {
    fn look_at(&self, own_certificates: &OwnCertificates) {
        for change in own_certificates.look(self.clock.reading()) {
            self.journal.note(&change.event());
            alarm(&change);
        }
        self.metrics.own_certificates(own_certificates.revoked());
    }
}

struct Watch {
    eyes: Eyes,
    own_certificates: OwnCertificates,
    inbox: Inbox,
    feeds: Orders,
    proven: Option<bool>,
    /// The start, until the clock is proven for the first time or it was said that it is not.
    unproven_since: Option<Instant>,
    leap_table: Option<PathBuf>,
    table_read: Option<Instant>,
    /// How many were on record already.
    refused: Vec<(String, Outcome, u64)>,
}

impl Watch {
    fn change(&mut self, subjects: Subjects) {
        self.own_certificates = subjects.own_certificates;
        self.feeds = subjects.feeds;
        for tsu in subjects.tsus {
            if self.refused.iter().any(|(known, ..)| *known == tsu) {
                continue;
            }
            let fresh = outcomes().map(|outcome| (tsu.clone(), outcome, 0));
            self.refused.extend(fresh);
        }
    }

    fn look(&mut self) {
        self.eyes.look_at(&self.own_certificates);
        self.eyes.metrics.journal(self.eyes.journal.figures());
        self.eyes.metrics.sample();
        logging::tick();
        match self.eyes.clock.news() {
            Some(news) => {
                for transition in news {
                    let event = event(&transition);
                    say(&transition);
                    self.eyes.journal.note(&event);
                }
            }
            None => self.look_at_plain_clock(),
        }
        let time = self.eyes.clock.trusted();
        if let (Err(unproven), Some(begun)) = (&time, self.unproven_since)
            && begun.elapsed() >= PATIENCE
        {
            // A loss is told when it happens; this is for a clock that was never proven at all.
            tracing::warn!(
                code = code::CLOCK_NOT_YET_PROVEN,
                "clock: not yet proven, no token is issued: {unproven}"
            );
            self.unproven_since = None;
        }
        if time.is_ok() {
            self.unproven_since = None;
        }
        self.eyes
            .metrics
            .clock(&time, self.eyes.clock.status().as_deref());
        for request in self.inbox.take(&self.eyes.journal) {
            match request {
                Request::ResetClock => self.eyes.clock.reset(),
                Request::ResetMarks { issuer, source } => self.feeds.reset(&issuer, source),
            }
        }
        if self
            .table_read
            .is_none_or(|read| read.elapsed() >= LEAP_TABLE)
        {
            self.table_read = Some(Instant::now());
            self.look_at_leap_table();
        }
    }

    /// A clock that keeps no account of itself.
    fn look_at_plain_clock(&mut self) {
        let time = self.eyes.clock.trusted();
        let before = self.proven.replace(time.is_ok());
        if before == Some(time.is_ok()) {
            return;
        }
        let transition = match time {
            Ok(time) if time.basis() == Basis::Demo => {
                self.eyes.journal.note(&Event::ClockDemo {});
                return;
            }
            Ok(time) => Transition::Proven {
                bound: time.bound(),
            },
            Err(reason) => Transition::Lost {
                reason,
                last_proven: None,
            },
        };
        // A start that waits for the clock says so by itself.
        if time.is_ok() || before.is_some() {
            say(&transition);
        }
        self.eyes.journal.note(&event(&transition));
    }

    /// A table that has expired may lack a leap second that is due.
    fn look_at_leap_table(&self) {
        let Some(path) = &self.leap_table else {
            return;
        };
        let expiry = leap_table::expiry(path);
        self.eyes.metrics.leap_table(expiry.as_ref().ok().copied());
        match expiry {
            Ok(expiry) if expiry > self.eyes.clock.reading() => {}
            Ok(expiry) => tracing::warn!(
                code = code::LEAP_TABLE,
                "{}: the table of leap seconds has expired on {expiry}; update the package tzdata",
                path.display()
            ),
            Err(error) => tracing::warn!(code = code::LEAP_TABLE, "{}: {error}", path.display()),
        }
    }

    fn count_refusals(&mut self) {
        for (tsu, outcome, recorded) in &mut self.refused {
            let total = self.eyes.metrics.time_stamps(tsu, *outcome);
            let count = total.saturating_sub(*recorded);
            if count > 0 {
                self.eyes.journal.note(&Event::Refusals {
                    tsu: tsu.clone(),
                    failure: outcome.label().to_owned(),
                    count,
                });
            }
            *recorded = total;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt, sync::Mutex};

    use tracing::{Subscriber, field};
    use tracing_subscriber::{
        Registry,
        layer::{Context, Layer, SubscriberExt},
    };

    use super::*;
    use crate::{
        clock::{
            TrustedTime, Unproven,
            discipline::{KernelReport, judge_kernel},
        },
        io::{feed::Followers, journal},
    };

    /// As the kernel's clock: it keeps no account of itself.
    struct Plain(Mutex<Result<TrustedTime, Unproven>>);

    impl Clock for Plain {
        fn trusted(&self) -> Result<TrustedTime, Unproven> {
            *self.0.lock().unwrap()
        }

        fn reading(&self) -> Seconds {
            Seconds::EPOCH
        }
    }

    /// Keeps what is said: the level and the message.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Said {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut message = String::new();
            event.record(&mut |field: &field::Field, value: &dyn fmt::Debug| {
                if field.name() == "message" {
                    message = format!("{value:?}");
                }
            });
            let level = event.metadata().level();
            self.0.lock().unwrap().push(format!("{level} {message}"));
        }
    }

    #[test]
    fn a_clock_without_an_account_is_said_to_be_lost_and_proven() {
        let dir = std::env::temp_dir().join(format!("gnomon-chronicle-{}", std::process::id()));
        let opened = journal::testing::open(&dir);
        let report = |unsynchronised| KernelReport {
            realtime: Duration::from_secs(1_800_000_000),
            unsynchronised,
            max_error: Duration::from_millis(1),
            leap: false,
        };
        let [proven, lost] =
            [false, true].map(|lost| judge_kernel(&report(lost), Duration::from_millis(5)));
        let clock = Arc::new(Plain(Mutex::new(lost)));
        let mut watch = Watch {
            eyes: Eyes {
                journal: opened.journal,
                clock: clock.clone(),
                metrics: Arc::new(Metrics::new().unwrap()),
            },
            own_certificates: OwnCertificates::default(),
            inbox: Inbox::open(&dir).unwrap(),
            feeds: Followers::default().orders(),
            proven: None,
            unproven_since: None,
            leap_table: None,
            table_read: None,
            refused: Vec::new(),
        };
        let said = Said::default();
        let mut look = |time| {
            *clock.0.lock().unwrap() = time;
            let subscriber = Registry::default().with(said.clone());
            tracing::subscriber::with_default(subscriber, || watch.look_at_plain_clock());
            std::mem::take(&mut *said.0.lock().unwrap())
        };
        // The start waits for it, and says so by itself.
        assert_eq!(look(lost), [""; 0]);
        let back = ["INFO clock: proven, within 1000 us of UTC"];
        assert_eq!(look(proven), back);
        assert_eq!(look(proven), [""; 0]);
        let gone = look(lost);
        assert!(
            gone[0].starts_with("ERROR clock: lost, no token is issued: "),
            "{gone:?}"
        );
        assert_eq!((gone.len(), look(lost).len()), (1, 0));
        assert_eq!(look(proven), back);
        opened.threads.close();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
