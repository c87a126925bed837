//! What a client hears where there is no place for it: [`Refusals::refuse`], and how the last word reaches one: [`linger`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
    connection: close\r\n\r\n";

/// How many of those who were refused are listened to at once, over all workers, and for how long.
const LINGERING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(1);

/// Of a request that is not answered, so many octets are read.
const READ: u64 = 64 << 10;

/// Refuses, and counts who lingers.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<AtomicUsize>);

impl Refusals {
    /// Says 503 at once, and then lingers for a moment. With too many who do, a reset must do.
    pub fn refuse(&self, stream: TcpStream) {
        if !matches!(stream.try_write(FULL), Ok(count) if count == FULL.len()) {
            return;
        }
        let lingers = Lingers(Arc::clone(&self.0));
        if self.0.fetch_add(1, Ordering::Relaxed) >= LINGERING {
            return;
        }
        tokio::spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, linger(stream)).await;
            drop(lingers);
        });
    }
}

/// Ends what is said, and reads on until the client has closed: a close with octets unread resets the connection, and
/// the answer is lost.
pub async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = stream.shutdown().await;
    let mut rest = stream.take(READ);
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
}

/// Counts one client for as long as it is listened to.
struct Lingers(Arc<AtomicUsize>);

impl Drop for Lingers {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
