//! Connections of clients: [`ConnectionMetrics`].

use prometheus::{IntCounter, IntGauge, Registry};

use super::registered;

/// Of one group of listeners.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    open: IntGauge,
    turned_away: IntCounter,
}

/// Counts a connection as open for as long as it lives.
#[derive(Debug)]
pub struct Shown(IntGauge);

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let hidden = Self::hidden()?;
        Ok(Self {
            open: registered(registry, Ok(hidden.open))?,
            turned_away: registered(registry, Ok(hidden.turned_away))?,
        })
    }

    /// For listeners whose connections nobody asks about.
    pub fn hidden() -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: IntGauge::new(
                "gnomon_http_connections",
                "Connections that clients have open.",
            )?,
            turned_away: IntCounter::new(
                "gnomon_http_connections_refused_total",
                "Connections turned away, plain ones with 503 and those for TLS without a word, as there were as many as http.connections allows.",
            )?,
        })
    }

    pub fn opened(&self) -> Shown {
        self.open.inc();
        Shown(self.open.clone())
    }

    /// How many are open, and how many were turned away since the start.
    pub fn figures(&self) -> (u64, u64) {
        let open = u64::try_from(self.open.get()).unwrap_or(0);
        (open, self.turned_away.get())
    }

    pub fn turned_away(&self) {
        self.turned_away.inc();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.dec();
    }
}
