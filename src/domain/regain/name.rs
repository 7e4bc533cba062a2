//! `database.schema.table`, as `find-target` names tables, and several of them. Pure.

use std::fmt;

use crate::{
    error::{Error, Result},
    postgres::dotted,
};

/// What stands for all of a schema.
const ALL: &str = "*";

/// A table, view or sequence.
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
        f.write_str(&dotted::join([database, schema, name].map(String::as_str)))
    }
}

impl TableName {
    /// Whether it stands for all that its schema holds.
    pub fn is_all(&self) -> bool {
        self.name == ALL
    }
}

/// Names with commas between them.
pub fn parse(text: &str) -> Result<Vec<TableName>> {
    let names = dotted::split(text).ok_or_else(|| wrong(text))?;
    let names = names.into_iter().map(|parts| {
        let three: [String; 3] = parts.try_into().map_err(|_| wrong(text))?;
        if three.iter().any(String::is_empty) {
            return Err(wrong(text));
        }
        let [database, schema, name] = three;
        Ok(TableName {
            database,
            schema,
            name,
        })
    });
    names.collect()
}

fn wrong(text: &str) -> Error {
    Error::usage(format!("not the name of a table: {text:?}")).hint(
        "write database.schema.table, or database.schema.* for all of a schema, several with commas between them; a part that holds a dot or a comma goes into double quotes.",
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
