//! Names of the files that hold relations, such as `base/5/16384_fsm.1`.
//!
//! Formats: `src/common/relpath.c` (GetRelationPath) and, for reading them,
//! parse_filename_for_nontemp_relation in `src/backend/storage/file/reinit.c`.

/// Which part of a relation a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fork {
    Main,
    /// `_fsm`
    FreeSpace,
    /// `_vm`
    Visibility,
    /// `_init`: what an unlogged relation is reset to after a crash.
    Init,
}

/// One file of a relation, by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationFile {
    /// The relfilenode, not the OID of the relation.
    pub number: u32,
    pub fork: Fork,
    /// 0 for the first gigabyte, whose name has no ending.
    pub segment: u32,
    /// Of a temporary relation: `t<backend>_<number>`.
    pub temporary: bool,
}

impl RelationFile {
    /// None for a file that holds no relation.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let name = str::from_utf8(name).ok()?;
        let (temporary, name) = match name.strip_prefix('t') {
            Some(rest) => {
                let (backend, name) = rest.split_once('_')?;
                // Backends count from 0 since 17.
                (backend == "0" || number(backend).is_some()).then_some(())?;
                (true, name)
            }
            None => (false, name),
        };
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) => (name, number(segment)?),
            None => (name, 0),
        };
        let (name, fork) = match name.split_once('_') {
            None => (name, Fork::Main),
            Some((name, "fsm")) => (name, Fork::FreeSpace),
            Some((name, "vm")) => (name, Fork::Visibility),
            Some((name, "init")) => (name, Fork::Init),
            Some(_) => return None,
        };
        Some(Self {
            number: number(name)?,
            fork,
            segment,
            temporary,
        })
    }

    /// The name whose presence beside this file says that the relation is unlogged: then only
    /// its init fork belongs into a backup (rule of `basebackup.c`).
    pub fn init_fork(self) -> String {
        format!("{}_init", self.number)
    }
}

/// Where a relation's file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationPath {
    /// OID of a tablespace of the user's; None in `base/` and `global/`.
    pub tablespace: Option<u32>,
    /// OID of the database; None for what all share, in `global/`.
    pub database: Option<u32>,
    pub file: RelationFile,
}

impl RelationPath {
    /// Reads a path relative to the data directory; None for a file that holds no relation.
    pub fn parse(path: &[u8]) -> Option<Self> {
        let (folder, name) = split_last(path)?;
        let (tablespace, database) = database_folder(folder)?;
        Some(Self {
            tablespace,
            database,
            file: RelationFile::parse(name)?,
        })
    }
}

/// Tablespace and database of a folder that holds relations: `global`, `base/5`,
/// `pg_tblspc/16385/PG_15_202209061/5`; None for another folder.
fn database_folder(folder: &[u8]) -> Option<(Option<u32>, Option<u32>)> {
    let folder = str::from_utf8(folder).ok()?;
    let mut parts = folder.split('/');
    let found = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        ("global", None, ..) => (None, None),
        ("base", Some(database), None, _) => (None, Some(number(database)?)),
        ("pg_tblspc", Some(tablespace), Some(version), Some(database)) => {
            version.starts_with("PG_").then_some(())?;
            (Some(number(tablespace)?), Some(number(database)?))
        }
        _ => return None,
    };
    parts.next().is_none().then_some(found)
}

/// The folder of a path, and its last name; None for a bare name.
fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    Some((&path[..at], &path[at + 1..]))
}

/// A number as PostgreSQL writes it: no sign, no leading zero, not 0.
fn number(text: &str) -> Option<u32> {
    let plain = text.starts_with(|c: char| ('1'..='9').contains(&c))
        && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        for (name, number, fork, segment, temporary) in [
            ("16384", 16_384, Fork::Main, 0, false),
            ("16384.1", 16_384, Fork::Main, 1, false),
            ("1259_fsm", 1259, Fork::FreeSpace, 0, false),
            ("1259_vm.12", 1259, Fork::Visibility, 12, false),
            ("16390_init", 16_390, Fork::Init, 0, false),
            ("t3_1234", 1234, Fork::Main, 0, true),
            ("t0_1234_fsm.2", 1234, Fork::FreeSpace, 2, true),
            ("4294967295", u32::MAX, Fork::Main, 0, false),
        ] {
            let expected = RelationFile {
                number,
                fork,
                segment,
                temporary,
            };
            assert_eq!(
                RelationFile::parse(name.as_bytes()),
                Some(expected),
                "{name}"
            );
        }
        for other in [
            "",
            "0",
            "01",
            "+1",
            "1.",
            "1.0",
            "1.01",
            "1.x",
            "1_",
            "1_main",
            "1_fsm_vm",
            "x1",
            "t1",
            "t_1",
            "tx_1",
            "t01_1",
            "1 ",
            "4294967296",
            "pg_filenode.map",
            "PG_VERSION",
            "t1_2_3",
            "1.1_fsm",
        ] {
            assert_eq!(RelationFile::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(RelationFile::parse(b"1\xFF"), None);
    }

    #[test]
    fn paths_of_files() {
        for (path, expected) in [
            ("global/1262", Some((None, None))),
            ("base/5/1259", Some((None, Some(5)))),
            (
                "pg_tblspc/16385/PG_15_202209061/5/16386.1",
                Some((Some(16_385), Some(5))),
            ),
            ("1259", None),
            ("base/1259", None),
            ("base/5/x/1259", None),
            ("global/x/1259", None),
            ("base/pgsql_tmp/1", None),
            ("pg_tblspc/16385/5/16386", None),
            ("pg_tblspc/16385/PG_15_1/5/6/7", None),
            ("pg_xact/0000", None),
            ("global/pg_control", None),
        ] {
            let found = RelationPath::parse(path.as_bytes())
                .map(|found| (found.tablespace, found.database));
            assert_eq!(found, expected, "{path}");
        }
    }
}
