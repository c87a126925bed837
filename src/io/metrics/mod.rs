//! What Prometheus scrapes: [`Metrics`]. Every label is one of a fixed set or a configured name, never
//! anything that a client sent.

pub mod clock;
mod crl;

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::journal::Figures;
use crate::{
    clock::{Status, TrustedTime, Unproven},
    revocation::Facts,
    service::{status, timestamp::Outcome},
    wire::{ocsp_response::ErrorStatus, time::Seconds, tsp::FailInfo},
};

use clock::ClockMetrics;
use crl::CrlMetrics;

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
    key_ends: IntGaugeVec,
    journal_records: IntGauge,
    journal_signed: IntGauge,
    journal_free: IntGauge,
    own_certificates: IntGauge,
    clock: ClockMetrics,
    crls: CrlMetrics,
    issued_pushes: IntCounterVec,
    anchor_failures: IntCounter,
    anchored_records: IntGauge,
    anchor_time: IntGauge,
    time_stamp_seconds: Histogram,
    status_seconds: Histogram,
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
}

impl Refusal {
    const ALL: [Self; 6] = [
        Self::Path,
        Self::Method,
        Self::MediaType,
        Self::Size,
        Self::Slow,
        Self::Broken,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::MediaType => "media_type",
            Self::Size => "size",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }
}

impl Metrics {
    /// `tsus`: the names that time-stamps are counted by.
    pub fn new(tsus: &[String]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let histogram = |name: &str, help: &str| {
            // From a sealed answer (tens of microseconds) to an RSA key under load (seconds).
            let buckets = prometheus::exponential_buckets(0.000_05, 2.0, 18)?;
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let key_ends = IntGaugeVec::new(
            Opts::new(
                "gnomon_key_end_timestamp_seconds",
                "When the last key that is configured stops signing, by TSU.",
            ),
            &["tsu"],
        )?;
        registry.register(Box::new(key_ends.clone()))?;
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
            key_ends,
            journal_records: gauge(
                "gnomon_journal_records",
                "Records in the journal since its beginning.",
            )?,
            journal_signed: gauge(
                "gnomon_journal_signed_records",
                "Records under the log's last signed checkpoint.",
            )?,
            journal_free: gauge(
                "gnomon_journal_free_bytes",
                "Free space where the journal is.",
            )?,
            own_certificates: gauge(
                "gnomon_own_certificates_revoked",
                "Certificates of TSUs and responders that are revoked by the CRLs followed here.",
            )?,
            clock: ClockMetrics::new(&registry)?,
            crls: CrlMetrics::new(&registry)?,
            issued_pushes: counters(
                "gnomon_issued_pushes_total",
                "Pushes of issued serials with the issuer's token, by issuer and HTTP status.",
                &["issuer", "status"],
            )?,
            anchor_failures: IntCounter::new(
                "gnomon_journal_anchor_failures_total",
                "Times that the checkpoint could not be time-stamped by the other TSA.",
            )?,
            anchored_records: IntGauge::new(
                "gnomon_journal_anchored_records",
                "Records under the last checkpoint that the other TSA has time-stamped.",
            )?,
            anchor_time: IntGauge::new(
                "gnomon_journal_anchor_timestamp_seconds",
                "When that was, by the time-stamp; 0 before the first.",
            )?,
            sealed: statuses.with_label_values(&["sealed"]),
            statuses,
            refreshed: {
                let counter = IntCounter::new(
                    "gnomon_ocsp_refreshed_total",
                    "Sealed answers signed again before a client had to wait for it.",
                )?;
                registry.register(Box::new(counter.clone()))?;
                counter
            },
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
            registry,
        };
        metrics.start_at_zero(tsus);
        Ok(metrics)
    }

    /// When a TSU's last key stops signing. An alert weeks before leaves the time for a successor.
    pub fn key_end(&self, tsu: &str, end: Seconds) {
        let gauge = self.key_ends.with_label_values(&[tsu]);
        gauge.set(i64::try_from(end.get()).unwrap_or(i64::MAX));
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

    /// How a CRL source stands.
    pub fn crl(&self, source: &str, crl: Option<&Facts>, failures: u64) {
        self.crls.show(source, crl, failures);
    }

    /// How many of our own certificates are revoked.
    pub fn own_certificates(&self, revoked: usize) {
        let revoked = i64::try_from(revoked).unwrap_or(i64::MAX);
        self.own_certificates.set(revoked);
    }

    /// How the journal stands.
    pub fn journal(&self, figures: Figures) {
        let set = |gauge: &IntGauge, value| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.journal_records, figures.records);
        set(&self.journal_signed, figures.signed);
        set(&self.journal_free, figures.free);
    }

    /// Shows the figures of anchors, which are there only where another TSA is configured: a time that never
    /// moves would be an alarm.
    pub fn show_anchors(&self) -> Result<(), prometheus::Error> {
        self.registry
            .register(Box::new(self.anchor_failures.clone()))?;
        self.registry
            .register(Box::new(self.anchored_records.clone()))?;
        self.registry.register(Box::new(self.anchor_time.clone()))
    }

    /// The checkpoint over this many records has been anchored.
    pub fn anchored(&self, records: u64, gen_time: Duration) {
        let set = |gauge: &IntGauge, value| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.anchored_records, records);
        set(&self.anchor_time, gen_time.as_secs());
    }

    /// A checkpoint could not be anchored.
    pub fn anchor_failed(&self) {
        self.anchor_failures.inc();
    }

    /// How many requests a TSU has refused for this reason since the start.
    pub fn refusals(&self, tsu: &str, outcome: Outcome) -> u64 {
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

    /// All of it in Prometheus' text format.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    /// A series that appears only with its first event hides that event from `rate()`.
    fn start_at_zero(&self, tsus: &[String]) {
        let failures = FailInfo::ALL.map(Outcome::Rejected);
        for tsu in tsus {
            for outcome in failures.iter().chain(&[Outcome::Granted, Outcome::Busy]) {
                self.time_stamps
                    .with_label_values(&[tsu.as_str(), outcome.label()]);
            }
        }
        let errors = ErrorStatus::ALL.map(ErrorStatus::name);
        for outcome in errors.iter().chain(&["fresh"]) {
            self.statuses.with_label_values(&[outcome]);
        }
        for refusal in Refusal::ALL {
            self.refusals.with_label_values(&[refusal.label()]);
        }
    }
}
