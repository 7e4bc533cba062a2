//! A restored server on its way to its target.

use std::{thread, time::Duration};

use super::Cluster;

impl Cluster {
    /// Starts the server and waits until it has left recovery; its log, if it ended itself
    /// instead.
    pub fn try_recover(&mut self) -> Result<(), String> {
        self.try_start()?;
        // Written by the server, removed when it ends.
        let running = self.data_dir().join("postmaster.pid");
        for _ in 0..2400 {
            let in_recovery = self.try_psql("postgres", "select pg_is_in_recovery()");
            if in_recovery.as_deref() == Ok("f") {
                return Ok(());
            }
            if !running.exists() {
                self.wait_for_end();
                return Err(self.log());
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("still in recovery:\n{}", self.log());
    }

    #[track_caller]
    pub fn recover(&mut self) {
        if let Err(log) = self.try_recover() {
            panic!("{} did not recover:\n{log}", self.pg);
        }
    }
}
