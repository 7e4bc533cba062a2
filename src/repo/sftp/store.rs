//! The verbs of `Storage` on another host.

use std::{io::Read, ops::Range, sync::Arc};

use futures_util::TryStreamExt;
use openssh_sftp_client::{
    fs::DirEntry,
    metadata::{FileType, MetaData},
};

use super::{
    failure::{failure, is_missing},
    read::{self, RemoteReader},
    remote::Remote,
    session::Sessions,
    upload::RemoteUpload,
};
use crate::{
    error::{Error, Kind, Result},
    repo::{
        layout::{ObjectName, Prefix},
        storage::{Listing, ObjectInfo, Storage, Upload},
        walk::{Entry, Folders, Walk},
    },
    util::{clock::Time, fs::TEMPORARY},
};

#[derive(Debug)]
pub struct SftpStorage(Arc<Sessions>);

impl SftpStorage {
    /// Connects with the first verb.
    pub fn open(remote: &Remote) -> Result<Self> {
        Ok(Self(Arc::new(Sessions::new(remote)?)))
    }
}

impl Storage for SftpStorage {
    fn put_new(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        Ok(Box::new(RemoteUpload::begin(&self.0, name.as_str())?))
    }

    fn put_part(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.put_new(name)
    }

    fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
        let path = self.0.remote.at(name.as_str());
        let (session, file, length) = read::open(&self.0, &path)?;
        let range = range.unwrap_or(0..length);
        if range.end > length {
            return Err(Error::damaged(format!(
                "{} ends at byte {length}, before byte {}",
                self.place(name),
                range.end
            )));
        }
        Ok(Box::new(RemoteReader::new(
            &self.0,
            path,
            (session, file),
            range,
        )))
    }

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo> {
        look(&self.0, name.as_str())
    }

    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>> {
        let folders = RemoteFolders(Arc::clone(&self.0));
        let walk = Walk::below(folders, prefix.as_str(), after.map(ObjectName::as_str))?;
        Ok(Box::new(walk))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let (path, place) = (self.0.remote.at(name.as_str()), self.place(name));
        let removed = self.0.ask("delete", &place, |session| {
            let path = path.clone();
            async move { session.sftp.fs().remove_file(&path).await }
        })?;
        removed.map_err(|error| failure("delete", &place, &error))?;
        // Folders are no objects: an empty one goes, except for the repository's own.
        for folder in path.ancestors().skip(1) {
            if folder == self.0.remote.path {
                break;
            }
            let gone = self.0.ask("delete", &place, |session| async move {
                session.sftp.fs().remove_dir(folder).await
            })?;
            if gone.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Temporary files of killed processes.
    fn forget_unfinished(&self, prefix: &Prefix, before: Option<Time>) -> Result<u64> {
        let folders = RemoteFolders(Arc::clone(&self.0));
        let mut pending = vec![prefix.as_str().to_owned()];
        let mut forgotten = 0;
        while let Some(folder) = pending.pop() {
            for Entry { name, known } in folders.entries(&folder)? {
                let path = format!("{folder}{name}");
                let is_old =
                    known.is_some_and(|(_, time)| before.is_none_or(|before| time < before));
                if name.ends_with('/') {
                    pending.push(path);
                } else if name.starts_with('.') && name.ends_with(TEMPORARY) && is_old {
                    self.delete(&ObjectName::listed(path))?;
                    forgotten += 1;
                }
            }
        }
        Ok(forgotten)
    }

    fn place(&self, name: &ObjectName) -> String {
        let remote = &self.0.remote;
        remote.place(&remote.at(name.as_str()))
    }
}

struct RemoteFolders(Arc<Sessions>);

impl Folders for RemoteFolders {
    fn entries(&self, folder: &str) -> Result<Vec<Entry>> {
        let path = self.0.remote.at(folder);
        let place = self.0.remote.place(&path);
        let found = self.0.ask("list", &place, |session| {
            let path = path.clone();
            async move {
                let folder = session.sftp.fs().open_dir(&path).await?;
                Box::pin(folder.read_dir())
                    .try_collect::<Vec<DirEntry>>()
                    .await
            }
        })?;
        match found {
            Ok(found) => Ok(found.iter().filter_map(entry).collect()),
            // Nobody wrote into it yet, or its last object was deleted just now.
            Err(error) if is_missing(&error) => {
                let root = self.0.ask("look at", &place, |session| {
                    let root = self.0.remote.path.clone();
                    async move { session.sftp.fs().metadata(&root).await }
                })?;
                match root {
                    Ok(_) => Ok(Vec::new()),
                    Err(error) => Err(failure("list", &place, &error)),
                }
            }
            Err(error) => Err(failure("list", &place, &error)),
        }
    }

    fn look(&self, name: &str) -> Result<ObjectInfo> {
        look(&self.0, name)
    }
}

fn look(sessions: &Sessions, name: &str) -> Result<ObjectInfo> {
    let path = sessions.remote.at(name);
    let place = sessions.remote.place(&path);
    let found = sessions.ask("look at", &place, |session| {
        let path = path.clone();
        async move { session.sftp.fs().metadata(&path).await }
    })?;
    let found = found.map_err(|error| failure("look at", &place, &error))?;
    let (size, modified) = known(&found).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("can't look at {place}")).because("it is no file")
    })?;
    let name = ObjectName::listed(name.to_owned());
    Ok(ObjectInfo {
        name,
        size,
        modified,
    })
}

fn known(found: &MetaData) -> Option<(u64, Time)> {
    let is_file = found.file_type().is_none_or(|kind| kind.is_file());
    let modified = found.modified()?.as_system_time().into();
    Some((found.len().filter(|_| is_file)?, modified))
}

/// None of what is not ours: every object's name is plain text.
fn entry(found: &DirEntry) -> Option<Entry> {
    let name = found.filename().to_str()?;
    if matches!(name, "." | "..") {
        return None;
    }
    match found.file_type().as_ref().is_some_and(FileType::is_dir) {
        true => Some(Entry {
            name: format!("{name}/"),
            known: None,
        }),
        false => Some(Entry {
            name: name.to_owned(),
            known: known(&found.metadata()),
        }),
    }
}
