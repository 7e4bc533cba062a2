//! `relations.json.zst`: the names of databases and relations behind the names of their files, read one by one.

use std::{
    fmt,
    io::{BufReader, Read},
};

use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    backup::Backup, codec::Codec, document::FORMAT, layout::BackupObject, repository::Repository,
};
use crate::{
    error::{Error, Result},
    util::json_list::Each,
};

/// A relation that has a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// None in backups of versions that did not note it.
    #[serde(default)]
    pub oid: Option<u32>,
    pub relfilenode: u32,
    /// 0: the database's own tablespace.
    pub tablespace: u32,
    pub schema: String,
    pub name: String,
    /// As pg_class.relkind.
    pub kind: String,
    /// WAL doesn't tell its rows, and a restore has none of them. False in backups of versions that did not note it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlogged: bool,
}

/// The database that relations are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    pub oid: u32,
    pub name: String,
}

/// Is given each database, with None, and then each relation in it.
pub type Take<'a> = dyn FnMut(&Database, Option<Relation>) + 'a;

impl Repository {
    /// Reads the names that a backup noted.
    pub fn relations(&self, backup: &Backup, take: &mut Take<'_>) -> Result<()> {
        let object = BackupObject::Relations;
        let name = self.layout().backup_object(&backup.id, object);
        read(self.storage().get(&name, None)?, take)
    }
}

/// Reads the names in `stored`, compressed bytes.
pub fn read(stored: impl Read + Send, take: &mut Take<'_>) -> Result<()> {
    let damaged = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::damaged("the names of relations can't be understood").because(error)
    };
    let plain = Codec::Zstd
        .decoder(stored)
        .map_err(|error| damaged(error.into()))?;
    let plain = BufReader::with_capacity(64 << 10, plain);
    let mut json = serde_json::Deserializer::from_reader(plain);
    let result = (&mut json).deserialize_map(Document { take });
    result
        .and_then(|()| json.end())
        .map_err(|error| damaged(error.into()))
}

struct Document<'a, 'b> {
    take: &'a mut Take<'b>,
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names of relations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format" if map.next_value::<u32>()? != FORMAT => {
                    return Err(de::Error::custom("unknown format"));
                }
                "format" => {}
                "databases" => map.next_value_seed(Databases {
                    take: &mut *self.take,
                })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Databases<'a, 'b> {
    take: &'a mut Take<'b>,
}

impl<'de> DeserializeSeed<'de> for Databases<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Databases<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of databases")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut databases: A) -> Result<(), A::Error> {
        while let Some(()) = databases.next_element_seed(One {
            take: &mut *self.take,
        })? {}
        Ok(())
    }
}

/// A database, whose OID and name come before its relations.
struct One<'a, 'b> {
    take: &'a mut Take<'b>,
}

impl<'de> DeserializeSeed<'de> for One<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a database")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut database = Database::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "oid" => database.oid = map.next_value()?,
                "name" => database.name = map.next_value()?,
                "relations" => {
                    (self.take)(&database, None);
                    let take = |relation: Relation| {
                        (self.take)(&database, Some(relation));
                        Ok(())
                    };
                    map.next_value_seed(Each::new("relations", take, &mut None))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(json: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let stored = zstd::encode_all(json.as_bytes(), 1).unwrap();
        read(&*stored, &mut |database, relation| {
            let name = relation.map_or("-".to_owned(), |relation| {
                format!("{:?} {}", relation.oid, relation.name)
            });
            found.push(format!("{} {name}", database.name));
        })?;
        Ok(found)
    }

    #[test]
    fn databases_with_and_without_relations() {
        let json = r#"{"format":1,"new":[1],"databases":[
            {"oid":5,"name":"shop","relations":[
            {"oid":7,"relfilenode":8,"tablespace":0,"schema":"s","name":"a","kind":"r"},
            {"relfilenode":9,"tablespace":0,"schema":"s","name":"b","kind":"r","later":true}]},
            {"oid":6,"name":"closed","relations":[]}
            ]}"#;
        let expected = ["shop -", "shop Some(7) a", "shop None b", "closed -"];
        assert_eq!(names(json).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_off_or_newer_is_refused() {
        for bad in [
            "",
            r#"{"format":2,"databases":[]}"#,
            r#"{"format":1,"databases":[{"oid":5,"name":"x","relations":["#,
        ] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }
}
