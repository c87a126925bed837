//! The command line: [`run`] reads it and does what it says, one file a subcommand. What goes wrong is
//! said on standard error, one line each, and the exit status is 1; of a start that has to be mended first, 78.
#![allow(clippy::disallowed_methods)] // the edge: files, clock

/// `println!` by [`out::say`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::out::say(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// `eprint!` by [`out::complain`]; it ends no line.
macro_rules! complain {
    ($($text:tt)*) => {
        $crate::cli::out::complain(format_args!($($text)*))
    };
}

mod access;
mod admin;
mod check;
mod clock;
mod crl;
pub mod demo;
mod journal;
mod keys;
mod out;
mod serve;
mod status;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{config::Problem, io::logging};

/// Vouches for when and whether: time-stamps (RFC 3161) and certificate status (RFC 6960).
#[derive(Debug, Parser)]
#[command(name = "gnomon", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: makes a throw-away PKI in a folder and serves from it.
    Demo {
        /// Where the PKI is kept, and found again by the next start.
        #[arg(long, default_value = "./gnomon-demo")]
        dir: PathBuf,
        /// Where clients connect.
        #[arg(long, default_value = "127.0.0.1:3180")]
        listen: SocketAddr,
        /// Where the console, metrics and readiness are.
        #[arg(long, default_value = "127.0.0.1:3181")]
        admin: SocketAddr,
        /// Make the signing keys on a PKCS #11 token, by this module.
        #[arg(long, requires = "pin_file")]
        pkcs11: Option<PathBuf>,
        /// The file with the token's PIN, mode 0600.
        #[arg(long, requires = "pkcs11")]
        pin_file: Option<PathBuf>,
        /// The token's label, where the module has several.
        #[arg(long, requires = "pkcs11")]
        token: Option<String>,
    },
    /// Serve as the configuration says.
    ///
    /// The exit status is 0 after SIGTERM and SIGINT; 78 where the start fails until somebody mends what is wrong: the
    /// configuration, a certificate, a PIN; and 1 where it may go well the next time: a port or the journal is held by
    /// another process, a token is away.
    Serve {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Show everything about the running appliance on one screen; fail where it is not ready.
    Status {
        /// The configuration file (TOML) of the running appliance.
        #[arg(long)]
        config: PathBuf,
        /// For scripts.
        #[arg(long)]
        json: bool,
    },
    /// Make, certify, test and destroy keys on a PKCS #11 token.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Make the lines of the files that say who may ask.
    #[command(subcommand)]
    Access(access::Command),
    /// Show whether the running appliance's clock is proven, and what its bound is made of.
    Clock(clock::Clock),
    /// Say whether a CRL would be accepted, or have the running appliance look for new ones.
    #[command(subcommand)]
    Crl(crl::Command),
    /// Verify the record of everything issued, look things up in it, and prove that a token is in it.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Say everything that is wrong or unwise in a configuration, and serve nothing.
    Check {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// chronyd's configuration, looked at where `clock.source` is "chrony".
        #[arg(long, default_value = "/etc/chrony/chrony.conf")]
        chrony: PathBuf,
    },
}

/// The command line as a description, for man pages and completions (`examples/pages.rs`).
pub fn description() -> clap::Command {
    Arguments::command()
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    if !matches!(
        arguments.command,
        Command::Serve { .. } | Command::Demo { .. }
    ) {
        // Those two have a configuration that says how.
        logging::begin(logging::Settings::default());
    }
    match arguments.command {
        Command::Demo {
            dir,
            listen,
            admin,
            pkcs11,
            pin_file,
            token,
        } => {
            let token = pkcs11
                .zip(pin_file)
                .map(|(module, pin_file)| demo::DemoToken {
                    module,
                    label: token,
                    pin_file,
                });
            demo::run(&dir, listen, admin, token.as_ref())
        }
        Command::Serve { config } => serve::run(&config),
        Command::Status { config, json } => status::run(&config, json),
        Command::Keys(command) => keys::run(&command),
        Command::Access(command) => command.run(),
        Command::Clock(clock) => clock.run(),
        Command::Crl(command) => command.run(),
        Command::Journal(command) => journal::run(&command),
        Command::Check { config, chrony } => check::run(&config, &chrony),
    }
}

/// Says every problem on standard error.
fn fail(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        logging::say_plainly(&problem.to_string());
    }
    ExitCode::FAILURE
}
