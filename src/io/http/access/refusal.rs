//! A [`Denial`] on the wire.

use std::time::Duration;

use hyper::{
    StatusCode,
    header::{CONNECTION, HeaderValue, WWW_AUTHENTICATE},
};

use super::{
    super::{Answer, later, peer::Peer, plain},
    Denial,
};
use crate::io::metrics::Refusal;

const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"Gnomon\", charset=\"UTF-8\"");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"Gnomon\"");

impl Denial {
    /// What it is counted as.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Unauthorized { .. } => Refusal::Unauthorized,
            Self::Forbidden => Refusal::Forbidden,
            Self::Absent => Refusal::Path,
            Self::Quota(_) => Refusal::Quota,
            Self::Busy => Refusal::PasswordQueue,
        }
    }

    /// Has the connection closed if its certificate did not do: that was held against the CAs of the handshake, which
    /// a reload may have changed, and the next connection's is held against those in force.
    pub fn part(self, peer: &Peer, answer: &mut Answer) {
        if self == Self::Forbidden && peer.certificate.is_some() {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
    }

    pub fn answer(self) -> Answer {
        match self {
            Self::Unauthorized { basic, bearer } => {
                let what = match (basic, bearer) {
                    (true, false) => "show a user name and password that may ask here\n",
                    (false, true) => "show a bearer token that may ask here\n",
                    _ => "show a user name and password or a bearer token that may ask here\n",
                };
                let mut answer = plain(StatusCode::UNAUTHORIZED, what);
                let schemes = [(basic, BASIC), (bearer, BEARER)];
                for (_, scheme) in schemes.into_iter().filter(|(would_do, _)| *would_do) {
                    answer.headers_mut().append(WWW_AUTHENTICATE, scheme);
                }
                answer
            }
            Self::Forbidden => plain(
                StatusCode::FORBIDDEN,
                "not for this client: its address, its certificate or its name may not ask here\n",
            ),
            Self::Absent => plain(StatusCode::NOT_FOUND, super::super::NOTHING_HERE),
            Self::Quota(wait) => later(
                StatusCode::TOO_MANY_REQUESTS,
                "this client's quota is used up\n",
                wait,
            ),
            Self::Busy => later(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many passwords are being checked; try again in a second\n",
                Duration::ZERO,
            ),
        }
    }
}
