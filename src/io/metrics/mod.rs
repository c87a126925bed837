//! What Prometheus scrapes: [`Metrics`]. Every label is one of a fixed set or a configured name, never
//! anything that a client sent.

pub mod clock;
mod connections;
mod crl;
mod handshakes;
mod journal;
mod keys;
mod process;
mod recent;
mod reloads;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use super::journal::Figures;
use crate::{
    clock::{Status, TrustedTime, Unproven},
    ocsp::issuer::Issuers,
    revocation::Facts,
    service::{status, timestamp::Outcome},
    signing::DeviceFigures,
    tsa::set::TsuSet,
    wire::{ocsp_response::ErrorStatus, time::Seconds, tsp::FailInfo},
};

use clock::ClockMetrics;
pub use connections::ConnectionMetrics;
use crl::CrlMetrics;
pub use crl::{CrlAlarm, CrlFailure};
pub use handshakes::{HandshakeFailure, HandshakeMetrics};
use journal::JournalMetrics;
use keys::KeyMetrics;
use process::ProcessMetrics;
use recent::Recent;
pub use recent::{Activity, Counts, INTERVAL};
pub use reloads::Reload;
use reloads::ReloadMetrics;

/// The appliance's counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    time_stamps: IntCounterVec,
    statuses: IntCounterVec,
    /// The busiest series of [`Metrics::statuses`], found once.
    sealed: IntCounter,
    refreshed: IntCounter,
    refusals: IntCounterVec,
    process: ProcessMetrics,
    keys: KeyMetrics,
    journal: JournalMetrics,
    connections: ConnectionMetrics,
    own_certificates: IntGauge,
    clock: ClockMetrics,
    crls: CrlMetrics,
    issued_pushes: IntCounterVec,
    tls_end: IntGaugeVec,
    staple_end: IntGauge,
    failed_handshakes: IntCounterVec,
    time_stamp_seconds: Histogram,
    status_seconds: Histogram,
    reloads: ReloadMetrics,
    /// The names that time-stamps are counted by, those of earlier configurations among them.
    tsus: Mutex<Vec<String>>,
    recent: Recent,
}

/// Requests that reach no service.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    Path,
    Method,
    MediaType,
    Size,
    Slow,
    Broken,
    /// Its end, or whom it is for, can be read in two ways.
    Framing,
    /// Nothing valid was shown where something must be.
    Unauthorized,
    /// A client that may not ask here.
    Forbidden,
    Quota,
    /// Too many passwords wait to be checked.
    PasswordQueue,
}

impl Refusal {
    const ALL: [Self; 11] = [
        Self::Path,
        Self::Method,
        Self::MediaType,
        Self::Size,
        Self::Slow,
        Self::Broken,
        Self::Framing,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Quota,
        Self::PasswordQueue,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::MediaType => "media_type",
            Self::Size => "size",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::Framing => "framing",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::PasswordQueue => "password_queue",
        }
    }
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name: &str, help: &str| {
            // From a sealed answer (tens of microseconds) to an RSA key under load (seconds).
            let buckets = prometheus::exponential_buckets(0.000_05, 2.0, 18)?;
            let options = HistogramOpts::new(name, help).buckets(buckets);
            registered(&registry, Histogram::with_opts(options))
        };
        let statuses = counters(
            "gnomon_ocsp_responses_total",
            "OCSP requests answered, by outcome.",
            &["outcome"],
        )?;
        let metrics = Self {
            time_stamps: counters(
                "gnomon_timestamp_responses_total",
                "Time-stamp requests answered, by TSU and outcome.",
                &["tsu", "outcome"],
            )?,
            process: ProcessMetrics::new(&registry)?,
            keys: KeyMetrics::new(&registry)?,
            journal: JournalMetrics::new(&registry)?,
            connections: ConnectionMetrics::new(&registry)?,
            own_certificates: registered(
                &registry,
                IntGauge::new(
                    "gnomon_own_certificates_revoked",
                    "Certificates of TSUs and responders that are revoked by the CRLs followed here.",
                ),
            )?,
            clock: ClockMetrics::new(&registry)?,
            crls: CrlMetrics::new(&registry)?,
            issued_pushes: counters(
                "gnomon_issued_pushes_total",
                "Pushes of issued serials with the issuer's token, by issuer and HTTP status.",
                &["issuer", "status"],
            )?,
            staple_end: IntGauge::new(
                "gnomon_tls_staple_end_timestamp_seconds",
                "When the OCSP response that is stapled to it ends; 0 while there is none.",
            )?,
            tls_end: IntGaugeVec::new(
                Opts::new(
                    "gnomon_tls_end_timestamp_seconds",
                    "When the certificate that TLS clients are shown ends, by listener (tls, admin).",
                ),
                &["listener"],
            )?,
            failed_handshakes: handshakes::counters()?,
            sealed: statuses.with_label_values(&["sealed"]),
            statuses,
            refreshed: registered(
                &registry,
                IntCounter::new(
                    "gnomon_ocsp_refreshed_total",
                    "Sealed answers signed again before a client had to wait for it.",
                ),
            )?,
            refusals: counters(
                "gnomon_http_refusals_total",
                "HTTP requests that reached no service, by reason.",
                &["reason"],
            )?,
            time_stamp_seconds: histogram(
                "gnomon_timestamp_duration_seconds",
                "From a time-stamp request's header to its answer.",
            )?,
            status_seconds: histogram(
                "gnomon_ocsp_duration_seconds",
                "From an OCSP request's header to its answer.",
            )?,
            reloads: ReloadMetrics::new(&registry)?,
            registry,
            tsus: Mutex::default(),
            recent: Recent::default(),
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// The keys whose end and devices are shown from now on, and the TSUs that time-stamps are counted by.
    pub fn watch(&self, tsus: Option<&TsuSet>, issuers: Option<&Issuers>) {
        self.keys.watch(tsus, issuers);
        let mut known = self.tsus.lock().unwrap_or_else(PoisonError::into_inner);
        for tsu in tsus.map(TsuSet::all).unwrap_or_default() {
            if !known.iter().any(|name| name == tsu.name()) {
                known.push(tsu.name().to_owned());
                self.start_tsu_at_zero(tsu.name());
            }
        }
    }

    /// A configuration is in force.
    pub fn configured(&self, now: Seconds) {
        self.reloads.configured(now);
    }

    /// The configuration was to be read again, and whether the new one is in force.
    pub fn reloaded(&self, outcome: Reload) {
        self.reloads.reloaded(outcome);
    }

    /// Whether the appliance can do its work.
    pub fn ready(&self, is_ready: bool) {
        self.process.ready(is_ready);
    }

    /// Where connections of the public listener are counted.
    pub fn connections(&self) -> ConnectionMetrics {
        self.connections.clone()
    }

    /// Where the failed handshakes of a listener (`tls`, `admin`) are counted.
    pub fn handshakes(&self, listener: &'static str) -> HandshakeMetrics {
        HandshakeMetrics::new(&self.failed_handshakes, listener)
    }

    /// From now on there is TLS at this listener: the end of its certificate, and handshakes.
    pub fn show_tls(&self, listener: &'static str) -> Result<(), prometheus::Error> {
        self.handshakes(listener).start_at_zero();
        let handshakes = Box::new(self.failed_handshakes.clone());
        for shown in [
            self.registry.register(Box::new(self.tls_end.clone())),
            self.registry.register(handshakes),
        ] {
            match shown {
                Err(prometheus::Error::AlreadyReg) => {}
                registered => registered?,
            }
        }
        Ok(())
    }

    /// From now on there is the end of what is stapled to it, or no longer.
    pub fn show_staple(&self, shown: bool) -> Result<(), prometheus::Error> {
        let gauge = Box::new(self.staple_end.clone());
        let done = match shown {
            true => self.registry.register(gauge),
            false => self.registry.unregister(gauge),
        };
        match done {
            // As it was before.
            Err(prometheus::Error::AlreadyReg | prometheus::Error::Msg(_)) => Ok(()),
            done => done,
        }
    }

    /// When the stapled response ends; `None` while there is none.
    pub fn staple_end(&self, end: Option<Seconds>) {
        self.staple_end.set(whole(end.map_or(0, Seconds::get)));
    }

    /// When the certificate for TLS ends. An alert days before leaves the time to renew it.
    pub fn tls_end(&self, listener: &str, end: Seconds) {
        self.tls_end
            .with_label_values(&[listener])
            .set(whole(end.get()));
    }

    /// How the clock is doing.
    pub fn clock(&self, time: &Result<TrustedTime, Unproven>, status: Option<&Status>) {
        self.clock.show(time, status);
    }

    /// When the table of leap seconds expires, where it can be read.
    pub fn leap_table(&self, expiry: Option<Seconds>) {
        self.clock.leap_table(expiry);
    }

    /// How a push of serials that this issuer has issued was answered.
    pub fn issued_push(&self, issuer: &str, status: u16) {
        let labels = [issuer, &status.to_string()];
        self.issued_pushes.with_label_values(&labels).inc();
    }

    /// How a CRL source stands, and its failures since this was last told.
    pub fn crl(&self, source: &str, crl: Option<&Facts>, failures: &[CrlFailure]) {
        self.crls.show(source, crl, failures);
    }

    /// Something about CRLs needs an operator, whatever comes next.
    pub fn crl_alarm(&self, alarm: CrlAlarm) {
        self.crls.alarm(alarm);
    }

    /// The CRL source is no longer followed.
    pub fn forget_crl(&self, source: &str) {
        self.crls.forget(source);
    }

    /// How many of our own certificates are revoked.
    pub fn own_certificates(&self, revoked: usize) {
        let revoked = i64::try_from(revoked).unwrap_or(i64::MAX);
        self.own_certificates.set(revoked);
    }

    /// How the journal stands.
    pub fn journal(&self, figures: Figures) {
        self.journal.show(figures);
    }

    /// Below how many free octets the operator is warned, and no token is issued.
    pub fn journal_limits(&self, warn: u64, stop: u64) {
        self.journal.limits(warn, stop);
    }

    /// Shows the figures of anchors, or no longer. They are there only where another TSA is configured: a time that never
    /// moves would be an alarm.
    pub fn show_anchors(&self, shown: bool) -> Result<(), prometheus::Error> {
        self.journal.show_anchors(&self.registry, shown)
    }

    /// The checkpoint over this many records has been anchored.
    pub fn anchored(&self, records: u64, gen_time: Duration) {
        self.journal.anchored(records, gen_time);
    }

    /// A checkpoint could not be anchored.
    pub fn anchor_failed(&self) {
        self.journal.anchor_failed();
    }

    /// How many requests of a TSU have come to this since the start.
    pub fn time_stamps(&self, tsu: &str, outcome: Outcome) -> u64 {
        let counter = self.time_stamps.with_label_values(&[tsu, outcome.label()]);
        counter.get()
    }

    /// One time-stamp request was answered.
    pub fn time_stamp(&self, tsu: &str, outcome: Outcome, taken: Duration) {
        self.time_stamps
            .with_label_values(&[tsu, outcome.label()])
            .inc();
        self.time_stamp_seconds.observe(taken.as_secs_f64());
    }

    /// One OCSP request was answered.
    pub fn status(&self, reply: &status::Reply, taken: Duration) {
        match reply {
            status::Reply::Sealed(_) => self.sealed.inc(),
            other => self.statuses.with_label_values(&[other.label()]).inc(),
        }
        self.status_seconds.observe(taken.as_secs_f64());
    }

    /// One sealed answer was signed again.
    pub fn refreshed(&self) {
        self.refreshed.inc();
    }

    /// One request reached no service.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals.with_label_values(&[refusal.label()]).inc();
    }

    /// To be called about once a second, so that [`Metrics::activity`] knows the last half hour.
    pub fn sample(&self) {
        self.recent.sample(|| self.counts());
    }

    /// What was answered and refused, in all and lately.
    pub fn activity(&self) -> Activity {
        self.recent.activity(self.counts())
    }

    /// All devices with keys together, if there are any.
    pub fn devices(&self) -> Option<DeviceFigures> {
        self.keys.devices()
    }

    fn counts(&self) -> Counts {
        let sum = |labels: &[&str]| {
            let counts = labels
                .iter()
                .map(|label| self.statuses.with_label_values(&[label]));
            counts.map(|counter| counter.get()).sum()
        };
        let (mut tokens, mut refused) = (0, 0);
        let tsus = self.tsus.lock().unwrap_or_else(PoisonError::into_inner);
        for tsu in tsus.iter() {
            tokens += self.time_stamps(tsu, Outcome::Granted);
            let failures = FailInfo::ALL.map(Outcome::Rejected);
            let failures = failures.iter().chain(&[Outcome::Busy]);
            refused += failures
                .map(|outcome| self.time_stamps(tsu, *outcome))
                .sum::<u64>();
        }
        let unserved =
            Refusal::ALL.map(|one| self.refusals.with_label_values(&[one.label()]).get());
        Counts([
            tokens,
            refused,
            sum(&["sealed", "fresh"]),
            sum(&ErrorStatus::ALL.map(ErrorStatus::name)),
            unserved.iter().sum(),
            self.devices().unwrap_or_default().signatures,
        ])
    }

    /// All of it in Prometheus' text format.
    pub fn text(&self) -> Vec<u8> {
        self.keys.look();
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    /// A series that appears only with its first event hides that event from `rate()`.
    fn start_at_zero(&self) {
        let errors = ErrorStatus::ALL.map(ErrorStatus::name);
        for outcome in errors.iter().chain(&["fresh"]) {
            self.statuses.with_label_values(&[outcome]);
        }
        for refusal in Refusal::ALL {
            self.refusals.with_label_values(&[refusal.label()]);
        }
    }

    fn start_tsu_at_zero(&self, tsu: &str) {
        let failures = FailInfo::ALL.map(Outcome::Rejected);
        for outcome in failures.iter().chain(&[Outcome::Granted, Outcome::Busy]) {
            self.time_stamps.with_label_values(&[tsu, outcome.label()]);
        }
    }
}

/// A metric that is scraped from now on.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<C, prometheus::Error>,
) -> Result<C, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// A gauge's value.
fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
