//! Whether the WAL that a stored backup needs to become consistent is still in the repository:
//! without it the backup is none, however whole its own objects are.

use super::{seal, verify::Finding};
use crate::{
    error::{Kind, Result},
    repo::{backup::Backup, repository::Repository},
};

/// A finding for each range of segments that is missing, or for what says how to read them.
pub fn verify(repository: &Repository, backup: &Backup) -> Result<Vec<Finding>> {
    let system = match repository.system(backup.system_id) {
        Err(error) if error.kind() == Kind::Foreign || repository.is_of_object(&error) => {
            let damage = Some(&error).filter(|error| error.kind() != Kind::Foreign);
            let lost = repository.without_registration(backup.system_id, vec![backup.id], damage);
            return Ok(vec![Finding {
                problem: lost.what(),
                object: lost.file,
                file: None,
            }]);
        }
        system => system?,
    };
    let missing = seal::missing_wal(repository, &system, backup)?;
    let findings = missing.into_iter().map(|missing| Finding {
        object: format!("WAL {}", missing.describe(system.segment_size)),
        file: None,
        problem: "is not in the repository, and the backup can't be restored without it".to_owned(),
    });
    Ok(findings.collect())
}
