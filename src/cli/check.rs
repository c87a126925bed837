//! `gnomon check`: everything that would stop a start, and advice on what would not but should be changed.

use std::{path::Path, process::ExitCode};

use super::fail;
use crate::{
    config::{ClockSource, Config, advice::advice, chrony},
    daemon,
    io::{leap_table, wall_clock::wall_clock},
};

pub fn run(file: &Path, chrony: &Path) -> ExitCode {
    let checked = Config::read(file).and_then(|config| {
        let cautions = daemon::check(&config)?;
        Ok((config, cautions))
    });
    match checked {
        Ok((config, cautions)) => {
            let clock = chronyd(&config, chrony).into_iter();
            let clock = clock.chain(leap_seconds(&config));
            for line in advice(&config).into_iter().chain(cautions).chain(clock) {
                say!("advice: {line}");
            }
            say!(
                "{}: can be served ({} TSUs, {} issuers)",
                file.display(),
                config.tsus.len(),
                config.issuers.len()
            );
            ExitCode::SUCCESS
        }
        Err(problems) => fail(&problems),
    }
}

/// What is unwise in chronyd's configuration, where chronyd keeps the clock.
fn chronyd(config: &Config, file: &Path) -> Vec<String> {
    if config.clock.source != ClockSource::Chrony {
        return Vec::new();
    }
    chrony::advice(file, &config.clock).unwrap_or_else(|| {
        vec![format!(
            "{}: cannot be read, so it is not known how chronyd keeps the clock; name its file with --chrony",
            file.display()
        )]
    })
}

/// What is wrong with the table of leap seconds, where it is watched, or else with what the kernel makes of them.
fn leap_seconds(config: &Config) -> Option<String> {
    if config.clock.source != ClockSource::Chrony {
        return None;
    }
    let path = config.clock.leap_table.display();
    let now = wall_clock();
    match leap_table::expiry(&config.clock.leap_table) {
        Ok(expiry) if expiry > now => {
            let offset = leap_table::tai_offset(&config.clock.leap_table, now).ok()?;
            // Not every sandbox lets it be read.
            let kernel = adjtimex::read().ok()?.tai;
            (kernel != offset).then(|| {
                format!(
                    "the kernel has TAI - UTC as {kernel} s, and by {path} it is {offset} s: whoever keeps the clock has \
                     not told it of leap seconds; chronyd does with `leapsectz right/UTC`, once it runs"
                )
            })
        }
        Ok(expiry) => Some(format!(
            "clock.leap_table: {path} has expired on {expiry}; update the package tzdata"
        )),
        Err(error) => Some(format!("clock.leap_table: {path}: {error}")),
    }
}
