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

mod chronyd;
mod clocks;
mod record;
mod socket;
mod text;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use chronyd::Chronyd;
use clap::Parser;
use record::Record;
use socket::Listener;

/// Tells gnomon what chronyd and the kernel say of the clock.
#[derive(Debug, Parser)]
#[command(name = "gnomon-clockwatch", version)]
struct Arguments {
    /// The socket that records leave by; its directory must be there.
    #[arg(long, default_value = "/run/gnomon/clock.sock")]
    socket: PathBuf,
    /// The socket's mode, in octal.
    #[arg(long, default_value = "0666", value_parser = mode)]
    mode: u32,
    /// Where chronyd answers, on this host. A port under 1024, or any process can pose as chronyd.
    #[arg(long, default_value = "127.0.0.1:323", value_parser = loopback)]
    chronyd: SocketAddr,
    /// The time from one poll to the next, such as 250ms or 1s.
    #[arg(long, default_value = "250ms", value_parser = interval)]
    interval: Duration,
    /// Print one poll for people, and listen on nothing.
    #[arg(long)]
    once: bool,
}

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

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("not a mode in octal, such as 0660".to_owned()),
    }
}

/// Another host's chronyd knows nothing of this host's clock.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "not an address with a port, such as 127.0.0.1:323")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("not an address of this host's loopback".to_owned())
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1000),
    };
    match number.parse::<u64>() {
        Ok(number) if (1..=60_000).contains(&number.saturating_mul(unit)) => {
            Ok(Duration::from_millis(number.saturating_mul(unit)))
        }
        _ => Err("not a time between 1ms and 60s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        for text in [
            "",
            "ms",
            "s",
            "0ms",
            "61s",
            "1",
            "-1s",
            "18446744073709551615s",
        ] {
            assert!(interval(text).is_err(), "{text}");
        }
        assert_eq!(mode("0660"), Ok(0o660));
        assert!(mode("8").is_err() && mode("10000").is_err());
        assert!(loopback("127.0.0.1:323").is_ok() && loopback("[::1]:323").is_ok());
        assert!(loopback("192.0.2.1:323").is_err() && loopback("localhost:323").is_err());
    }
}
