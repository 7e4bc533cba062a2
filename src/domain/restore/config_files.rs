//! Configuration files that lay outside the data directory: restored beside it, never over live ones.

use std::{
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use super::{
    contents::check_object,
    folders::{Owner, give, make},
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    repo::{catalog::Backup, layout::BackupObject, repository::Repository},
    util::{
        fs::NewFile,
        hash::{Sha256Reader, copy},
    },
};

/// The folder for the files of `backup`.
pub fn folder(data_dir: &Path, backup: &Backup) -> PathBuf {
    let mut name = data_dir.as_os_str().to_owned();
    name.push(format!(".config-{}", backup.id));
    name.into()
}

/// Unpacks `config.tar` below [`folder`], each file under its full path; None if there is none.
pub fn restore(
    repository: &Repository,
    backup: &Backup,
    data_dir: &Path,
    owner: Option<Owner>,
) -> Result<Option<PathBuf>> {
    if backup.config_files.is_empty() {
        return Ok(None);
    }
    let folder = folder(data_dir, backup);
    let object = BackupObject::Config(backup.compression);
    let name = repository.layout().backup_object(&backup.id, object);
    let storage = repository.storage();
    let unreadable = |error: io::Error| match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => storage.failed("read", &name, error),
    };
    let mut stored = Sha256Reader::new(storage.get(&name, None)?);
    {
        let plain = backup
            .compression
            .decoder(&mut stored)
            .map_err(unreadable)?;
        let mut archive = tar::Archive::new(plain);
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            let path = entry.path().map_err(unreadable)?.into_owned();
            let below = path
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if !below || !entry.header().entry_type().is_file() {
                return Err(Error::damaged(format!(
                    "{} holds {}",
                    storage.place(&name),
                    path.display()
                )));
            }
            let target = folder.join(&path);
            make(crate::util::fs::folder_of(&target), 0o750, owner)?;
            let mut file = NewFile::create(&target, 0o600)?;
            copy(&mut entry, &mut file).map_err(unreadable)?;
            file.flush().at("write", &target)?;
            let mode = entry.header().mode().map_err(unreadable)? & 0o777;
            file.file()
                .set_permissions(Permissions::from_mode(mode))
                .at("give its mode to", &target)?;
            file.publish_over()?;
            give(&target, owner)?;
        }
    }
    copy(&mut stored, &mut io::sink()).map_err(unreadable)?;
    match check_object(backup, object, stored.finish()) {
        Ok(()) => Ok(Some(folder)),
        Err(error) => Err(Error::new(
            Kind::Damaged,
            format!("can't restore {}", storage.place(&name)),
        )
        .because(error)),
    }
}
