//! Numbers of timelines that are taken, as others than the repository know.
//!
//! A server that ends its recovery gives its new timeline the first number of which it finds no history, by
//! restore_command or in pg_wal (findNewestTimeLine in `src/backend/access/transam/timeline.c`, RestoreArchivedFile in
//! `xlogarchive.c`). Another repository may know of timelines that began while this one was away, and be away itself by
//! then: a number would be given twice.

use std::collections::BTreeSet;

use super::{histories::History, plan::Plan};
use crate::{
    error::{Kind, Result},
    postgres::{
        lsn::{SystemId, TimelineId},
        timeline::TimelineHistory,
        wal_name::WalName,
    },
    repo::{
        others::Others,
        repository::Repository,
        wal_index::{End, WalIndex},
    },
    util::cancel::Cancel,
};

impl Plan {
    /// Adds what `others` know of timelines that are later than the one that this restore goes along.
    pub fn learn_timelines(
        &mut self,
        repository: &Repository,
        others: &Others,
        cancel: &Cancel,
    ) -> Result<()> {
        // A standby goes along the newest one that it finds a history of, and needs its WAL. Without a repository
        // nothing is archived.
        if others.is_empty() || self.standby || self.offline {
            return Ok(());
        }
        let (id, end) = (self.system_id, (self.timeline, self.wal_end));
        let known = later(repository, id, end)?;
        let asked = others.ask_all("which timelines it knows", cancel, move |other| {
            let theirs = match later(other, id, end) {
                // It knows nothing of this server.
                Err(error) if error.kind() == Kind::Foreign => return Ok(Vec::new()),
                theirs => theirs?,
            };
            let new = theirs.into_iter().filter(|one| !known.contains(one));
            new.map(|timeline| read(other, id, timeline)).collect()
        });
        for (name, found) in asked {
            match found {
                Ok(found) => self.histories.extend(found),
                Err(error) => self.warnings.push(format!(
                    "which timelines repository {name} knows can't be asked ({}): the restored server asks it when its recovery ends, and may \
                     give its timeline a number that is taken there if it doesn't answer then either",
                    error.in_one_line()
                )),
            }
        }
        cancel.check()
    }
}

/// The timelines behind that of `end` whose histories are there.
fn later(repository: &Repository, id: SystemId, end: End) -> Result<BTreeSet<TimelineId>> {
    let system = repository.system(id)?;
    let index = WalIndex::load_behind(repository, &system, Some(end))?;
    let later = index.histories().iter().filter(|one| **one > end.0);
    Ok(later.copied().collect())
}

fn read(repository: &Repository, id: SystemId, timeline: TimelineId) -> Result<History> {
    let name = repository.wal_object(&repository.system(id)?, WalName::History(timeline));
    let text = repository.storage().read(&name, TimelineHistory::LIMIT)?;
    Ok(History { timeline, text })
}
