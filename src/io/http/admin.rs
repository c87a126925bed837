//! The operator's side: `/livez` (the process serves), `/readyz` (it can do its work; why not, in words),
//! `/metrics` (Prometheus), `/clock` (JSON, for `gnomon clock`).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};

use super::{Answer, plain, whole};
use crate::{
    clock::Clock,
    io::{clock_status, metrics::Metrics},
};

/// What the admin listener serves.
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    /// Everything that keeps the appliance from its work, in words; empty when ready.
    pub troubles: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl Admin {
    /// Answers one request.
    pub async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/" => plain(
                StatusCode::OK,
                "Gnomon, the operator's side: /livez /readyz /metrics /clock\n",
            ),
            "/livez" => plain(StatusCode::OK, "alive\n"),
            "/readyz" => match (self.troubles)().as_slice() {
                [] => plain(StatusCode::OK, "ready\n"),
                troubles => {
                    let text = format!("not ready\n{}\n", troubles.join("\n"));
                    plain(StatusCode::SERVICE_UNAVAILABLE, &text)
                }
            },
            "/clock" => whole(
                Bytes::from(clock_status::as_json(&*self.clock).to_string()),
                "application/json",
            ),
            "/metrics" => whole(
                Bytes::from(self.metrics.text()),
                "text/plain; version=0.0.4; charset=utf-8",
            ),
            _ => plain(StatusCode::NOT_FOUND, "nothing here; see /\n"),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}
