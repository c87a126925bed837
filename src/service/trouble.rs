//! Says trouble of ours once when it begins and once when it ends, so that no client can flood the log.

use std::{
    fmt::Display,
    sync::atomic::{AtomicBool, Ordering},
};

/// The trouble of one service.
#[derive(Debug)]
pub struct Trouble {
    service: &'static str,
    code: &'static str,
    present: AtomicBool,
}

impl Trouble {
    /// `code` is what the operator looks it up by.
    pub const fn new(service: &'static str, code: &'static str) -> Self {
        Self {
            service,
            code,
            present: AtomicBool::new(false),
        }
    }

    /// Something of ours failed.
    pub fn begins(&self, reason: &impl Display) {
        if !self.present.swap(true, Ordering::Relaxed) {
            tracing::error!(code = self.code, "{}: refused: {reason}", self.service);
        }
    }

    /// A request was served.
    pub fn ends(&self) {
        if self.present.load(Ordering::Relaxed) && self.present.swap(false, Ordering::Relaxed) {
            tracing::info!(code = self.code, "{}: serves again", self.service);
        }
    }
}
