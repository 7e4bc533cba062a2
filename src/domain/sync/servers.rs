//! Whether both repositories have one server's WAL. A server that is restored from one of them while the other is away may
//! give its timeline a number that a lost server has given to its own there: the names are the same, and what is behind
//! them is not. Put together, neither could be restored any more, and nothing would tell.

use std::sync::PoisonError;

use super::pass::{Pair, Pass};
use crate::{
    domain::wal::stored,
    error::{Error, Kind, Result},
    postgres::{
        lsn::TimelineId,
        timeline::TimelineHistory,
        wal_name::{Segment, WalName},
    },
    repo::repository::{Repository, System},
};

impl Pair {
    /// Refuses to bring a segment of a timeline of which the other side has another server's WAL, as its history or the
    /// neighbours of the segment tell. The first timeline can't be given twice.
    pub fn refuse_two_servers(&self, pass: &Pass<'_>, segment: Segment) -> Result<()> {
        let timeline = segment.timeline;
        if timeline == TimelineId::FIRST {
            return Ok(());
        }
        let mut known = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        let is_one = match known.get(&timeline) {
            Some(is_one) => *is_one,
            None => {
                let is_one = self.are_of_one_server(pass, segment)?;
                known.insert(timeline, is_one);
                is_one
            }
        };
        if is_one {
            return Ok(());
        }
        Err(Error::damaged(format!(
            "repositories {} and {} have WAL of two servers under timeline {timeline}",
            pass.source.name, pass.target.name
        ))
        .hint(
            "nobody else can tell which of them is meant: restore it by `pgstow --repo NAME restore`, and take a new backup of it.",
        ))
    }

    fn are_of_one_server(&self, pass: &Pass<'_>, segment: Segment) -> Result<bool> {
        let (source, target) = (&pass.source.repository, &pass.target.repository);
        let history = |repository: &Repository, system: &System| {
            let name = repository.wal_object(system, WalName::History(segment.timeline));
            match repository.storage().read(&name, TimelineHistory::LIMIT) {
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                text => text.map(Some),
            }
        };
        if let (Some(theirs), Some(ours)) = (
            history(source, &self.source)?,
            history(target, &self.target)?,
        ) && theirs != ours
        {
            return Ok(false);
        }
        let number = segment.number(self.source.segment_size);
        for number in [number.checked_sub(1), Some(number + 1)]
            .into_iter()
            .flatten()
        {
            let neighbour = Segment::nth(segment.timeline, number, self.source.segment_size);
            let hash =
                |repository, system| stored::hash(repository, system, WalName::Segment(neighbour));
            // What one of them hasn't got, or not whole, tells nothing.
            if let Ok(ours) = hash(target, &self.target)
                && let Ok(theirs) = hash(source, &self.source)
            {
                return Ok(ours == theirs);
            }
        }
        Ok(true)
    }
}
