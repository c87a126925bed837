//! What is told on standard output: [`say`], by the macro of that name. Whoever reads may have enough, as `head` has; it
//! is no reason to stop what is under way, nor an error.

use std::{
    fmt,
    io::{ErrorKind, Write, stdout},
    process::exit,
};

/// Prints it. A disk that is full ends the program, since what was asked for is lost: a line for a file of users, a proof.
pub fn say(text: fmt::Arguments<'_>) {
    match stdout().write_fmt(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: standard output: {error}");
            exit(1);
        }
        _ => {}
    }
}
