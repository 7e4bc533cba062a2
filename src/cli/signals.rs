//! SIGINT, SIGTERM, SIGHUP: most commands stop in order at the first and at once at the second.

use std::{
    ffi::c_int,
    fs,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
};

use super::exit::Row;
use crate::{
    error::{Error, Kind, Result},
    util::cancel::Cancel,
};

/// Sets the handlers that the command's row of the exit table asks for.
pub fn listen(row: Row, cancel: &Cancel) -> Result<()> {
    match row {
        Row::ArchiveWal | Row::RestoreDone => {
            // PostgreSQL's archiver (or recovery) would end if its command died by a signal;
            // what is not yet published leaves only a temporary file.
            let code = row.of_error(Kind::Interrupted).into();
            let always = Arc::new(AtomicBool::new(true));
            for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
                end_if(signal, code, Arc::clone(&always))?;
            }
        }
        // The startup process must see that SIGTERM ended its command: the default action.
        Row::RestoreWal(_) | Row::Background => {}
        Row::Monitor | Row::Healthcheck | Row::Other => {
            // Under nohup the end of a terminal is nobody's business.
            let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
            for signal in [SIGTERM, SIGINT].into_iter().chain(hangup) {
                // In this order: the first signal finds the flag unset.
                end_if(
                    signal,
                    row.of_error(Kind::Interrupted).into(),
                    cancel.flag(),
                )?;
                flag::register(signal, cancel.flag()).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Whether who started us had the signal ignored.
fn is_ignored(signal: c_int) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

fn end_if(signal: c_int, code: c_int, flag: Arc<AtomicBool>) -> Result<()> {
    flag::register_conditional_shutdown(signal, code, flag).map_err(failed)?;
    Ok(())
}

fn failed(error: std::io::Error) -> Error {
    Error::failed("can't set a signal handler").because(error)
}
