//! Which command was called: by a link named after it, or by a word of the line.

use std::{ffi::OsString, path::Path};

use clap::CommandFactory;

use super::args::Cli;

/// Links of these names need no `pgstow-` before them.
const PLAIN: [&str; 2] = ["archive-wal", "restore-wal"];

/// All commands, as a list of its own: clap builds its tables too slowly for archive-wal.
const COMMANDS: [&str; 21] = [
    "demo",
    "init",
    "check",
    "base",
    "dump",
    "archive-wal",
    "restore-wal",
    "receive-wal",
    "restore",
    "restore-done",
    "restore-dump",
    "list",
    "find-target",
    "verify",
    "drill",
    "cleanup",
    "pin",
    "unpin",
    "sync",
    "monitor",
    "systemd",
];

/// The command line as if `pgstow COMMAND ...` had been typed. A program of any other name, such
/// as `pgstow-1.2`, is pgstow itself.
pub fn expand(typed: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut typed = typed.into_iter();
    let program = typed.next().unwrap_or_default();
    let name = Path::new(&program)
        .file_name()
        .and_then(|name| name.to_str());
    let command = name.and_then(|name| {
        let linked = name.strip_prefix("pgstow-");
        linked
            .filter(|name| COMMANDS.contains(name))
            .or_else(|| PLAIN.into_iter().find(|plain| *plain == name))
    });
    let mut words = vec![OsString::from("pgstow")];
    words.extend(command.map(OsString::from));
    words.extend(typed);
    words
}

/// The command of a line that clap may refuse: the first word that names one, past the values
/// of global options. Looks closely only where the command has its own row of exit codes.
pub fn command_word(words: &[String]) -> Option<String> {
    const OWN_ROWS: [&str; 4] = ["archive-wal", "restore-wal", "restore-done", "monitor"];
    // Only few lines need the closer look, for which clap builds its tables once more.
    let has_own_row = |word: &String| OWN_ROWS.contains(&word.as_str());
    match words.get(1) {
        Some(word) if has_own_row(word) => return Some(word.clone()),
        _ if !words.iter().any(has_own_row) => return None,
        _ => {}
    }
    let cli = Cli::command();
    let takes_value = |word: &str| {
        cli.get_arguments().any(|arg| {
            let long = word.strip_prefix("--");
            long.is_some() && arg.get_long() == long && arg.get_action().takes_values()
        })
    };
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if takes_value(word) {
            words.next();
        } else if cli.find_subcommand(word).is_some() {
            return Some(word.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_commands() {
        for (typed, expanded) in [
            ("/usr/bin/pgstow list", "pgstow list"),
            (
                "/usr/libexec/pgstow/archive-wal %p",
                "pgstow archive-wal %p",
            ),
            (
                "restore-wal --cluster a f p",
                "pgstow restore-wal --cluster a f p",
            ),
            ("./pgstow-restore-done", "pgstow restore-done"),
            ("pgstow-list --json", "pgstow list --json"),
            ("other list", "pgstow list"),
            ("/opt/pgstow-1.2 list", "pgstow list"),
            ("pgstow-old archive-wal %p", "pgstow archive-wal %p"),
            ("pgstow- list", "pgstow list"),
        ] {
            let words = expand(typed.split(' ').map(OsString::from));
            let expected: Vec<OsString> = expanded.split(' ').map(OsString::from).collect();
            assert_eq!(words, expected, "{typed}");
        }
    }

    #[test]
    fn the_list_of_commands_is_that_of_clap() {
        let cli = Cli::command();
        let names = cli.get_subcommands().map(|command| command.get_name());
        assert_eq!(Vec::from_iter(names), COMMANDS);
    }

    #[test]
    fn the_command_is_found_on_lines_that_are_wrong() {
        for (line, command) in [
            ("pgstow", None),
            ("pgstow archive-wal", Some("archive-wal")),
            ("pgstow --cluster base restore-wal x", Some("restore-wal")),
            ("pgstow --cluster restore-wal base --wrong", Some("base")),
            (
                "pgstow --json --wrong value restore-wal x",
                Some("restore-wal"),
            ),
            ("pgstow --config=x restore-wal --last", Some("restore-wal")),
            ("pgstow list restore-wal", Some("list")),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(command_word(&words).as_deref(), command, "{line}");
        }
    }
}
