//! Anchors: at an interval the log's checkpoint is time-stamped by another TSA, and the reply kept beside it.
//! [`follow`] does so on a thread of its own; [`read`] gives what it has stored. Trouble with the other TSA is a
//! line in the log and a metric; nothing waits for it.

mod stored;

use std::{convert::Infallible, io, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use aws_lc_rs::rand;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::oneshot;

use super::{
    http_client::{self, HttpError, Url},
    journal::{
        disk::{Disk, Folder},
        log,
    },
    metrics::Metrics,
};
use crate::{
    audit::{
        anchor::{self, AnchorError, Anchored},
        checkpoint::{Checkpoint, NoteError},
    },
    service::code,
    wire::{certificate::Certificate, time::Seconds},
};

pub use stored::{Stored, StoredError, read};

/// From asking to the end of the reply. TSAs take well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a checkpoint is looked for, when one is due and there is nothing new.
const LOOK: Duration = Duration::from_secs(1);

/// The pause after a first failure, and the longest one unless the interval is shorter.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Who anchors what, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The journal's folder.
    pub dir: PathBuf,
    /// The other TSA.
    pub url: Url,
    /// Between two time-stamps.
    pub interval: Duration,
    /// What the other TSA's certificate must lead to.
    pub trust: Vec<Certificate>,
}

/// Why the checkpoint could not be anchored.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("log/checkpoint: cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("log/checkpoint: {0}")]
    Note(#[from] NoteError),
    #[error(
        "log/checkpoint has {now} records, but {anchored} are anchored already; the journal was set back, which \
         `gnomon journal verify` shows"
    )]
    SetBack { now: u64, anchored: u64 },
    #[error("the system gives no random numbers for a nonce")]
    Nonce,
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Reply(#[from] AnchorError),
    #[error("anchors/: cannot be written: {0}")]
    Unwritable(io::Error),
}

/// The thread; [`Follower::stop`] ends it.
#[derive(Debug)]
pub struct Follower {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Ends it at once; a request under way is dropped.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// Anchors the checkpoint at the interval, on a thread of its own. The first time is soon.
pub fn follow(settings: Settings, metrics: Arc<Metrics>) -> io::Result<Follower> {
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut anchorer = Anchorer {
        disk: Folder::new(&settings.dir),
        settings,
        metrics,
        anchored: 0,
        troubled: false,
    };
    let thread = std::thread::Builder::new().name("anchor".into());
    let thread = thread.spawn(move || {
        anchorer.take_up();
        runtime.block_on(async {
            tokio::select! {
                _ = stopped => {}
                never = anchorer.keep() => match never {},
            }
        });
        // A host name that is being looked up is left behind.
        runtime.shutdown_background();
    })?;
    Ok(Follower { stop, thread })
}

struct Anchorer {
    settings: Settings,
    disk: Folder,
    metrics: Arc<Metrics>,
    /// Records under the last anchored checkpoint.
    anchored: u64,
    /// Whether the last try failed.
    troubled: bool,
}

impl Anchorer {
    /// Goes on where the last start left it. An anchor that cannot be read is kept as it is, and told.
    fn take_up(&mut self) {
        let dir = &self.settings.dir;
        let newest = match stored::sizes(dir) {
            Ok(mut sizes) => sizes.pop(),
            Err(error) => return tracing::warn!(code = code::ANCHOR_UNREADABLE, "{error}"),
        };
        let Some(size) = newest else {
            return;
        };
        self.anchored = size;
        let stored = match stored::read_one(dir, size) {
            Ok(stored) => stored,
            Err(error) => return tracing::warn!(code = code::ANCHOR_UNREADABLE, "{error}"),
        };
        // By whom does not matter here; that may have changed with the configuration.
        match anchor::verify_unchained(&stored.reply, &stored.note) {
            Ok(anchored) => self.metrics.anchored(stored.size, anchored.gen_time),
            Err(error) => tracing::warn!(
                code = code::ANCHOR_UNREADABLE,
                "{}: {error}",
                stored.path.display()
            ),
        }
    }

    async fn keep(&mut self) -> Infallible {
        let (first, longest) = RETRY;
        let longest = longest.min(self.settings.interval);
        let mut retry = first.min(longest);
        loop {
            let pause = match self.anchor().await {
                Ok(None) => LOOK.min(self.settings.interval),
                Ok(Some((size, anchored))) => {
                    self.succeeded(size, &anchored);
                    retry = first.min(longest);
                    self.settings.interval
                }
                Err(failure) => {
                    self.failed(&failure);
                    let pause = retry;
                    retry = (retry * 2).min(longest);
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Anchors the present checkpoint, if there is one that is not.
    async fn anchor(&mut self) -> Result<Option<(u64, Anchored)>, Failure> {
        let note = match self.disk.read(&log::name("checkpoint")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            note => note.map_err(Failure::Unreadable)?,
        };
        let now = Checkpoint::unverified(&String::from_utf8_lossy(&note))?.size;
        let anchored = self.anchored;
        if now < anchored {
            return Err(Failure::SetBack { now, anchored });
        }
        if now == anchored {
            return Ok(None);
        }
        let mut nonce = [0; anchor::NONCE];
        rand::fill(&mut nonce).map_err(|_| Failure::Nonce)?;
        let reply = self.ask(anchor::request(&note, &nonce)).await?;
        anchor::check_nonce(&reply, &nonce)?;
        let by = anchor::verify(&reply, &note, &self.settings.trust)?;
        stored::put(&self.disk, now, &note, &reply).map_err(Failure::Unwritable)?;
        self.anchored = now;
        Ok(Some((now, by)))
    }

    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, HttpError> {
        let response = http_client::client(PATIENCE, 0)?
            .post(self.settings.url.clone())
            .header(CONTENT_TYPE, "application/timestamp-query")
            .header(ACCEPT, "application/timestamp-reply")
            .body(request)
            .send()
            .await?;
        http_client::body(response, stored::LONGEST).await
    }

    fn succeeded(&mut self, size: u64, anchored: &Anchored) {
        self.metrics.anchored(size, anchored.gen_time);
        if std::mem::take(&mut self.troubled) {
            let time = Seconds::new(anchored.gen_time.as_secs());
            tracing::info!(
                code = code::ANCHOR_FAILS,
                "journal.anchor: anchored again: {size} records at {time} by {}",
                anchored.tsa
            );
        }
    }

    /// Says so when it begins; the metric counts each time.
    fn failed(&mut self, failure: &Failure) {
        self.metrics.anchor_failed();
        if !std::mem::replace(&mut self.troubled, true) {
            let tsa = self.settings.url.host_str().unwrap_or_default();
            tracing::warn!(
                code = code::ANCHOR_FAILS,
                "journal.anchor: the checkpoint is not anchored at {tsa}: {failure}; it is tried again, and tokens \
                 are issued meanwhile"
            );
        }
    }
}
