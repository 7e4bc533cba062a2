//! PostgreSQL's major versions: a table, one row for each, with what tells their files apart.
//!
//! Every number of 15 to 18 was read from files that such servers wrote.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A major version that pgstow accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Major {
    V15,
    V16,
    V17,
    V18,
    /// Accepted, but [`Major::is_tested`] says no.
    V19,
}

struct Row {
    major: Major,
    number: u32,
    /// XLOG_PAGE_MAGIC of `src/include/access/xlog_internal.h`.
    wal_magic: u16,
    /// PG_CONTROL_VERSION of `src/include/catalog/pg_control.h`.
    control_version: u32,
    /// CATALOG_VERSION_NO of `src/include/catalog/catversion.h`; None while it may still change.
    catalog_version: Option<u32>,
}

const fn row(major: Major, number: u32, magic: u16, control: u32, catalog: Option<u32>) -> Row {
    Row {
        major,
        number,
        wal_magic: magic,
        control_version: control,
        catalog_version: catalog,
    }
}

const ROWS: [Row; 5] = [
    row(Major::V15, 15, 0xD110, 1300, Some(202_209_061)),
    row(Major::V16, 16, 0xD113, 1300, Some(202_307_071)),
    row(Major::V17, 17, 0xD116, 1700, Some(202_406_281)),
    row(Major::V18, 18, 0xD118, 1800, Some(202_506_291)),
    // Not released: magic and control version are the least that they will be.
    row(Major::V19, 19, 0xD119, 1900, None),
];

impl Major {
    /// Every accepted version, oldest first.
    pub const ALL: [Major; 5] = [Major::V15, Major::V16, Major::V17, Major::V18, Major::V19];

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    fn find(test: impl Fn(&Row) -> bool) -> Option<Major> {
        ROWS.iter().find(|row| test(row)).map(|row| row.major)
    }

    /// `15` to `19`.
    pub fn new(number: u32) -> Result<Major> {
        Self::find(|row| row.number == number).ok_or_else(|| {
            Error::failed(format!("PostgreSQL {number} is not supported"))
                .hint("pgstow supports PostgreSQL 15 to 18.")
        })
    }

    /// From the setting `server_version_num`, such as 150019.
    pub fn from_server_version_num(number: u32) -> Result<Major> {
        Self::new(number / 10_000)
    }

    /// From the first two bytes of a WAL page; a magic newer than all that are known is read as
    /// the newest version, since the page header itself has not changed since 9.3.
    pub fn from_wal_magic(magic: u16) -> Option<Major> {
        Self::find(|row| row.wal_magic == magic)
            .or_else(|| (0xD119..=0xD1FF).contains(&magic).then_some(Major::V19))
    }

    /// From the two versions in pg_control. The catalog's decides where majors share a layout.
    pub fn from_control(control_version: u32, catalog_version: u32) -> Option<Major> {
        Self::find(|row| {
            row.control_version == control_version && row.catalog_version == Some(catalog_version)
        })
        .or_else(|| {
            (1900..2000)
                .contains(&control_version)
                .then_some(Major::V19)
        })
    }

    pub fn number(self) -> u32 {
        self.row().number
    }

    /// False for a version that no test of pgstow has run on: worth a warning.
    pub fn is_tested(self) -> bool {
        self <= Major::V18
    }

    /// The catalog version of the released server; None while there is none.
    pub fn catalog_version(self) -> Option<u32> {
        self.row().catalog_version
    }

    /// `PostgreSQL-Backup-Manifest-Version`: 2, with the system identifier, since 17.
    pub fn manifest_version(self) -> u32 {
        if self < Major::V17 { 1 } else { 2 }
    }

    /// The server itself takes incremental backups and combines them.
    pub fn has_incremental_backup(self) -> bool {
        self >= Major::V17
    }
}

/// Such as 17.11, of the setting `server_version_num`: since PostgreSQL 10 its last four digits are the
/// minor version.
pub fn readable(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

/// The folder inside a tablespace that belongs to one server version, `PG_<major>_<catalog
/// version>`; other majors may have theirs beside it after pg_upgrade.
pub fn tablespace_version_folder(major: Major, catalog_version: u32) -> String {
    format!("PG_{major}_{catalog_version}")
}

impl fmt::Display for Major {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// The content of a `PG_VERSION` file, such as `15`.
impl FromStr for Major {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.trim().parse().map_err(|error: ParseIntError| {
            Error::failed(format!("not a major version of PostgreSQL: {text:?}")).because(error)
        })?;
        Self::new(number)
    }
}

impl TryFrom<u32> for Major {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self> {
        Self::new(number)
    }
}

impl From<Major> for u32 {
    fn from(major: Major) -> u32 {
        major.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_where_their_major_looks_for_them() {
        for (row, major) in ROWS.iter().zip(Major::ALL) {
            assert_eq!((row.major, major.number()), (major, row.number));
            assert_eq!(Major::from_wal_magic(row.wal_magic), Some(major));
            let catalog = row.catalog_version.unwrap_or(202_604_021);
            assert_eq!(
                Major::from_control(row.control_version, catalog),
                Some(major)
            );
            assert_eq!(major.is_tested(), row.catalog_version.is_some());
        }
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        for number in [0, 14, 20, u32::MAX] {
            assert!(Major::new(number).is_err(), "{number}");
        }
        assert!(Major::from_server_version_num(140_023).is_err());
        assert_eq!(
            Major::from_server_version_num(170_011).ok(),
            Some(Major::V17)
        );
        // 14, a development version of 16, not WAL at all.
        for magic in [0xD10D, 0xD112, 0] {
            assert_eq!(Major::from_wal_magic(magic), None, "{magic:X}");
        }
        assert_eq!(Major::from_control(1300, 202_107_181), None);
        assert!("16 devel".parse::<Major>().is_err());
        assert_eq!("16\n".parse::<Major>().ok(), Some(Major::V16));
        assert_eq!(
            tablespace_version_folder(Major::V15, 202_209_061),
            "PG_15_202209061"
        );
    }
}
