//! Where recovery ends whatever WAL there is, and who begins behind it. Pure.

use super::archive::Archive;
use crate::{
    postgres::lsn::{Lsn, TimelineId},
    repo::catalog::Backup,
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
}
