//! A bucket and the clients that speak to it: what uploads, readers and listings share.

use std::{fmt, sync::Arc};

use object_store::{Attribute, AttributeValue, Attributes, ObjectStore, path::Path as StorePath};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{access::Bucket, connect, failure::failure, wire};
use crate::{
    error::{Error, Result},
    repo::layout::ObjectName,
};

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
        let runtime = wire::runtime()?;
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

    /// What every object of the repository is stored with.
    pub fn attributes(&self) -> Attributes {
        let class = self.0.bucket.access.storage_class.clone();
        let class = class.map(|class| (Attribute::StorageClass, AttributeValue::from(class)));
        class.into_iter().collect()
    }
}
