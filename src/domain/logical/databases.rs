//! Which databases are dumped.

use super::{request::Choice, restore::fresh::is_passing};
use crate::{
    error::{Error, Kind, Result},
    postgres::connection::Session,
};

/// A database of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Database {
    name: String,
    /// A template, one that lets nobody in, or one that a restore of ours makes just now.
    special: bool,
}

#[derive(Debug)]
pub struct Chosen {
    /// In the order of the server.
    pub names: Vec<String>,
    /// That are named and not there, as one that was dropped since.
    pub missing: Vec<(String, Error)>,
}

/// Those that `choice` means; an error where there is none of them.
pub fn chosen(session: &Session, choice: &Choice) -> Result<Chosen> {
    let sql =
        "SELECT datname, datistemplate OR NOT datallowconn FROM pg_catalog.pg_database ORDER BY 1";
    let mut all = Vec::new();
    session.for_each_row(sql, &[], |row| {
        let name = row.text(0)?;
        all.push(Database {
            special: row.parse::<bool>(1)? || is_passing(&name),
            name,
        });
        Ok(())
    })?;
    choose(&all, choice)
}

fn choose(all: &[Database], choice: &Choice) -> Result<Chosen> {
    let named = choice.names.iter().filter(|name| !is_pattern(name));
    let missing = named.filter(|name| !all.iter().any(|database| database.name == **name));
    let missing: Vec<(String, Error)> = missing
        .map(|name| {
            let error = Error::new(Kind::NotFound, format!("there is no database {name:?}"))
                .hint("names are taken as they are, capitals and all; `psql -l` lists them.");
            (name.clone(), error)
        })
        .collect();
    let wanted = |database: &&Database| {
        let named = choice.names.contains(&database.name);
        let meant = choice.names.is_empty()
            || choice
                .names
                .iter()
                .any(|name| matches(name, &database.name));
        // One that is named is meant, whatever it is.
        (named || (meant && !database.special))
            && !choice
                .exclude
                .iter()
                .any(|name| matches(name, &database.name))
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
    name.contains(['*', '?'])
}

/// `*` stands for any letters, `?` for one.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
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
        ] {
            assert_eq!(matches(pattern, name), same, "{pattern} {name}");
        }
    }

    #[test]
    fn templates_are_left_out_unless_they_are_named() {
        let database = |name: &str, special| Database {
            name: name.to_owned(),
            special,
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
        for (names, exclude) in [
            (&["shop"][..], &["shop"][..]),
            (&["x*"], &[]),
            (&["Shop"], &[]),
        ] {
            assert_eq!(chosen(names, exclude).unwrap_err().kind(), Kind::NotFound);
        }
    }
}
