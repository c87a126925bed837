//! Serials that a CA pushes when it issues: [`Pushes`] hands them to the one thread that owns the file, which answers
//! when they are on the disk and in force. What was pushed while the last sync ran shares the next one. The thread is
//! not the feed's, which fetches for minutes and takes in CRLs of millions of entries.

use std::{io, sync::Arc, thread::JoinHandle};

use arc_swap::ArcSwap;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{
    Feed,
    issued::{AllIssued, Found},
    pushed_file::Appender,
};
use crate::{
    revocation::{Issued, Serials, Snapshot},
    service::code,
};

/// Pushes that wait. With the longest body the admin listener takes, all of them are a frame of 128 MiB.
const QUEUE: usize = 64;

/// Why pushed serials were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("too many pushes wait already")]
    Busy,
    #[error("the disk is full")]
    Full,
    #[error("they could not be kept")]
    NotKept,
}

#[derive(Debug)]
enum Message {
    Push(Push),
    /// Take what is queued, and end.
    End,
}

#[derive(Debug)]
struct Push {
    serials: Serials,
    reply: oneshot::Sender<Result<(), PushError>>,
}

/// Hands pushes over.
#[derive(Debug, Clone)]
pub struct Pushes(mpsc::Sender<Message>);

impl Pushes {
    /// Ends when these serials are durable and in force, or none of them will be.
    pub async fn push(&self, serials: Serials) -> Result<(), PushError> {
        let (reply, answer) = oneshot::channel();
        match self.0.try_send(Message::Push(Push { serials, reply })) {
            Ok(()) => answer.await.unwrap_or(Err(PushError::NotKept)),
            Err(TrySendError::Full(_)) => Err(PushError::Busy),
            Err(TrySendError::Closed(_)) => Err(PushError::NotKept),
        }
    }
}

/// The thread that takes pushes.
#[derive(Debug)]
pub struct Accepting {
    end: mpsc::Sender<Message>,
    thread: JoinHandle<Owner>,
}

impl Accepting {
    /// Ends it when what was pushed before is answered. What is pushed later is not taken, by whoever still holds
    /// [`Pushes`]. Gives what [`accept`] goes on with; none where the file cannot be gone on with.
    pub fn stop(self) -> Option<Found> {
        // Without a receiver it has ended.
        let _ = self.end.blocking_send(Message::End);
        let owner = self.thread.join().ok()?;
        owner.file.end().map(|end| Found {
            path: owner.path.into(),
            end,
            torn: 0,
        })
    }
}

/// Lets serials be pushed to this feed; `None` where it was opened without a place for them.
pub fn accept(feed: &mut Feed) -> io::Result<Option<(Pushes, Accepting)>> {
    let Some(found) = feed.issued.found.take() else {
        return Ok(None);
    };
    let path = found.path.display().to_string();
    let file = Appender::open(&found.path, found.end, found.torn);
    let file = file.map_err(|error| {
        io::Error::other(format!("{path}: cannot be opened to keep serials: {error}"))
    })?;
    let owner = Owner {
        path,
        file,
        pushed: feed.issued.all.pushed(),
        all: feed.issued.all.clone(),
        snapshot: Arc::clone(feed.snapshot()),
        failing: false,
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let thread = std::thread::Builder::new().name("issued".into());
    let thread = thread.spawn(move || owner.take_all(receiver))?;
    let end = sender.clone();
    Ok(Some((Pushes(sender), Accepting { end, thread })))
}

#[derive(Debug)]
struct Owner {
    path: String,
    file: Appender,
    /// All that was ever pushed.
    pushed: Issued,
    all: AllIssued,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// The last push was not kept, and the log says so.
    failing: bool,
}

impl Owner {
    fn take_all(mut self, mut queue: mpsc::Receiver<Message>) -> Self {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Push(push) => batch.push(push),
                    Message::End => queue.close(),
                }
                next = (batch.len() < QUEUE)
                    .then(|| queue.try_recv().ok())
                    .flatten();
            }
            let taken = self.take(&batch);
            for push in batch {
                // Who has hung up pushes again, or not.
                let _ = push.reply.send(taken);
            }
        }
        self
    }

    fn take(&mut self, batch: &[Push]) -> Result<(), PushError> {
        let mut unknown = Serials::default();
        let pushed = batch.iter().flat_map(|push| push.serials.iter());
        unknown.extend(pushed.filter(|(serial, told)| !self.pushed.knows(serial, *told)));
        if unknown.is_empty() {
            return Ok(());
        }
        // Each once.
        let unknown = Issued::new(unknown);
        if let Err(error) = self.file.append(unknown.iter()) {
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!(
                    code = code::PUSHES_NOT_KEPT,
                    "{}: pushed serials cannot be kept: {error}; they are refused",
                    self.path
                );
            }
            return Err(match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => PushError::Full,
                _ => PushError::NotKept,
            });
        }
        if std::mem::take(&mut self.failing) {
            tracing::info!(
                code = code::PUSHES_NOT_KEPT,
                "{}: pushed serials are kept again",
                self.path
            );
        }
        self.pushed = self.pushed.and(&unknown);
        self.all.push(self.pushed.clone(), |issued| {
            let old = self.snapshot.load();
            self.snapshot.store(Arc::new(old.with_issued(issued)));
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_can_wait_are_refused_at_once() {
        let (sender, mut queue) = mpsc::channel(1);
        let pushes = Pushes(sender);
        let first = tokio::spawn({
            let pushes = pushes.clone();
            async move { pushes.push(Serials::default()).await }
        });
        let Some(Message::Push(waiting)) = queue.recv().await else {
            panic!("no push");
        };
        let second = tokio::spawn({
            let pushes = pushes.clone();
            async move { pushes.push(Serials::default()).await }
        });
        tokio::task::yield_now().await;
        let refused = pushes.push(Serials::default()).await;
        assert_eq!(refused, Err(PushError::Busy));
        waiting.reply.send(Ok(())).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));
        // A thread that is gone has kept nothing.
        drop(queue);
        assert_eq!(second.await.unwrap(), Err(PushError::NotKept));
        let late = pushes.push(Serials::default()).await;
        assert_eq!(late, Err(PushError::NotKept));
    }
}
