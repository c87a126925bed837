//! HTTP over one connection, plain or TLS: [`Conversation`] speaks either version within the listener's limits, until
//! the client goes, says nothing for too long, or the worker stops.

use std::{cell::Cell, convert::Infallible, future::Future, pin::pin, time::Duration};

use hyper::{
    Request,
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{oneshot, watch};

use super::Answer;

/// The largest request header, in octets: an OCSP request of 10 CertIDs in a path takes 2 KiB.
const HEADER_SIZE: u16 = 16 << 10;

/// Requests at once on one HTTP/2 connection: what RFC 9113 6.5.2 recommends at least.
const STREAMS: u32 = 100;

/// What one HTTP/2 request may send ahead of being read, in octets, and all of a connection's together. The bodies
/// of time-stamp and status requests have some hundred octets.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// For how long a stop waits for an HTTP/2 client that has no request under way to read the rest and close, and for the
/// first request of whoever has just connected: over a restart the next process has the sockets, but not this connection.
pub const PARTING: Duration = Duration::from_secs(1);

/// What is answered, and the limits.
pub struct Conversation<R> {
    pub respond: R,
    /// From accepting, or from the last answer, to the end of the next header.
    pub header_time: Duration,
    pub stopping: watch::Receiver<bool>,
}

// An error of a connection is a client's that went away or spoke something else; there is nobody to tell.
impl<R, F> Conversation<R>
where
    R: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    /// HTTP/1.0 and 1.1.
    pub async fn http1<S: Read + Write + Unpin>(mut self, stream: S) {
        let respond = self.respond;
        let (begun, has_begun) = oneshot::channel::<()>();
        let begun = Cell::new(Some(begun));
        let service = service_fn(move |request| {
            // The first time, the receiver hears of it.
            drop(begun.take());
            // Apart, so that a connection on which nothing is under way does not hold the room that an answer takes.
            let answer = Box::pin(respond(request));
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_time)
            .max_buf_size(HEADER_SIZE.into())
            .half_close(true)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.stopping.wait_for(|stop| *stop) => {}
        }
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = tokio::time::timeout(PARTING, has_begun) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    /// HTTP/2. It has no time for a header of its own, so a connection on which no request is under way for that
    /// long is closed, whatever frames come.
    pub async fn http2<S: Read + Write + Unpin>(mut self, stream: S) {
        let (under_way, mut seen) = watch::channel(0);
        let respond = self.respond;
        let service = service_fn(move |request| {
            let counted = UnderWay::new(&under_way);
            // Apart, so that an answer that waits for its client does not hold the room that finding it took.
            let answer = Box::pin(respond(request));
            async move {
                let answer = answer.await;
                drop(counted);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_SIZE.into())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        let patience = tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.stopping.wait_for(|stop| *stop) => PARTING,
            () = idle(&mut seen, self.header_time) => self.header_time,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = idle(&mut seen, patience) => {}
        }
    }
}

/// Ends when no request has been under way for so long.
async fn idle(under_way: &mut watch::Receiver<usize>, time: Duration) {
    // An error means that the service has gone, and the connection with it.
    while under_way.wait_for(|count| *count == 0).await.is_ok() {
        if tokio::time::timeout(time, under_way.changed())
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Counts one request for as long as it lives.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
