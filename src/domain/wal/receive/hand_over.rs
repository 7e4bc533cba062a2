//! Whole segments from the receiver's folder into the repositories, beside the receiving: a repository that is
//! away holds nothing up but this.

use std::{
    fs,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use tracing::warn;

use super::{
    super::{
        offered::Offered,
        stores::{OpenStore, Store},
    },
    files,
};
use crate::{
    error::{IoContext, Result},
    postgres::wal_name::{Segment, WalName},
    repo::layout::ClusterName,
    util::{cancel::Cancel, meter::Meter},
};

/// Before another try where one failed.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub struct HandOver<'a> {
    pub folder: &'a Path,
    pub cluster: &'a ClusterName,
    pub stores: &'a [Store],
    pub stop: &'a Cancel,
}

impl HandOver<'_> {
    /// Until the sender of `wakes`, which has a word for each new segment, is gone.
    pub fn run(&self, wakes: &Receiver<()>) {
        let mut pause = PAUSE;
        loop {
            let wait = match self.all() {
                Ok(()) => {
                    pause = PAUSE;
                    LONGEST_PAUSE
                }
                Err(error) => {
                    warn!(
                        "{}; it waits in {}",
                        error.in_one_line(),
                        self.folder.display()
                    );
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause
                }
            };
            if let Err(RecvTimeoutError::Disconnected) = wakes.recv_timeout(wait) {
                return;
            }
        }
    }

    fn all(&self) -> Result<()> {
        let segments = files::whole(self.folder)?;
        if segments.is_empty() {
            return Ok(());
        }
        // A meter of its own: nobody draws what goes on in the background.
        let meter = Meter::default();
        let open = |store: &Store| store.open(self.cluster, &meter);
        let stores: Vec<OpenStore> = self.stores.iter().map(open).collect::<Result<_>>()?;
        for segment in segments {
            if self.stop.is_set() {
                break;
            }
            self.one(segment, &stores, &meter)?;
        }
        Ok(())
    }

    fn one(&self, segment: Segment, stores: &[OpenStore], meter: &Meter) -> Result<()> {
        let path = self.folder.join(segment.to_string());
        let offered = Offered::open(&path, WalName::Segment(segment), self.folder)?;
        for store in stores {
            store.bring_history(&offered, meter)?;
            store.push(&offered, meter, &|| Ok(()))?;
        }
        fs::remove_file(&path).at("remove", &path)
    }
}
