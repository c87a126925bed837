//! The process: [`ProcessMetrics`].

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::{registered, whole};
use crate::io::wall_clock::wall_clock;

/// What it is, since when, and whether it can do its work.
#[derive(Debug)]
pub struct ProcessMetrics {
    ready: IntGauge,
}

impl ProcessMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let build = IntGaugeVec::new(
            Opts::new("gnomon_build_info", "1, with the version of the program."),
            &["version"],
        );
        let build = registered(registry, build)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let start = IntGauge::new(
            "process_start_time_seconds",
            "When the process started, by the system's clock.",
        );
        registered(registry, start)?.set(whole(wall_clock().get()));
        let ready = IntGauge::new(
            "gnomon_ready",
            "1 if the appliance can do its work, as /readyz says.",
        );
        Ok(Self {
            ready: registered(registry, ready)?,
        })
    }

    pub fn ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }
}
