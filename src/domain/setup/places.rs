//! Where things lie: whether the repository is apart from the server, whether the server's user
//! can write there, whether the next backup fits, whether notes can be left.

use std::{path::Path, sync::Arc};

use rustix::fs::{Access, access};

use super::{facts::Facts, finding::Finding, server_user::ServerUser};
use crate::{
    domain::backup::apart,
    error::Result,
    postgres::{connection::Session, conninfo::ConnInfo},
    repo::{catalog::State, crypt::Keys, location::Location, repository::Repository},
    util::{fs::free_bytes, units},
};

const REPOSITORY: &str = "repository";

/// A repository as it is configured.
#[derive(Clone, Debug)]
pub struct Configured<'a> {
    pub name: &'a str,
    pub location: &'a Location,
    pub keys: &'a Arc<Keys>,
}

impl Configured<'_> {
    pub fn place(&self) -> String {
        format!("{} at {}", self.name, self.location)
    }
}

/// Whether archive_command can write there, as far as owner and mode tell.
pub fn owner(
    configured: &Configured<'_>,
    repository: &Repository,
    user: Option<&ServerUser>,
) -> Finding {
    if let (Some(user), Some(root)) = (user, configured.location.folder()) {
        let folder = root.join(repository.layout().cluster().as_str());
        let folder = if folder.is_dir() { &folder } else { root };
        let name = &user.account.name;
        let show = folder.display();
        match user.seems_to_write(folder) {
            Err(error) => return Finding::of_error(REPOSITORY, &error),
            Ok(false) => {
                return Finding::warning(
                    REPOSITORY,
                    format!(
                        "the server's user {name} doesn't seem to be allowed to write into {show}"
                    ),
                    format!("run: chown -R {name} {show}"),
                );
            }
            Ok(true) => {}
        }
    }
    Finding::ok(REPOSITORY, configured.place())
}

/// Nothing where the repository survives the server, as far as can be seen.
pub fn apart(
    configured: &Configured<'_>,
    session: &Session,
    info: &ConnInfo,
    facts: &Facts,
) -> Result<Option<Finding>> {
    let (name, location) = (configured.name, configured.location);
    if let Some(folder) = apart::around(location, session, info, &facts.server)? {
        let what = format!(
            "repository {name} lies in {} of the server itself: whoever loses one loses both",
            folder.display()
        );
        return Ok(Some(Finding::critical(REPOSITORY, what, apart::HINT)));
    }
    let data_dir = &facts.server.data_directory;
    let shared = facts.user.is_some() && location.shares_file_system(data_dir);
    Ok(shared.then(|| {
        Finding::warning(
            REPOSITORY,
            format!(
                "repository {name} is on the same file system as {}: one broken disk takes both",
                data_dir.display()
            ),
            "keep it, or a copy of it, on another disk, best on another host.",
        )
    }))
}

/// Nothing where the store doesn't tell how much it takes.
pub fn space(
    configured: &Configured<'_>,
    repository: &Repository,
    database_bytes: u64,
) -> Option<Finding> {
    const NAME: &str = "space";
    let folder = configured.location.folder()?;
    let looked = free_bytes(folder).and_then(|free| Ok((free, repository.backups()?)));
    let (free, entries) = match looked {
        Err(error) => return Some(Finding::of_error(NAME, &error)),
        Ok(looked) => looked,
    };
    let newest = entries.iter().rev().find_map(|entry| match &entry.state {
        State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup) => {
            Some(backup.stored_bytes)
        }
        State::Unfinished(_) | State::Unreadable(_) => None,
    });
    Some(match newest {
        Some(size) => judge_space(configured.name, free, size),
        None => judge_first(configured.name, free, database_bytes),
    })
}

fn judge_space(name: &str, free: u64, size: u64) -> Finding {
    const NAME: &str = "space";
    const HINT: &str = "free space, or give the file system more.";
    let what = format!(
        "{} free in repository {name}, the newest backup takes {}",
        units::bytes(free),
        units::bytes(size)
    );
    match () {
        // WAL comes on top of it.
        () if free < size => Finding::critical(NAME, what, HINT),
        () if free / 2 < size => Finding::warning(NAME, what, HINT),
        () => Finding::ok(NAME, what),
    }
}

/// How well the databases compress is not known before.
fn judge_first(name: &str, free: u64, databases: u64) -> Finding {
    const NAME: &str = "space";
    let what = format!(
        "{} free in repository {name} for a first backup of {}, before compression",
        units::bytes(free),
        units::bytes(databases)
    );
    match free < databases {
        true => Finding::warning(
            NAME,
            what,
            "free space, or give the file system more, if the databases don't compress well.",
        ),
        false => Finding::ok(NAME, what),
    }
}

/// Whether notes can be left in the state folder, or in the one that would be made.
pub fn state_folder(folder: &Path) -> Finding {
    const NAME: &str = "state_dir";
    let show = folder.display();
    let there = folder.ancestors().find(|path| path.exists());
    let may = Access::WRITE_OK | Access::EXEC_OK;
    let writable = there.is_some_and(|path| path.is_dir() && access(path, may).is_ok());
    if writable {
        return Finding::ok(NAME, show.to_string());
    }
    Finding::warning(
        NAME,
        format!("{show} can't be written by us: restores leave no note of what they did"),
        "run `pgstow init` as root, which makes it for the server's user, or set state_dir to a folder that can be written.",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::finding, *};

    #[test]
    fn space_is_judged_by_the_newest_backup_or_the_databases() {
        for (free, state) in [
            (99, finding::State::Critical),
            (150, finding::State::Warning),
            (200, finding::State::Ok),
        ] {
            assert_eq!(judge_space("local", free, 100).state, state, "{free}");
        }
        for (free, state) in [(99, finding::State::Warning), (100, finding::State::Ok)] {
            assert_eq!(judge_first("local", free, 100).state, state, "{free}");
        }
    }
}
