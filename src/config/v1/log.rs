//! The log's settings as they are written: [`LogSpec`].

use serde::Deserialize;

use crate::config::LogConfig;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSpec {
    #[serde(default)]
    format: LogFormat,
    #[serde(default)]
    level: LogLevel,
    #[serde(default)]
    requests: bool,
    request_lines: Option<u32>,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// To the journal of systemd where standard error is the journal's, else as text.
    #[default]
    Auto,
    Text,
    Json,
    Journald,
}

/// The least level that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogSpec {
    pub fn resolve(self) -> LogConfig {
        LogConfig {
            format: self.format,
            level: self.level,
            requests: self.requests,
            // A line has some 200 octets: 2 GB a day at worst.
            request_lines: self.request_lines.unwrap_or(100),
        }
    }
}
