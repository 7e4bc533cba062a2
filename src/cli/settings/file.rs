//! pgstow.toml as a flat list of keys, each with its line.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    rc::Rc,
};

use toml::de::{DeArray, DeTable, DeValue};

use super::{
    keys::{KEYS, Key, Scope},
    source::{Exposed, Source},
};
use crate::{
    error::{Error, IoContext, Result},
    util::nearest::nearest,
};

#[derive(Debug, Default)]
pub struct ConfigFile {
    pub entries: Vec<Entry>,
    /// `[repo.NAME]`, in the order of the file.
    pub repos: Vec<String>,
    /// `[cluster.NAME]`, in the order of the file.
    pub clusters: Vec<String>,
    /// `[alert.NAME]`, in the order of the file.
    pub alerts: Vec<String>,
    /// Whether there is a section `[dump]`, be it empty.
    pub dumps: bool,
    /// Secrets that every user can read: refused where they are needed, since WAL must not wait for them.
    pub exposed: Vec<Exposed>,
}

#[derive(Debug)]
pub struct Entry {
    pub key: Key,
    /// Name of the repository, cluster or alert.
    pub section: String,
    pub text: String,
    pub line: usize,
    /// The text is the path of a file that holds the secret.
    pub by_file: bool,
}

/// Reads `path`; None if it isn't there.
pub fn read(path: &Rc<Path>) -> Result<Option<ConfigFile>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", path)?,
    };
    let mut text = String::new();
    file.read_to_string(&mut text).at("read", path)?;
    let mut parsed = parse(path, &text)?;
    if file.metadata().at("read the mode of", path)?.mode() & 0o007 != 0 {
        let secrets = parsed.entries.iter().filter(|e| e.key.secret && !e.by_file);
        let exposed = secrets.map(|entry| Exposed {
            scope: entry.key.scope,
            source: Source::File {
                path: Rc::clone(path),
                line: entry.line,
            },
            name: entry.key.path(&entry.section),
        });
        parsed.exposed = exposed.collect();
    }
    Ok(Some(parsed))
}

/// Parses the text of `path`, which only names it in errors.
pub fn parse(path: &Path, text: &str) -> Result<ConfigFile> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        Error::usage(format!("{}:{line}: {}", path.display(), error.message()))
    })?;
    let mut leaves = Vec::new();
    let mut sections = Vec::new();
    flatten(document.get_ref(), &[], &mut leaves, &mut sections);
    // The parser orders by name; the file's own order has a meaning.
    leaves.sort_by_key(|leaf: &Leaf<'_, '_>| leaf.at);
    sections.sort_by_key(|(at, ..)| *at);

    let mut file = ConfigFile {
        dumps: document.get_ref().get("dump").is_some(),
        ..ConfigFile::default()
    };
    for (at, kind, name) in sections {
        let place = || format!("{}:{}", path.display(), line_of(text, at));
        check_name(name).map_err(|error| error.context(format!("{}: [{kind}.{name}]", place())))?;
        match kind {
            "repo" => file.repos.push(name.to_owned()),
            "alert" => file.alerts.push(name.to_owned()),
            _ => file.clusters.push(name.to_owned()),
        }
    }
    for leaf in leaves {
        let line = line_of(text, leaf.at);
        let entry = leaf.entry(line).map_err(|error| {
            let what = format!("{}:{line}: {}", path.display(), error.message());
            match error.hint_text() {
                Some(hint) => Error::usage(what).hint(hint),
                None => Error::usage(what),
            }
        })?;
        file.entries.push(entry);
    }
    Ok(file)
}

/// Names of repositories, clusters and alerts become names of folders and parts of variables.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Error::usage(format!("not a name: {name:?}"))
        .hint("use letters, digits, - and _, beginning with a letter or digit."))
}

struct Leaf<'a, 'i> {
    at: usize,
    path: Vec<&'a str>,
    value: &'a DeValue<'i>,
}

impl Leaf<'_, '_> {
    fn entry(&self, line: usize) -> Result<Entry> {
        let (scope, section, name) = match self.path.as_slice() {
            ["repo", section, rest @ ..] if !rest.is_empty() => (Scope::Repo, *section, rest),
            ["cluster", section, rest @ ..] if !rest.is_empty() => (Scope::Cluster, *section, rest),
            ["alert", section, rest @ ..] if !rest.is_empty() => (Scope::Alert, *section, rest),
            all => (Scope::Top, "", all),
        };
        let name = name.join(".");
        let unknown = || {
            let known = KEYS.iter().filter(|key| key.scope == scope);
            let error = Error::usage(format!("unknown key {}", self.path.join(".")));
            match nearest(&name, known.map(|key| key.name)) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("conf/pgstow.toml, the annotated example, has every key."),
            }
        };
        let mut key = KEYS
            .iter()
            .find(|key| key.scope == scope && key.name == name);
        let mut by_file = false;
        if let (None, Some(name)) = (key, name.strip_suffix("_file")) {
            key = KEYS
                .iter()
                .find(|key| key.scope == scope && key.name == name && key.secret);
            by_file = true;
        }
        let key = *key.ok_or_else(unknown)?;
        Ok(Entry {
            key,
            section: section.to_owned(),
            text: match self.value {
                DeValue::Array(all) if key.is_list() => self.texts(all, key.separator())?,
                value => self.text(value)?,
            },
            line,
            by_file,
        })
    }

    fn texts(&self, all: &DeArray<'_>, separator: &str) -> Result<String> {
        let one = |value| {
            let text = self.text(value)?;
            match separator == "\n" && text.contains('\n') {
                true => Err(
                    Error::usage(format!("a line break in {}", self.path.join(".")))
                        .hint("write each text of the list on one line."),
                ),
                false => Ok(text),
            }
        };
        let texts = all.iter().map(|value| one(value.get_ref()));
        Ok(texts.collect::<Result<Vec<_>>>()?.join(separator))
    }

    fn text(&self, value: &DeValue<'_>) -> Result<String> {
        match value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Boolean(yes) => Ok(yes.to_string()),
            _ => Err(
                Error::usage(format!("bad value for {}", self.path.join(".")))
                    .hint("write a string, a whole decimal number, true or false."),
            ),
        }
    }
}

fn flatten<'a, 'i>(
    table: &'a DeTable<'i>,
    above: &[&'a str],
    leaves: &mut Vec<Leaf<'a, 'i>>,
    sections: &mut Vec<(usize, &'a str, &'a str)>,
) {
    for (key, value) in table {
        let mut path = above.to_vec();
        path.push(key.get_ref().as_ref());
        let at = key.span().start;
        match value.get_ref() {
            DeValue::Table(table) => {
                if let [kind @ ("repo" | "cluster" | "alert"), name] = path[..] {
                    sections.push((at, kind, name));
                }
                flatten(table, &path, leaves, sections);
            }
            value => leaves.push(Leaf { at, path, value }),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ConfigFile> {
        parse(Path::new("x.toml"), text)
    }

    #[test]
    fn entries_have_their_lines_and_sections_their_order() {
        let file = parsed(
            "[repo.zoo]\nurl = '/z'\nretention = { full = 7,\n yearly = \"forever\" }\n\
             [repo.ant]\nurl = '/a'\n[cluster.main]\nport = 5_433\npassword_file = '/p'\n",
        )
        .unwrap();
        assert_eq!(file.repos, ["zoo", "ant"]);
        assert_eq!(file.clusters, ["main"]);
        let seen: Vec<_> = file
            .entries
            .iter()
            .map(|e| (e.key.path(&e.section), e.text.as_str(), e.line, e.by_file))
            .collect();
        let expected = [
            ("repo.zoo.url", "/z", 2, false),
            ("repo.zoo.retention.full", "7", 3, false),
            ("repo.zoo.retention.yearly", "forever", 4, false),
            ("repo.ant.url", "/a", 6, false),
            ("cluster.main.port", "5433", 8, false),
            ("cluster.main.password", "/p", 9, true),
        ];
        let expected = expected.map(|(key, text, line, by)| (key.to_owned(), text, line, by));
        assert_eq!(seen, expected);
    }

    #[test]
    fn errors_name_line_and_remedy() {
        for (text, message, hint) in [
            ("a\n", "x.toml:1: ", ""),
            ("\nstate_dir = 'x\n", "x.toml:2: ", ""),
            (
                "log.level = 'a'\nlog.level = 'b'",
                "x.toml:2: duplicate key",
                "",
            ),
            (
                "\n\nstatedir = 'x'",
                "x.toml:3: unknown key statedir",
                "did you mean state_dir?",
            ),
            (
                "[cluster.main]\n\nhots = 'x'",
                "x.toml:3: unknown key cluster.main.hots",
                "did you mean host?",
            ),
            (
                "[cluster.main]\nhost_file = 'x'",
                "x.toml:2: unknown key",
                "",
            ),
            ("repo = 'x'", "x.toml:1: unknown key repo", ""),
            (
                "[repo.local]\nurl = ['x']",
                "x.toml:2: bad value for repo.local.url",
                "write a",
            ),
            (
                "[repo.\"a/b\"]\nurl = 'x'",
                "x.toml:1: [repo.a/b]",
                "use letters",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.message().starts_with(message), "{text}: {error}");
            let found = error.hint_text().unwrap_or_default();
            assert!(found.starts_with(hint), "{text}: {found}");
        }
    }
}
