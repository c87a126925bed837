//! What systemd is told, where it started the process: that the service is ready, that it reads its configuration again,
//! that it stops, and, as long as it can do its work, that it lives ([`feed_watchdog`]). Without systemd nothing is told to
//! anybody. And what systemd has passed: [`sockets`].

use std::{convert::Infallible, io, net::TcpListener};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use sd_notify::NotifyState;

use crate::service::code;

/// The listening sockets that systemd has opened (sd_listen_fds(3)), or what is wrong with one. To be asked once, and
/// before there are threads: it takes variables out of the environment, so that no other program thinks them meant for it.
pub fn sockets() -> Vec<io::Result<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let count = passed.len();
    let take = |index| {
        let socket = passed.take_tcp_listener(index).transpose()?;
        Some(socket.and_then(|socket| match socket_acceptconn(&socket)? {
            true => Ok(socket),
            false => Err(io::Error::other("is a connection; Accept= must be no")),
        }))
    };
    (0..count).filter_map(take).collect()
}

/// Every socket accepts.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again. [`reloaded`] or [`refused`] is told afterwards.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(
            code = code::SYSTEMD_DEAF,
            "the monotonic clock cannot be read: {error}"
        ),
    }
}

/// The configuration was read again, and what it says is in force.
pub fn reloaded() {
    tell(&[NotifyState::Ready, NotifyState::Status("")]);
}

/// The configuration was read again, and what was in force before stays so.
pub fn refused() {
    let status = "the last reload was refused, see the log; what was in force before stays so";
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What is under way is finished, and then the process ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog as often as its unit asks (`WatchdogSec=`) for as long as `works` finds no error; never returns.
/// Hungry, systemd ends the process and starts it anew.
pub async fn feed_watchdog(works: impl Fn() -> Result<(), &'static str>) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    // Twice in the time allowed, as sd_watchdog_enabled(3) advises.
    let mut ticks = tokio::time::interval(patience / 2);
    let mut fed = true;
    loop {
        ticks.tick().await;
        let found = works();
        match found {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(reason) if fed => tracing::error!(
                code = code::WATCHDOG_STARVED,
                "{reason}: the watchdog is not fed, so that systemd starts gnomon anew"
            ),
            Err(_) => {}
        }
        fed = found.is_ok();
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(
            code = code::SYSTEMD_DEAF,
            "systemd cannot be told ($NOTIFY_SOCKET): {error}"
        );
    }
}
