//! The operator's side: `/livez` (the process serves), `/readyz` (it can do its work; why not, in words),
//! `/metrics` (Prometheus), `/status`, `/clock` and `/crl` (JSON, for `gnomon status`, `gnomon clock` and `gnomon crl
//! status`), `/console` (for people, and where a browser asks for `/`), `POST /crl/refresh` (for `gnomon crl refresh`),
//! and `POST /issued/NAME` (for the CA).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, HeaderMap, HeaderValue, VARY},
};
use serde_json::Value;

use super::{
    Answer,
    access::Access,
    body, console, framing,
    issued::{self, IssuedFeed},
    own_names::OwnNames,
    peer::Peer,
    plain, whole,
};
use crate::io::{appliance_status::ApplianceStatus, clock_status, metrics::Refusal};

/// What the admin listener serves.
pub struct Admin {
    pub status: ApplianceStatus,
    /// Those that serials may be pushed to.
    pub issued: Vec<IssuedFeed>,
    /// What browsers may call it.
    pub names: OwnNames,
    /// None: everybody may ask for everything.
    pub access: Option<Arc<Access>>,
}

impl Admin {
    /// Answers one request of this peer.
    pub async fn respond(self: Arc<Self>, request: Request<Incoming>, peer: Arc<Peer>) -> Answer {
        if let Some(refusal) = framing::refusal(request.headers()) {
            self.status.metrics.refused(Refusal::Framing);
            return refusal;
        }
        if let Some(refusal) = self.names.refusal(&request) {
            return refusal;
        }
        let Some(access) = &self.access else {
            return self.serve(request).await;
        };
        // A CA's own token opens its own path, wherever it comes from; nothing else is to be seen there.
        let pushes_to = request.uri().path().strip_prefix("/issued/");
        if pushes_to.is_some_and(|name| issued::is_shown(&self.issued, name, request.headers())) {
            return self.serve(request).await;
        }
        if let Err(refused) = access.enter(&peer, request.headers(), false).await {
            let denial = refused.denial;
            self.status.metrics.refused(denial.refusal());
            let (parts, unwanted) = request.into_parts();
            body::discard(&parts.headers, unwanted).await;
            let mut answer = denial.answer();
            denial.part(&peer, &mut answer);
            return answer;
        }
        self.serve(request).await
    }

    async fn serve(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let issuer = path.strip_prefix("/issued/").map(str::to_owned);
        let does = path == "/crl/refresh" || issuer.is_some();
        let allowed = match *request.method() {
            Method::POST => does,
            Method::GET | Method::HEAD => !does,
            _ => false,
        };
        if !allowed {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed here\n");
            let allowed = if does { "POST" } else { "GET, HEAD" };
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
        if let Some(name) = issuer {
            let (parts, body) = request.into_parts();
            return issued::respond(
                &self.issued,
                &name,
                &parts.headers,
                body,
                &self.status.metrics,
            )
            .await;
        }
        match request.uri().path() {
            "/" => self.root(request.headers()),
            "/console" => console::page(&self.status.as_json()),
            "/console.css" => console::style(),
            "/livez" => plain(StatusCode::OK, "alive\n"),
            "/readyz" => match self.status.troubles().as_slice() {
                [] => plain(StatusCode::OK, "ready\n"),
                troubles => {
                    let text = format!("not ready\n{}\n", troubles.join("\n"));
                    plain(StatusCode::SERVICE_UNAVAILABLE, &text)
                }
            },
            "/crl/refresh" => {
                self.status.feeds.look();
                plain(StatusCode::OK, "every CRL source is looked at now\n")
            }
            "/crl" => json(&self.status.feeds.overview()),
            "/status" => json(&self.status.as_json()),
            "/clock" => json(&clock_status::as_json(&*self.status.clock)),
            "/metrics" => {
                self.status.metrics.ready(self.status.troubles().is_empty());
                whole(
                    Bytes::from(self.status.metrics.text()),
                    "text/plain; version=0.0.4; charset=utf-8",
                )
            }
            _ => plain(StatusCode::NOT_FOUND, "nothing here; see /\n"),
        }
    }
}

impl Admin {
    /// The console for browsers, a line for everybody else.
    fn root(&self, headers: &HeaderMap) -> Answer {
        let mut answer = match console::is_wanted(headers) {
            true => console::page(&self.status.as_json()),
            false => plain(
                StatusCode::OK,
                "Gnomon, the operator's side: /console /livez /readyz /metrics /status /clock /crl\n",
            ),
        };
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        answer
    }
}

fn json(value: &Value) -> Answer {
    let mut answer = whole(Bytes::from(value.to_string()), "application/json");
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}
