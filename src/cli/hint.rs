//! Commands that hints name, with the options by which this call came to its settings: who copies one works on the same
//! cluster and repository.

use super::args::GlobalArgs;
use crate::{domain::restore::recovery::shell_word, error::Error};

/// Those that mean the first repository where none is named. Others, such as `check` and `sync`, do something else with
/// one that is.
const OF_ONE: [&str; 12] = [
    "base",
    "cleanup",
    "drill",
    "dump",
    "find-target",
    "init",
    "list",
    "pin",
    "restore",
    "restore-dump",
    "unpin",
    "verify",
];

/// How a hint begins a command.
const CALL: &str = "`pgstow ";

/// What was typed.
#[derive(Debug, Default)]
pub struct Typed {
    of_all: Vec<(&'static str, String)>,
    of_one: Vec<(&'static str, String)>,
}

impl Typed {
    pub fn of(args: &GlobalArgs) -> Self {
        let path = |path: &Option<std::path::PathBuf>| {
            let path = path.as_ref()?;
            Some(path.display().to_string())
        };
        let typed = |all: &[(&'static str, Option<String>)]| {
            let typed = all.iter().cloned();
            typed
                .filter_map(|(name, value)| Some((name, value?)))
                .collect()
        };
        Self {
            of_all: typed(&[
                ("--config", path(&args.config)),
                ("--env-file", path(&args.env_file)),
                ("--cluster", args.cluster.clone()),
            ]),
            of_one: typed(&[
                ("--repo", args.repo.clone()),
                ("--repo-url", args.repo_url.clone()),
            ]),
        }
    }

    /// The error as people are told it.
    pub fn told(&self, error: Error) -> Error {
        match error.hint_text().map(|hint| self.in_hint(hint)) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn in_hint(&self, hint: &str) -> String {
        let mut told = String::new();
        let mut rest = hint;
        while let Some((before, behind)) = rest.split_once(CALL) {
            let (command, after) = behind.split_at(behind.find('`').unwrap_or(behind.len()));
            told.push_str(before);
            told.push_str(CALL);
            told.push_str(&self.options_of(command));
            told.push_str(command);
            rest = after;
        }
        told.push_str(rest);
        told
    }

    /// Those that the command does not name itself.
    fn options_of(&self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        let is_of_one = words.first().is_some_and(|verb| OF_ONE.contains(verb));
        let of_one = self.of_one.iter().filter(|_| is_of_one);
        let options = self.of_all.iter().chain(of_one);
        let options = options.filter(|(name, _)| !words.contains(name));
        options
            .map(|(name, value)| format!("{name} {} ", shell_word(value)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_options_of_the_call() {
        let typed = Typed {
            of_all: vec![("--config", "/etc/my conf.toml".to_owned())],
            of_one: vec![("--repo", "usb".to_owned())],
        };
        for (hint, expected) in [
            ("mount the disk.", "mount the disk."),
            (
                "`pgstow list` shows all.",
                "`pgstow --config '/etc/my conf.toml' --repo usb list` shows all.",
            ),
            (
                "see `pgstow check`, or `pgstow --repo b base`.",
                "see `pgstow --config '/etc/my conf.toml' check`, or `pgstow --config '/etc/my conf.toml' --repo b base`.",
            ),
            (
                "an open `pgstow verify",
                "an open `pgstow --config '/etc/my conf.toml' --repo usb verify",
            ),
        ] {
            assert_eq!(typed.in_hint(hint), expected);
        }
        let hint = "`pgstow list` shows all.";
        assert_eq!(Typed::default().in_hint(hint), hint);
    }
}
