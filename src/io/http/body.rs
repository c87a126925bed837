//! Request bodies within bounds of size and time: [`read`].

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};

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
