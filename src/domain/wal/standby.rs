//! What doubt means for the server that asked.
//!
//! In recovery, an exit code above 125 ends the server, which is right: "absent" would open the
//! database too early. A standby only waits and asks again after "absent", but 126 would shut it
//! down with all its sessions, or keep it from starting.

use std::path::Path;

/// STANDBY_SIGNAL_FILE of `src/include/access/xlog.h`; it wins over recovery.signal.
const SIGNAL_FILE: &str = "standby.signal";

/// Whether the server of `data_dir` asks again after "absent". Where that can't be seen: no.
pub fn asks_again(data_dir: &Path) -> bool {
    data_dir.join(SIGNAL_FILE).is_file()
}
