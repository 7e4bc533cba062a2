//! How wide a terminal is.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// None where `file` is no terminal, or one that doesn't tell.
pub fn columns(file: &impl AsFd) -> Option<u16> {
    let size = tcgetwinsize(file).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
