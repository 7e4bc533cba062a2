//! What a dump says that it holds: the table of contents of pg_dump's archives, as `pg_restore --list`
//! prints it. It names objects by the OIDs that they have in the source.

use std::collections::BTreeSet;

use super::tap::Tapped;
use crate::{
    error::Result,
    postgres::client_programs::ClientPrograms,
    util::{cancel::Cancel, process},
};

/// `pg_class`, `pg_constraint`, `pg_extension`, `pg_type` (`CATALOG(...)` in
/// `src/include/catalog/pg_class.h` and its like).
pub const CLASS: u32 = 1259;
pub const CONSTRAINT: u32 = 2606;
pub const EXTENSION: u32 = 3079;
pub const TYPE: u32 = 1247;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toc {
    /// OIDs, each with that of its catalog.
    objects: BTreeSet<(u32, u32)>,
    /// Tables whose rows are in it.
    rows: BTreeSet<u32>,
}

impl Toc {
    pub fn has(&self, catalog: u32, oid: u32) -> bool {
        self.objects.contains(&(catalog, oid))
    }

    pub fn has_rows_of(&self, table: u32) -> bool {
        self.rows.contains(&table)
    }

    /// Reads lines such as `215; 1259 16386 TABLE public accounts postgres` (`PrintTOCSummary` in
    /// `src/bin/pg_dump/pg_backup_archiver.c`, which leaves line ends out of names). Rows have no
    /// catalog: `3321; 0 16386 TABLE DATA public accounts postgres`.
    pub fn parse(listing: &[u8]) -> Self {
        let mut toc = Self::default();
        for line in listing.split(|byte| *byte == b'\n') {
            // Names are in the encoding of the database; only what is before them is looked at.
            if let Some((catalog, oid, what)) = entry(&String::from_utf8_lossy(line)) {
                match what {
                    What::Object => drop(toc.objects.insert((catalog, oid))),
                    What::Rows => drop(toc.rows.insert(oid)),
                }
            }
        }
        toc
    }

    /// Of an archive in custom or tar format, of which the beginning is enough.
    pub fn of_archive(programs: &ClientPrograms, archive: Tapped, cancel: &Cancel) -> Result<Self> {
        let mut command = programs.alone("pg_restore")?;
        let mut listing = Vec::new();
        let end = process::run_with_input(
            command.arg("--list"),
            archive,
            &mut listing,
            process::NO_LIMIT,
            cancel,
        )?;
        end.success().map(|_| Self::parse(&listing))
    }
}

enum What {
    Object,
    Rows,
}

fn entry(line: &str) -> Option<(u32, u32, What)> {
    let (number, rest) = line.split_once("; ")?;
    number.parse::<u32>().ok()?;
    let mut fields = rest.splitn(3, ' ');
    let catalog = fields.next()?.parse().ok()?;
    let oid = fields.next()?.parse().ok()?;
    match (catalog, fields.next()?) {
        (0, what) => what
            .starts_with("TABLE DATA ")
            .then_some((catalog, oid, What::Rows)),
        _ => Some((catalog, oid, What::Object)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_rows_by_their_oids() {
        let toc = Toc::parse(
            b";\n; Archive created at 2026-11-21 02:00:00 UTC\n;     dbname: shop\n;\n\
              215; 1259 16386 TABLE public TABLE DATA postgres\n\
              216; 1259 16390 TABLE DATA \xFF\xFE postgres\n\
              3321; 0 16386 TABLE DATA public a; b postgres\n\
              3322; 0 0 SEQUENCE SET public s postgres\n\
              3170; 2606 16400 FK CONSTRAINT public t t_fkey postgres\n\
              x; 1259 7 TABLE\n3; 1259\n",
        );
        assert!(toc.has(CLASS, 16386) && toc.has(CLASS, 16390) && toc.has(CONSTRAINT, 16400));
        assert!(toc.has_rows_of(16386) && !toc.has_rows_of(16390) && !toc.has_rows_of(0));
        assert!(!toc.has(CLASS, 7));
    }
}
