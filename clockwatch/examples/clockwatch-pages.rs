//! Writes the man page of `gnomon-clockwatch`, and its completions for bash, zsh and fish, into a folder:
//! `cargo run -p gnomon-clockwatch --example clockwatch-pages -- FOLDER`. The package has them (`deploy/deb/build`).

#[path = "../src/arguments.rs"]
mod arguments;

use std::{fs, io, path::PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: clockwatch-pages FOLDER"))?;
    fs::create_dir_all(&folder)?;
    let mut command = arguments::Arguments::command();
    clap_mangen::generate_to(command.clone(), &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "gnomon-clockwatch", &folder)?;
    }
    Ok(())
}
