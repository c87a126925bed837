//! What has become of reloads, and of when the configuration in force is: [`ReloadMetrics`].

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::{registered, whole};
use crate::wire::time::Seconds;

/// What a reload has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// What the file says is in force.
    Done,
    /// What was in force stays so.
    Refused,
}

impl Reload {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

#[derive(Debug)]
pub struct ReloadMetrics {
    reloads: IntCounterVec,
    configured: IntGauge,
    current: IntGauge,
}

impl ReloadMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = Opts::new(
            "gnomon_reloads_total",
            "Times that the configuration was to be read again, by outcome (done, refused).",
        );
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help));
        let metrics = Self {
            reloads: registered(registry, IntCounterVec::new(reloads, &["outcome"]))?,
            configured: gauge(
                "gnomon_configuration_timestamp_seconds",
                "When the configuration in force was taken up, at the start or by a reload.",
            )?,
            current: gauge(
                "gnomon_configuration_current",
                "1, or 0 where the last reload was refused, so that what is in force is not what the file says.",
            )?,
        };
        for outcome in [Reload::Done, Reload::Refused] {
            metrics.reloads.with_label_values(&[outcome.label()]);
        }
        Ok(metrics)
    }

    pub fn configured(&self, now: Seconds) {
        self.configured.set(whole(now.get()));
        self.current.set(1);
    }

    pub fn reloaded(&self, outcome: Reload) {
        self.reloads.with_label_values(&[outcome.label()]).inc();
        if outcome == Reload::Refused {
            self.current.set(0);
        }
    }
}
