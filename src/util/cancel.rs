//! A stop that was asked for, seen by every worker.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::error::{Error, Kind, Result};

/// Shared by all threads of a command; set by a signal or by the first worker that fails.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    /// A stop of the whole, of which this is a part.
    whole: Option<Box<Cancel>>,
}

impl Cancel {
    /// The flag itself, for a signal handler.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.own)
    }

    /// For a part of the work, which can be stopped alone.
    #[must_use]
    pub fn part(&self) -> Self {
        Self {
            own: Arc::default(),
            whole: Some(Box::new(self.clone())),
        }
    }

    pub fn set(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        let whole = self.whole.as_ref().is_some_and(|whole| whole.is_set());
        whole || self.own.load(Ordering::Relaxed)
    }

    /// An error of kind [`Kind::Interrupted`] once a stop was asked for.
    pub fn check(&self) -> Result<()> {
        if self.is_set() {
            Err(Error::new(Kind::Interrupted, "interrupted"))
        } else {
            Ok(())
        }
    }
}
