//! What systemd is told, where it started the process: that the service is ready, that it stops, and, as long as
//! it can do its work, that it lives ([`feed_watchdog`]). Without systemd nothing is told to anybody.

use std::convert::Infallible;

use sd_notify::NotifyState;

/// Every socket accepts.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// What is under way is finished, and then the process ends.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Feeds the watchdog as often as its unit asks (`WatchdogSec=`) for as long as `works`; never returns. Hungry,
/// systemd ends the process and starts it anew.
pub async fn feed_watchdog(works: impl Fn() -> bool) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    // Twice in the time allowed, as sd_watchdog_enabled(3) advises.
    let mut ticks = tokio::time::interval(patience / 2);
    let mut fed = true;
    loop {
        ticks.tick().await;
        let feed = works();
        if feed {
            tell(NotifyState::Watchdog);
        } else if fed {
            tracing::error!(
                "a call into a signing device has not come back, and no other session serves its key: the \
                 watchdog is not fed, so that systemd starts gnomon anew"
            );
        }
        fed = feed;
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told ($NOTIFY_SOCKET): {error}");
    }
}
