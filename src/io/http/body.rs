//! Request bodies within bounds of size and time: [`read`], or [`discard`].

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap,
    body::{Body, Incoming},
    header::EXPECT,
};

/// What a body may take.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Octets.
    pub size: usize,
    /// From the end of the header to the end of the body.
    pub time: Duration,
}

/// Why a body was not read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    TooLarge,
    TooSlow,
    /// The connection ended or the framing was wrong.
    Broken,
}

impl BodyError {
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is larger than is taken here\n",
            Self::TooSlow => "the body did not arrive in time\n",
            Self::Broken => "the body ended before its length\n",
        }
    }
}

/// Of a body that nobody wants, so much is taken, in octets, and for so long.
const UNWANTED: usize = 64 << 10;
const UNWANTED_TIME: Duration = Duration::from_millis(250);

/// Lets a body pass that comes with a request that was refused: over HTTP/2 the stream would be reset otherwise, for
/// which some clients do not show the answer. Nothing of it is kept, and who asks first whether to send it is told.
pub async fn discard(headers: &HeaderMap, mut body: Incoming) {
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let passing = async {
        let mut left = UNWANTED;
        while let Some(Ok(frame)) = body.frame().await {
            let taken = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(taken) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(UNWANTED_TIME, passing).await;
}

/// Reads `body` whole. A length that is announced and too large is refused before anything is read.
pub async fn read(body: Incoming, limits: BodyLimits) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limits.size) {
        return Err(BodyError::TooLarge);
    }
    let collected = Limited::new(body, limits.size).collect();
    match tokio::time::timeout(limits.time, collected).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}
