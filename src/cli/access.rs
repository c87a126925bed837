//! `gnomon access`: the lines of the files that `[[access]]` names. Each prints its line on standard output, to be
//! added to the file; a secret that it makes goes to standard error, and nowhere else.

use std::{
    io::{BufRead, IsTerminal, Write, stdin},
    path::PathBuf,
    process::ExitCode,
};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::{
    io::http::access::{files::checked, password::Hash},
    wire::{algorithm::sha256, certificate::Certificate, name::ComparableName},
};

/// The longest line that is taken for a password, in octets.
const LONGEST_PASSWORD: usize = 512;

/// ^C, where it is not what it does.
const INTERRUPT: char = '\u{3}';

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read a password from standard input, and print the line for a file of `users`.
    Password {
        /// The client's name.
        name: String,
    },
    /// Make a bearer token, show it once on standard error, and print the line for a file of `tokens`.
    Token {
        /// The client's name.
        name: String,
    },
    /// Print the line for a file of `certificates` by which this certificate is known.
    Certificate {
        /// The client's name.
        name: String,
        /// The client's certificate (PEM or DER).
        file: PathBuf,
        /// Know it by its subject, which its successor may have too, instead of by its key.
        #[arg(long)]
        subject: bool,
    },
}

impl Command {
    pub fn run(&self) -> ExitCode {
        let line = match self {
            Self::Password { name } => password(name),
            Self::Token { name } => token(name),
            Self::Certificate {
                name,
                file,
                subject,
            } => certificate(name, file, *subject),
        };
        match line {
            Ok(line) => {
                say!("{line}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain!("error: {error}\n");
                ExitCode::FAILURE
            }
        }
    }
}

fn password(name: &str) -> Result<String, String> {
    let name = checked(name).map_err(|error| error.to_string())?;
    let password = asked("password: ")?;
    if stdin().is_terminal() && *asked("once more: ")? != *password {
        return Err("the two are not the same; nothing was made".into());
    }
    if password.is_empty() {
        return Err("the password is empty; give one of 12 characters or more".into());
    }
    let hash = Hash::new(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(format!("{name}:{hash}"))
}

/// A line of standard input. A terminal does not show it.
fn asked(prompt: &str) -> Result<Zeroizing<String>, String> {
    let input = stdin();
    let shown = input.is_terminal().then(|| tcgetattr(&input)).transpose();
    let shown = shown.map_err(|error| format!("the terminal cannot be asked: {error}"))?;
    if let Some(shown) = &shown {
        let mut hidden = shown.clone();
        // Nor does it end the program at ^C, which would leave it so (as getpass(3)).
        hidden
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ISIG);
        let set = tcsetattr(&input, OptionalActions::Flush, &hidden);
        set.map_err(|error| format!("the terminal cannot be kept from showing it: {error}"))?;
        complain!("{prompt}");
        let _ = std::io::stderr().flush();
    }
    let mut line = Zeroizing::new(String::with_capacity(LONGEST_PASSWORD));
    let read = input.lock().read_line(&mut line);
    if let Some(shown) = &shown {
        let _ = tcsetattr(&input, OptionalActions::Flush, shown);
        complain!("\n");
    }
    read.map_err(|error| format!("standard input: {error}"))?;
    if shown.is_some() && line.contains(INTERRUPT) {
        return Err("interrupted; nothing was made".into());
    }
    let password = line.trim_end_matches(['\r', '\n']);
    if password.len() > LONGEST_PASSWORD {
        return Err("the password is longer than 512 octets".into());
    }
    Ok(Zeroizing::new(password.to_owned()))
}

fn token(name: &str) -> Result<String, String> {
    let name = checked(name).map_err(|error| error.to_string())?;
    let mut octets = Zeroizing::new([0; 32]);
    rand::fill(&mut *octets).map_err(|_| "the system gives no random numbers")?;
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(*octets));
    writeln!(std::io::stderr(), "{}", *token)
        .map_err(|error| format!("the token cannot be shown on standard error: {error}"))?;
    Ok(format!(
        "{name}:{}",
        hex::encode(sha256(&[token.as_bytes()]))
    ))
}

fn certificate(name: &str, file: &std::path::Path, subject: bool) -> Result<String, String> {
    let name = checked(name).map_err(|error| error.to_string())?;
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let content = std::fs::read(file).map_err(|error| said(&error))?;
    let certificate = match Certificate::read_all(&content) {
        Ok(all) => all.into_iter().next(),
        Err(error) => return Err(said(&error)),
    };
    let certificate = certificate.ok_or_else(|| said(&"there is no certificate in it"))?;
    if !certificate.is_v3() {
        return Err(said(
            &"the certificate is not of version 3 (X.509), and so is refused in the handshake; have it issued with \
              extensions, such as basicConstraints (`openssl x509 -req` wants -extfile for that)",
        ));
    }
    if !subject {
        let digest = sha256(&[certificate.public_key().spki()]);
        return Ok(format!("{name} spki={}", hex::encode(digest)));
    }
    let text = certificate.subject_text();
    // What the file could not say again must not be printed.
    let own = ComparableName::from_der(certificate.subject()).ok();
    if own.is_none() || ComparableName::from_text(&text) != own {
        return Err(said(
            &"the subject has parts that RFC 4514 text does not carry here; leave --subject out",
        ));
    }
    Ok(format!("{name} subject={text}"))
}
