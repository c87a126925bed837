//! The journal: [`JournalMetrics`].

use std::time::Duration;

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};

use super::{registered, whole};
use crate::io::journal::{Figures, State};

/// How it stands, looked at once a second, and its anchors.
#[derive(Debug)]
pub struct JournalMetrics {
    state: IntGaugeVec,
    records: IntGauge,
    signed: IntGauge,
    free: IntGauge,
    warn_free: IntGauge,
    stop_free: IntGauge,
    anchor_failures: IntCounter,
    anchored_records: IntGauge,
    anchor_time: IntGauge,
}

impl JournalMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help));
        let state = IntGaugeVec::new(
            Opts::new(
                "gnomon_journal_state",
                "1 for the state that the journal is in: running, full (it waits for space), hanging (the disk does not take a write) or stopped (a write failed).",
            ),
            &["state"],
        );
        Ok(Self {
            state: registered(registry, state)?,
            records: gauge(
                "gnomon_journal_records",
                "Records in the journal since its beginning.",
            )?,
            signed: gauge(
                "gnomon_journal_signed_records",
                "Records under the log's last signed checkpoint.",
            )?,
            free: gauge(
                "gnomon_journal_free_bytes",
                "Free space where the journal is.",
            )?,
            warn_free: gauge(
                "gnomon_journal_warn_free_bytes",
                "Free space below which the operator is warned (journal.warn_free).",
            )?,
            stop_free: gauge(
                "gnomon_journal_stop_free_bytes",
                "Free space below which no token is issued (journal.stop_free).",
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
        })
    }

    pub fn show(&self, figures: Figures) {
        self.records.set(whole(figures.records));
        self.signed.set(whole(figures.signed));
        self.free.set(whole(figures.free));
        for state in State::ALL {
            let gauge = self.state.with_label_values(&[state.label()]);
            gauge.set(i64::from(state == figures.state));
        }
    }

    pub fn limits(&self, warn: u64, stop: u64) {
        self.warn_free.set(whole(warn));
        self.stop_free.set(whole(stop));
    }

    pub fn show_anchors(&self, registry: &Registry, shown: bool) -> Result<(), prometheus::Error> {
        let all: [Box<dyn Collector>; 3] = [
            Box::new(self.anchor_failures.clone()),
            Box::new(self.anchored_records.clone()),
            Box::new(self.anchor_time.clone()),
        ];
        for metric in all {
            if shown {
                registry.register(metric)?;
            } else {
                registry.unregister(metric)?;
            }
        }
        Ok(())
    }

    pub fn anchored(&self, records: u64, gen_time: Duration) {
        self.anchored_records.set(whole(records));
        self.anchor_time.set(whole(gen_time.as_secs()));
    }

    pub fn anchor_failed(&self) {
        self.anchor_failures.inc();
    }
}
