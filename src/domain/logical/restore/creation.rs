//! How a database is made so that a dump fits into it: encoding and locale as those of the source, read
//! from what the dump says.

use super::{material::About, script::Script};
use crate::{
    postgres::{archive_toc::ArchiveToc, sql::literal},
    repo::dump::DumpLocale,
};

/// Options of CREATE DATABASE, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Creation {
    options: Vec<(String, String)>,
    /// Whose it becomes, quoted.
    pub owner: Option<String>,
    /// Where it lies, quoted; None: where the server's databases lie.
    pub tablespace: Option<String>,
}

/// Those that say what text is and how it is ordered. Their values are words or texts in quotes
/// (`dumpDatabase` in `src/bin/pg_dump/pg_dump.c`).
const TAKEN: [&str; 8] = [
    "ENCODING",
    "LOCALE_PROVIDER",
    "LOCALE",
    "LC_COLLATE",
    "LC_CTYPE",
    "ICU_LOCALE",
    "ICU_RULES",
    "BUILTIN_LOCALE",
];

impl Creation {
    pub fn of(about: &About) -> Self {
        match about {
            About::Archive(toc) => Self::of_toc(toc),
            About::Script(script) => Self::of_script(script),
        }
    }

    /// Its description tells more than it does itself.
    fn of_script(script: &Script) -> Self {
        match &script.locale {
            Some(locale) => Self::of_locale(locale),
            None => Self::with_encoding(script.encoding.as_deref()),
        }
    }

    fn of_locale(locale: &DumpLocale) -> Self {
        let provider = locale.provider.as_str();
        // A word, not a text.
        let known = ["libc", "icu", "builtin"].into_iter();
        let known = known.filter(|known| *known == provider);
        let mut options: Vec<(&str, String)> = vec![("ENCODING", literal(&locale.encoding))];
        options.extend(known.map(|known| ("LOCALE_PROVIDER", known.to_owned())));
        options.push(("LC_COLLATE", literal(&locale.collate)));
        options.push(("LC_CTYPE", literal(&locale.ctype)));
        let name = match provider {
            "icu" => "ICU_LOCALE",
            _ => "BUILTIN_LOCALE",
        };
        options.extend(locale.locale.iter().map(|own| (name, literal(own))));
        options.extend(
            locale
                .icu_rules
                .iter()
                .map(|own| ("ICU_RULES", literal(own))),
        );
        let options = options.into_iter();
        Self {
            options: options
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            ..Self::default()
        }
    }

    pub fn of_toc(toc: &ArchiveToc) -> Self {
        match toc.creation() {
            Some(creation) => Self {
                options: taken(creation),
                ..Self::default()
            },
            // Of a single table's dump, which tells the encoding alone.
            None => {
                let entries = toc.entries.iter().filter(|entry| entry.what == "ENCODING");
                let mut found = entries.filter_map(|entry| entry.definition.as_deref());
                let encoding = found.next().and_then(|sql| sql.split('\'').nth(1));
                Self::with_encoding(encoding)
            }
        }
    }

    fn with_encoding(encoding: Option<&str>) -> Self {
        let option = encoding.map(|encoding| ("ENCODING".to_owned(), literal(encoding)));
        Self {
            options: option.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same encoding, and no language's order: for a server that lacks the locale.
    pub fn without_locale(&self) -> Self {
        let encoding = self.options.iter().filter(|(name, _)| name == "ENCODING");
        let mut options: Vec<_> = encoding.cloned().collect();
        options.push(("LOCALE_PROVIDER".to_owned(), "libc".to_owned()));
        options.push(("LOCALE".to_owned(), "'C'".to_owned()));
        Self {
            options,
            owner: self.owner.clone(),
            tablespace: self.tablespace.clone(),
        }
    }

    /// With a space before each.
    pub fn options(&self) -> String {
        let owner = self.owner.iter().map(|owner| format!(" OWNER = {owner}"));
        let tablespace = self.tablespace.iter();
        let tablespace = tablespace.map(|space| format!(" TABLESPACE = {space}"));
        let options = self.options.iter();
        let options = options.map(|(name, value)| format!(" {name} = {value}"));
        options.chain(owner).chain(tablespace).collect()
    }
}

/// Of `CREATE DATABASE x WITH TEMPLATE = template0 ENCODING = 'UTF8' ...;`.
fn taken(creation: &str) -> Vec<(String, String)> {
    // The name may hold anything.
    let mut rest = creation
        .rsplit_once(" TEMPLATE = template0")
        .map_or("", |(_, rest)| rest);
    let mut found = Vec::new();
    while let Some((name, value)) = rest.trim_start().split_once(" = ") {
        let (value, behind) = split_value(value);
        if TAKEN.contains(&name) {
            found.push((name.to_owned(), value.to_owned()));
        }
        rest = behind;
    }
    found
}

/// A word, or a text or a name in quotes, in which two of them stand for one.
fn split_value(text: &str) -> (&str, &str) {
    let quote = text
        .chars()
        .next()
        .filter(|first| ['\'', '"'].contains(first));
    let end = match quote {
        Some(quote) => {
            let mut quotes = 0;
            let end = text.char_indices().find(|(at, letter)| {
                quotes += usize::from(*letter == quote);
                let next = text[at + letter.len_utf8()..].chars().next();
                *letter == quote && quotes % 2 == 0 && next != Some(quote)
            });
            end.map_or(text.len(), |(at, _)| at + 1)
        }
        None => text.find([' ', ';', '\n']).unwrap_or(text.len()),
    };
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_text_is_comes_from_the_source_and_nothing_else() {
        for (creation, expected) in [
            (
                "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';\n",
                " ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8'",
            ),
            (
                "CREATE DATABASE \"x TEMPLATE = template0 ENCODING = 'y'\" WITH TEMPLATE = template0 ENCODING = 'LATIN1' TABLESPACE = \"a b\" LC_COLLATE = 'de''x';\n",
                " ENCODING = 'LATIN1' LC_COLLATE = 'de''x'",
            ),
            ("DROP DATABASE x;", ""),
        ] {
            let creation = Creation {
                options: taken(creation),
                ..Creation::default()
            };
            assert_eq!(creation.options(), expected);
        }
        let locale = |provider: &str, own: Option<&str>| DumpLocale {
            encoding: "LATIN1".to_owned(),
            provider: provider.to_owned(),
            collate: "C".to_owned(),
            ctype: "de'x".to_owned(),
            locale: own.map(str::to_owned),
            icu_rules: None,
        };
        for (locale, expected) in [
            (
                locale("libc", None),
                " LOCALE_PROVIDER = libc LC_COLLATE = 'C' LC_CTYPE = 'de''x'",
            ),
            (
                locale("icu", Some("de")),
                " LOCALE_PROVIDER = icu LC_COLLATE = 'C' LC_CTYPE = 'de''x' ICU_LOCALE = 'de'",
            ),
            (
                locale("builtin", Some("C.UTF-8")),
                " LOCALE_PROVIDER = builtin LC_COLLATE = 'C' LC_CTYPE = 'de''x' BUILTIN_LOCALE = 'C.UTF-8'",
            ),
            (
                locale("x; DROP", None),
                " LC_COLLATE = 'C' LC_CTYPE = 'de''x'",
            ),
        ] {
            let told = Creation::of_locale(&locale).options();
            assert_eq!(told, format!(" ENCODING = 'LATIN1'{expected}"));
        }
        let mut plain = Creation::with_encoding(Some("UTF8"));
        plain.owner = Some("\"x\"".to_owned());
        assert_eq!(plain.options(), " ENCODING = 'UTF8' OWNER = \"x\"");
        assert_eq!(
            plain.without_locale().options(),
            " ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C' OWNER = \"x\""
        );
    }
}
