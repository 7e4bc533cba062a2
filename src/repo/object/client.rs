//! A bucket and the clients that speak to it: what uploads, readers and listings share.

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use object_store::{
    Attribute, AttributeValue, Attributes, ObjectStore, PutMode, path::Path as StorePath,
};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{
    access::Bucket,
    connect,
    failure::{failure, may_pass},
    wire,
};
use crate::{
    error::{Error, Result},
    repo::{layout::ObjectName, runtime},
    util::trust,
};

/// How long, and how often, is asked again for an answer that breaks off: object_store, which waits for a store that
/// doesn't answer, takes that for the end.
const BROKEN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    bucket: Bucket,
    runtime: &'static Runtime,
    patient: Arc<dyn ObjectStore>,
    once: Arc<dyn ObjectStore>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.0.bucket)
    }
}

impl Client {
    /// Reads what the configuration names; asks the store nothing yet.
    pub fn new(bucket: &Bucket) -> Result<Self> {
        trust::provide();
        let runtime = runtime::runtime()?;
        let connect = |retry| connect::connect(bucket, retry);
        Ok(Self(Arc::new(Inner {
            bucket: bucket.clone(),
            runtime,
            patient: connect(wire::patient())?,
            once: connect(wire::once())?,
        })))
    }

    pub fn bucket(&self) -> &Bucket {
        &self.0.bucket
    }

    /// Sends what may be sent twice until it is answered.
    pub fn patient(&self) -> &dyn ObjectStore {
        &*self.0.patient
    }

    /// Sends once, for what must not be taken for somebody else's when it is sent again.
    pub fn once(&self) -> &dyn ObjectStore {
        &*self.0.once
    }

    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.0.runtime.block_on(future)
    }

    /// Sends a request, and once more as long as its answer breaks off.
    pub fn ask<T, F>(&self, mut request: impl FnMut() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let begun = Instant::now();
        loop {
            match self.wait(request()) {
                Err(error) if is_worth_another(&error, begun) => {}
                other => return other,
            }
        }
    }

    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.runtime.spawn(future)
    }

    /// The whole name of what is `name` in the repository.
    pub fn path(&self, name: &str) -> Result<StorePath> {
        let whole = match self.0.bucket.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        StorePath::parse(&whole).map_err(|error| {
            Error::usage(format!("not an object's name: {whole:?}")).because(error)
        })
    }

    pub fn place(&self, name: &ObjectName) -> String {
        format!("{}/{name}", self.0.bucket)
    }

    pub fn failure(&self, doing: &str, name: &ObjectName, error: &object_store::Error) -> Error {
        failure(doing, &self.place(name), error)
    }

    /// How an object is put that must not be there.
    pub fn create_mode(&self) -> PutMode {
        match self.0.bucket.access.overwrites {
            true => PutMode::Overwrite,
            false => PutMode::Create,
        }
    }

    /// What every object of the repository is stored with.
    pub fn attributes(&self) -> Attributes {
        let class = self.0.bucket.access.storage_class.clone();
        let class = class.map(|class| (Attribute::StorageClass, AttributeValue::from(class)));
        class.into_iter().collect()
    }
}

/// Whether to ask again what was first asked at `begun`; after a pause.
pub fn is_worth_another(error: &object_store::Error, begun: Instant) -> bool {
    let is_worth = may_pass(error) && begun.elapsed() < BROKEN;
    if is_worth {
        thread::sleep(PAUSE);
    }
    is_worth
}
