//! The thread that looks each second whether certificate and key have been renewed: [`Follower`] puts a new pair in
//! force, and tells of one that cannot be used, or that has run out.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::Identity;
use crate::{
    io::{metrics::Metrics, stamp::Stamp, wall_clock::wall_clock},
    service::code,
    wire::time::Seconds,
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The thread.
#[derive(Debug)]
pub struct Follower {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// `section`: of the configuration, for what is told.
    pub fn begin(
        section: &'static str,
        identity: Arc<Identity>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name(format!("{section}-renewal"));
        let thread = thread.spawn(move || {
            let mut renewal = Renewal::new(section, identity);
            loop {
                renewal.look(wall_clock());
                metrics.tls_end(section, renewal.identity.pair.load().not_after);
                match stopped.recv_timeout(LOOK) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// What was seen and said so far.
struct Renewal {
    section: &'static str,
    identity: Arc<Identity>,
    seen: [Stamp; 2],
    told: Option<String>,
    /// The end that has been told.
    ended: Option<Seconds>,
}

impl Renewal {
    fn new(section: &'static str, identity: Arc<Identity>) -> Self {
        Self {
            section,
            seen: identity.pair.load().stamps,
            identity,
            told: None,
            ended: None,
        }
    }

    fn look(&mut self, now: Seconds) {
        let before = self.identity.pair.load_full();
        let stamps = before.files.stamps();
        // The old files may be back, or a reload may have taken up new ones.
        let mut is_over = stamps == before.stamps && self.told.is_some();
        if stamps != before.stamps {
            // Again each second while it fails: a certificate may only be valid later.
            match self.identity.renew(now) {
                Ok(()) => is_over = true,
                // The two files change one after the other, so what is not yet still may be about to be right.
                Err(_) if stamps != self.seen => {}
                Err(error) => {
                    let said = format!("{}.{}: {error}", self.section, error.field());
                    if self.told.as_ref() != Some(&said) {
                        tracing::error!(
                            code = code::TLS_PAIR,
                            "{said}; the old certificate stays in force"
                        );
                        self.told = Some(said);
                    }
                }
            }
        }
        self.seen = stamps;
        let pair = self.identity.pair.load();
        is_over |= now <= pair.not_after && self.ended.take().is_some();
        if is_over {
            self.told = None;
            tracing::info!(
                code = code::TLS_PAIR,
                "{}: the certificate of {} is in force, until {}",
                self.section,
                pair.subject,
                pair.not_after
            );
        }
        if now > pair.not_after && self.ended != Some(pair.not_after) {
            self.ended = Some(pair.not_after);
            tracing::error!(
                code = code::TLS_ENDED,
                "{}.certificate: {}: the certificate of {} ended at {}, and clients refuse it; renew it",
                self.section,
                pair.files.certificate.display(),
                pair.subject,
                pair.not_after
            );
        }
    }
}
