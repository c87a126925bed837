//! Figures of the CRL feeds: [`CrlMetrics`]. An alert compares nextUpdate with `time()`, and watches failures and alarms.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{registered, whole};
use crate::{revocation::Facts, wire::time::Seconds};

/// Why a source has given no CRL that could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlFailure {
    /// Nothing is there that could be refused.
    Unreachable,
    Size,
    Format,
    /// Another one, or a key that may not sign CRLs.
    Issuer,
    Signature,
    /// Of other certificates, or complete where a delta is wanted, or the reverse.
    Scope,
    /// A delta whose base has not come yet.
    Base,
    Dates,
    /// It went back.
    Number,
    /// It is that of another CRL.
    SameNumber,
}

/// What needs an operator though CRLs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlAlarm {
    /// Kept CRLs were put back.
    RolledBack,
    Disappeared,
    /// The list of what stays revoked is damaged.
    Retained,
    /// The store of the CRL feeds.
    Store,
}

/// By source, which is a file or URL of the configuration.
#[derive(Debug)]
pub struct CrlMetrics {
    this_update: IntGaugeVec,
    next_update: IntGaugeVec,
    entries: IntGaugeVec,
    failures: IntCounterVec,
    alarms: IntCounterVec,
}

impl CrlFailure {
    const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Size,
        Self::Format,
        Self::Issuer,
        Self::Signature,
        Self::Scope,
        Self::Base,
        Self::Dates,
        Self::Number,
        Self::SameNumber,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Size => "size",
            Self::Format => "format",
            Self::Issuer => "issuer",
            Self::Signature => "signature",
            Self::Scope => "scope",
            Self::Base => "base",
            Self::Dates => "dates",
            Self::Number => "number",
            Self::SameNumber => "same_number",
        }
    }
}

impl CrlAlarm {
    const ALL: [Self; 4] = [
        Self::RolledBack,
        Self::Disappeared,
        Self::Retained,
        Self::Store,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::Disappeared => "disappeared",
            Self::Retained => "retained",
            Self::Store => "store",
        }
    }
}

impl CrlMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            registered(
                registry,
                IntGaugeVec::new(Opts::new(name, help), &["source"]),
            )
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let alarms = counter(
            "gnomon_crl_alarms_total",
            "Times that something about CRLs needed an operator, whatever came next.",
            &["kind"],
        )?;
        for alarm in CrlAlarm::ALL {
            alarms.with_label_values(&[alarm.label()]);
        }
        Ok(Self {
            this_update: gauge(
                "gnomon_crl_this_update_timestamp_seconds",
                "thisUpdate of the CRL in force.",
            )?,
            next_update: gauge(
                "gnomon_crl_next_update_timestamp_seconds",
                "nextUpdate of the CRL in force; 0 where there is none yet.",
            )?,
            entries: gauge(
                "gnomon_crl_entries",
                "Serials that the CRL in force revokes.",
            )?,
            failures: counter(
                "gnomon_crl_failures_total",
                "Times that a CRL could not be fetched, read or accepted, by reason.",
                &["source", "reason"],
            )?,
            alarms,
        })
    }

    /// What is in force, and the source's failures since this was last told.
    pub fn show(&self, source: &str, crl: Option<&Facts>, failures: &[CrlFailure]) {
        let set = |gauges: &IntGaugeVec, value: u64| {
            let gauge = gauges.with_label_values(&[source]);
            gauge.set(whole(value));
        };
        let this_update = crl.map_or(Seconds::EPOCH, Facts::this_update);
        let next_update = crl.map_or(Seconds::EPOCH, Facts::next_update);
        let entries = crl.map_or(0, Facts::len);
        set(&self.this_update, this_update.get());
        set(&self.next_update, next_update.get());
        set(&self.entries, u64::try_from(entries).unwrap_or(u64::MAX));
        // Those too that have not happened: what begins above 0 has not increased.
        for reason in CrlFailure::ALL {
            let counter = self.failures.with_label_values(&[source, reason.label()]);
            let new = failures.iter().filter(|failure| **failure == reason);
            new.for_each(|_| counter.inc());
        }
    }

    pub fn alarm(&self, alarm: CrlAlarm) {
        self.alarms.with_label_values(&[alarm.label()]).inc();
    }

    /// The source is no longer followed: what it last had must not be taken for what is in force.
    pub fn forget(&self, source: &str) {
        for gauges in [&self.this_update, &self.next_update, &self.entries] {
            let _ = gauges.remove_label_values(&[source]);
        }
        for reason in CrlFailure::ALL {
            let labels = [source, reason.label()];
            let _ = self.failures.remove_label_values(&labels);
        }
    }
}
