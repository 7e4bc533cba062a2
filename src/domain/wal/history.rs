//! The history of a timeline, brought along by its first segment.
//!
//! PostgreSQL marks a history file for archiving when the timeline begins, and never again: not
//! if archiving was off at that moment, as it is in a restored copy. Without it all segments of
//! the timeline are of no use to backups of earlier ones.

use tracing::warn;

use super::{offered::Offered, push::push};
use crate::{
    error::{Kind, Result},
    postgres::{lsn::TimelineId, wal_name::WalName},
    repo::{
        codec::{Codec, Compression},
        repository::Repository,
    },
    util::meter::Meter,
};

/// Stores the history of `segment`'s timeline, if the repository hasn't got it and it lies beside
/// the segment. To be called first: a segment that is stored has its history. Costs a `head`, on
/// the first timeline nothing.
pub fn bring_along(
    repository: &Repository,
    segment: &Offered,
    wanted: Compression,
    meter: &Meter,
) -> Result<()> {
    let WalName::Segment(name) = segment.name() else {
        return Ok(());
    };
    if name.timeline == TimelineId::FIRST {
        return Ok(());
    }
    let file = WalName::History(name.timeline);
    // Histories are plain, whatever the codec of the system.
    let object = repository
        .layout()
        .wal_file(segment.system(), file, Codec::None.into());
    match repository.storage().head(&object) {
        Err(error) if error.kind() == Kind::NotFound => {}
        other => return other.map(drop),
    }
    match segment.beside(file) {
        Ok(history) => push(repository, &history, wanted, meter).map(drop),
        Err(error) => {
            warn!(
                "{} is not stored, and without it backups of earlier timelines can't be restored along timeline {}: {}",
                repository.storage().place(&object),
                name.timeline,
                error.in_one_line()
            );
            Ok(())
        }
    }
}
