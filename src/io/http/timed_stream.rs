//! A client's socket whose writes have a time: [`TimedStream`] fails when the client takes nothing for too long. Its
//! requests have limits of their own; this one is for answers that nobody reads.

use std::{
    fmt,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// Below TLS, where it is seen what goes out.
///
/// The kernel lets a writer go on when a third of its buffer is free again, so that who reads an octet now and then is
/// not taken for somebody who reads.
pub struct TimedStream {
    socket: TcpStream,
    time: Duration,
    /// Runs while the socket takes nothing.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    /// `time`: how long a write may wait.
    pub const fn new(socket: TcpStream, time: Duration) -> Self {
        Self {
            socket,
            time,
            blocked: None,
        }
    }

    pub const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let time = self.time;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(time)));
        ready!(blocked.as_mut().poll(context));
        // With a reset, or the kernel would go on for minutes to offer what it has buffered.
        let _ = self.socket.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, octets);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    // A socket has nothing to flush, and its end waits for nobody.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl fmt::Debug for TimedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedStream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
