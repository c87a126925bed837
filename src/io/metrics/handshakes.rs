//! TLS connections that came to nothing: [`HandshakeMetrics`], by [`HandshakeFailure`].

use prometheus::{IntCounter, IntCounterVec, Opts};

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client's is not taken.
    ClientCertificate,
    /// Ours is not taken by the client.
    ServerCertificate,
    /// No version, algorithm or protocol that both sides have.
    Incompatible,
    PlainHttp,
    /// What was sent is no TLS, or not as it should be.
    Protocol,
    /// The client hung up.
    Closed,
    Timeout,
}

impl HandshakeFailure {
    const ALL: [Self; 7] = [
        Self::ClientCertificate,
        Self::ServerCertificate,
        Self::Incompatible,
        Self::PlainHttp,
        Self::Protocol,
        Self::Closed,
        Self::Timeout,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::ClientCertificate => "client_certificate",
            Self::ServerCertificate => "server_certificate",
            Self::Incompatible => "incompatible",
            Self::PlainHttp => "plain_http",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
        }
    }
}

/// Of one listener.
#[derive(Debug, Clone)]
pub struct HandshakeMetrics {
    failed: IntCounterVec,
    listener: &'static str,
}

/// Of all listeners.
pub(super) fn counters() -> Result<IntCounterVec, prometheus::Error> {
    let opts = Opts::new(
        "gnomon_tls_handshakes_failed_total",
        "TLS handshakes that failed, by listener (tls, admin) and reason.",
    );
    IntCounterVec::new(opts, &["listener", "reason"])
}

impl HandshakeMetrics {
    pub(super) fn new(failed: &IntCounterVec, listener: &'static str) -> Self {
        let failed = failed.clone();
        Self { failed, listener }
    }

    pub(super) fn start_at_zero(&self) {
        for failure in HandshakeFailure::ALL {
            self.counter(failure);
        }
    }

    pub fn failed(&self, failure: HandshakeFailure) {
        self.counter(failure).inc();
    }

    fn counter(&self, failure: HandshakeFailure) -> IntCounter {
        self.failed
            .with_label_values(&[self.listener, failure.label()])
    }
}
