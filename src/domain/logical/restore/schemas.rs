//! The schemas of single tables: they don't come with them, and a database that is made for the tables has none.

use std::collections::BTreeSet;

use crate::{
    error::Result,
    postgres::{archive_toc::ArchiveToc, connection::Session, sql::identifier},
};

/// Makes those that entries `ids` of an archive lie in (None: all entries), but for those that are restored themselves.
pub fn make(session: &Session, toc: &ArchiveToc, ids: Option<&[u32]>) -> Result<()> {
    for schema in missing(toc, ids) {
        let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(schema));
        session.execute(&sql, &[])?;
    }
    Ok(())
}

fn missing<'a>(toc: &'a ArchiveToc, ids: Option<&[u32]>) -> BTreeSet<&'a str> {
    let entries = toc.entries.iter();
    let entries = entries.filter(|entry| ids.is_none_or(|ids| ids.contains(&entry.id)));
    let of_entries = entries.clone().filter_map(|entry| entry.schema.as_deref());
    let mut schemas: BTreeSet<&str> = of_entries.filter(|schema| !schema.is_empty()).collect();
    for entry in entries.filter(|entry| entry.what == "SCHEMA") {
        schemas.remove(entry.name.as_str());
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::archive_toc::TocEntry;

    #[test]
    fn schemas_that_come_themselves_are_not_made() {
        let entry = |id: u32, what: &str, schema: Option<&str>, name: &str| TocEntry {
            id,
            what: what.to_owned(),
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
            ..TocEntry::default()
        };
        let toc = ArchiveToc {
            database: None,
            server_version: None,
            client_version: None,
            entries: vec![
                entry(1, "SCHEMA", None, "app"),
                entry(2, "TABLE", Some("app"), "a"),
                entry(3, "TABLE", Some("other"), "b"),
                entry(4, "ENCODING", Some(""), "x"),
            ],
        };
        let of = |ids: Option<&[u32]>| missing(&toc, ids).into_iter().collect::<Vec<_>>();
        assert_eq!(of(None), ["other"]);
        assert_eq!(of(Some(&[2])), ["app"]);
        assert_eq!(of(Some(&[1, 2, 4])), [""; 0]);
    }
}
