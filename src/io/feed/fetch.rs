//! A CRL by HTTP: [`fetch`] asks for it on condition that it has changed. A gzip stream is undone whatever the
//! headers say, since servers label `.gz` files in every possible way.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use reqwest::{
    Client, Response,
    header::{
        ACCEPT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, LAST_MODIFIED,
    },
};

use crate::io::http_client::{self, HttpError, Url};

/// How gzip begins (RFC 1952 2.3.1). DER begins with 0x30, PEM with text.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What the server said of the CRL that is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    /// As they were written down by [`Validators::texts`].
    pub fn from_texts(etag: Option<&str>, last_modified: Option<&str>) -> Self {
        let read = |text: Option<&str>| HeaderValue::from_str(text?).ok();
        Self {
            etag: read(etag),
            last_modified: read(last_modified),
        }
    }

    /// Whether a server can be asked for what is newer.
    const fn are_known(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// ETag and Last-Modified.
    pub fn texts(&self) -> [Option<String>; 2] {
        [&self.etag, &self.last_modified].map(|value| {
            let text = value.as_ref()?.to_str().ok()?;
            Some(text.to_owned())
        })
    }
}

#[derive(Debug)]
pub enum Fetched {
    Unchanged,
    New(Vec<u8>, Validators),
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the gzip stream is broken or cut short: {0}")]
    Gzip(std::io::Error),
    #[error("unpacked it has more than {0} octets")]
    TooLong(u64),
}

/// Fetches what `url` holds, of at most `longest` octets packed and unpacked, unless the server says that it is
/// what `known` was told of.
pub async fn fetch(
    client: &Client,
    url: &Url,
    known: &Validators,
    longest: u64,
) -> Result<Fetched, FetchError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.extend(known.etag.clone().map(|etag| (IF_NONE_MATCH, etag)));
    headers.extend(
        known
            .last_modified
            .clone()
            .map(|date| (IF_MODIFIED_SINCE, date)),
    );
    let response = client.get(url.clone()).headers(headers).send().await;
    let response = response.map_err(HttpError::from)?;
    // Where it was not asked for, it tells nothing of what is in force.
    if response.status() == 304 && known.are_known() {
        return Ok(Fetched::Unchanged);
    }
    let validators = Validators {
        etag: header(&response, ETAG),
        last_modified: header(&response, LAST_MODIFIED),
    };
    let body = http_client::body(response, usize::try_from(longest).unwrap_or(usize::MAX)).await?;
    Ok(Fetched::New(unpacked(body, longest)?, validators))
}

fn header(response: &Response, name: HeaderName) -> Option<HeaderValue> {
    response.headers().get(name).cloned()
}

fn unpacked(body: Vec<u8>, longest: u64) -> Result<Vec<u8>, FetchError> {
    if !body.starts_with(&GZIP) {
        return Ok(body);
    }
    let mut content = Vec::new();
    let mut stream = MultiGzDecoder::new(body.as_slice()).take(longest.saturating_add(1));
    stream.read_to_end(&mut content).map_err(FetchError::Gzip)?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= longest) {
        Ok(content)
    } else {
        Err(FetchError::TooLong(longest))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_undone_within_bounds() {
        assert_eq!(unpacked(vec![0x30, 0], 10).unwrap(), [0x30, 0]);
        assert_eq!(unpacked(packed(b"crl"), 3).unwrap(), b"crl");
        let bomb = packed(&vec![0; 1 << 20]);
        assert!(matches!(
            unpacked(bomb, 1 << 10),
            Err(FetchError::TooLong(_))
        ));
        let whole = packed(b"a CRL");
        let cut = whole[..whole.len() - 1].to_vec();
        assert!(matches!(unpacked(cut, 99), Err(FetchError::Gzip(_))));
    }
}
