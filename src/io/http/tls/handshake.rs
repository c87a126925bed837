//! The beginning of a TLS connection: [`accept`] gives the stream that HTTP is spoken over, or none, within its time.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    super::{full::linger, timed_stream::TimedStream},
    Identity,
};

/// For who speaks plain HTTP here, mostly a URL with a wrong scheme.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 36\r\nconnection: close\r\n\r\nthis port speaks https, not http://\n";

/// Makes the handshake. Whoever fails in it has got an alert, and there is nobody else to tell.
pub async fn accept(
    stream: TimedStream,
    identity: &Identity,
    time: Duration,
) -> Option<TlsStream<TimedStream>> {
    let shaking = async {
        let mut first = [0];
        if stream.socket().peek(&mut first).await.ok()? == 0 {
            return None;
        }
        // A TLS record begins with its type, 22 here (RFC 8446 5.1); HTTP with a letter of its method.
        if first.iter().all(u8::is_ascii_uppercase) {
            refuse_plain(stream).await;
            return None;
        }
        let acceptor = TlsAcceptor::from(identity.config());
        acceptor.accept(stream).await.ok()
    };
    tokio::time::timeout(time, shaking).await.ok().flatten()
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
