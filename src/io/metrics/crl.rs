//! Figures of the CRL feeds: [`CrlMetrics`]. An alert compares nextUpdate with `time()`, and watches the failures.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{registered, whole};
use crate::{revocation::Facts, wire::time::Seconds};

/// By source, which is a file or URL of the configuration.
#[derive(Debug)]
pub struct CrlMetrics {
    this_update: IntGaugeVec,
    next_update: IntGaugeVec,
    entries: IntGaugeVec,
    failures: IntCounterVec,
}

impl CrlMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            registered(
                registry,
                IntGaugeVec::new(Opts::new(name, help), &["source"]),
            )
        };
        let failures = Opts::new(
            "gnomon_crl_failures_total",
            "Times that a CRL could not be fetched, read or accepted.",
        );
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
            failures: registered(registry, IntCounterVec::new(failures, &["source"]))?,
        })
    }

    /// What is in force, and how often the source has failed since this was last told.
    pub fn show(&self, source: &str, crl: Option<&Facts>, failures: u64) {
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
        self.failures.with_label_values(&[source]).inc_by(failures);
    }

    /// The source is no longer followed: what it last had must not be taken for what is in force.
    pub fn forget(&self, source: &str) {
        for gauges in [&self.this_update, &self.next_update, &self.entries] {
            let _ = gauges.remove_label_values(&[source]);
        }
        let _ = self.failures.remove_label_values(&[source]);
    }
}
