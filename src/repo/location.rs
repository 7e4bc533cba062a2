//! Where a repository is: a folder of this host, of another one, or a bucket.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use super::{
    local::LocalStorage,
    object::{Access, Bucket, ObjectStorage, Provider},
    sftp::{Remote, SftpStorage},
    storage::Storage,
};
use crate::{
    error::{Error, Result},
    util::{fs::real, mounts},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
    Bucket(Box<Bucket>),
    Remote(Box<Remote>),
}

impl Location {
    /// Asks the store nothing yet; fails by what is configured.
    pub fn open(&self) -> Result<Arc<dyn Storage>> {
        Ok(match self {
            Location::Folder(path) => Arc::new(LocalStorage::new(path)),
            Location::Bucket(bucket) => Arc::new(ObjectStorage::open(bucket)?),
            Location::Remote(remote) => Arc::new(SftpStorage::open(remote)?),
        })
    }

    /// With how to get into it, where it is a bucket.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        if let Location::Bucket(bucket) = &mut self {
            bucket.access = access;
        }
        self
    }

    /// The folder, where the repository is one of this host.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Location::Folder(path) => Some(path),
            Location::Bucket(_) | Location::Remote(_) => None,
        }
    }

    /// Where a file system is to be mounted (fstab) that would have the repository, and none is.
    pub fn awaits_mount(&self) -> Option<PathBuf> {
        self.folder().and_then(mounts::awaited)
    }

    /// Whether the repository is in `folder`, or would be if it were made.
    pub fn lies_in(&self, folder: &Path) -> bool {
        let own = self.folder().map(real);
        own.is_some_and(|own| own.starts_with(real(folder)))
    }

    /// Whether the repository and `folder` go when one file system goes.
    pub fn shares_file_system(&self, folder: &Path) -> bool {
        let device = |path| fs::metadata(path).ok().map(|found| found.dev());
        let own = self.folder().and_then(device);
        own.is_some() && own == device(folder)
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let path = url.strip_prefix("file://").unwrap_or(url);
        if let Some(rest) = path.strip_prefix("sftp://") {
            return Ok(Location::Remote(Box::new(Remote::read(rest)?)));
        }
        if let Some((scheme, rest)) = path.split_once("://") {
            return match Provider::of_scheme(scheme) {
                Some(provider) => Ok(Location::Bucket(Box::new(Bucket::read(provider, rest)?))),
                None => Err(
                    Error::usage(format!("a repository can't be at {scheme}://")).hint(
                        "give the absolute path of a folder, such as /var/backups/postgresql, or s3://bucket/folder, \
                         gs://bucket/folder, az://container/folder, sftp://user@host/folder.",
                    ),
                ),
            };
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
            Location::Bucket(bucket) => bucket.fmt(f),
            Location::Remote(remote) => remote.fmt(f),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_missing_folders_hide_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("data")).unwrap();
        fs::create_dir(at("data-2")).unwrap();
        symlink(at("data"), at("link")).unwrap();
        for (repository, inside) in [
            ("data", true),
            ("data/a/b", true),
            ("link/a", true),
            ("data-2", false),
            ("missing/data", false),
        ] {
            let location = Location::Folder(at(repository));
            assert_eq!(location.lies_in(&at("data")), inside, "{repository}");
            assert_eq!(location.lies_in(&at("link")), inside, "{repository}");
        }
    }
}
