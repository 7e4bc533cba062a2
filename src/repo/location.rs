//! Where a repository is: a folder of this host today, URLs of stores tomorrow.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use super::{local::LocalStorage, storage::Storage};
use crate::error::{Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
}

impl Location {
    pub fn open(&self) -> Arc<dyn Storage> {
        match self {
            Location::Folder(path) => Arc::new(LocalStorage::new(path)),
        }
    }

    /// The folder, where the repository is one of this host.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Location::Folder(path) => Some(path),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let path = url.strip_prefix("file://").unwrap_or(url);
        if let Some((scheme, _)) = path.split_once("://") {
            return Err(
                Error::usage(format!("a repository can't be at {scheme}://"))
                    .hint("give the absolute path of a folder, such as /var/backups/postgresql."),
            );
        }
        if !path.starts_with('/') {
            return Err(Error::usage(format!("a repository's path must be absolute: {url:?}"))
                .hint("archive_command runs in the data directory, where a relative path means another place."));
        }
        Ok(Location::Folder(path.into()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(path) => path.display().fmt(f),
        }
    }
}
