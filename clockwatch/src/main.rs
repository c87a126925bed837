//! The clock's helper: asks chronyd and the kernel about the clock and tells the daemon, record by record, over
//! a Unix socket. Start with [`poll`], which makes one [`record::Record`]; [`serve`] repeats it. It judges
//! nothing: what the numbers mean is the daemon's affair.
//!
//! A program of its own for the sake of a licence: chrony-candm is GPL-2.0-only, the daemon must not link it.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

mod arguments;
mod chronyd;
mod clocks;
mod record;
mod socket;
mod text;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use arguments::Arguments;
use chronyd::Chronyd;
use clap::Parser;
use record::Record;
use socket::Listener;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut chronyd = Chronyd::new(arguments.chronyd);
    if arguments.once {
        let record = poll(&mut chronyd);
        let printed = io::stdout().write_all(text::text(&record).as_bytes());
        return if printed.is_ok() && record.chronyd.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let error = match serve(
        &arguments.socket,
        arguments.mode,
        chronyd,
        arguments.interval,
    ) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    say(&format!("error: {error}"));
    ExitCode::FAILURE
}

/// Asks chronyd and the kernel once.
fn poll(chronyd: &mut Chronyd) -> Record {
    let (instants, tracking) = chronyd.ask();
    Record {
        instants,
        chronyd: tracking,
        kernel: adjtimex::read().ok(),
    }
}

/// Polls and tells until a signal ends the process.
fn serve(
    path: &Path,
    mode: u32,
    mut chronyd: Chronyd,
    interval: Duration,
) -> Result<std::convert::Infallible, Box<dyn std::error::Error>> {
    let mut listener = Listener::new(path, mode)?;
    let mut due = Instant::now();
    let mut answered = None;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            listener
                .accept_for(left)
                .map_err(|error| format!("accepting on {} failed: {error}", path.display()))?;
            continue;
        }
        let record = poll(&mut chronyd);
        listener.push(&record.encode());
        tell_change(&mut answered, &record, chronyd.address());
        // After a pause the polls that were missed are not made up for.
        due = (due + interval).max(Instant::now());
    }
}

/// One line when chronyd falls silent, and one when it answers again.
fn tell_change(answered: &mut Option<bool>, record: &Record, address: SocketAddr) {
    let answers = record.chronyd.is_ok();
    if answered.replace(answers) == Some(answers) {
        return;
    }
    match &record.chronyd {
        Ok(_) => say(&format!("chronyd at {address} answers")),
        Err(silence) => say(&format!("chronyd at {address} does not answer: {silence}")),
    }
}

/// A line for the log. Where there is no log, there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
