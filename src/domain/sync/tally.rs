//! What came of a run: counted by all workers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::{
    error::Error,
    repo::{backup_id::BackupId, dump_name::DumpName},
};

/// Findings beyond these are only counted.
const MOST_FINDINGS: usize = 1000;

/// Objects, and their bytes as the target has them; of what is not copied, as the source has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub objects: u64,
    pub bytes: u64,
}

impl Amount {
    pub fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedBackup {
    pub id: BackupId,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedDump {
    pub name: DumpName,
    pub bytes: u64,
}

/// Something that could not be copied, and must be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it is wrong.
    pub repository: String,
    pub object: String,
    pub what: String,
    pub hint: Option<String>,
}

/// What was copied; in a dry run, what would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    pub wal: Amount,
    /// Of all objects.
    pub bytes: u64,
    pub backups: Vec<CopiedBackup>,
    pub dumps: Vec<CopiedDump>,
    pub pins: u64,
    /// What is left for the next run, and why: nothing is wrong with it.
    pub postponed: Vec<String>,
    pub findings: Vec<Finding>,
    /// Findings that are not among these.
    pub more_findings: u64,
}

#[derive(Debug, Default)]
pub struct Tally(Mutex<Copied>);

impl Tally {
    pub fn count(&self, add: impl FnOnce(&mut Copied)) {
        add(&mut self.lock());
    }

    pub fn find(&self, repository: &str, object: &str, error: &Error) {
        let finding = Finding {
            repository: repository.to_owned(),
            object: object.to_owned(),
            what: error.in_one_line(),
            hint: error.hint_text().map(str::to_owned),
        };
        let mut copied = self.lock();
        if copied.findings.len() >= MOST_FINDINGS {
            copied.more_findings += 1;
        } else if !copied.findings.contains(&finding) {
            // What is wrong with the target is seen from each source.
            copied.findings.push(finding);
        }
    }

    /// Which is the same as long as no backup and no dump was copied, or begun.
    pub fn state(&self) -> [usize; 4] {
        let copied = self.lock();
        [
            copied.backups.len(),
            copied.dumps.len(),
            copied.postponed.len(),
            copied.findings.len() + copied.more_findings as usize,
        ]
    }

    pub fn so_far(&self) -> MutexGuard<'_, Copied> {
        self.lock()
    }

    pub fn take(self) -> Copied {
        let mut copied = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Workers end in any order.
        copied
            .findings
            .sort_by(|a, b| (&a.repository, &a.object).cmp(&(&b.repository, &b.object)));
        copied
    }

    fn lock(&self) -> MutexGuard<'_, Copied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
