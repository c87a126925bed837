//! The public HTTP side: [`Public`] holds the services and answers one request after another, [`Public::respond`] is
//! the routing table. [`listener`] owns sockets and threads, [`tls`] lets clients in who come by HTTPS,
//! [`conversation`] speaks HTTP as far as its [`framing`] is clear, [`timed_stream`] leaves who does not read, [`full`]
//! says that there is no place, [`body`] reads bodies within their bounds, [`timestamp`] and [`status`] speak the two
//! protocols' HTTP, [`access`] says who may ask, [`log`] shows the public log, [`request_log`] writes down who asked
//! for what where that is wanted, [`admin`] is the operator's side, where [`issued`] takes a CA's serials, [`console`]
//! is the page for people, and [`own_names`] keeps out pages that are not.

pub mod access;
pub mod admin;
pub mod body;
mod console;
mod conversation;
mod framing;
mod full;
pub mod issued;
pub mod listener;
pub mod log;
pub mod own_names;
mod page;
pub mod peer;
pub mod proxy_protocol;
pub mod request_log;
mod status;
mod timed_stream;
mod timestamp;
pub mod tls;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};

use super::metrics::{Metrics, Refusal};
use crate::service::{status::Statuses, timestamp::Timestamping};
use access::{Access, Caller, Denial};
use body::{BodyError, BodyLimits};
use log::PublicLog;
use peer::{Client, Peer};
use request_log::{RequestLog, Told};

pub use status::decode_path;

/// Every answer has its body whole, so that it goes out with a Content-Length: not every client
/// of either protocol reads chunks.
pub type Answer = Response<Full<Bytes>>;

/// The text of a 404.
const NOTHING_HERE: &str = "nothing here; see /\n";

/// The public services behind HTTP.
#[derive(Debug)]
pub struct Public {
    pub timestamping: Option<Arc<Timestamping>>,
    pub statuses: Option<Arc<Statuses>>,
    /// Where it is published.
    pub log: Option<PublicLog>,
    pub metrics: Arc<Metrics>,
    pub body: BodyLimits,
    /// Where requests are logged.
    pub requests: Option<Arc<RequestLog>>,
    /// None: everybody may ask for everything.
    pub access: Option<Arc<Access>>,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Page,
    /// The TSU's name, or none for the default.
    TimeStamp(Option<&'a str>),
    /// A request in the body.
    StatusPost,
    /// A request in the path, still encoded.
    StatusGet(&'a str),
    /// What stands below `/log/`.
    Log(&'a str),
    NotAllowed(&'static str),
    NotFound,
}

impl Public {
    /// Answers one request of this peer.
    pub async fn respond(self: Arc<Self>, request: Request<Incoming>, peer: Arc<Peer>) -> Answer {
        let begun = self.requests.as_ref().and_then(|log| {
            let access = self.access.as_ref();
            let said = access.map(|access| access.address(&peer, request.headers()));
            log.begin(&request, said.unwrap_or(peer.address))
        });
        let (parts, body) = request.into_parts();
        let answer = match (framing::refusal(&parts.headers), &self.access) {
            (Some(refusal), _) => self.refused(Refusal::Framing, refusal),
            (None, None) => {
                let route = route(&parts.method, parts.uri.path());
                self.serve(route, &parts.headers, body, None).await
            }
            // Apart, so that open listeners do not carry the room for it.
            (None, Some(access)) => {
                let route = route(&parts.method, parts.uri.path());
                Box::pin(self.serve_caller(access, &peer, route, &parts.headers, body)).await
            }
        };
        if let Some(begun) = begun {
            let client: Option<&Client> = answer.extensions().get();
            begun.end(client.and_then(|client| client.name.as_deref()), &answer);
        }
        answer
    }

    /// Answers a client that may ask.
    async fn serve_caller(
        self: &Arc<Self>,
        access: &Access,
        peer: &Peer,
        route: Route<'_>,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Answer {
        let for_tsu = matches!(route, Route::TimeStamp(_) | Route::Page);
        match access.enter(peer, headers, for_tsu).await {
            Ok(mut caller) => {
                let mut answer = self.serve(route, headers, body, Some(&mut caller)).await;
                answer.extensions_mut().insert(caller.client);
                answer
            }
            Err(refused) => {
                let mut answer = self.denied(refused.denial, headers, body).await;
                answer.extensions_mut().insert(refused.client);
                refused.denial.part(peer, &mut answer);
                answer
            }
        }
    }

    async fn serve(
        self: &Arc<Self>,
        route: Route<'_>,
        headers: &HeaderMap,
        body: Incoming,
        caller: Option<&mut Caller<'_>>,
    ) -> Answer {
        // A connection has room for the longest branch, idle or not: so those that are not taken often, or cost much
        // more, stand apart.
        match route {
            Route::Page => page::page(
                self.timestamping.as_deref(),
                self.statuses.is_some(),
                self.log.is_some(),
                |tsu| caller.as_ref().is_none_or(|caller| caller.may_reach(tsu)),
            ),
            Route::TimeStamp(name) => {
                Box::pin(timestamp::respond(self, name, headers, body, caller)).await
            }
            Route::StatusPost => Box::pin(status::respond_to_post(self, headers, body)).await,
            Route::StatusGet(path) => status::respond_to_get(self, path, headers).await,
            Route::Log(path) => {
                let answer = match &self.log {
                    Some(log) => Box::pin(log.respond(path)).await,
                    None => None,
                };
                answer.unwrap_or_else(|| self.not_found())
            }
            Route::NotAllowed(allowed) => {
                let answer = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed here\n");
                let mut answer = self.refused(Refusal::Method, answer);
                answer
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static(allowed));
                answer
            }
            Route::NotFound => self.not_found(),
        }
    }

    fn not_found(&self) -> Answer {
        self.refused(Refusal::Path, plain(StatusCode::NOT_FOUND, NOTHING_HERE))
    }

    async fn denied(&self, denial: Denial, headers: &HeaderMap, body: Incoming) -> Answer {
        body::discard(headers, body).await;
        self.refused(denial.refusal(), denial.answer())
    }

    /// The answer to a body that was not read whole.
    fn unread(&self, error: &BodyError) -> Answer {
        let (status, refusal) = match error {
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Refusal::Size),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, Refusal::Slow),
            BodyError::Broken => (StatusCode::BAD_REQUEST, Refusal::Broken),
        };
        let mut answer = self.refused(refusal, plain(status, error.what()));
        // What is left of the body would otherwise be read as the next request.
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    fn unsupported_media_type(&self, expected: &str) -> Answer {
        let answer = plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &format!("this takes {expected}\n"),
        );
        self.refused(Refusal::MediaType, answer)
    }

    /// Counts a request that reached no service, and has the log say so.
    fn refused(&self, refusal: Refusal, answer: Answer) -> Answer {
        self.metrics.refused(refusal);
        self.told(answer, || Told {
            service: None,
            tsu: None,
            outcome: refusal.label(),
        })
    }

    /// The answer with what the log says of it, where there is one.
    fn told(&self, mut answer: Answer, told: impl FnOnce() -> Told) -> Answer {
        if self.requests.is_some() {
            answer.extensions_mut().insert(told());
        }
        answer
    }
}

fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if let Some(rest) = path.strip_prefix("/tsa")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        let name = rest.trim_matches('/');
        return match *method {
            Method::POST => Route::TimeStamp((!name.is_empty()).then_some(name)),
            _ => Route::NotAllowed("POST"),
        };
    }
    if let Some(path) = path.strip_prefix("/log/") {
        return match reads {
            true => Route::Log(path),
            false => Route::NotAllowed("GET, HEAD"),
        };
    }
    let below = match path.strip_prefix("/ocsp") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Some(rest),
        _ => None,
    };
    let is_root = below.is_none();
    // Chromium sends `//MFEw...` where the certificate's URL ends in a slash.
    let encoded = below.unwrap_or(path).trim_start_matches('/');
    match *method {
        Method::POST if encoded.is_empty() => Route::StatusPost,
        // An OCSPRequest begins with DER's 0x30, so its base64 begins with M.
        _ if encoded.starts_with('M') && reads => Route::StatusGet(encoded),
        _ if encoded.starts_with('M') => Route::NotAllowed("GET, HEAD"),
        _ if !encoded.is_empty() => Route::NotFound,
        _ if is_root && reads => Route::Page,
        _ if is_root => Route::NotAllowed("GET, HEAD, POST"),
        _ => Route::NotAllowed("POST"),
    }
}

/// A short text for people, which nobody shall cache.
fn plain(status: StatusCode, text: &str) -> Answer {
    let mut answer = whole(
        Bytes::copy_from_slice(text.as_bytes()),
        "text/plain; charset=utf-8",
    );
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The same, for who shall come again after so long, in whole seconds and one at least.
fn later(status: StatusCode, text: &str, wait: Duration) -> Answer {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mut answer = plain(status, text);
    let seconds = HeaderValue::from(seconds.max(1));
    answer.headers_mut().insert(RETRY_AFTER, seconds);
    answer
}

/// 200 with this body.
fn whole(body: Bytes, content_type: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(body));
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    *answer.headers_mut() = headers;
    answer
}

/// Whether the request says that its body is of `media_type`, in any case and with any parameters.
fn says(headers: &HeaderMap, media_type: &str) -> bool {
    let Some(value) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_where_they_should() {
        let get = |path| route(&Method::GET, path);
        let post = |path| route(&Method::POST, path);
        assert_eq!(get("/"), Route::Page);
        assert_eq!(post("/"), Route::StatusPost);
        assert_eq!(post("/ocsp"), Route::StatusPost);
        assert_eq!(post("/ocsp/"), Route::StatusPost);
        assert_eq!(post("/tsa"), Route::TimeStamp(None));
        assert_eq!(post("/tsa/"), Route::TimeStamp(None));
        assert_eq!(post("/tsa/rsa"), Route::TimeStamp(Some("rsa")));
        assert_eq!(get("/tsa"), Route::NotAllowed("POST"));
        assert_eq!(get("/ocsp"), Route::NotAllowed("POST"));
        for path in ["/MFE+/a", "//MFE+/a", "/ocsp/MFE+/a", "/ocsp//MFE+/a"] {
            assert_eq!(get(path), Route::StatusGet("MFE+/a"), "{path}");
        }
        assert_eq!(post("/MFE"), Route::NotAllowed("GET, HEAD"));
        assert_eq!(get("/log/checkpoint"), Route::Log("checkpoint"));
        assert_eq!(post("/log/tile/0/000"), Route::NotAllowed("GET, HEAD"));
        for path in [
            "/tsax",
            "/ocspx",
            "/log",
            "/favicon.ico",
            "/ocsp/x",
            "/../etc",
        ] {
            assert_eq!(get(path), Route::NotFound, "{path}");
        }
        assert_eq!(
            route(&Method::OPTIONS, "/"),
            Route::NotAllowed("GET, HEAD, POST")
        );
        assert_eq!(route(&Method::PUT, "/ocsp"), Route::NotAllowed("POST"));
    }
}
