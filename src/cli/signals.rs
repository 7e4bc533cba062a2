//! SIGINT, SIGTERM, SIGHUP: most commands stop in order at the first and at once at the second.

use std::{
    ffi::c_int,
    fs,
    io::{self, IsTerminal},
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    SigId,
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
    low_level::unregister,
};

use super::exit::Row;
use crate::{
    error::{Error, Kind, Result},
    util::cancel::Cancel,
};

/// What a hangup does, until [`reopen_at_hangup`] changes it.
#[derive(Debug, Default)]
pub struct Hangup(Vec<SigId>);

/// Sets the handlers that the command's row of the exit table asks for.
pub fn listen(row: Row, cancel: &Cancel) -> Result<Hangup> {
    let mut of_hangup = Hangup::default();
    match row {
        Row::ArchiveWal | Row::RestoreDone | Row::Ahead | Row::Prefetch => {
            // PostgreSQL's archiver (or recovery) would end if its command died by a signal;
            // what is not yet published leaves only a temporary file. In a container the
            // postmaster may inherit what works in the background, and take it for its own.
            let code = row.of_error(Kind::Interrupted).into();
            let always = Arc::new(AtomicBool::new(true));
            for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
                end_if(signal, code, Arc::clone(&always))?;
            }
        }
        // The startup process must see that SIGTERM ended its command: the default action.
        Row::RestoreWal(_) => {}
        Row::Monitor | Row::Healthcheck | Row::Other => {
            // Under nohup the end of a terminal is nobody's business.
            let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
            for signal in [SIGTERM, SIGINT].into_iter().chain(hangup) {
                // In this order: the first signal finds the flag unset.
                let code = row.of_error(Kind::Interrupted).into();
                let at_second = end_if(signal, code, cancel.flag())?;
                let at_first = flag::register(signal, cancel.flag()).map_err(failed)?;
                if signal == SIGHUP {
                    of_hangup.0 = vec![at_second, at_first];
                }
            }
        }
    }
    Ok(of_hangup)
}

/// Has a hangup set `reopen` and nothing else, as who rotates logs expects it. Where there is a
/// terminal, its end still ends the command.
pub fn reopen_at_hangup(hangup: Hangup, reopen: Arc<AtomicBool>) -> Result<()> {
    if hangup.0.is_empty() || io::stderr().is_terminal() {
        return Ok(());
    }
    flag::register(SIGHUP, reopen).map_err(failed)?;
    for id in hangup.0 {
        unregister(id);
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

fn end_if(signal: c_int, code: c_int, flag: Arc<AtomicBool>) -> Result<SigId> {
    flag::register_conditional_shutdown(signal, code, flag).map_err(failed)
}

fn failed(error: std::io::Error) -> Error {
    Error::failed("can't set a signal handler").because(error)
}
