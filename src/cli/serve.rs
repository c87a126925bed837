//! `gnomon serve`: the appliance, until SIGTERM or Ctrl-C.

use std::{path::Path, process::ExitCode};

use super::fail;
use crate::{
    config::{Config, Problem},
    daemon::{self, Addresses, in_force::InForce},
    io::logging,
};

/// The exit status of a start that will fail again until somebody mends what is wrong (EX_CONFIG of sysexits.h). The
/// unit does not restart after it, since each start tries the PIN.
const TO_BE_MENDED: u8 = 78;

pub fn run(file: &Path) -> ExitCode {
    serve(file, |addresses, in_force| {
        let public = addresses.public.iter().map(|at| format!("http://{at}"));
        let tls = addresses.tls.iter().map(|at| format!("https://{at}"));
        let listening = public.chain(tls).map(|url| format!("listening on {url}\n"));
        let admin = addresses.admin.map(|at| {
            let scheme = if addresses.admin_tls { "https" } else { "http" };
            format!("admin on {scheme}://{at}\n")
        });
        let also: String = listening.chain(admin).collect();
        logging::announce(&in_force.screen, in_force.facts, &also);
    })
}

/// Serves what `file` says; `ready` is called when every socket accepts.
pub fn serve(file: &Path, ready: impl FnOnce(&Addresses, InForce)) -> ExitCode {
    let config = match Config::read(file) {
        Ok(config) => config,
        // How to log is not known.
        Err(problems) => {
            fail(&problems);
            return status(&problems);
        }
    };
    daemon::log::begin(&config.log);
    let served = daemon::run(&config, ready);
    logging::end();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            for problem in &problems {
                logging::refuse_start(&problem.to_string());
            }
            status(&problems)
        }
    }
}

/// Whether the next start may go well by itself.
fn status(problems: &[Problem]) -> ExitCode {
    match problems.iter().all(|problem| problem.may_pass) {
        true => ExitCode::FAILURE,
        false => ExitCode::from(TO_BE_MENDED),
    }
}
