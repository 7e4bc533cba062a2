//! The archive_command that calls this very program, and what an existing one is.
//!
//! PostgreSQL replaces `%p` and `%%`, then gives the line to a shell (shell_archive.c).

use crate::{
    error::{Error, Result},
    repo::{layout::ClusterName, location::Location},
};

/// The words that call pgstow, before `archive-wal %p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveCommand {
    text: String,
    target: Target,
}

/// Where it is to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub cluster: ClusterName,
    /// The settings have several clusters: a call that names none fails.
    pub must_be_named: bool,
    /// Names and places of the repositories, all of which are to have it.
    pub repositories: Vec<(String, Location)>,
}

/// What a server's archive_command is, beside the one that it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    Empty,
    /// Calls this program with the same options.
    Same,
    /// A plain call of archive-wal, with other words.
    Ours(Call),
    /// Calls archive-wal, among other things that can't be judged from outside.
    Wrapped,
    Foreign,
}

/// A plain call of archive-wal, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub program: String,
    arguments: Vec<String>,
    /// Whether it is given the file: PostgreSQL puts its path for `%p`.
    pub names_file: bool,
}

impl ArchiveCommand {
    /// `words`: the program's absolute path, then options of pgstow.
    pub fn new(words: &[String], target: Target) -> Result<Self> {
        // ALTER SYSTEM takes no line ends, and none of these belongs into a path.
        if let Some(word) = words.iter().find(|word| word.chars().any(char::is_control)) {
            return Err(
                Error::usage(format!("{word:?} can't stand in archive_command"))
                    .hint("use paths without control characters."),
            );
        }
        let mut text = String::new();
        for word in words {
            text.push_str(&quoted(word).replace('%', "%%"));
            text.push(' ');
        }
        text.push_str("archive-wal %p");
        Ok(Self { text, target })
    }

    /// As the setting's value.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why another call doesn't store where this one does, as far as its options tell; what they leave to
    /// settings only a segment that arrives can prove.
    pub fn differs(&self, call: &Call) -> Option<String> {
        let Target {
            cluster,
            must_be_named,
            repositories,
        } = &self.target;
        match call.option("--cluster") {
            None if *must_be_named => {
                return Some("names no cluster, and the settings have several".to_owned());
            }
            Some(theirs) if theirs != cluster.as_str() => {
                return Some(format!("archives as cluster {theirs}"));
            }
            _ => {}
        }
        if let Some(url) = call.option("--repo-url") {
            let place: Option<Location> = url.parse().ok();
            let is_ours = repositories
                .iter()
                .any(|(_, ours)| Some(ours) == place.as_ref());
            return (!is_ours).then(|| format!("archives elsewhere, at {url}"));
        }
        let name = call.option("--repo")?;
        let left_out = repositories.iter().find(|(ours, _)| ours != name);
        left_out.map(|(ours, _)| format!("archives into repository {name} alone, not into {ours}"))
    }

    /// What `existing` is, the value of a server's archive_command.
    pub fn compare(&self, existing: &str) -> Existing {
        let existing = existing.trim();
        // What SHOW tells while archive_mode is off.
        if existing.is_empty() || existing == "(disabled)" {
            return Existing::Empty;
        }
        let words = shell_words(existing);
        if words.is_some() && words == shell_words(&self.text) {
            return Existing::Same;
        }
        let names_us = |word: &String| word.contains("archive-wal");
        match &words {
            // The shell would do more than a call.
            None if existing.contains("archive-wal") => Existing::Wrapped,
            None => Existing::Foreign,
            Some(words) => match Call::of(words) {
                Some(call) => Existing::Ours(call),
                None if words.first().is_some_and(|program| calls_nothing(program)) => {
                    Existing::Foreign
                }
                None if words.iter().any(names_us) => Existing::Wrapped,
                None => Existing::Foreign,
            },
        }
    }
}

impl Call {
    fn of(words: &[String]) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        let names_file = |word: &String| word.split("%%").any(|part| part.contains("%p"));
        let names_file = words.iter().any(names_file);
        let mut words: Vec<String> = words.iter().map(|word| word.replace("%%", "%")).collect();
        let program = words.remove(0);
        let calls = match program.rsplit('/').next()? {
            "archive-wal" | "pgstow-archive-wal" => true,
            "pgstow" => words.iter().any(|word| word == "archive-wal"),
            _ => false,
        };
        calls.then_some(Self {
            program,
            arguments: words,
            names_file,
        })
    }

    /// The value of an option such as `--repo-url`.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut words = self.arguments.iter();
        while let Some(word) = words.next() {
            if word == name {
                return words.next().map(String::as_str);
            }
            let value = word.strip_prefix(name);
            if let Some(value) = value.and_then(|rest| rest.strip_prefix('=')) {
                return Some(value);
            }
        }
        None
    }
}

/// True of programs that do nothing with the words behind them, such as what somebody puts in front for a while:
/// PostgreSQL takes each segment as archived.
fn calls_nothing(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    [":", "true", "false", "echo", "printf", "logger"].contains(&name)
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The words of a shell command that is one plain call; None where the shell would do more.
fn shell_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        '$' | '`' => return None,
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            // A comment, to the end of the line.
            '#' if word.is_none() => match chars.any(|c| c == '\n') {
                true => return None,
                false => break,
            },
            '#' => word.get_or_insert_default().push('#'),
            ';' | '&' | '|' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | '~' | '\n' => {
                return None;
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> ArchiveCommand {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        ArchiveCommand::new(&words, target()).unwrap()
    }

    fn target() -> Target {
        Target {
            cluster: "a".parse().unwrap(),
            must_be_named: false,
            repositories: vec![("local".to_owned(), Location::Folder("/a".into()))],
        }
    }

    #[test]
    fn words_are_quoted_for_shell_and_server() {
        for (words, text) in [
            (&["/usr/bin/pgstow"][..], "/usr/bin/pgstow archive-wal %p"),
            (
                &["/opt/a b/pgstow", "--repo-url", "/100%/it's"],
                r"'/opt/a b/pgstow' --repo-url '/100%%/it'\''s' archive-wal %p",
            ),
        ] {
            assert_eq!(command(words).text(), text);
            assert_eq!(command(words).compare(text), Existing::Same, "{text}");
        }
        assert!(ArchiveCommand::new(&["a\nb".to_owned()], target()).is_err());
    }

    #[test]
    fn an_existing_command_is_known_for_what_it_is() {
        let wanted = command(&["/usr/bin/pgstow", "--cluster", "a"]);
        for (text, expected) in [
            ("", Existing::Empty),
            ("(disabled)", Existing::Empty),
            (
                "'/usr/bin/pgstow' --cluster \"a\"  archive-wal %p",
                Existing::Same,
            ),
            ("cp %p /archive/%f", Existing::Foreign),
            ("/bin/true", Existing::Foreign),
            ("pgstow list", Existing::Foreign),
            ("echo archive-wal", Existing::Foreign),
            ("/bin/echo pgstow archive-wal %p", Existing::Foreign),
            (": pgstow archive-wal %p", Existing::Foreign),
            ("# pgstow archive-wal %p", Existing::Foreign),
            ("true # pgstow archive-wal %p", Existing::Foreign),
            (
                "/usr/bin/pgstow --cluster a archive-wal %p # by us",
                Existing::Same,
            ),
            ("nice pgstow archive-wal %p", Existing::Wrapped),
            (
                "test -e /x || /usr/bin/pgstow archive-wal %p",
                Existing::Wrapped,
            ),
            ("pgstow archive-wal \"$FILE\"", Existing::Wrapped),
            ("pgstow archive-wal 'open", Existing::Wrapped),
        ] {
            assert_eq!(wanted.compare(text), expected, "{text}");
        }
    }

    #[test]
    fn where_there_are_several_clusters_each_must_be_named() {
        let words = ["/usr/bin/pgstow", "--cluster", "a"].map(str::to_owned);
        for (must_be_named, text, expected) in [
            (false, "pgstow archive-wal %p", None),
            (true, "pgstow --cluster=a archive-wal %p", None),
            (
                true,
                "pgstow archive-wal %p",
                Some("names no cluster, and the settings have several"),
            ),
            (
                true,
                "pgstow --cluster b archive-wal %p",
                Some("archives as cluster b"),
            ),
        ] {
            let target = Target {
                must_be_named,
                ..target()
            };
            let wanted = ArchiveCommand::new(&words, target).unwrap();
            let Existing::Ours(call) = wanted.compare(text) else {
                panic!("{text}");
            };
            assert_eq!(wanted.differs(&call).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn options_of_another_call_are_read() {
        let wanted = command(&["/usr/bin/pgstow"]);
        let text = r"/usr/libexec/pgstow/archive-wal --cluster=b --repo-url '/a b' %p";
        let Existing::Ours(call) = wanted.compare(text) else {
            panic!("{text}")
        };
        assert_eq!(call.program, "/usr/libexec/pgstow/archive-wal");
        assert_eq!(call.option("--cluster"), Some("b"));
        assert_eq!(call.option("--repo-url"), Some("/a b"));
        assert_eq!(call.option("--repo"), None);
    }
}
