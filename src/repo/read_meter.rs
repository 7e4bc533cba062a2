//! How much was read of a repository, and how long its readers waited for it: a store over another one.

use std::{
    io::{self, Read},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    layout::{ObjectName, Prefix},
    repository::Repository,
    storage::{Listing, ObjectInfo, Storage, Upload},
};
use crate::{error::Result, util::clock::Time};

/// Counts over all readers.
#[derive(Clone, Debug, Default)]
pub struct ReadMeter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl ReadMeter {
    /// As stored.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Of all readers together, who read at the same time.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed))
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        let passed = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.nanoseconds.fetch_add(passed, Ordering::Relaxed);
        result
    }
}

impl Repository {
    /// The same, all that is read through it being counted.
    #[must_use]
    pub fn counted_by(&self, meter: &ReadMeter) -> Self {
        self.over(Arc::new(Metered {
            repository: self.clone(),
            meter: meter.clone(),
        }))
    }
}

#[derive(Debug)]
struct Metered {
    repository: Repository,
    meter: ReadMeter,
}

struct MeteredReader {
    inner: Box<dyn Read + Send>,
    meter: ReadMeter,
}

impl Read for MeteredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.meter.timed(|| self.inner.read(buffer))?;
        self.meter
            .0
            .bytes
            .fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Storage for Metered {
    fn put_new(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.repository.storage().put_new(name)
    }

    fn put_part(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.repository.storage().put_part(name)
    }

    fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
        let store = self.repository.storage();
        let inner = self.meter.timed(|| store.get(name, range))?;
        Ok(Box::new(MeteredReader {
            inner,
            meter: self.meter.clone(),
        }))
    }

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo> {
        self.repository.storage().head(name)
    }

    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>> {
        self.repository.storage().list(prefix, after)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.repository.storage().delete(name)
    }

    fn forget_unfinished(&self, prefix: &Prefix, before: Option<Time>) -> Result<u64> {
        self.repository.storage().forget_unfinished(prefix, before)
    }

    fn place(&self, name: &ObjectName) -> String {
        self.repository.storage().place(name)
    }
}
