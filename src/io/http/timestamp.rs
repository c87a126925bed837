//! RFC 3161 3.4 over HTTP: a TimeStampReq in, a TimeStampResp out, 200 for granted and rejected alike.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{StatusCode, body::Incoming, header::HeaderMap};

use super::{
    Answer, Public,
    access::{Caller, Denial},
    body, later, plain,
    request_log::Told,
    says, whole,
};
use crate::{tsa::set::TsuSet, wire::tsp::TimeStampReq};

/// Exactly this, in lower case and without parameters: jarsigner, osslsigncode and pyHanko refuse others.
const TIMESTAMP_REPLY: &str = "application/timestamp-reply";

pub async fn respond(
    public: &Arc<Public>,
    name: Option<&str>,
    headers: &HeaderMap,
    body: Incoming,
    mut caller: Option<&mut Caller<'_>>,
) -> Answer {
    let start = Instant::now();
    let Some(timestamping) = &public.timestamping else {
        return public.not_found();
    };
    let tsus = timestamping.tsus();
    match &mut caller {
        Some(caller) => {
            if let Err(denial) = admit(caller, tsus, name) {
                return public.denied(denial, headers, body).await;
            }
        }
        None if name.is_some_and(|name| !tsus.knows(name)) => return public.not_found(),
        None => {}
    }
    if says(headers, "application/ocsp-request") {
        return public.unsupported_media_type("application/timestamp-query");
    }
    let request = match body::read(body, public.body).await {
        Ok(request) => request,
        Err(error) => return public.unread(&error),
    };
    let name = match (name, caller) {
        (None, Some(caller)) => {
            let chosen = choose(caller, tsus, &request);
            match caller.to_tsu(&chosen) {
                Ok(()) => Some(chosen),
                Err(denial) => return public.refused(denial.refusal(), denial.answer()),
            }
        }
        (name, _) => name.map(str::to_owned),
    };
    // A task of its own, so that a client who hangs up cannot cut between signing and recording.
    let task = {
        let timestamping = Arc::clone(timestamping);
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
        None => later(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy; try again in a second\n",
            Duration::ZERO,
        ),
    };
    public.told(answer, || Told {
        service: Some("tsa"),
        tsu: Some(reply.tsu),
        outcome: reply.outcome.label(),
    })
}

/// Before the body is read: whether the TSU of this name, or without a name any, is there for the caller.
fn admit(caller: &mut Caller<'_>, tsus: &TsuSet, name: Option<&str>) -> Result<(), Denial> {
    match name {
        Some(name) if tsus.knows(name) => caller.to_tsu(name),
        None if tsus.all().iter().any(|tsu| caller.may_reach(tsu.name())) => Ok(()),
        _ => Err(caller.no_tsu()),
    }
}

/// The TSU that a request without a name picks by its policy. One that is not there for the caller counts as none, so
/// that the default refuses the policy as it does one that nobody has.
fn choose(caller: &Caller<'_>, tsus: &TsuSet, request: &[u8]) -> String {
    let request = TimeStampReq::parse(request).ok();
    let policy = request.and_then(|request| request.policy);
    let by_policy = tsus.choose(None, policy);
    let chosen = by_policy
        .filter(|tsu| caller.may_reach(tsu.name()))
        .or_else(|| tsus.choose(None, None));
    chosen.map_or_else(String::new, |tsu| tsu.name().to_owned())
}
