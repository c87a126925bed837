//! RFC 3161 3.4 over HTTP: a TimeStampReq in, a TimeStampResp out, 200 for granted and rejected alike.

use std::{sync::Arc, time::Instant};

use hyper::{
    StatusCode,
    body::Incoming,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
};

use super::{Answer, Public, body, plain, request_log::Told, says, whole};

/// Exactly this, in lower case and without parameters: jarsigner, osslsigncode and pyHanko refuse others.
const TIMESTAMP_REPLY: &str = "application/timestamp-reply";

pub async fn respond(
    public: &Arc<Public>,
    name: Option<&str>,
    headers: &HeaderMap,
    body: Incoming,
) -> Answer {
    let start = Instant::now();
    let Some(timestamping) = &public.timestamping else {
        return public.not_found();
    };
    if name.is_some_and(|name| !timestamping.tsus().knows(name)) {
        return public.not_found();
    }
    if says(headers, "application/ocsp-request") {
        return public.unsupported_media_type("application/timestamp-query");
    }
    let request = match body::read(body, public.body).await {
        Ok(request) => request,
        Err(error) => return public.unread(&error),
    };
    // A task of its own, so that a client who hangs up cannot cut between signing and recording.
    let task = {
        let (timestamping, name) = (Arc::clone(timestamping), name.map(str::to_owned));
        tokio::spawn(async move { timestamping.answer(name.as_deref(), &request).await })
    };
    let Ok(reply) = task.await else {
        return plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request could not be finished\n",
        );
    };
    public
        .metrics
        .time_stamp(&reply.tsu, reply.outcome, start.elapsed());
    let answer = match reply.body {
        Some(body) => whole(body, TIMESTAMP_REPLY),
        None => {
            let mut answer = plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy; try again in a second\n",
            );
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            answer
        }
    };
    public.told(answer, || Told {
        service: Some("tsa"),
        tsu: Some(reply.tsu),
        outcome: reply.outcome.label(),
    })
}
