//! All WAL that the target lacks. Histories and notes go first one by one, since they are small and segments are worth
//! little without them; segments by several workers.
//!
//! Each file is whole in the target or not there, so that a crash anywhere leaves what the next run goes on with.

use super::{
    merge::{self, Seen, What},
    pass::{Pair, Pass},
    wal_file::bring,
};
use crate::{error::Result, postgres::wal_name::WalName, repo::wal_index::Missing, util::workers};

/// With `needed`: only these segments, whatever the target's retention deleted.
pub fn copy(pass: &Pass<'_>, pair: &Pair, needed: Option<&[Missing]>) -> Result<()> {
    let cut = pass.target.repository.cut(&pair.target)?;
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
            Ok(Some(bytes)) => pass.tally.count(|copied| {
                copied.wal.add(bytes);
                copied.bytes += bytes;
            }),
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
    pass.source.repository.confirm()
}
