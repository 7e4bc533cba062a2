//! What somebody who interrupts the demo is told while its servers are being stopped: a second
//! interrupt ends the process at once, and then nobody is left to say what stays behind.

use std::{
    path::Path,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing::info;

use crate::util::cancel::Cancel;

/// Sooner than anybody can press the keys again.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for the interrupt until it is dropped.
pub struct Farewell {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Farewell {
    pub fn watch(folder: &Path, keep: bool, cancel: &Cancel) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (folder, cancel) = (folder.display().to_string(), cancel.clone());
        let watch = move || {
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if cancel.is_set() {
                    let then = match keep {
                        true => format!("{folder} is kept"),
                        false => format!(
                            "then {folder} is removed; a second interrupt ends this at once, and leaves that folder"
                        ),
                    };
                    info!("interrupted: the demo's servers are being stopped, {then}");
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("farewell".into()).spawn(watch);
        Self {
            stop: Some(stop),
            // Without it the demo is the same, but for these words.
            thread: thread.ok(),
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can't panic, and has nothing to tell.
            let _ = thread.join();
        }
    }
}
