//! `gnomon serve`: the appliance, until SIGTERM or Ctrl-C.

use std::{path::Path, process::ExitCode};

use super::fail;
use crate::{
    config::Config,
    daemon::{self, Addresses},
};

/// The exit status of a start that will fail again until somebody mends what is wrong (EX_CONFIG of sysexits.h). The
/// unit does not restart after it, since each start tries the PIN.
const TO_BE_MENDED: u8 = 78;

pub fn run(file: &Path) -> ExitCode {
    serve(file, |addresses| {
        for address in &addresses.public {
            println!("listening on http://{address}");
        }
        for address in &addresses.tls {
            println!("listening on https://{address}");
        }
        if let Some(admin) = addresses.admin {
            println!("admin on http://{admin}");
        }
    })
}

/// Serves what `file` says; `ready` is called when every socket accepts.
pub fn serve(file: &Path, ready: impl FnOnce(&Addresses)) -> ExitCode {
    match Config::read(file).and_then(|config| daemon::run(&config, ready)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            let failure = fail(&problems);
            match problems.iter().all(|problem| problem.may_pass) {
                true => failure,
                false => ExitCode::from(TO_BE_MENDED),
            }
        }
    }
}
