//! What is told on standard output and on standard error: [`say`] and [`complain`], by the macros of these names. Whoever
//! reads may have enough, as `head` has; it is no reason to stop what is under way, nor an error.

use std::{
    fmt,
    io::{ErrorKind, Write, stderr, stdout},
    process::exit,
};

/// Prints it. A disk that is full ends the program, since what was asked for is lost: a line for a file of users, a proof.
pub fn say(text: fmt::Arguments<'_>) {
    match stdout().write_fmt(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(format_args!("error: standard output: {error}\n"));
            exit(1);
        }
        _ => {}
    }
}

/// The same on standard error. Where that cannot be written to, nobody is left to be told.
pub fn complain(text: fmt::Arguments<'_>) {
    let _ = stderr().write_fmt(text);
}
