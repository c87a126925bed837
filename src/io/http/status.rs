//! OCSP over HTTP (RFC 6960 A, RFC 9919 5 and 7): requests in bodies and in paths, answers with the headers
//! that let caches keep them.

use std::{sync::Arc, time::Instant};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use hyper::{
    StatusCode,
    body::Incoming,
    header::{
        CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderValue, IF_NONE_MATCH,
        LAST_MODIFIED,
    },
};
use percent_encoding::percent_decode_str;

use super::{Answer, Public, body, plain, request_log::Told, says, whole};
use crate::{
    ocsp::sealed::Sealed,
    service::status::{Reply, Statuses},
    wire::ocsp_response,
};

/// Exactly this: nginx refuses parameters.
const OCSP_RESPONSE: &str = "application/ocsp-response";

/// Clients leave out padding, and some encoders leave stray bits in the last digit.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub async fn respond_to_post(public: &Arc<Public>, headers: &HeaderMap, body: Incoming) -> Answer {
    let start = Instant::now();
    let Some(statuses) = &public.statuses else {
        return public.not_found();
    };
    if says(headers, "application/timestamp-query") {
        return public.unsupported_media_type("application/ocsp-request");
    }
    let request = match body::read(body, public.body).await {
        Ok(request) => request,
        Err(error) => return public.unread(&error),
    };
    let reply = answer(statuses, request).await;
    public.metrics.status(&reply, start.elapsed());
    let outcome = reply.label();
    let answer = match reply {
        Reply::Sealed(sealed) => whole(sealed.body.clone(), OCSP_RESPONSE),
        other => uncacheable(other),
    };
    public.told(answer, || told(outcome))
}

pub async fn respond_to_get(public: &Arc<Public>, path: &str, headers: &HeaderMap) -> Answer {
    let start = Instant::now();
    let Some(statuses) = &public.statuses else {
        return public.not_found();
    };
    // What does not decode is answered like what does not parse: malformedRequest.
    let request = decode_path(path).unwrap_or_default();
    let reply = answer(statuses, request.into()).await;
    public.metrics.status(&reply, start.elapsed());
    let outcome = reply.label();
    let answer = match reply {
        Reply::Sealed(sealed) => cacheable(&sealed, statuses, headers),
        other => uncacheable(other),
    };
    public.told(answer, || told(outcome))
}

const fn told(outcome: &'static str) -> Told {
    Told {
        service: Some("ocsp"),
        tsu: None,
        outcome,
    }
}

/// The OCSPRequest in a GET path: base64, also in the alphabet for URLs, percent-encoded in part or whole.
pub fn decode_path(path: &str) -> Option<Vec<u8>> {
    let mut standard = Vec::with_capacity(path.len());
    standard.extend(percent_decode_str(path).map(|octet| match octet {
        b'-' => b'+',
        b'_' => b'/',
        // A proxy that takes the path for a form turns + into a space.
        b' ' => b'+',
        other => other,
    }));
    BASE64.decode(standard).ok()
}

async fn answer(statuses: &Arc<Statuses>, request: Bytes) -> Reply {
    if let Some(sealed) = statuses.sealed(&request) {
        return Reply::Sealed(sealed);
    }
    // A task of its own, so that a client who hangs up strands nobody who waits for the same answer.
    let task = {
        let statuses = Arc::clone(statuses);
        tokio::spawn(async move { statuses.answer(&request).await })
    };
    task.await
        .unwrap_or(Reply::Refused(ocsp_response::ErrorStatus::InternalError))
}

fn uncacheable(reply: Reply) -> Answer {
    let body = match reply {
        Reply::Sealed(sealed) => sealed.body.clone(),
        Reply::Fresh(body) => body,
        Reply::Refused(status) => Bytes::copy_from_slice(&ocsp_response::error(status)),
    };
    let mut answer = whole(body, OCSP_RESPONSE);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// RFC 9919 7.2.
fn cacheable(sealed: &Sealed, statuses: &Statuses, request: &HeaderMap) -> Answer {
    let max_age = sealed.window.max_age(statuses.now());
    let unchanged = request
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|value| names(value.as_bytes(), &sealed.etag));
    let mut answer = whole(sealed.body.clone(), OCSP_RESPONSE);
    if unchanged {
        answer = plain(StatusCode::NOT_MODIFIED, "");
        answer.headers_mut().remove(CONTENT_TYPE);
    }
    let headers = answer.headers_mut();
    let cache_control = format!("max-age={max_age}, public, no-transform, must-revalidate");
    for (name, value) in [
        (CACHE_CONTROL, Bytes::from(cache_control)),
        (ETAG, sealed.etag.clone()),
        (LAST_MODIFIED, sealed.last_modified.clone()),
        (EXPIRES, sealed.expires.clone()),
    ] {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    }
    answer
}

/// Whether an If-None-Match names `etag`: `*`, exact, in a list, or weak (RFC 9110 13.1.2).
fn names(value: &[u8], etag: &[u8]) -> bool {
    value
        .split(|&octet| octet == b',')
        .map(<[u8]>::trim_ascii)
        .map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
        .any(|tag| tag == b"*" || tag == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_decode_however_they_were_encoded() {
        // 0x30 0x03 0xfb 0xef 0xbe 0xff: every digit that the alphabets write differently.
        let octets = [0x30, 0x03, 0xfb, 0xef, 0xbe, 0xff];
        for path in [
            "MAP7777/",
            "MAP7777%2F",
            "MAP7777%2f",
            "%4dAP7777/",
            "MAP7777_",
        ] {
            assert_eq!(decode_path(path).as_deref(), Some(&octets[..]), "{path}");
        }
        for path in ["MAA=", "MAA", "MAA%3D", "MAA%3d"] {
            assert_eq!(decode_path(path).as_deref(), Some(&[0x30, 0][..]), "{path}");
        }
        assert_eq!(decode_path("MAP+ +-A").map(|octets| octets.len()), Some(6));
        assert_eq!(decode_path("M"), None);
        assert_eq!(decode_path("M*"), None);
    }

    #[test]
    fn entity_tags_match_exact_in_lists_weak_and_any() {
        for value in ["*", "\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\" ,W/\"a\" "] {
            assert!(names(value.as_bytes(), b"\"a\""), "{value}");
        }
        for value in ["", "a", "\"b\"", "\"a", "\"ab\""] {
            assert!(!names(value.as_bytes(), b"\"a\""), "{value}");
        }
    }
}
