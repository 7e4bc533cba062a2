//! Configuration files that lay outside the data directory: restored beside it, never over live ones
//! nor over what somebody changed in those of an earlier restore.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use super::{
    folders::{Owner, give, make},
    places::aside,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    repo::{backup::Backup, layout::BackupObject, repository::Repository},
    util::{
        clock::Time,
        fs::{NewFile, folder_of, rename_new},
        hash::{Sha256Reader, copy},
    },
};

/// What was put beside the data directory.
pub struct Beside {
    pub folder: PathBuf,
    /// Where the folder of an earlier restore lies now, in which something had been changed.
    pub aside: Option<PathBuf>,
}

/// The folder for the files of `backup`.
pub fn folder(data_dir: &Path, backup: &Backup) -> PathBuf {
    let mut name = data_dir.as_os_str().to_owned();
    name.push(format!(".config-{}", backup.id));
    name.into()
}

/// `config.tar` of a backup, and where it goes.
pub struct ConfigFiles<'a> {
    pub repository: &'a Repository,
    pub backup: &'a Backup,
    pub data_dir: &'a Path,
    pub owner: Option<Owner>,
    pub now: Time,
}

impl ConfigFiles<'_> {
    /// Unpacks below [`folder`], each file under its full path; None if there is none.
    pub fn restore(&self) -> Result<Option<Beside>> {
        let stored = self.backup.objects.iter();
        let mut is_it = stored.filter_map(|stored| BackupObject::read(&stored.name));
        let Some(object) = is_it.find(|object| matches!(object, BackupObject::Config(..))) else {
            return Ok(None);
        };
        let folder = folder(self.data_dir, self.backup);
        let aside = self.keep_changed(&folder, object)?;
        self.each(object, |path, entry| self.put(&folder.join(path), entry))?;
        Ok(Some(Beside { folder, aside }))
    }

    /// Gives each member of the archive, and sees that all of it is as it was stored.
    fn each(
        &self,
        object: BackupObject,
        mut take: impl FnMut(&Path, &mut tar::Entry<'_, &mut dyn Read>) -> Result<()>,
    ) -> Result<()> {
        let layout = self.repository.layout();
        let name = layout.backup_object(&self.backup.id, object);
        let storage = self.repository.storage();
        let unreadable = |error| Error::passed(error, |error| storage.failed("read", &name, error));
        let mut stored = Sha256Reader::new(storage.get(&name, None)?);
        {
            let coding = self.backup.coding();
            let mut plain = self.repository.decode(&name, coding, &mut stored)?;
            let mut archive = tar::Archive::new(&mut plain as &mut dyn Read);
            for entry in archive.entries().map_err(unreadable)? {
                let mut entry = entry.map_err(unreadable)?;
                let path = entry.path().map_err(unreadable)?.into_owned();
                let below = path
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)));
                let kind = entry.header().entry_type();
                if !below || !(kind.is_file() || kind.is_dir()) {
                    return Err(Error::damaged(format!(
                        "{} holds {}",
                        storage.place(&name),
                        path.display()
                    )));
                }
                take(&path, &mut entry)?;
            }
        }
        copy(&mut stored, &mut io::sink()).map_err(unreadable)?;
        self.backup
            .check_object(object, stored.finish())
            .map_err(|error| {
                Error::new(
                    Kind::Damaged,
                    format!("can't restore {}", storage.place(&name)),
                )
                .because(error)
            })
    }

    fn put(&self, target: &Path, entry: &mut tar::Entry<'_, &mut dyn Read>) -> Result<()> {
        let mode = entry.header().mode().at("read the mode of", target)? & 0o777;
        if entry.header().entry_type().is_dir() {
            make(target, mode, self.owner)?;
        } else {
            make(folder_of(target), 0o750, self.owner)?;
            let mut file = NewFile::create(target, 0o600)?;
            copy(entry, &mut file).at("unpack", target)?;
            file.flush().at("write", target)?;
            file.publish_over()?;
        }
        fs::set_permissions(target, Permissions::from_mode(mode)).at("give its mode to", target)?;
        give(target, self.owner)
    }

    /// Renames what an earlier restore put there, if it holds anything that the archive doesn't:
    /// a started copy uses it, and somebody may have changed its settings. What a killed restore
    /// has left there only lacks files.
    fn keep_changed(&self, folder: &Path, object: BackupObject) -> Result<Option<PathBuf>> {
        let mut changed = BTreeSet::new();
        files_below(folder, &mut changed)?;
        if changed.is_empty() {
            return Ok(None);
        }
        self.each(object, |path, entry| {
            let path = folder.join(path);
            if changed.contains(&path) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).at("unpack", &path)?;
                if fs::read(&path).at("read", &path)? == bytes {
                    changed.remove(&path);
                }
            }
            Ok(())
        })?;
        if changed.is_empty() {
            return Ok(None);
        }
        let aside = aside(folder, self.now);
        rename_new(folder, &aside)?;
        Ok(Some(aside))
    }
}

/// All that is no folder.
fn files_below(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.at("read", folder)?,
    };
    for entry in entries {
        let entry = entry.at("read", folder)?;
        match entry.file_type().at("look at", folder)?.is_dir() {
            true => files_below(&entry.path(), found)?,
            false => drop(found.insert(entry.path())),
        }
    }
    Ok(())
}
