//! What takes long with a feed, which is to fetch, read and judge, at a priority that answers do not notice: [`Reader`]
//! is a thread of its own. Its follower goes on at the ordinary one, since it takes locks that answers wait for, such as
//! that of the journal's queue.

use std::io;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Feed, FeedError};
use crate::wire::time::Seconds;

/// The thread. It ends when its owner is gone.
#[derive(Debug)]
pub struct Reader(mpsc::UnboundedSender<Task>);

/// A feed that was looked at.
#[derive(Debug)]
pub struct Looked {
    pub feed: Feed,
    /// Something is to be swapped in.
    pub changed: bool,
    pub errors: Vec<FeedError>,
}

#[derive(Debug)]
struct Task {
    feed: Feed,
    now: Option<Seconds>,
    done: oneshot::Sender<Looked>,
}

impl Reader {
    /// `stopped` ends a fetch, but not what is read already.
    pub fn start(stopped: watch::Receiver<bool>) -> io::Result<Self> {
        let (sender, mut tasks) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("feed-reader".into());
        thread.spawn(move || {
            run_behind_everything();
            runtime.block_on(async move {
                while let Some(task) = tasks.recv().await {
                    look(task, stopped.clone()).await;
                }
            });
        })?;
        Ok(Self(sender))
    }

    /// Looks at every source of a feed; none where the thread has died.
    pub async fn look(&self, feed: Feed, now: Option<Seconds>) -> Option<Looked> {
        let (done, looked) = oneshot::channel();
        let _ = self.0.send(Task { feed, now, done });
        looked.await.ok()
    }
}

async fn look(task: Task, mut stopped: watch::Receiver<bool>) {
    let Task {
        mut feed,
        now,
        done,
    } = task;
    let (changed, errors) = tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => (false, Vec::new()),
        looked = feed.refresh(now) => looked,
    };
    let _ = done.send(Looked {
        feed,
        changed,
        errors,
    });
}

/// SCHED_IDLE (sched(7)): of the lowest nice value a thread still runs for milliseconds before an answer gets its turn.
/// Without the permission it is only slower for others.
pub(super) fn run_behind_everything() {
    let _ = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle),
    );
}
