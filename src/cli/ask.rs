//! Asks a person at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use super::progress;
use crate::error::{Error, Result};

/// Whether the answer is yes; an error where nobody sits at a terminal.
pub fn confirm(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(
            Error::usage(question).hint("nobody is there to be asked: give --yes to go on.")
        );
    }
    let mut answer = Err(Error::failed("nobody was asked"));
    progress::beside(|| answer = ask(question));
    answer
}

fn ask(question: &str) -> Result<bool> {
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    asked.map_err(|error| Error::failed("can't ask").because(error))?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Error::failed("can't read the answer").because(error))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
