//! Folders for passing work. What killed runs left, of whatever kind, goes with the next run of any kind.

use crate::util::scratch::Scratch;

/// That a dump in the directory format goes through.
pub const OF_DUMP: &str = "pgstow-dump";

/// That a dump goes through where pg_restore must be able to jump in it.
pub const OF_RESTORE: &str = "pgstow-restore-dump";

/// Of a server that dumps are tried out on.
pub const OF_VERIFY: &str = "pgstow-verify";

pub fn sweep() {
    for name in [OF_DUMP, OF_RESTORE, OF_VERIFY] {
        Scratch::sweep(name);
    }
}
