//! A journal for tests of what writes to one: [`open`].

use std::{path::Path, time::Duration};

use super::{Opened, Settings};

/// In a folder of its own, with no bounds to the space on the disk.
pub fn open(dir: &Path) -> Opened {
    let opened = super::open(&Settings {
        dir: dir.join("journal"),
        log_key: dir.join("log.key"),
        origin: None,
        checkpoint_interval: Duration::from_secs(1),
        segment_size: 1 << 20,
        keep_tokens: false,
        warn_free: 0,
        stop_free: 0,
    });
    opened.unwrap()
}
