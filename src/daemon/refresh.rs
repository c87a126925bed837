//! The thread that has sealed answers signed again before clients would have to wait for it: [`Refresher`] drives
//! [`Refresh`] at the lowest priority, and slowly enough that what comes due at once does not come as a herd.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    io::metrics::Metrics,
    service::status::{Refresh, Statuses, Step},
};

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(2);

/// For how long a busy key is left alone.
const BUSY: Duration = Duration::from_millis(100);

/// After a signature, so many times as long as it took: three quarters of a session, or of a core, stay free.
const SHARE: u32 = 3;

/// But at least this long: a thousand signatures a second.
const BREATH: Duration = Duration::from_millis(1);

/// Of a thread (nice).
const LOWEST_PRIORITY: i32 = 19;

/// The thread.
#[derive(Debug)]
pub struct Refresher {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Refresher {
    pub fn begin(statuses: Arc<Statuses>, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let thread = std::thread::Builder::new().name("refresh".into());
        let thread = thread.spawn(move || {
            // Without the permission it only disturbs more.
            let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    never = run(Refresh::new(statuses), &metrics) => match never {},
                }
            });
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread; a signature under way is given up.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

async fn run(mut refresh: Refresh, metrics: &Metrics) -> std::convert::Infallible {
    loop {
        let begun = Instant::now();
        let pause = match refresh.step().await {
            Step::Signed => {
                metrics.refreshed();
                (begun.elapsed() * SHARE).max(BREATH)
            }
            Step::Waits => BUSY,
            Step::Rests => LOOK,
        };
        tokio::time::sleep(pause).await;
    }
}
