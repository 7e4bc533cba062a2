//! A restored server on its way to its target.

use std::{thread, time::Duration};

use super::Cluster;

impl Cluster {
    /// Starts the server and waits until it has left recovery; its log, if it ended itself
    /// instead.
    pub fn try_recover(&mut self) -> Result<(), String> {
        self.try_start()?;
        for _ in 0..6000 {
            match self.has_recovered() {
                Some(true) => return Ok(()),
                Some(false) => thread::sleep(Duration::from_millis(10)),
                None => {
                    self.wait_for_end();
                    return Err(self.log());
                }
            }
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
