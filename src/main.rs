//! The `gnomon` command; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    gnomon::cli::run()
}
