//! The short page at `/` that says what this is.

use bytes::Bytes;

use super::{Answer, whole};
use crate::service::timestamp::Timestamping;

/// `shows`: whether a TSU is there for who asks.
pub fn page(
    timestamping: Option<&Timestamping>,
    answers_status: bool,
    has_log: bool,
    shows: impl Fn(&str) -> bool,
) -> Answer {
    let mut text = String::from("This is Gnomon.\n\n");
    if let Some(timestamping) = timestamping {
        text.push_str(
            "Time-stamping authority (RFC 3161): POST an application/timestamp-query to\n",
        );
        text.push_str("  /tsa\n");
        let tsus = timestamping.tsus().all().iter();
        for tsu in tsus.filter(|tsu| shows(tsu.name())) {
            text.push_str(&format!("  /tsa/{}\n", tsu.name()));
        }
        text.push('\n');
    }
    if answers_status {
        text.push_str("OCSP responder (RFC 6960): POST an application/ocsp-request to /ocsp,\n");
        text.push_str("or GET /ocsp/ followed by the request in base64.\n");
    }
    if has_log {
        text.push_str("\nThe log of everything issued (C2SP tlog-tiles): GET /log/checkpoint and /log/tile/...\n");
    }
    whole(Bytes::from(text), "text/plain; charset=utf-8")
}
