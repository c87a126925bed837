//! The beginning of a TLS connection: [`accept`] gives the stream that HTTP is spoken over, or how it [`Failed`], within
//! its time.

use std::{io, time::Duration};

use tokio::io::AsyncWriteExt;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{AlertDescription, Error},
    server::TlsStream,
};

use super::{
    super::{full::linger, timed_stream::TimedStream},
    Identity,
};
use crate::io::metrics::HandshakeFailure;

/// For who speaks plain HTTP here, mostly a URL with a wrong scheme.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 36\r\nconnection: close\r\n\r\nthis port speaks https, not http://\n";

/// A handshake that came to nothing.
#[derive(Debug)]
pub struct Failed {
    pub reason: HandshakeFailure,
    /// What TLS or the socket says of it. Nothing in it is the client's own words.
    pub error: Option<io::Error>,
}

impl From<HandshakeFailure> for Failed {
    fn from(reason: HandshakeFailure) -> Self {
        let error = None;
        Self { reason, error }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        let said = error.get_ref().and_then(|inner| inner.downcast_ref());
        let reason = match said {
            Some(said) => reason(said),
            // A write that nobody takes.
            None if error.kind() == io::ErrorKind::TimedOut => HandshakeFailure::Timeout,
            None => HandshakeFailure::Closed,
        };
        Self {
            reason,
            error: Some(error),
        }
    }
}

fn reason(error: &Error) -> HandshakeFailure {
    use AlertDescription as Alert;
    match error {
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
            HandshakeFailure::ClientCertificate
        }
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::BadCertificateStatusResponse,
        ) => HandshakeFailure::ServerCertificate,
        Error::PeerIncompatible(_)
        | Error::NoApplicationProtocol
        | Error::AlertReceived(
            Alert::HandshakeFailure
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::NoApplicationProtocol,
        ) => HandshakeFailure::Incompatible,
        Error::AlertReceived(Alert::CloseNotify | Alert::UserCanceled) => HandshakeFailure::Closed,
        _ => HandshakeFailure::Protocol,
    }
}

/// Makes the handshake. Whoever fails in it has got an alert; the operator has what is given here.
pub async fn accept(
    stream: TimedStream,
    identity: &Identity,
    time: Duration,
) -> Result<TlsStream<TimedStream>, Failed> {
    let shaking = async {
        let mut first = [0];
        if stream.socket().peek(&mut first).await? == 0 {
            return Err(HandshakeFailure::Closed.into());
        }
        // A TLS record begins with its type, 22 here (RFC 8446 5.1); HTTP with a letter of its method.
        if first.iter().all(u8::is_ascii_uppercase) {
            refuse_plain(stream).await;
            return Err(HandshakeFailure::PlainHttp.into());
        }
        let acceptor = TlsAcceptor::from(identity.config());
        Ok(acceptor.accept(stream).await?)
    };
    match tokio::time::timeout(time, shaking).await {
        Ok(made) => made,
        Err(_) => Err(HandshakeFailure::Timeout.into()),
    }
}

async fn refuse_plain(mut stream: TimedStream) {
    let _ = stream.write_all(PLAIN).await;
    linger(stream).await;
}

#[cfg(test)]
mod tests {
    use super::PLAIN;

    #[test]
    fn the_answer_to_plain_http_has_the_length_it_says() {
        let text = std::str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
