//! A restore for the sake of some databases: of the others each relation becomes a file of the right size that holds
//! nothing and takes no room. Recovery passes over it: the first change of a page behind a checkpoint brings the whole
//! page (full_page_writes; where that was off, who restores must have all of them), and a page of zeros counts as new. What anybody reads there is nonsense, so such a folder is
//! for a server of our own alone, which nobody else reaches.

use std::{collections::BTreeSet, path::Path};

use super::{
    contents::Contents,
    folders::{Owner, give},
    index::Member,
};
use crate::{
    error::{IoContext, Result},
    postgres::relation_file::RelationPath,
    util::fs::create_file,
};

/// Databases below are PostgreSQL's own: small, and new ones may be copied from them
/// (FirstNormalObjectId in `src/include/access/transam.h`).
const FIRST_OF_USERS: u32 = 16_384;

/// Whether nothing is wanted of a member but its size.
pub fn is_hollow(member: &Member, databases: &BTreeSet<u32>) -> bool {
    let path = RelationPath::parse(&member.path.0).filter(|_| !member.folder);
    let database = path.and_then(|path| path.database);
    database.is_some_and(|oid| oid >= FIRST_OF_USERS && !databases.contains(&oid))
}

/// Makes the files of all that is hollow, in folders that are there.
pub fn make(
    contents: &Contents,
    databases: &BTreeSet<u32>,
    data_dir: &Path,
    owner: Option<Owner>,
) -> Result<()> {
    for (number, member) in contents.members.iter().enumerate() {
        if is_hollow(member, databases) {
            let path = data_dir.join(member.path.as_path());
            let file = create_file(&path)?;
            file.set_len(contents.size(number)).at("make", &path)?;
            give(&path, owner)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::file_index::FilePath;

    #[test]
    fn relations_of_other_databases_are_hollow() {
        let databases = BTreeSet::from([16_500]);
        let hollow = |path: &str, folder| {
            let member = Member {
                path: FilePath(path.as_bytes().into()),
                part: 1,
                frame: 0,
                offset: 0,
                size: 1,
                crc32c: 0,
                mode: 0o600,
                mtime: 0,
                folder,
                blocks: false,
            };
            is_hollow(&member, &databases)
        };
        for path in [
            "base/16400/1259",
            "base/16400/16999.1",
            "pg_tblspc/16384/PG_15_202209061/16400/5_fsm",
        ] {
            assert!(hollow(path, false), "{path}");
        }
        for path in [
            "base/16500/1259",
            "base/5/1259",
            "global/1262",
            "base/16400/pg_filenode.map",
            "base/16400/PG_VERSION",
            "pg_tblspc/16384/PG_15_202209061/16500/5",
            "pg_xact/0000",
        ] {
            assert!(!hollow(path, false), "{path}");
        }
        assert!(!hollow("base/16400/1259", true));
    }
}
