//! What the server hears of what was received: a synchronous commit waits for that.

use super::{Site, eventually};
use crate::harness::pg;

/// What the receiver tells anyway is told every so many seconds, counted from the time before (STATUS in
/// `src/domain/wal/receive/mod.rs`): what comes sooner was not waited for.
const STATUS: f64 = 10.0;

/// A commit may lie there, and nothing behind it.
#[test]
fn the_end_of_a_segment_is_confirmed_at_once() {
    let site = Site::start(pg(16));
    let main = &site.stow.cluster;
    // It asks for no answer itself.
    main.set("wal_sender_timeout", "0");
    let _receiver = site.receive(&[]);
    let confirmed = || {
        site.switch();
        let end = main.psql("select pg_current_wal_flush_lsn()");
        let told = format!(
            "select extract(epoch from reply_time) from pg_stat_replication where flush_lsn >= '{end}'"
        );
        let mut at = String::new();
        eventually("the end is confirmed", || {
            at = main.psql(&told);
            !at.is_empty()
        });
        at.parse::<f64>().unwrap()
    };
    // However slow the machine: one that waits for its time does so each time.
    let times: Vec<f64> = (0..6).map(|_| confirmed()).collect();
    let at_once = |pair: &[f64]| pair[1] - pair[0] < STATUS;
    assert!(times.windows(2).any(at_once), "{times:?}");
}
