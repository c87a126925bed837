//! `gnomon check`: everything that would stop a start, and advice on what would not but should be changed.

use std::{path::Path, process::ExitCode};

use super::fail;
use crate::{
    config::{Config, advice::advice},
    daemon,
};

pub fn run(file: &Path) -> ExitCode {
    let checked = Config::read(file).and_then(|config| {
        let cautions = daemon::check(&config)?;
        Ok((config, cautions))
    });
    match checked {
        Ok((config, cautions)) => {
            for line in advice(&config).into_iter().chain(cautions) {
                println!("advice: {line}");
            }
            println!(
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
