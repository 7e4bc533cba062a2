//! What an outage would cost: how much would be lost (the recovery point), and for how long nobody could work (the
//! recovery time).

use std::time::Duration;

use super::{
    super::{
        facts::server::{Server, Slot},
        thresholds::Thresholds,
        verdict::{Unit, Verdict},
    },
    archiving::{reached, written},
    known::Yardstick,
};
use crate::{
    domain::setup::stored::Stored,
    util::{clock::Time, units},
};

/// Whether more would be lost with the server than may be (the recovery point objective). What waits in a segment
/// that is not full yet counts: of the WAL, `wal_lag` looks at what should have come and hasn't.
pub fn recovery_point(server: &Server, stored: &Stored, by: Yardstick<'_>) -> Verdict {
    const NAME: &str = "recovery_point";
    const HINT: &str = "set archive_timeout of the server to less, or have `pgstow receive-wal` take WAL as it is written; if \
                        segments don't arrive, the checks `archiver` and `wal_lag` say why.";
    let limits = by.thresholds.rpo;
    let segment = stored.archive.wal.size().bytes();
    let receives = |slot: &Slot| slot.name == by.slot && slot.active && slot.held < segment;
    let (age, what) = match exposed(server, stored, by.now) {
        None => {
            let what = "how much would be lost is not known: none of this server's WAL is here yet";
            return Verdict::ok(NAME, what);
        }
        Some(Duration::ZERO) => (Duration::ZERO, "all of the server's WAL is here".to_owned()),
        Some(_) if server.slots.iter().any(receives) => (
            Duration::ZERO,
            "what is not here yet receive-wal has, on its host".to_owned(),
        ),
        Some(age) => (
            age,
            format!(
                "were the server lost now, the last {} at most would be lost",
                units::duration(age)
            ),
        ),
    };
    let figure = limits.figure("age", age, Unit::Seconds);
    Verdict::new(NAME, limits.judge(age), what, HINT).with(figure)
}

/// How long ago the first transaction may have been of which the repository has nothing; None where nobody knows.
fn exposed(server: &Server, stored: &Stored, now: Time) -> Option<Duration> {
    let size = stored.archive.wal.size();
    let (timeline, archived) = reached(server, stored)?;
    if server.position <= archived {
        return Some(Duration::ZERO);
    }
    let first = archived.0 / size.bytes();
    let written = |number| written(server, size, number, now);
    // When the segment before it was full, or came.
    let arrived = || (now - stored.archive.wal.arrived(timeline)?).to_std().ok();
    let begun = first.checked_sub(1).and_then(written).or_else(arrived);
    // A segment that holds a transaction is ended in this time; one that is older, and open, holds none
    // (CheckArchiveTimeout in `src/backend/postmaster/checkpointer.c`).
    let open = server.position.0 / size.bytes() == first;
    let ended = if open {
        Some(Duration::ZERO)
    } else {
        written(first)
    };
    let timeout = Some(server.archive_timeout).filter(|timeout| !timeout.is_zero());
    let at_most = ended.zip(timeout).map(|(ended, timeout)| ended + timeout);
    [begun, at_most].into_iter().flatten().min()
}

/// Whether a restore to the end of the archive will take longer than it may (the recovery time objective).
pub fn recovery_time(stored: &Stored, limits: &Thresholds) -> Verdict {
    const NAME: &str = "recovery_time";
    let limits = limits.rto;
    let Some(forecast) = stored.forecast() else {
        let what = "how long a restore takes is not known: drills measure it (`pgstow drill`)";
        return Verdict::ok(NAME, what);
    };
    let time = Duration::from_secs_f64(forecast.seconds.max(0.0));
    let what = format!("a restore to the end of the archive takes {forecast}");
    let hint = "take backups more often, so that less WAL is to be replayed, or full ones (full_every), restore with more --jobs \
                or on faster disks; else set monitor.rto to what is possible.";
    let figure = limits.figure("forecast", time, Unit::Seconds);
    Verdict::new(NAME, limits.judge(time), what, hint).with(figure)
}
