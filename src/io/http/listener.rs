//! Sockets and the threads that serve them: [`serve`] starts a group of [`Workers`]. Each worker is one
//! thread with a runtime of its own that accepts from the same sockets, so that a request stays on one
//! core from its first octet to its last.

use std::{
    future::Future,
    io,
    net::{IpAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper::{Request, body::Incoming};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};

use super::{
    Answer,
    access::rule::contains,
    conversation::{Conversation, PARTING},
    full::Refusals,
    peer::{Door, Peer},
    proxy_protocol,
    request_log::RequestLog,
    timed_stream::TimedStream,
    tls::{
        H2, Identity,
        handshake::{self, Failed},
    },
};
use crate::{
    io::{
        awaited::Awaited,
        metrics::{ConnectionMetrics, HandshakeFailure, HandshakeMetrics},
    },
    service::code,
};

/// A socket that clients connect to.
#[derive(Debug)]
pub struct Listener {
    pub socket: TcpListener,
    /// Who we are to TLS clients; without it plain HTTP is spoken.
    pub tls: Option<Arc<Identity>>,
    /// What holds for clients who come by it.
    pub door: Door,
}

impl Listener {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            tls: self.tls.clone(),
            door: self.door,
        })
    }
}

/// What clients may take of a group of workers.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// From accepting, or from the last answer, to the end of the next header; a TLS handshake has this time, too.
    pub header_time: Duration,
    /// How long an answer may wait for a client that reads nothing.
    pub write_time: Duration,
    /// Connections at once, over all workers.
    pub connections: usize,
    /// How long a stop waits for requests under way.
    pub grace: Duration,
    /// Proxies whose connections must begin with the PROXY protocol. From others it is not taken.
    pub proxies: Arc<[IpNet]>,
    /// Where connections are counted.
    pub figures: ConnectionMetrics,
    /// Where TLS handshakes are counted that fail.
    pub handshakes: HandshakeMetrics,
    /// Where clients' certificates are told that are refused.
    pub requests: Option<Arc<RequestLog>>,
}

impl ListenerLimits {
    /// A handshake has failed.
    fn failed(&self, client: IpAddr, failed: &Failed) {
        self.handshakes.failed(failed.reason);
        let (reason, error) = (failed.reason.label(), failed.error.as_ref());
        let error = error.map(tracing::field::display);
        tracing::debug!(%client, reason, error, "a TLS handshake failed");
        if failed.reason == HandshakeFailure::ClientCertificate
            && let Some(log) = &self.requests
        {
            log.handshake(client, reason, failed.error.as_ref());
        }
    }
}

/// How often each worker shows that it goes from one task to the next, and how long it may not.
const TURN: Duration = Duration::from_secs(1);
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// The threads that serve; [`Workers::stop`] ends them.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    /// The next turn of each.
    turns: Vec<Arc<Awaited>>,
}

/// Starts `count` workers on `listeners`; each request is answered by `respond`, which is told who is at the other end. What
/// `limits` holds counts for each connection that comes, and for the stop.
pub fn serve<R, F>(
    name: &str,
    listeners: &[Listener],
    count: usize,
    limits: &Arc<ArcSwap<ListenerLimits>>,
    respond: R,
) -> io::Result<Workers>
where
    R: Fn(Request<Incoming>, Arc<Peer>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let (stop, stopping) = watch::channel(false);
    let open = Arc::new(AtomicUsize::new(0));
    let refusals = Refusals::default();
    let (mut threads, mut turns) = (Vec::new(), Vec::new());
    for number in 0..count {
        let listeners = listeners
            .iter()
            .map(Listener::try_clone)
            .collect::<io::Result<Vec<_>>>()?;
        let worker = Worker {
            limits: Arc::clone(limits),
            open: Arc::clone(&open),
            refusals: refusals.clone(),
            stopping: stopping.clone(),
            respond: respond.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let turn = Arc::new(Awaited::default());
        turn.begin();
        turns.push(Arc::clone(&turn));
        let thread = std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || runtime.block_on(worker.run(listeners, turn)))?;
        threads.push(thread);
    }
    Ok(Workers {
        stop,
        threads,
        turns,
    })
}

impl Workers {
    /// Whether each goes from one task to the next: one that does not answers none of its connections.
    pub fn go_on(&self) -> bool {
        self.go_on_within(LONGEST_TURN)
    }

    fn go_on_within(&self, patience: Duration) -> bool {
        !self.turns.iter().any(|turn| turn.is_overdue(patience))
    }

    /// Accepts no more, lets requests under way finish within the grace, and waits until all is done.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Worker<R> {
    limits: Arc<ArcSwap<ListenerLimits>>,
    open: Arc<AtomicUsize>,
    refusals: Refusals,
    stopping: watch::Receiver<bool>,
    respond: R,
}

impl<R, F> Worker<R>
where
    R: Fn(Request<Incoming>, Arc<Peer>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    async fn run(self, listeners: Vec<Listener>, turn: Arc<Awaited>) {
        tokio::spawn(async move {
            let mut turns = tokio::time::interval(TURN);
            loop {
                turns.tick().await;
                turn.begin();
            }
        });
        // Every connection holds a sender; when all are gone, the receiver ends.
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        for listener in listeners {
            tokio::spawn(self.clone().accept(listener, alive.clone()));
        }
        drop(alive);
        let mut stopping = self.stopping.clone();
        let _ = stopping.wait_for(|stop| *stop).await;
        let _ = tokio::time::timeout(self.limits.load().grace, all_gone.recv()).await;
    }

    async fn accept(self, listener: Listener, alive: mpsc::Sender<()>) {
        let Listener { socket, tls, door } = listener;
        let listener = match socket
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpListener::from_std(socket))
        {
            Ok(listener) => listener,
            Err(error) => {
                return tracing::error!(
                    code = code::SOCKET_UNUSABLE,
                    "a listening socket cannot be used: {error}"
                );
            }
        };
        let mut stopping = self.stopping.clone();
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    failing = false;
                    let peer = Peer::new(client.ip(), door);
                    self.admit((stream, peer), tls.as_ref(), &alive);
                }
                Err(error) => {
                    // Out of descriptors, most likely. Said once, not at every try.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(
                            code = code::ACCEPT_FAILS,
                            "connections cannot be accepted: {error}"
                        );
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(
        &self,
        (stream, peer): (TcpStream, Peer),
        tls: Option<&Arc<Identity>>,
        alive: &mpsc::Sender<()>,
    ) {
        let place = Place(Arc::clone(&self.open));
        let limits = self.limits.load();
        if self.open.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            limits.figures.turned_away();
            // To a TLS client it would be noise; the end of the connection must do.
            if tls.is_none() {
                self.refusals.refuse(stream);
            }
            return;
        }
        let shown = limits.figures.opened();
        let _ = stream.set_nodelay(true);
        let stream = TimedStream::new(stream, limits.write_time);
        let by_proxy = contains(&limits.proxies, peer.address);
        let (worker, tls, alive) = (self.clone(), tls.cloned(), alive.clone());
        tokio::spawn(async move {
            match tls {
                None if !by_proxy => {
                    let conversation = worker.conversation(peer);
                    conversation.http1(TokioIo::new(stream)).await;
                }
                // Apart, so that plain connections do not carry the room for it.
                tls => Box::pin(worker.converse_behind((stream, peer), by_proxy, tls)).await,
            }
            drop((place, shown, alive));
        });
    }

    fn conversation(
        self,
        peer: Peer,
    ) -> Conversation<impl Fn(Request<Incoming>) -> F + Send + 'static> {
        let (respond, peer) = (self.respond, Arc::new(peer));
        Conversation {
            respond: move |request| respond(request, Arc::clone(&peer)),
            header_time: self.limits.load().header_time,
            stopping: self.stopping,
        }
    }

    /// Speaks with who has something before HTTP: the PROXY protocol, a TLS handshake, or both.
    async fn converse_behind(
        self,
        (mut stream, mut peer): (TimedStream, Peer),
        by_proxy: bool,
        tls: Option<Arc<Identity>>,
    ) {
        if by_proxy {
            let header_time = self.limits.load().header_time;
            let header = proxy_protocol::read(&mut stream);
            match tokio::time::timeout(header_time, header).await {
                Ok(Ok(Some(address))) => peer = Peer::new(address, peer.door),
                Ok(Ok(None)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
        match tls {
            None => {
                let conversation = self.conversation(peer);
                conversation.http1(TokioIo::new(stream)).await;
            }
            Some(tls) => self.converse_over_tls((stream, peer), tls).await,
        }
    }

    async fn converse_over_tls(self, (stream, mut peer): (TimedStream, Peer), tls: Arc<Identity>) {
        let mut stopping = self.stopping.clone();
        let header_time = self.limits.load().header_time;
        let accepted = tokio::select! {
            // Boxed, as HTTP/2 below, so that a connection does not carry the room for it on.
            accepted = Box::pin(handshake::accept(stream, &tls, header_time)) => accepted,
            () = parting(&mut stopping) => return,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(failed) => return self.limits.load().failed(peer.address, &failed),
        };
        let shown = stream.get_ref().1.peer_certificates();
        peer.certificate = shown.and_then(|chain| tls.client(chain));
        // A connection outlives renewals; it need not hold on to what it began with.
        drop(tls);
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        let (conversation, stream) = (self.conversation(peer), TokioIo::new(stream));
        if is_h2 {
            Box::pin(conversation.http2(stream)).await;
        } else {
            conversation.http1(stream).await;
        }
    }
}

/// Ends when a stop has begun and whoever had just connected has had some time.
async fn parting(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
    tokio::time::sleep(PARTING).await;
}

/// Counts one connection for as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Instant};

    use super::*;
    use crate::io::metrics::Metrics;

    #[test]
    fn a_worker_that_does_not_come_back_is_known() {
        const PATIENCE: Duration = Duration::from_secs(3);
        let metrics = Metrics::new().unwrap();
        let limits = ListenerLimits {
            header_time: PATIENCE,
            write_time: PATIENCE,
            connections: 1,
            grace: PATIENCE,
            proxies: Arc::from([]),
            figures: metrics.connections(),
            handshakes: metrics.handshakes("tls"),
            requests: None,
        };
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener {
            socket,
            tls: None,
            door: Door::Plain,
        };
        let held = Arc::new(std::sync::Mutex::new(()));
        let asked = Arc::clone(&held);
        let respond = move |_, _| {
            drop(asked.lock().unwrap());
            std::future::ready(Answer::default())
        };
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        let workers = serve("test", &[listener], 1, &limits, respond).unwrap();
        let until = |go_on: bool| {
            let begun = Instant::now();
            while workers.go_on_within(PATIENCE) != go_on {
                assert!(begun.elapsed() < 10 * PATIENCE);
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let holding = held.lock().unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        until(false);
        drop(holding);
        until(true);
        drop(client);
        workers.stop();
    }
}
