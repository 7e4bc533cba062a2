//! Rows that refer to what is not there, behind every foreign key: PostgreSQL checks none of them again
//! where a key is NOT VALID, and a restore that disables triggers lets anything in.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    postgres::{connection::Session, row::Row, sql::identifier},
    repo::verified::VerifiedCheck,
    util::process::NO_LIMIT,
};

/// Each column of each foreign key that is enforced. The operator is the one that the key itself uses, and
/// compares in the order of the collation of the referenced column
/// (`RI_Initial_Check` in `src/backend/utils/adt/ri_triggers.c`).
const KEYS: &str = "SELECT con.oid, con.conname, fn.nspname, f.relname, f.relkind, pn.nspname, p.relname, \
     p.relkind, con.confmatchtype, coalesce(pg_catalog.to_jsonb(con)->>'conperiod', 'false'), \
     fa.attname, pa.attname, opn.nspname, op.oprname, cn.nspname, c.collname \
     FROM pg_catalog.pg_constraint con \
     JOIN pg_catalog.pg_class f ON f.oid = con.conrelid \
     JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace \
     JOIN pg_catalog.pg_class p ON p.oid = con.confrelid \
     JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
     CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(con.conkey), pg_catalog.unnest(con.confkey), \
       pg_catalog.unnest(con.conpfeqop)) WITH ORDINALITY k (fk, pk, operator, number) \
     JOIN pg_catalog.pg_attribute fa ON fa.attrelid = con.conrelid AND fa.attnum = k.fk \
     JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = k.pk \
     JOIN pg_catalog.pg_operator op ON op.oid = k.operator \
     JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace \
     LEFT JOIN pg_catalog.pg_collation c ON c.oid = pa.attcollation AND fa.attcollation <> pa.attcollation \
     LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.collnamespace \
     WHERE con.contype = 'f' AND con.conparentid = 0 \
     AND coalesce(pg_catalog.to_jsonb(con)->>'conenforced', 'true') = 'true' \
     ORDER BY con.oid, k.number";

struct ForeignKey {
    name: String,
    /// Schema, name and kind.
    table: (String, String, String),
    referenced: (String, String, String),
    /// MATCH FULL: of several columns all are NULL, or none.
    full: bool,
    /// The last column is a period, which the referenced ones together must cover.
    period: bool,
    columns: Vec<Column>,
}

struct Column {
    own: String,
    referenced: String,
    /// Schema and name.
    operator: (String, String),
    /// Where it is not that of the own column.
    collation: Option<(String, String)>,
}

pub fn orphans(session: &Session) -> Result<VerifiedCheck> {
    let mut keys: BTreeMap<u32, ForeignKey> = BTreeMap::new();
    session.for_each_row(KEYS, &[], |row| {
        let key = keys.entry(row.parse(0)?).or_insert(ForeignKey::of(row)?);
        key.columns.push(Column::of(row)?);
        Ok(())
    })?;
    let mut wrong = Vec::new();
    for key in keys.values() {
        let row = session.with_limit(NO_LIMIT, |session| session.query_one(&key.count(), &[]))?;
        let orphans: u64 = row.parse(0)?;
        if orphans > 0 {
            let ForeignKey { name, table, .. } = key;
            wrong.push(format!(
                "{orphans} rows of {}.{} refer to what is not there ({name})",
                table.0, table.1
            ));
        }
    }
    let fine = format!(
        "every row behind {} foreign keys refers to one that is there",
        keys.len()
    );
    Ok(VerifiedCheck::of("orphans", wrong, fine))
}

impl ForeignKey {
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text(1)?,
            table: (row.text(2)?, row.text(3)?, row.text(4)?),
            referenced: (row.text(5)?, row.text(6)?, row.text(7)?),
            full: row.text(8)? == "f",
            period: row.parse(9)?,
            columns: Vec::new(),
        })
    }

    /// SQL that counts the orphans.
    fn count(&self) -> String {
        let own = |column: &Column| format!("f.{}", identifier(&column.own));
        let columns: Vec<String> = self.columns.iter().map(own).collect();
        // One NULL is enough to refer to nothing, unless the key is MATCH FULL.
        let referring = columns.iter().map(|column| format!("{column} IS NOT NULL"));
        let referring = referring.collect::<Vec<_>>().join(" AND ");
        let half = match self.full && columns.len() > 1 {
            true => format!(
                " OR (NOT ({referring}) AND NOT ({}))",
                columns
                    .iter()
                    .map(|column| format!("{column} IS NULL"))
                    .collect::<Vec<_>>()
                    .join(" AND ")
            ),
            false => String::new(),
        };
        format!(
            "SELECT count(*) FROM {} f WHERE ({referring} AND NOT {}){half}",
            from(&self.table),
            self.is_covered()
        )
    }

    fn is_covered(&self) -> String {
        let (last, equal) = match (self.period, self.columns.split_last()) {
            (true, Some((last, equal))) => (Some(last), equal),
            _ => (None, self.columns.as_slice()),
        };
        let mut same: Vec<String> = equal.iter().map(Column::is_same).collect();
        let rows = from(&self.referenced);
        match last {
            None => format!("EXISTS (SELECT FROM {rows} p WHERE {})", same.join(" AND ")),
            Some(last) => {
                let (own, other) = (identifier(&last.own), identifier(&last.referenced));
                same.push(format!("p.{other} OPERATOR(pg_catalog.&&) f.{own}"));
                format!(
                    "coalesce((SELECT f.{own} OPERATOR(pg_catalog.<@) pg_catalog.range_agg(p.{other}) \
                     FROM {rows} p WHERE {}), false)",
                    same.join(" AND ")
                )
            }
        }
    }
}

impl Column {
    fn of(row: &Row) -> Result<Self> {
        let collation = match (row.optional(14)?, row.optional(15)?) {
            (Some(schema), Some(name)) => Some((schema, name)),
            _ => None,
        };
        Ok(Self {
            own: row.text(10)?,
            referenced: row.text(11)?,
            operator: (row.text(12)?, row.text(13)?),
            collation,
        })
    }

    fn is_same(&self) -> String {
        let Self {
            own,
            referenced,
            operator,
            collation,
        } = self;
        let collate = collation
            .as_ref()
            .map(|(schema, name)| format!(" COLLATE {}.{}", identifier(schema), identifier(name)));
        format!(
            "p.{} OPERATOR({}.{}) f.{}{}",
            identifier(referenced),
            identifier(&operator.0),
            operator.1,
            identifier(own),
            collate.unwrap_or_default()
        )
    }
}

/// Of a table that others inherit from only its own rows count; a partitioned one has none of its own.
fn from((schema, name, kind): &(String, String, String)) -> String {
    let only = if kind == "p" { "" } else { "ONLY " };
    format!("{only}{}.{}", identifier(schema), identifier(name))
}
