//! `gnomon clock`: how the running appliance sees its clock, and `reset` after repeated losses.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    admin::{ask_json, leave},
    fail,
};
use crate::{
    config::{Config, Problem},
    io::journal::inbox::Request,
};

#[derive(Debug, Args)]
pub struct Clock {
    /// The configuration file (TOML) of the running appliance.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// For scripts.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a clock that was lost repeatedly be proven again, once you know why.
    Reset,
}

impl Clock {
    pub fn run(&self) -> ExitCode {
        let Some(file) = &self.config else {
            complain!("error: name the configuration with --config FILE\n");
            return ExitCode::FAILURE;
        };
        let done = Config::read(file).and_then(|config| match self.command {
            Some(Command::Reset) => reset(&config),
            None => self.show(&config),
        });
        match done {
            Ok(status) => status,
            Err(problems) => fail(&problems),
        }
    }

    fn show(&self, config: &Config) -> Result<ExitCode, Vec<Problem>> {
        let state = ask_json(config, "/clock")?;
        let proven = state.get("proven") == Some(&Value::Bool(true));
        if self.json {
            say!("{state:#}");
        } else {
            print(&state, proven);
        }
        Ok(if proven {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn reset(config: &Config) -> Result<ExitCode, Vec<Problem>> {
    leave(config, &Request::ResetClock)?;
    say!("asked; the appliance takes it up within a second, and puts it on record");
    Ok(ExitCode::SUCCESS)
}

fn print(state: &Value, proven: bool) {
    let text = |name: &str| state.get(name).and_then(Value::as_str);
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64);
    if proven {
        let bound = number(state, "bound_us").unwrap_or(0);
        match text("basis") {
            Some("demo") => say!("a demo's clock: nobody vouches for it"),
            _ => say!(
                "{}: within {bound} us of UTC",
                text("state").unwrap_or("proven")
            ),
        }
    } else {
        say!(
            "lost: {}",
            text("reason").unwrap_or("for an unknown reason")
        );
        if let Some(fault) = text("fault").filter(|fault| Some(*fault) != text("reason")) {
            say!("  at the last poll: {fault}");
        }
    }
    if let Some(last) = text("last_proven") {
        say!("last proven at {last}");
    }
    let parts = [
        ("correction_us", "what chronyd still has to correct"),
        ("root_dispersion_us", "root dispersion"),
        ("half_root_delay_us", "half of the root delay"),
        ("drift_us", "drift since the last update"),
        ("step_us", "steps since the last update"),
    ];
    if let Some(bound) = state.get("bound_at_poll").filter(|bound| bound.is_object()) {
        say!("at the last poll:");
        for (name, meaning) in parts {
            say!("  {:>9} us  {meaning}", number(bound, name).unwrap_or(0));
        }
        say!(
            "  {:>9} us  in all, and {} ns more each second",
            number(bound, "total_us").unwrap_or(0),
            number(bound, "growth_ppb").unwrap_or(0)
        );
    }
    if let Some(chronyd) = state.get("chronyd").filter(|chronyd| chronyd.is_object()) {
        say!(
            "chronyd: stratum {}, {} of {} sources usable, last heard from one {} s ago",
            number(chronyd, "stratum").unwrap_or(0),
            number(chronyd, "usable_sources").unwrap_or(0),
            number(chronyd, "sources").unwrap_or(0),
            number(chronyd, "reference_age_us").unwrap_or(0) / 1_000_000
        );
        for source in chronyd
            .get("source")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let field = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or("?");
            let reach = number(source, "reach").unwrap_or(0);
            say!("  {} {}, reach {reach:o}", field("name"), field("state"));
        }
    }
    if let Some(leap) = text("leap_second_before") {
        say!("a leap second is announced before {leap}");
    }
}
