//! The verbs of `Storage`, each a request or more.

use std::{
    io::{self, Read},
    ops::Range,
    time::Instant,
};

use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path as StorePath};

use super::{
    access::Bucket,
    client::{Client, is_worth_another},
    create::Create,
    failure::{failure, is_denied},
    part::Part,
    read, unfinished,
};
use crate::{
    error::{Error, Kind, Result},
    repo::{
        layout::{ObjectName, Prefix},
        storage::{Listing, ObjectInfo, Storage, Upload},
    },
    util::clock::Time,
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
        let (client, path) = (&self.0, self.0.path(name.as_str())?);
        let found = client.ask(|| client.patient().head(&path));
        found
            .map(|found| info(client, found))
            .map_err(|error| client.failure("look at", name, &error))
    }

    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>> {
        let folder = self.0.path(prefix.as_str())?;
        let after = after.map(|after| self.0.path(after.as_str())).transpose()?;
        Ok(Box::new(Objects {
            stream: listing(&self.0, &folder, after.as_ref()),
            client: self.0.clone(),
            place: format!("{}/{}", self.0.bucket(), prefix.as_str()),
            folder,
            after,
            broken: None,
        }))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let (client, path) = (&self.0, self.0.path(name.as_str())?);
        let deleted = client.ask(|| client.patient().delete(&path));
        deleted.map_err(|error| undeleted(client, name, &error))
    }

    fn delete_all(&self, names: &[ObjectName]) -> Result<()> {
        let client = &self.0;
        let Some(first) = names.first() else {
            return Ok(());
        };
        let paths = names.iter().map(|name| client.path(name.as_str()));
        let paths = paths.collect::<Result<Vec<StorePath>>>()?;
        let deleted = client.ask(|| {
            let paths = stream::iter(paths.clone()).map(Ok).boxed();
            let deleted = client.patient().delete_stream(paths);
            deleted
                .filter_map(async |one| match one {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => None,
                    Err(error) => Some(Err(error)),
                })
                .try_collect::<()>()
        });
        deleted.map_err(|error| undeleted(client, first, &error))
    }

    fn forget_unfinished(&self, prefix: &Prefix, before: Option<Time>) -> Result<u64> {
        let client = &self.0;
        // With the slash, or a neighbour whose name begins the same would be meant, too.
        let folder = format!("{}/", client.path(prefix.as_str().trim_end_matches('/'))?);
        client.wait(unfinished::forget(client.bucket(), &folder, before))
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

type Stream = BoxStream<'static, object_store::Result<ObjectMeta>>;

fn listing(client: &Client, folder: &StorePath, after: Option<&StorePath>) -> Stream {
    match after {
        Some(after) => client.patient().list_with_offset(Some(folder), after),
        None => client.patient().list(Some(folder)),
    }
}

fn undeleted(client: &Client, name: &ObjectName, error: &object_store::Error) -> Error {
    let failure = client.failure("delete", name, error);
    match is_denied(error) {
        true => {
            let what = format!("not allowed to delete {}", client.place(name));
            Error::new(Kind::Denied, what).because(failure).hint(
                "these credentials may not delete; `pgstow cleanup` runs where there are others that may \
                 (docs/stores.md, Against a stolen key).",
            )
        }
        false => failure,
    }
}

/// A listing, asked for page by page as it is read.
struct Objects {
    client: Client,
    place: String,
    folder: StorePath,
    /// What came last, or what it begins behind.
    after: Option<StorePath>,
    stream: Stream,
    /// Since when its answers break off.
    broken: Option<Instant>,
}

impl Objects {
    fn failure(&self, error: &object_store::Error) -> Error {
        let error = failure("list", &self.place, error);
        match error.kind() {
            // Of no object can be said here that it is missing.
            Kind::NotFound => Error::failed(format!("can't list {}", self.place)).because(error),
            _ => error,
        }
    }
}

impl Iterator for Objects {
    type Item = Result<ObjectInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.client.wait(self.stream.next())? {
                // Some stores begin at the beginning, whatever they are asked for.
                Ok(found)
                    if self
                        .after
                        .as_ref()
                        .is_some_and(|after| found.location <= *after) => {}
                Ok(found) => {
                    self.broken = None;
                    self.after = Some(found.location.clone());
                    return Some(Ok(info(&self.client, found)));
                }
                Err(error) => {
                    let since = *self.broken.get_or_insert_with(Instant::now);
                    if !is_worth_another(&error, since) {
                        return Some(Err(self.failure(&error)));
                    }
                    self.stream = listing(&self.client, &self.folder, self.after.as_ref());
                }
            }
        }
    }
}
