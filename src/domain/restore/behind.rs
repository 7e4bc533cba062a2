//! Where recovery ends whatever WAL there is, and who begins behind it. Pure.

use super::{archive::Archive, path::Reach};
use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
    },
    repo::backup::Backup,
};

impl Archive {
    /// The good backups that need nothing from before WAL of `wal_level = minimal` at `position` of `timeline`, newest
    /// first: they began behind that, or on a timeline that left before it. While there is none, what came since is
    /// lost with the server.
    pub fn behind_minimal(
        &self,
        timeline: TimelineId,
        position: Lsn,
    ) -> impl Iterator<Item = &Backup> {
        let flawed = self.flawed();
        let begins_behind = move |backup: &&Backup| {
            let way = self.history(backup.timeline);
            let is_on_the_way = way.map(|way| way.contains(timeline, position));
            match is_on_the_way {
                Some(true) => backup.start_lsn > position,
                Some(false) => backup.timeline > timeline,
                None => false,
            }
        };
        let newest_first = self.by_age().into_iter().rev();
        newest_first.filter(move |backup| !flawed.contains_key(&backup.id) && begins_behind(backup))
    }

    /// What is to be said of a way from `backup` that passes such a place, as far as it is known.
    pub(super) fn passes_minimal(
        &self,
        backup: &Backup,
        history: &TimelineHistory,
        reach: &Reach,
    ) -> Option<String> {
        let size = self.wal.size();
        let is_on_the_way = |(timeline, position): &&(TimelineId, Lsn)| {
            *position > backup.start_lsn
                && history.contains(*timeline, *position)
                && reach.segment(position.0 / size.bytes(), size).is_some()
        };
        let (_, position) = self.wal.minimal().iter().find(is_on_the_way)?;
        Some(format!(
            "wal_level was minimal at LSN {position}: recovery ends there, and reaches nothing behind it from this backup"
        ))
    }
}
