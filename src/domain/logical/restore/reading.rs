//! The mark by which a cleanup leaves alone the dump that is read. Who may only read the repository can't leave
//! one, and restores all the same.

use tracing::warn;

use super::material::Material;
use crate::repo::{layout::ObjectName, repository::Repository};

/// Taken back when it is dropped: nothing reads the dump any more.
pub struct Reading {
    repository: Repository,
    name: ObjectName,
}

impl Reading {
    /// None for a file, and where no mark could be left.
    pub fn mark(material: &Material) -> Option<Self> {
        let (repository, dump) = material.in_repository()?;
        match repository.mark_restore_of_dump(dump) {
            Ok(name) => Some(Self {
                repository: repository.clone(),
                name,
            }),
            Err(error) => {
                warn!(
                    "run no `pgstow cleanup` meanwhile: the repository has no mark that dump {} is read ({})",
                    dump.name,
                    error.in_one_line()
                );
                None
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Err(error) = self.repository.delete_if_there(&self.name) {
            warn!(
                "the mark {} is left, and counts for a while: {}",
                self.name,
                error.in_one_line()
            );
        }
    }
}
