//! Where one HTTP/1 request ends and the next begins must be as clear to whoever stands in front of us as it is here:
//! [`refusal`] is for headers that two parsers may take in two ways, the stuff of request smuggling. What has no
//! framing at all never comes this far: hyper answers 400.

use hyper::{
    StatusCode,
    header::{CONNECTION, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING},
};

use super::{Answer, plain};

/// Whether the end of the request, or whom it is for, can be read in two ways: a Transfer-Encoding of anything but one
/// `chunked` (RFC 9112 6.1), or two Hosts (RFC 9112 3.2). That there is none is borne: old clients leave it out, and
/// nothing here depends on it. A Content-Length beside a Transfer-Encoding is not seen here: hyper goes by the latter,
/// and closes behind its answer (RFC 9112 6.3).
fn is_doubtful(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coded = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) => !coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => true,
    };
    coded || headers.get_all(HOST).iter().nth(1).is_some()
}

/// What a doubtful request gets: 400, and no more is read from there.
pub fn refusal(headers: &HeaderMap) -> Option<Answer> {
    if !is_doubtful(headers) {
        return None;
    }
    let text = "ambiguous: give one Host, and no Transfer-Encoding but chunked\n";
    let mut answer = plain(StatusCode::BAD_REQUEST, text);
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    #[test]
    fn framing_that_can_be_read_in_two_ways_is_doubtful() {
        let doubtful = |fields: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_static(value));
            }
            is_doubtful(&headers)
        };
        assert!(!doubtful(&[]));
        assert!(!doubtful(&[(HOST, "x")]));
        assert!(!doubtful(&[(TRANSFER_ENCODING, "Chunked")]));
        assert!(doubtful(&[
            (TRANSFER_ENCODING, "chunked"),
            (TRANSFER_ENCODING, "chunked")
        ]));
        assert!(doubtful(&[(TRANSFER_ENCODING, "gzip, chunked")]));
        assert!(doubtful(&[(HOST, "x"), (HOST, "x")]));
    }
}
