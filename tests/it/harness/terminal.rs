//! A command in a pseudo-terminal, which util-linux's `script` makes.

use std::process::Command;

use super::user;

/// `line`, for a shell, in a terminal so wide. Both its streams come on standard output.
pub fn command(line: &str, columns: usize) -> Command {
    let mut command = user::command("/usr/bin/script", "KILL");
    let line = format!("stty cols {columns} rows 24; exec {line}");
    command
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm");
    command
}

/// What was drawn, one after the other: lines, and each state of a line that is drawn again,
/// without colours and movements.
pub fn drawn(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        // ESC [ parameters letter: what follows stands in a new state.
        if c == '\x1b' {
            chars.find(char::is_ascii_alphabetic);
            plain.push('\r');
        } else {
            plain.push(c);
        }
    }
    let states = plain.split(['\r', '\n']).map(str::trim_end);
    states
        .filter(|state| !state.is_empty())
        .map(str::to_owned)
        .collect()
}
