//! The mark by which a cleanup leaves alone what a restore reads. Who may only read the repository can't leave
//! one, and restores all the same.

use crate::{
    error::Result,
    repo::{
        backup::Backup, layout::ObjectName, lease::CLEANUP, repository::Repository,
        restoring::Reader,
    },
};

pub struct Mark<'a> {
    repository: &'a Repository,
    left: Result<ObjectName>,
    /// Who holds the lease of a cleanup that had begun before: it looks at marks, too, but between two of
    /// its steps.
    cleanup: Option<String>,
}

impl<'a> Mark<'a> {
    pub fn leave(repository: &'a Repository, backup: &Backup, reader: Reader) -> Self {
        let left = repository.mark_restore(backup, reader);
        // Looked at afterwards: a cleanup that takes its lease from now on sees the mark.
        let cleanup = repository.lease_in_force(CLEANUP).ok().flatten();
        Self {
            repository,
            left,
            cleanup: cleanup.map(|held| held.holder()),
        }
    }

    /// What may still go wrong after a restore that is done: the server has its WAL to read.
    pub fn warnings(self) -> impl Iterator<Item = String> {
        let unmarked = self.left.err().map(|error| {
            format!(
                "run no `pgstow cleanup` before the server has ended its recovery: the repository has no \
                 mark of this restore ({})",
                error.in_one_line()
            )
        });
        let cleanup = self.cleanup.map(|holder| {
            format!("a cleanup that runs may delete WAL that the server will need ({holder})")
        });
        unmarked.into_iter().chain(cleanup)
    }

    /// A restore that failed reads nothing any more, nor a server that has all its WAL.
    pub fn take_back(self) {
        if let Ok(mark) = self.left {
            // It is over in a while, too.
            let _ = self.repository.delete_if_there(&mark);
        }
    }
}
