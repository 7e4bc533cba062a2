//! What never changes in a repository, kept on this host for a while: asked for with each segment, a bucket would
//! get three requests for one.
//!
//! `repository.json`, `systems/` and histories are written once and never deleted. What can change is whose they are:
//! somebody may empty a bucket and make another repository there. So what is kept is believed for an hour only, and
//! `init` forgets it. Meanwhile segments go into a repository that isn't there any more under names that hold for the
//! old one: no `base` in the new one finds its WAL, and ends with an error.

use std::{
    fs,
    io::{Cursor, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use tracing::debug;

use super::{
    document,
    layout::{self, ClusterName, Layout, ObjectName, Prefix},
    location::Location,
    repository::Repository,
    storage::{Listing, ObjectInfo, Storage, Upload},
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::wal_name::WalName,
    util::{
        clock::{Time, now},
        fs::{create_folders, write_over},
        hash::Sha256,
    },
};

/// How long it is believed.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// In the state folder.
const FOLDER: &str = "remembered";

/// As all that is below the state folder.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// Forgets what was kept in `state` of all repositories.
pub fn forget(state: &Path) -> Result<()> {
    let folder = state.join(FOLDER);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.at("delete", &folder),
    }
}

impl Repository {
    /// Opens it with what `state` keeps of it. Not of a folder of this host: it costs nothing, and what was known of a
    /// disk says nothing of the folder that is left when it goes.
    pub fn open_remembered(
        location: &Location,
        cluster: ClusterName,
        state: &Path,
    ) -> Result<Self> {
        let storage = location.open()?;
        let endpoint = match location {
            Location::Folder(_) => return Self::open_on(storage, location, cluster),
            Location::Bucket(bucket) => bucket.access.endpoint.as_deref().unwrap_or_default(),
            Location::Remote(_) => "",
        };
        let remembering = Remembering {
            storage,
            layout: Layout::new(cluster.clone()),
            folder: state.join(FOLDER),
            address: format!("{endpoint} {location}"),
        };
        Self::open_on(Arc::new(remembering), location, cluster)
    }
}

#[derive(Debug)]
struct Remembering {
    storage: Arc<dyn Storage>,
    layout: Layout,
    folder: PathBuf,
    /// Tells the repository from all others of this host.
    address: String,
}

/// An object as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// None where only its being there is known.
    text: Option<String>,
    size: u64,
    modified: Time,
    seen: Time,
}

impl Remembering {
    fn path(&self, name: &ObjectName) -> PathBuf {
        let whose = format!("{} {name}", self.address);
        self.folder.join(Sha256::of(whose.as_bytes()).to_string())
    }

    fn recall(&self, name: &ObjectName) -> Option<Kept> {
        // What a crash of the host left of it is whole or no JSON.
        let kept: Kept = serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()?;
        let age = (now() - kept.seen).to_std().ok()?;
        (age < LIFE).then_some(kept)
    }

    /// Who can't keep it asks again next time.
    fn keep(&self, name: &ObjectName, kept: &Kept) {
        let written = serde_json::to_vec(kept)
            .map_err(|error| Error::failed("can't write JSON").because(error))
            .and_then(|json| {
                create_folders(&self.folder, FOLDER_MODE, None)?;
                write_over(&self.path(name), FILE_MODE, &json)
            });
        if let Err(error) = written {
            debug!("{name} is not remembered: {}", error.in_one_line());
        }
    }

    fn document(&self, name: &ObjectName) -> Result<Vec<u8>> {
        if let Some(Kept {
            text: Some(text), ..
        }) = self.recall(name)
        {
            return Ok(text.into_bytes());
        }
        let bytes = self.storage.read(name, document::LIMIT)?;
        // Damage is asked for again, since it may be mended.
        if document::parse::<IgnoredAny>(&bytes, name.as_str()).is_ok() {
            let text = Some(String::from_utf8_lossy(&bytes).into_owned());
            let (size, seen) = (bytes.len() as u64, now());
            self.keep(
                name,
                &Kept {
                    text,
                    size,
                    modified: seen,
                    seen,
                },
            );
        }
        Ok(bytes)
    }

    fn is_document(&self, name: &ObjectName) -> bool {
        *name == layout::repository() || name.as_str().starts_with(self.layout.systems().as_str())
    }
}

impl Storage for Remembering {
    fn put_new(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.storage.put_new(name)
    }

    fn put_part(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.storage.put_part(name)
    }

    fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
        match range {
            None if self.is_document(name) => Ok(Box::new(Cursor::new(self.document(name)?))),
            range => self.storage.get(name, range),
        }
    }

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo> {
        if !matches!(name.file_name().parse(), Ok(WalName::History(_))) {
            return self.storage.head(name);
        }
        if let Some(Kept { size, modified, .. }) = self.recall(name) {
            let name = name.clone();
            return Ok(ObjectInfo {
                name,
                size,
                modified,
            });
        }
        let info = self.storage.head(name)?;
        let (size, modified, seen) = (info.size, info.modified, now());
        self.keep(
            name,
            &Kept {
                text: None,
                size,
                modified,
                seen,
            },
        );
        Ok(info)
    }

    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>> {
        self.storage.list(prefix, after)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.storage.delete(name)
    }

    fn forget_unfinished(&self, prefix: &Prefix, before: Option<Time>) -> Result<u64> {
        self.storage.forget_unfinished(prefix, before)
    }

    fn place(&self, name: &ObjectName) -> String {
        self.storage.place(name)
    }
}
