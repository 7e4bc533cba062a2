//! Whether the server will come by the target, where its position alone doesn't tell.

use std::path::PathBuf;

use super::{
    archive::Archive,
    choice::{Choice, choose_before},
    proof::Proof,
    search::Search,
    segments::Segments,
    sources::Sources,
    target::{Target, Wish},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::version::Major,
    repo::repository::System,
    util::{cancel::Cancel, scratch::Scratch},
};

/// Where WAL is looked into.
const SCRATCH: &str = "pgstow-prove";

/// What the search is about.
#[derive(Clone, Copy)]
pub struct Prover<'a> {
    pub sources: &'a Sources<'a>,
    pub system: &'a System,
    pub archive: &'a Archive,
    pub wish: &'a Wish,
    /// Looks for what takes long to find, too.
    pub asked: bool,
    /// The folders in which rescued segments lie.
    pub rescued_from: &'a [PathBuf],
    pub cancel: &'a Cancel,
}

impl Prover<'_> {
    /// Looks for the target, and leaves out of `choice` what isn't needed for it; takes an older
    /// backup where the target lies before the end of the chosen one.
    pub fn prove(&self, choice: &mut Choice) -> Result<Proof> {
        let unproven = |why: &str| Ok(Proof::NotProven(why.to_owned()));
        match self.wish.target {
            Target::Latest | Target::Immediate => return Ok(Proof::NotNeeded),
            Target::Xid(_) | Target::Name(_) if !self.asked => {
                return unproven("--prove looks for it in the WAL");
            }
            _ => {}
        }
        let major = Major::new(self.system.postgres_major)?;
        Scratch::sweep(SCRATCH);
        let scratch = Scratch::make(SCRATCH, false)?;
        loop {
            let search = Search {
                segments: Segments {
                    sources: self.sources,
                    system: self.system,
                    choice,
                    rescued_from: self.rescued_from,
                },
                major,
                folder: scratch.path(),
                cancel: self.cancel,
            };
            if let Some(proof) = self.look(&search)? {
                self.cut(choice, &proof);
                return Ok(proof);
            }
            let hole = choice.reach.hole.map_or(String::new(), |hole| {
                let segment = hole.describe(self.archive.wal.size());
                format!(" up to WAL segment {segment}, which is missing")
            });
            let missing = Error::new(
                Kind::Unreachable,
                format!(
                    "{} is not in the WAL behind the end of backup {}{hole}",
                    self.wish.target, choice.backup.id
                ),
            );
            // It may lie before the newest backup: an older one leads there.
            if matches!(self.wish.target, Target::Lsn(_)) || self.wish.backup.is_some() {
                return Err(missing.hint(
                    "the WAL that holds it may still be on its way, or it lies before this backup.",
                ));
            }
            *choice = choose_before(self.archive, self.wish, Some(&choice.backup))
                .map_err(|_| missing)?;
        }
    }

    fn look(&self, search: &Search<'_>) -> Result<Option<Proof>> {
        let (at, what) = match &self.wish.target {
            Target::Time(time) => return search.time(*time, self.wish.exclusive).map(Some),
            Target::Lsn(lsn) => (search.lsn(*lsn)?, "the first record there".to_owned()),
            Target::Xid(xid) => (search.xid(*xid)?, format!("the end of transaction {xid}")),
            Target::Name(name) => (search.name(name)?, format!("restore point {name:?}")),
            Target::Latest | Target::Immediate => return Ok(Some(Proof::NotNeeded)),
        };
        Ok(at.map(|at| search.found(at, what)))
    }

    fn cut(&self, choice: &mut Choice, proof: &Proof) {
        if let Proof::Found { lsn, .. } = proof {
            let number = lsn.0 / self.archive.wal.size().bytes();
            let stop = *choice.backup.needed_segments().end();
            // The record may end in the next segment; where there is none, it doesn't.
            choice.cut_behind(number.max(stop) + 1, self.archive);
        }
    }
}
