//! Other repositories of the settings, for what the chosen one should have and can't give. Each is opened when it is
//! asked for the first time.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use tracing::debug;

use super::{crypt::Keys, layout::ClusterName, location::Location, repository::Repository};
use crate::error::Result;

/// In the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Others(Arc<[Other]>);

#[derive(Debug)]
pub struct Other {
    name: String,
    location: Location,
    cluster: ClusterName,
    keys: Arc<Keys>,
    /// None: it can't be opened.
    opened: OnceLock<Option<Repository>>,
}

impl Other {
    pub fn new(name: String, location: Location, cluster: ClusterName, keys: Arc<Keys>) -> Self {
        Self {
            name,
            location,
            cluster,
            keys,
            opened: OnceLock::new(),
        }
    }

    fn repository(&self) -> Option<&Repository> {
        let open = || match Repository::open(&self.location, self.cluster.clone()) {
            Ok(repository) => Some(repository.with_keys(&self.keys)),
            Err(error) => {
                debug!("repository {}: {}", self.name, error.in_one_line());
                None
            }
        };
        self.opened.get_or_init(open).as_ref()
    }
}

impl FromIterator<Other> for Others {
    fn from_iter<I: IntoIterator<Item = Other>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl Others {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the first gives that has it, and that one's name. What is wrong in one is no matter: the next is asked.
    pub fn find<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Repository) -> Result<Option<T>>,
    ) -> Option<(&str, T)> {
        self.0.iter().find_map(|other| {
            match look(other.repository()?) {
                Ok(found) => return Some((other.name.as_str(), found?)),
                Err(error) => debug!(
                    "{what} can't be had from repository {} either: {}",
                    other.name,
                    error.in_one_line()
                ),
            }
            None
        })
    }

    /// The folders of those that are on this host.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|other| other.location.folder())
    }
}
