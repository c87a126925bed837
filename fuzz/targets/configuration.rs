//! Config::parse: a meaning or problems, never an end.
#![no_main]

use std::path::Path;

use gnomon::config::{Config, advice::advice};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(config) = Config::parse(text, Path::new("gnomon.toml")) {
        let _ = advice(&config);
    }
});
