//! `database.schema.table`, as `find-target` names tables, and several of them. Pure.

use std::fmt;

use crate::error::{Error, Result};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    pub database: String,
    pub schema: String,
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            database,
            schema,
            name,
        } = self;
        write!(f, "{database}.{schema}.{name}")
    }
}

/// Names with commas between them. What is in double quotes may hold commas and dots; there two quotes stand for one.
pub fn parse(text: &str) -> Result<Vec<TableName>> {
    let mut names = Vec::new();
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    loop {
        let letter = letters.next();
        match letter {
            Some('"') if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                push(&mut parts, '"');
            }
            Some('"') => quoted = !quoted,
            Some('.') if !quoted => parts.push(String::new()),
            Some(letter) if quoted || letter != ',' => push(&mut parts, letter),
            None if quoted => return Err(wrong(text)),
            _ => {
                let three: Result<[String; 3], _> = std::mem::take(&mut parts).try_into();
                let Ok([database, schema, name]) = three else {
                    return Err(wrong(text));
                };
                if [&database, &schema, &name]
                    .iter()
                    .any(|part| part.is_empty())
                {
                    return Err(wrong(text));
                }
                names.push(TableName {
                    database,
                    schema,
                    name,
                });
                parts.push(String::new());
                if letter.is_none() {
                    return Ok(names);
                }
            }
        }
    }
}

fn push(parts: &mut [String], letter: char) {
    if let Some(last) = parts.last_mut() {
        last.push(letter);
    }
}

fn wrong(text: &str) -> Error {
    Error::usage(format!("not the name of a table: {text:?}")).hint(
        "write database.schema.table, several with commas between them; a part that holds a dot or a comma goes into double quotes.",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_have_three_parts() {
        for (text, expected) in [
            ("shop.public.orders", vec![["shop", "public", "orders"]]),
            (
                "shop.public.orders,shop.s.Items",
                vec![["shop", "public", "orders"], ["shop", "s", "Items"]],
            ),
            (
                r#"shop."pub.lic"."a "",b""#,
                vec![["shop", "pub.lic", "a \",b"]],
            ),
        ] {
            let names = parse(text).unwrap();
            let expected: Vec<TableName> = expected
                .into_iter()
                .map(|[database, schema, name]| TableName {
                    database: database.to_owned(),
                    schema: schema.to_owned(),
                    name: name.to_owned(),
                })
                .collect();
            assert_eq!(names, expected, "{text}");
        }
        for wrong in [
            "",
            "orders",
            "public.orders",
            "a.b.c.d",
            "a.b.",
            "a.b.\"c",
            "a.b.c,",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
