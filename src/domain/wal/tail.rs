//! Where the records of a stored segment end that nothing follows: up to there recovery must come.

use super::stored::Stored;
use crate::{
    error::Result,
    postgres::{lsn::Lsn, wal_name::WalName, wal_records::WalRecords},
    repo::repository::{Repository, System},
};

/// The end of the last whole record of the stored `file`, a segment or a `.partial`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// None: the whole segment was written, with whole records up to its end.
    pub end: Option<Lsn>,
    /// What is behind it, where that is damage.
    pub damage: Option<String>,
}

/// Whether records may end at `at` in the stored `file`, whose timeline was left at `left` if that was within it: where a
/// server that was promoted or lost stopped writing. A server archives no segment before it is full, unless its timeline
/// was left there.
pub fn may_end(file: WalName, at: Lsn, left: Option<Lsn>) -> bool {
    match (file, left) {
        (WalName::Partial(_), None) => true,
        (_, left) => left.is_some_and(|left| at >= left),
    }
}

/// `left`: as of [`may_end`].
///
/// # Errors
/// Of kind `Damaged` where the object is no such file.
pub fn read(
    repository: &Repository,
    system: &System,
    file: WalName,
    left: Option<Lsn>,
) -> Result<Tail> {
    let object = repository.wal_object(system, file);
    let mut records = file
        .segment()
        .map(|segment| WalRecords::new(segment.timeline));
    let stored = Stored {
        repository,
        system,
        object: &object,
        file,
    };
    let reader = repository.storage().get(&object, None)?;
    stored.read(reader, |bytes| {
        records.iter_mut().for_each(|records| records.feed(bytes));
        Ok(())
    })?;
    let Some(followed) = records.map(WalRecords::finish) else {
        return Ok(Tail {
            end: None,
            damage: None,
        });
    };
    let broken = followed.broken;
    let open = followed.open.map(|record| record.start);
    Ok(Tail {
        end: broken.as_ref().map(|broken| broken.at).or(open),
        damage: broken
            .filter(|broken| broken.goes_on || !may_end(file, broken.at, left))
            .map(|broken| broken.problem),
    })
}
