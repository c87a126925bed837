//! From the configured log to what `io::logging` and the public listeners do: [`begin`].

use crate::{
    config::{LogConfig, LogFormat, LogLevel},
    io::logging::{self, Format, Settings},
};

/// Writes events as configured from now on.
pub fn begin(config: &LogConfig) {
    logging::begin(Settings {
        format: match config.format {
            LogFormat::Auto => None,
            LogFormat::Text => Some(Format::Text),
            LogFormat::Json => Some(Format::Json),
            LogFormat::Journald => Some(Format::Journald),
        },
        level: match config.level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        },
    });
}
