//! A process that goes on when the one that started it has ended.
//!
//! What it inherited would tie it to a server that ends or waits: a pipe to the server's log
//! collector, which runs until the last writer closed it, or a signal to the server's process group.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd;

use crate::error::{Error, IoContext, Result};

/// Starts `command` with `input` as its standard input, and lets it go. It must call [`detach`].
pub fn start(command: &mut Command, input: File) -> Result<()> {
    let started = command
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started
        .map(drop)
        .map_err(|error| Error::io("run", Path::new(command.get_program()), error))
}

/// Makes this process a session of its own and closes all that it inherited but the three standard
/// descriptors. To be called before anything is opened that is needed later.
pub fn detach() -> Result<()> {
    let folder = Path::new("/proc/self/fd");
    let entries = folder.read_dir().at("list", folder)?;
    // Collected first: the listing is one of them, and ends before the closing begins.
    let numbers: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers {
        if number > 2 {
            // That of the listing is closed already.
            let _ = unistd::close(number);
        }
    }
    // Fails only for who leads a group already, as when called from a shell with job control.
    let _ = rustix::process::setsid();
    Ok(())
}
