//! `POST /issued/NAME` on the operator's side: a CA pushes the serials it issues, in the syntax of lists, and shows a
//! bearer token (RFC 6750 2.1). 204 says that all of them are on the disk and that the next answer knows them; any
//! other status, that nothing was taken for sure and that it may push the same again.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hyper::{
    StatusCode,
    body::Incoming,
    header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};

use super::{
    Answer,
    access::credentials::{Credentials, LONGEST_SECRET},
    body::{self, BodyError, BodyLimits},
    later, plain,
};
use crate::{
    io::{
        feed::pushed::{PushError, Pushes},
        metrics::Metrics,
    },
    revocation::Serials,
    wire::algorithm::sha256,
};

/// About 20,000 serials with their notAfter.
const LIMITS: BodyLimits = BodyLimits {
    size: 1 << 20,
    time: Duration::from_secs(30),
};

/// How long a disk may take. Whoever waits holds one of the listener's few connections.
const PATIENCE: Duration = Duration::from_secs(30);

/// Characters of a token that cannot be guessed, if they are random.
const SHORTEST_TOKEN: usize = 16;

/// A secret that whoever pushes must show. Only its digest is kept, and compared.
#[derive(Debug, Clone)]
pub struct BearerToken([u8; 32]);

impl BearerToken {
    /// From a file's text, without the white space around it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let token = text.trim();
        // RFC 6750 2.1: b64token.
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        if token.len() < SHORTEST_TOKEN {
            Err(
                "the token must have 16 characters or more; make one with `openssl rand -base64 32`",
            )
        } else if token.len() > LONGEST_SECRET {
            Err(
                "the token must have 1024 characters at most; make one with `openssl rand -base64 32`",
            )
        } else if !token.chars().all(is_allowed) {
            Err(
                "the token must be one word of the characters A-Z a-z 0-9 - . _ ~ + / =; make one with `openssl rand -base64 32`",
            )
        } else {
            Ok(Self(sha256(&[token.as_bytes()])))
        }
    }

    /// Whether the request shows it.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        match Credentials::read(headers) {
            Some(Credentials::Token(digest)) => verify_slices_are_equal(&self.0, &digest).is_ok(),
            _ => false,
        }
    }
}

/// Where one issuer's serials are pushed to.
#[derive(Debug)]
pub struct IssuedFeed {
    /// The issuer's.
    pub name: String,
    pub token: BearerToken,
    pub pushes: Pushes,
}

/// Whether the request shows the token of this issuer.
pub fn is_shown(feeds: &[IssuedFeed], name: &str, headers: &HeaderMap) -> bool {
    let mut named = feeds.iter().filter(|feed| feed.name == name);
    named.any(|feed| feed.token.is_in(headers))
}

pub async fn respond(
    feeds: &[IssuedFeed],
    name: &str,
    headers: &HeaderMap,
    body: Incoming,
    metrics: &Metrics,
) -> Answer {
    let Some(feed) = feeds.iter().find(|feed| feed.name == name) else {
        body::discard(headers, body).await;
        return unread(
            StatusCode::NOT_FOUND,
            "no issuer of this name takes pushed serials; see issued_push in the configuration\n",
        );
    };
    if !feed.token.is_in(headers) {
        body::discard(headers, body).await;
        let mut answer = unread(
            StatusCode::UNAUTHORIZED,
            "show this issuer's token: Authorization: Bearer TOKEN\n",
        );
        let challenge = HeaderValue::from_static("Bearer realm=\"issued serials\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return answer;
    }
    let answer = take(feed, body).await;
    metrics.issued_push(&feed.name, answer.status().as_u16());
    answer
}

async fn take(feed: &IssuedFeed, body: Incoming) -> Answer {
    let content = match body::read(body, LIMITS).await {
        Ok(content) => content,
        Err(error) => {
            let status = match error {
                BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                BodyError::Broken => StatusCode::BAD_REQUEST,
            };
            return unread(status, error.what());
        }
    };
    let serials = match Serials::parse(&content) {
        Ok(serials) => serials,
        Err(error) => {
            let what = format!("{error}; nothing was taken\n");
            return plain(StatusCode::BAD_REQUEST, &what);
        }
    };
    match tokio::time::timeout(PATIENCE, feed.pushes.push(serials)).await {
        Ok(Ok(())) => {
            let mut answer = plain(StatusCode::NO_CONTENT, "");
            answer.headers_mut().remove(CONTENT_TYPE);
            answer
        }
        Ok(Err(error)) => {
            let status = match error {
                PushError::Full => StatusCode::INSUFFICIENT_STORAGE,
                PushError::Busy | PushError::NotKept => StatusCode::SERVICE_UNAVAILABLE,
            };
            let what = format!("nothing was taken: {error}\n");
            later(status, &what, Duration::ZERO)
        }
        Err(_) => later(
            StatusCode::SERVICE_UNAVAILABLE,
            "the disk is slow, and nothing is sure yet; push the same again\n",
            Duration::ZERO,
        ),
    }
}

/// An answer before the body was read: what is left of it would be taken for the next request.
fn unread(status: StatusCode, text: &str) -> Answer {
    let mut answer = plain(status, text);
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn a_token_is_shown_or_not() {
        let token = BearerToken::new(" 0123456789abcdef\n").unwrap();
        let shown = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            token.is_in(&headers)
        };
        assert!(shown("Bearer 0123456789abcdef") && shown("bearer 0123456789abcdef"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdef",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcde",
            "Basic 0123456789abcdef",
        ] {
            assert!(!shown(wrong), "{wrong}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            let shown = HeaderValue::from_static("Bearer 0123456789abcdef");
            twice.append(AUTHORIZATION, shown);
        }
        assert!(!token.is_in(&twice), "which of them would be meant?");
        assert!(BearerToken::new(&"x".repeat(1024)).is_ok());
        assert!(BearerToken::new(&"x".repeat(1025)).is_err());
        assert!(BearerToken::new("0123456789abcde\n").is_err());
        assert!(BearerToken::new("0123456789 abcdef").is_err());
    }
}
