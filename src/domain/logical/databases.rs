//! Which databases are dumped.

use tracing::warn;

use super::{
    request::Choice,
    restore::{aside, fresh::is_passing},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::connection::Session,
};

/// A database of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub name: String,
    /// A template, one that lets nobody in, one that is half dropped, or one that a restore of ours makes just now.
    pub special: bool,
    /// A DROP DATABASE of it was interrupted: nobody can use it any more (`DATCONNLIMIT_INVALID_DB` in
    /// `src/include/catalog/pg_database.h`).
    pub is_invalid: bool,
}

#[derive(Debug)]
pub struct Chosen {
    /// In the order of the server.
    pub names: Vec<String>,
    /// That are named and not there, as one that was dropped since.
    pub missing: Vec<(String, Error)>,
}

/// How a database is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// By its name.
    Named,
    /// By a pattern, or since all are.
    Matched,
    /// It is left out, or not meant at all.
    No,
}

impl Choice {
    /// Whether it means the database `name`, unless that is a special one.
    pub fn wish(&self, name: &str) -> Wish {
        let means = |pattern: &String| matches(pattern, name);
        match () {
            () if self.exclude.iter().any(means) => Wish::No,
            () if self.names().any(|own| own == name) => Wish::Named,
            () if self.names.is_empty() || self.names.iter().any(means) => Wish::Matched,
            () => Wish::No,
        }
    }

    /// Those that are named, by no pattern.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let literal = self.names.iter().filter(|name| !is_pattern(name));
        literal.map(|name| in_quotes(name).unwrap_or(name))
    }
}

/// Those that `choice` means; an error where there is none of them.
pub fn chosen(session: &Session, choice: &Choice) -> Result<Chosen> {
    let all = all(session)?;
    let chosen = choose(&all, choice)?;
    for Database { name, .. } in all.iter().filter(|one| one.is_invalid) {
        if choice.wish(name) == Wish::Matched {
            warn!(
                "database {name:?} is left out: a DROP DATABASE of it was interrupted, and nobody can use it; drop it once \
                 more"
            );
        }
    }
    let databases = || all.iter().map(|one| one.name.as_str());
    for name in &chosen.names {
        if choice.wish(name) == Wish::Matched && aside::left(name, databases()).is_some() {
            warn!(
                "database {name:?} is dumped, too, which `restore-dump --clean` left: drop it, or leave it out \
                 (dump.exclude)"
            );
        }
    }
    Ok(chosen)
}

/// All of the server, by name.
pub fn all(session: &Session) -> Result<Vec<Database>> {
    let sql = "SELECT datname, datistemplate OR NOT datallowconn, datconnlimit = -2 \
         FROM pg_catalog.pg_database ORDER BY 1";
    let mut all = Vec::new();
    session.for_each_row(sql, &[], |row| {
        let name = row.text(0)?;
        all.push(Database {
            special: row.parse::<bool>(1)? || row.parse(2)? || is_passing(&name),
            is_invalid: row.parse(2)?,
            name,
        });
        Ok(())
    })?;
    Ok(all)
}

fn choose(all: &[Database], choice: &Choice) -> Result<Chosen> {
    let is_there = |name: &str| all.iter().any(|database| database.name == name);
    let missing: Vec<(String, Error)> = choice
        .names()
        .filter(|name| !is_there(name))
        .map(|name| {
            let error = Error::new(Kind::NotFound, format!("there is no database {name:?}"))
                .hint("names are taken as they are, capitals and all; `psql -l` lists them.");
            (name.to_owned(), error)
        })
        .collect();
    // One that is named is meant, whatever it is.
    let wanted = |database: &&Database| match choice.wish(&database.name) {
        Wish::Named => true,
        Wish::Matched => !database.special,
        Wish::No => false,
    };
    let names: Vec<String> = all
        .iter()
        .filter(wanted)
        .map(|database| database.name.clone())
        .collect();
    if !names.is_empty() {
        return Ok(Chosen { names, missing });
    }
    Err(match missing.into_iter().next() {
        Some((_, error)) => error,
        None => Error::new(Kind::NotFound, "no database is left to dump").hint(
            "look at the names and patterns that were given, and at those that are left out.",
        ),
    })
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?']) && in_quotes(name).is_none()
}

/// The name that is meant as it stands, with the signs of patterns in it.
fn in_quotes(word: &str) -> Option<&str> {
    let name = word.strip_prefix('"')?.strip_suffix('"')?;
    name.contains(['*', '?']).then_some(name)
}

/// `*` stands for any letters, `?` for one; in double quotes for themselves.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if let Some(quoted) = in_quotes(pattern) {
        return quoted == name;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut read) = (0, 0);
    // Where the last `*` stood, and how much of the name it took.
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some('?') => (at, read) = (at + 1, read + 1),
            Some(letter) if *letter == name[read] => (at, read) = (at + 1, read + 1),
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += 1;
                    (at, read) = (*place + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, same) in [
            ("shop", "shop", true),
            ("shop", "Shop", false),
            ("shop*", "shop", true),
            ("*shop", "my_shop", true),
            ("*a*b*", "xaybz", true),
            ("*a*b", "ab_ab_c", false),
            ("?hop", "shop", true),
            ("?", "", false),
            ("*", "", true),
            ("ä?", "äö", true),
            ("\"a*b\"", "a*b", true),
            ("\"a*b\"", "aXb", false),
            ("\"shop\"", "shop", false),
        ] {
            assert_eq!(matches(pattern, name), same, "{pattern} {name}");
        }
    }

    #[test]
    fn templates_are_left_out_unless_they_are_named() {
        let database = |name: &str, special| Database {
            name: name.to_owned(),
            special,
            is_invalid: false,
        };
        let all = [
            database("shop", false),
            database("shop_test", false),
            database("template1", true),
        ];
        let chosen = |names: &[&str], exclude: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let choice = Choice {
                names: texts(names),
                exclude: texts(exclude),
            };
            choose(&all, &choice).map(|chosen| chosen.names)
        };
        assert_eq!(chosen(&[], &[]).unwrap(), ["shop", "shop_test"]);
        assert_eq!(chosen(&["*"], &["*_test"]).unwrap(), ["shop"]);
        assert_eq!(
            chosen(&["template1", "shop"], &[]).unwrap(),
            ["shop", "template1"]
        );
        // In quotes the signs of patterns are none.
        let odd = [database("a*b", false), database("aXb", false)];
        for (name, found) in [("a*b", &["a*b", "aXb"][..]), ("\"a*b\"", &["a*b"])] {
            let choice = Choice {
                names: vec![name.to_owned()],
                exclude: Vec::new(),
            };
            assert_eq!(choose(&odd, &choice).unwrap().names, found, "{name}");
        }
        for (names, exclude) in [
            (&["shop"][..], &["shop"][..]),
            (&["x*"], &[]),
            (&["Shop"], &[]),
        ] {
            assert_eq!(chosen(names, exclude).unwrap_err().kind(), Kind::NotFound);
        }
    }
}
