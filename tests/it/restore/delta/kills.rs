//! Killed at any moment: the folder can't be started half-way, and the next run completes it.

use std::{thread, time::Duration};

use rustix::process::Signal;

use super::{Site, flip};
use crate::harness::{
    pg,
    random::{Random, rounds},
};

#[test]
fn a_killed_one_is_completed_by_the_next() {
    for round in 0..rounds(4, 12) {
        let site = Site::begin(pg([17, 15, 18, 16][round as usize % 4]));
        let mut random = Random::new("a_killed_one_is_completed_by_the_next");
        let mut cluster = site.lived();
        flip(&site.relation("pg_proc"), 10);
        let mut half = 0;
        for _ in 0..rounds(4, 5) {
            let mut running = site.restore("copy", &["--delta"]).spawn();
            thread::sleep(Duration::from_millis(random.below(250)));
            let whole = !running.is_running();
            if !whole {
                running.signal(Signal::KILL);
            }
            drop(running);
            if site.path("copy/global/pg_control").exists() {
                // Not begun, or at its end.
                assert!(whole || !site.path("copy/global/pg_control.pgstow").exists());
                continue;
            }
            half += 1;
            let log = cluster.try_start().unwrap_err();
            assert!(log.contains("could not find the database system"), "{log}");
        }
        println!("{half} half-way");
        // What a killed one put aside has a name with its second in it, which is refused to another.
        thread::sleep(Duration::from_secs(1));
        site.delta("copy", &[]);
        site.judge();
    }
}
