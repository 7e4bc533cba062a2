//! Names of relations that may exist no more: from the backups around the time, and from the live server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use tracing::warn;

use super::work::{DATABASES, Oid, Relations};
use crate::{
    domain::restore::sources::Sources,
    error::{Error, Result},
    postgres::{dotted, wal_summary::Locator},
    repo::{
        backup::Backup,
        relations::{Relation, Take},
    },
};

/// More backups than these are not read for names.
const MOST_BACKUPS: usize = 8;

/// A table, as people name it: `orders`, `public.orders`, `shop.public.orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    pub database: Option<String>,
    pub schema: Option<String>,
    pub table: String,
}

impl TableName {
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::usage(format!("not the name of a table: {text:?}")).hint(
                "write table, schema.table or database.schema.table; a part that holds a dot or a comma goes into double quotes.",
            )
        };
        let names: [Vec<String>; 1] = dotted::split(text)
            .and_then(|names| names.try_into().ok())
            .ok_or_else(wrong)?;
        let [mut parts] = names;
        if parts.len() > 3 {
            return Err(wrong());
        }
        let table = parts.pop().unwrap_or_default();
        Ok(Self {
            schema: parts.pop(),
            database: parts.pop(),
            table,
        })
    }

    pub fn fits(&self, database: &str, schema: &str, table: &str) -> bool {
        let fits = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == name)
        };
        self.table == table && fits(&self.schema, schema) && fits(&self.database, database)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.database, &self.schema].into_iter().flatten();
        let parts = parts.chain([&self.table]).map(String::as_str);
        f.write_str(&dotted::join(parts))
    }
}

/// Of whom names are wanted.
#[derive(Debug, Default)]
pub struct Unnamed {
    /// By database and relfilenode; whatever the tablespace, since hardly any two have the same number.
    pub files: BTreeSet<(u32, u32)>,
    pub oids: BTreeSet<Oid>,
    /// Databases, too.
    pub databases: bool,
}

impl Unnamed {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.oids.is_empty() && !self.databases
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub schema: String,
    pub name: String,
    /// As pg_class.relkind.
    pub kind: String,
    pub oid: Option<u32>,
    /// A restore has none of its rows.
    pub unlogged: bool,
}

impl Name {
    fn of(relation: Relation) -> Self {
        Self {
            schema: relation.schema,
            name: relation.name,
            kind: relation.kind,
            oid: relation.oid,
            unlogged: relation.unlogged,
        }
    }

    /// Whether its rows are the user's: what else there is goes with that.
    pub fn holds_rows(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "m")
    }

    pub fn is_of_system(&self) -> bool {
        let schema = self.schema.as_str();
        matches!(schema, "pg_catalog" | "pg_toast" | "information_schema")
            && self.name != "pg_largeobject"
    }
}

/// What is known by name. What was noted first counts.
#[derive(Debug, Default)]
pub struct Names {
    pub databases: BTreeMap<u32, String>,
    pub files: BTreeMap<(u32, u32), Name>,
    pub oids: BTreeMap<Oid, Name>,
    /// The files that relations had before the span.
    pub before: BTreeMap<Oid, u32>,
    /// Relations that have the same file today: nothing in between gave them another.
    pub kept: BTreeSet<Oid>,
    /// Who told them, for people.
    pub told_by: Vec<String>,
}

impl Names {
    pub fn of_file(&self, file: Locator) -> Option<&Name> {
        self.files.get(&(file.database, file.number))
    }

    /// Keeps what is wanted.
    fn note(&mut self, unnamed: &Unnamed, database: u32, relation: Relation) {
        // What all databases share belongs to none.
        let database = match relation.tablespace == DATABASES.tablespace {
            true => DATABASES.database,
            false => database,
        };
        let file = (database, relation.relfilenode);
        let oid = relation.oid.map(|relation| Oid { database, relation });
        let oid = oid.filter(|oid| unnamed.oids.contains(oid) && !self.oids.contains_key(oid));
        let by_file = unnamed.files.contains(&file) && !self.files.contains_key(&file);
        if !by_file && oid.is_none() {
            return;
        }
        let name = Name::of(relation);
        if let Some(oid) = oid {
            self.oids.insert(oid, name.clone());
        }
        if by_file {
            self.files.insert(file, name);
        }
    }

    /// Looks the rest up in a backup, which may be from `before` the span. One without names, or with damaged ones, is
    /// none the worse for anything else.
    pub fn ask_backup(
        &mut self,
        sources: &Sources<'_>,
        backup: &Backup,
        before: bool,
        unnamed: &Unnamed,
    ) {
        let read = relations(sources, backup, &mut |database, relation| {
            self.databases
                .entry(database.oid)
                .or_insert_with(|| database.name.clone());
            if let Some(relation) = relation {
                let oid = relation.oid.map(|relation| Oid {
                    database: database.oid,
                    relation,
                });
                if let Some(oid) = oid.filter(|oid| before && unnamed.oids.contains(oid)) {
                    self.before.insert(oid, relation.relfilenode);
                }
                self.note(unnamed, database.oid, relation);
            }
        });
        match read {
            Ok(()) => self.told_by.push(format!("backup {}", backup.id)),
            Err(error) => warn!(
                "no names from backup {}: {}",
                backup.id,
                error.in_one_line()
            ),
        }
    }
}

/// All files and OIDs of tables of that name.
pub fn find_table(sources: &Sources<'_>, backups: &[&Backup], wanted: &TableName) -> Relations {
    let mut found = Relations::default();
    for backup in backups {
        let read = relations(sources, backup, &mut |database, relation| {
            let Some(relation) = relation else { return };
            if wanted.fits(&database.name, &relation.schema, &relation.name) {
                found.files.insert((database.oid, relation.relfilenode));
                found.oids.extend(relation.oid.map(|relation| Oid {
                    database: database.oid,
                    relation,
                }));
            }
        });
        if let Err(error) = read {
            warn!(
                "no names from backup {}: {}",
                backup.id,
                error.in_one_line()
            );
        }
    }
    found
}

/// The names that a backup noted, as the chosen repository has them or another one.
fn relations(sources: &Sources<'_>, backup: &Backup, take: &mut Take<'_>) -> Result<()> {
    let what = format!("the list of names of backup {}", backup.id);
    sources.read(backup, &what, |repository, backup, _| {
        repository.relations(backup, take)
    })
}

/// Whose names are asked for, the best first: the newest backup that ended before the span, those within it from
/// the oldest on, and the first one behind it. `backups` are ordered by age.
pub fn around<'a>(
    backups: &[&'a Backup],
    begins: impl Fn(&Backup) -> bool,
    ends: impl Fn(&Backup) -> bool,
) -> Vec<&'a Backup> {
    let first = backups.iter().take_while(|backup| begins(backup)).count();
    let within = backups[first..]
        .iter()
        .take_while(|backup| ends(backup))
        .count();
    let from = first.saturating_sub(1);
    let to = (first + within + 1).min(backups.len());
    backups[from..to]
        .iter()
        .copied()
        .take(MOST_BACKUPS)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_with_what_is_needed() {
        let parse = |text: &str| TableName::parse(text).unwrap();
        let fits = |text: &str| parse(text).fits("shop", "public", "orders");
        for good in ["orders", "public.orders", "shop.public.orders"] {
            assert!(fits(good), "{good}");
        }
        for bad in [
            "",
            "order",
            "shop.orders",
            "public",
            "x.public.orders",
            "orders.x",
        ] {
            assert!(!fits(bad), "{bad}");
        }
        assert!(parse("shop.public.\"a.b\"").fits("shop", "public", "a.b"));
        for wrong in ["a.b.c.d", "a,b", "\"a"] {
            assert!(TableName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
