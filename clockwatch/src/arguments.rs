//! The command line: [`Arguments`]. A file of its own, so that the example that writes the man page can take it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;

/// Tells gnomon what chronyd and the kernel say of the clock.
#[derive(Debug, Parser)]
#[command(name = "gnomon-clockwatch", version)]
pub struct Arguments {
    /// The socket that records leave by; its directory must be there.
    #[arg(long, default_value = "/run/gnomon/clock.sock")]
    pub socket: PathBuf,
    /// The socket's mode, in octal.
    #[arg(long, default_value = "0666", value_parser = mode)]
    pub mode: u32,
    /// Where chronyd answers, on this host. A port under 1024, or any process can pose as chronyd.
    #[arg(long, default_value = "127.0.0.1:323", value_parser = loopback)]
    pub chronyd: SocketAddr,
    /// The time from one poll to the next, such as 250ms or 1s.
    #[arg(long, default_value = "250ms", value_parser = interval)]
    pub interval: Duration,
    /// Print one poll for people, and listen on nothing.
    #[arg(long)]
    pub once: bool,
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
