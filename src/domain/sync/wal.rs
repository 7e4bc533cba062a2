//! All WAL that the target lacks. Histories and notes go first one by one, since they are small and segments are worth
//! little without them; segments by several workers.
//!
//! Each file is whole in the target or not there, so that a crash anywhere leaves what the next run goes on with.

use std::sync::{Mutex, PoisonError};

use super::{
    merge::{self, Seen, What},
    pass::{Pair, Pass, of_target},
    there::FOUND,
    wal_file::bring,
};
use crate::{
    error::{Error, Result},
    postgres::wal_name::WalName,
    repo::missing::Missing,
    util::workers,
};

/// With `needed`: only these segments, whatever the target's retention deleted. Of those that `verify` found `damaged`
/// there it tells; gives those that it brought anew.
pub fn copy(
    pass: &Pass<'_>,
    pair: &Pair,
    needed: Option<&[Missing]>,
    damaged: &[Missing],
) -> Result<Vec<Missing>> {
    let cut = pass.target.repository.cut(&pair.target)?;
    let anew = Mutex::new(Vec::new());
    let of_damaged = |seen: &Seen| {
        let segment = seen.segment(pair)?;
        let mut damaged = damaged.iter();
        let is_one = damaged.any(|range| segment.without(&[*range]).is_empty());
        is_one.then_some(segment)
    };
    let one = |seen: &Seen| -> Result<()> {
        pass.cancel.check()?;
        if pass.dry_run {
            pass.tally.count(|copied| {
                copied.wal.add(seen.info.size);
                copied.bytes += seen.info.size;
            });
            return Ok(());
        }
        match bring(pass, pair, seen) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                pass.tally.count(|copied| {
                    copied.wal.add(bytes);
                    copied.bytes += bytes;
                });
                let mut anew = anew.lock().unwrap_or_else(PoisonError::into_inner);
                anew.extend(of_damaged(seen));
            }
            Err(trouble) => {
                let place = pass.source.repository.storage().place(&seen.info.name);
                pass.pass_over(&place, trouble)?;
            }
        }
        Ok(())
    };
    pass.meter.begin("copying WAL", 0);
    let list = |work: &mut dyn FnMut(Seen) -> Result<()>| {
        merge::each(pass.source, pass.target, pair, |seen| {
            pass.cancel.check()?;
            let is_lacking = match needed {
                Some(needed) => seen.is_needed(pair, needed),
                None => seen.is_lacking(pair, &cut),
            };
            if !is_lacking {
                if seen.there.is_some() && of_damaged(&seen).is_some() {
                    let place = pass.target.repository.storage().place(&seen.to);
                    let error = Error::damaged(FOUND).hint(pass.target.mending());
                    pass.pass_over(&place, of_target(error))?;
                }
                return Ok(());
            }
            match seen.what {
                What::File(WalName::Segment(_) | WalName::Partial(_)) => work(seen),
                What::File(_) | What::Note(..) => one(&seen),
            }
        })
    };
    workers::fed(pass.workers, list, |seen| one(&seen))?;
    // A listing below a disk that went away is empty.
    pass.source.repository.confirm()?;
    Ok(anew.into_inner().unwrap_or_else(PoisonError::into_inner))
}
