//! What the service manager hears: [`Systemd`] is the other end of `NOTIFY_SOCKET`.

use std::{os::unix::net::UnixDatagram, path::Path, time::Duration};

/// The longest that anything is waited for that is to be said.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where systemd listens.
pub struct Systemd(UnixDatagram);

impl Systemd {
    pub fn listen(dir: &Path) -> Self {
        Self(UnixDatagram::bind(dir.join("notify")).unwrap())
    }

    /// By what the daemon finds it, with a watchdog that is fed every 200 ms.
    pub fn environment(dir: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("NOTIFY_SOCKET", dir.join("notify").display().to_string()),
            ("WATCHDOG_USEC", "400000".to_owned()),
        ]
    }

    /// The next that is said, within this time.
    pub fn hears(&self, time: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(time)).unwrap();
        let mut said = [0; 64];
        let length = self.0.recv(&mut said).ok()?;
        Some(String::from_utf8_lossy(&said[..length]).trim().to_owned())
    }

    pub fn forgets(&self) {
        self.0.set_nonblocking(true).unwrap();
        while self.0.recv(&mut [0; 64]).is_ok() {}
        self.0.set_nonblocking(false).unwrap();
    }

    /// Waits until nothing has been said for longer than the watchdog is fed.
    pub fn hears_nothing_more(&self) {
        super::wait_for("silence", || {
            let heard = self.hears(Duration::from_millis(1500));
            heard.is_none().then_some(())
        });
    }
}
