//! The verbs of `Storage`, each a request or more.

use std::{
    io::{self, Read},
    ops::Range,
};

use futures_util::{StreamExt, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStoreExt};

use super::{access::Bucket, client::Client, create::Create, failure::failure, part::Part, read};
use crate::{
    error::{Error, Kind, Result},
    repo::{
        layout::{ObjectName, Prefix},
        storage::{Listing, ObjectInfo, Storage, Upload},
    },
};

#[derive(Debug)]
pub struct ObjectStorage(Client);

impl ObjectStorage {
    /// Reads what the configuration names; asks the store nothing yet.
    pub fn open(bucket: &Bucket) -> Result<Self> {
        Ok(Self(Client::new(bucket)?))
    }
}

impl Storage for ObjectStorage {
    fn put_new(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        Ok(Box::new(Create::begin(&self.0, name)?))
    }

    fn put_part(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        Ok(Box::new(Part::begin(&self.0, name)?))
    }

    fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(Box::new(io::empty()));
        }
        Ok(Box::new(read::open(&self.0, name, range)?))
    }

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo> {
        let found = self
            .0
            .wait(self.0.patient().head(&self.0.path(name.as_str())?));
        found
            .map(|found| info(&self.0, found))
            .map_err(|error| self.0.failure("look at", name, &error))
    }

    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>> {
        let folder = self.0.path(prefix.as_str())?;
        let stream = match after {
            Some(after) => {
                let after = self.0.path(after.as_str())?;
                self.0.patient().list_with_offset(Some(&folder), &after)
            }
            None => self.0.patient().list(Some(&folder)),
        };
        Ok(Box::new(Objects {
            client: self.0.clone(),
            folder: prefix.object("").to_string(),
            stream,
        }))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let deleted = self
            .0
            .wait(self.0.patient().delete(&self.0.path(name.as_str())?));
        deleted.map_err(|error| self.0.failure("delete", name, &error))
    }

    fn place(&self, name: &ObjectName) -> String {
        self.0.place(name)
    }
}

fn info(client: &Client, found: ObjectMeta) -> ObjectInfo {
    let name = found.location.as_ref();
    let below = name.strip_prefix(client.bucket().prefix.as_str());
    ObjectInfo {
        name: ObjectName::listed(below.unwrap_or(name).trim_start_matches('/').to_owned()),
        size: found.size,
        modified: found.last_modified,
    }
}

/// A listing, asked for page by page as it is read.
struct Objects {
    client: Client,
    folder: String,
    stream: BoxStream<'static, object_store::Result<ObjectMeta>>,
}

impl Iterator for Objects {
    type Item = Result<ObjectInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.client.wait(self.stream.next())?;
        Some(
            found
                .map(|found| info(&self.client, found))
                .map_err(|error| {
                    let place = format!("{}/{}", self.client.bucket(), self.folder);
                    let error = failure("list", &place, &error);
                    match error.kind() {
                        // Of no object can be said here that it is missing.
                        Kind::NotFound => {
                            Error::failed(format!("can't list {place}")).because(error)
                        }
                        _ => error,
                    }
                }),
        )
    }
}
