//! What a database has outside of itself: settings, a limit of connections, a comment, rights. pg_dump's archives
//! tell it as statements that name the source (`dumpDatabase` in `src/bin/pg_dump/pg_dump.c`), which
//! pg_restore runs only for a database of that name that it makes itself.

use tracing::warn;

use super::load::Complaints;
use crate::{
    error::{Context, Kind, Result},
    postgres::{
        archive_toc::{ArchiveToc, TocEntry},
        connection::Session,
        sql::identifier,
    },
};

/// Gives database `to`, which `session` is in (its comment is in its encoding), what that of `toc` had.
/// `owners`: what speaks of roles, too.
///
/// # Errors
/// The server refused; with `keep_going` that is a complaint.
pub fn restore(
    session: &Session,
    toc: &ArchiveToc,
    to: &str,
    owners: bool,
    keep_going: bool,
) -> Result<Complaints> {
    let mut complaints = Complaints::default();
    for statement in statements(toc, to, owners) {
        // Of an encoding that nobody here reads.
        if statement.contains(char::REPLACEMENT_CHARACTER) {
            warn!("the database is not given what can't be read: {statement}");
            continue;
        }
        match session.execute(&statement, &[]) {
            Ok(_) => {}
            Err(error) if keep_going && error.kind() != Kind::Interrupted => {
                complaints.add(Complaints {
                    list: vec![format!("{} ({statement})", error.in_one_line())],
                    count: 1,
                });
            }
            Err(error) => {
                return Err(error).context(|| format!("can't give the database: {statement}"));
            }
        }
    }
    Ok(complaints)
}

/// The statements, about database `to`.
pub fn statements(toc: &ArchiveToc, to: &str, owners: bool) -> Vec<String> {
    let Some(from) = &toc.database else {
        return Vec::new();
    };
    let entries = toc.entries.iter().filter(|entry| is_about(entry, owners));
    let definitions = entries.filter_map(|entry| entry.definition.as_deref());
    let mut all: Vec<String> = definitions
        .flat_map(|definition| renamed(definition, from, to))
        .collect();
    // Who restores a template wants a database.
    all.retain(|one| {
        let is_template = one.starts_with("UPDATE ") || one.contains(" IS_TEMPLATE ");
        !is_template && (owners || !one.starts_with("ALTER ROLE "))
    });
    all
}

fn is_about(entry: &TocEntry, owners: bool) -> bool {
    let of_database = entry.name.starts_with("DATABASE ");
    match entry.what.as_str() {
        "DATABASE PROPERTIES" => true,
        "COMMENT" | "SECURITY LABEL" => of_database,
        "ACL" => of_database && owners,
        _ => false,
    }
}

/// Each statement of `sql`, with `to` wherever it names database `from`.
fn renamed(sql: &str, from: &str, to: &str) -> Vec<String> {
    let (mut statements, mut statement) = (Vec::new(), String::new());
    let (mut rest, mut before) = (sql, "");
    while !rest.is_empty() {
        let (token, behind) = rest.split_at(token_end(rest));
        rest = behind;
        if token == ";" {
            statements.push(statement.trim().to_owned());
            statement.clear();
        } else if before == "DATABASE" && names(token, from) {
            statement.push_str(&identifier(to));
        } else {
            statement.push_str(token);
        }
        if !token.trim().is_empty() {
            before = token;
        }
    }
    statements
}

/// Whether a token is this name, in quotes or without.
fn names(token: &str, name: &str) -> bool {
    token == name || token == identifier(name)
}

/// Where the first token of a text ends, which is not empty: a word, something in quotes, or a single sign.
fn token_end(text: &str) -> usize {
    let is_of_word = |letter: char| letter.is_alphanumeric() || ['_', '$'].contains(&letter);
    let word = text.find(|letter| !is_of_word(letter));
    let word = word.unwrap_or(text.len());
    match (&text[..word], text[word..].chars().next()) {
        ("", Some(quote @ ('"' | '\''))) => quoted_end(text, quote, false),
        ("E", Some('\'')) => 1 + quoted_end(&text[1..], '\'', true),
        ("", Some(sign)) => sign.len_utf8(),
        _ => word,
    }
}

/// Two quotes stand for one; `escapes`: a backslash takes the next sign with it.
fn quoted_end(text: &str, quote: char, escapes: bool) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_changed_where_it_is_the_databases() {
        let sql = "ALTER DATABASE \"a;b\" SET work_mem TO '64MB';\n\
            ALTER ROLE \"a;b\" IN DATABASE \"a;b\" SET search_path TO 'DATABASE \"a;b\"', 'it''s; x';\n\
            COMMENT ON DATABASE \"a;b\" IS E'\\'; DATABASE \"a;b\"';\n\
            GRANT CONNECT ON DATABASE \"a;b\" TO \"a;b\";\nno end";
        assert_eq!(
            renamed(sql, "a;b", "ü\""),
            [
                "ALTER DATABASE \"ü\"\"\" SET work_mem TO '64MB'",
                "ALTER ROLE \"a;b\" IN DATABASE \"ü\"\"\" SET search_path TO 'DATABASE \"a;b\"', 'it''s; x'",
                "COMMENT ON DATABASE \"ü\"\"\" IS E'\\'; DATABASE \"a;b\"'",
                "GRANT CONNECT ON DATABASE \"ü\"\"\" TO \"a;b\"",
            ]
        );
        assert_eq!(
            renamed("ALTER DATABASE shop CONNECTION LIMIT = 5;", "shop", "x"),
            ["ALTER DATABASE \"x\" CONNECTION LIMIT = 5"]
        );
        for odd in ["", ";", "'", "E'", "\"", "E'\\", "ä'ö\"", ";;\\"] {
            drop(renamed(odd, "x", "y"));
        }
    }

    #[test]
    fn what_speaks_of_roles_is_left_out_if_wanted() {
        let entry = |what: &str, name: &str, definition: &str| TocEntry {
            what: what.to_owned(),
            name: name.to_owned(),
            definition: Some(definition.to_owned()),
            ..TocEntry::default()
        };
        let toc = ArchiveToc {
            database: Some("shop".to_owned()),
            server_version: None,
            client_version: None,
            entries: vec![
                entry("DATABASE", "shop", "CREATE DATABASE shop;"),
                entry(
                    "DATABASE PROPERTIES",
                    "shop",
                    "ALTER DATABASE shop IS_TEMPLATE = true; ALTER DATABASE shop SET x TO '1'; \
                     ALTER ROLE r IN DATABASE shop SET x TO '2';",
                ),
                entry("COMMENT", "TABLE shop", "COMMENT ON TABLE shop IS 'no';"),
                entry(
                    "COMMENT",
                    "DATABASE shop",
                    "COMMENT ON DATABASE shop IS 'yes';",
                ),
                entry("ACL", "DATABASE shop", "GRANT ALL ON DATABASE shop TO r;"),
            ],
        };
        let mut expected = vec![
            "ALTER DATABASE \"y\" SET x TO '1'",
            "ALTER ROLE r IN DATABASE \"y\" SET x TO '2'",
            "COMMENT ON DATABASE \"y\" IS 'yes'",
            "GRANT ALL ON DATABASE \"y\" TO r",
        ];
        assert_eq!(statements(&toc, "y", true), expected);
        expected.retain(|one| !one.ends_with(" r") && !one.contains("ROLE r"));
        assert_eq!(statements(&toc, "y", false), expected);
    }
}
