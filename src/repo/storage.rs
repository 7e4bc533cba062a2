//! The contract of every store: six verbs with written promises.
//!
//! An object is whole or not there, and durable once the verb that made it returned. Objects
//! are created or deleted, never changed. Errors of kind `NotFound` and `AlreadyExists` mean
//! exactly that; a store that can't be sure must answer with another kind. One that is damaged is replaced at once.

use std::{
    fmt::Debug,
    io::{Read, Write},
    ops::Range,
};

use super::layout::{ObjectName, Prefix};
use crate::{
    error::{Kind, Result},
    util::clock::Time,
};

/// What a store tells about an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub name: ObjectName,
    /// Bytes as stored.
    pub size: u64,
    /// By the store's clock.
    pub modified: Time,
}

pub trait Storage: Debug + Send + Sync {
    /// Begins an object that must not exist yet: `finish` answers `AlreadyExists` if it does.
    fn put_new(&self, name: &ObjectName) -> Result<Box<dyn Upload>>;

    /// Begins a large object below an id that its writer has claimed by a `put_new`, streaming
    /// in bounded memory. What happens to an existing object of that name is undefined.
    fn put_part(&self, name: &ObjectName) -> Result<Box<dyn Upload>>;

    /// The object's bytes, or those of `range`, which must lie within it.
    fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>>;

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo>;

    /// The objects below `prefix`, in ascending order of the bytes of their names, those
    /// behind `after` only. Lazy: who stops early has not paid for the rest.
    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>>;

    /// Removes the object for good; `NotFound` if there is none, `Denied` where a store lets others delete, not us.
    fn delete(&self, name: &ObjectName) -> Result<()>;

    /// Removes all of them, in any order; those that are not there are no matter. Where a store takes many in one
    /// request, it is asked so.
    fn delete_all(&self, names: &[ObjectName]) -> Result<()> {
        names.iter().try_for_each(|name| match self.delete(name) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        })
    }

    /// Forgets what was begun below `prefix` (before `before`, if given), is in no listing, and nobody finished, where a store
    /// doesn't do so by itself; how much that was.
    fn forget_unfinished(&self, prefix: &Prefix, before: Option<Time>) -> Result<u64>;

    /// For messages: where the object is, as an operator would look for it.
    fn place(&self, name: &ObjectName) -> String;
}

pub type Listing<'a> = Box<dyn Iterator<Item = Result<ObjectInfo>> + 'a>;

/// An object on its way. Dropped without `finish`, it never existed.
pub trait Upload: Write + Send {
    /// Has the store work on what was written: `finish` is quick then, for who must wait for a turn.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// For who reads the object again behind its writer; None where it can't be read before it is whole.
    fn trail(&self) -> Result<Option<Box<dyn Trail>>> {
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<()>;

    /// The same in the place of an object that may be there, which is readable until this one is: for who heals what
    /// is damaged.
    fn finish_over(self: Box<Self>) -> Result<()>;
}

/// Reads an object that is on its way, from its beginning. Its errors are those of the object: once there was one,
/// what `finish` says holds no longer.
pub trait Trail: Send {
    /// Gives `sink` what was written until now, as the store keeps it; nothing if that is less than `least` bytes.
    fn follow(&mut self, least: u64, sink: &mut dyn Write) -> Result<()>;
}

impl dyn Storage + '_ {
    /// Creates a small object from bytes.
    pub fn create(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        let mut upload = self.put_new(name)?;
        upload
            .write_all(bytes)
            .map_err(|error| self.failed("write", name, error))?;
        upload.finish()
    }

    /// Puts a small object in the place of one that may be there.
    pub fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        let mut upload = self.put_new(name)?;
        upload
            .write_all(bytes)
            .map_err(|error| self.failed("write", name, error))?;
        upload.finish_over()
    }

    /// Reads a small object whole; more than `limit` bytes are damage.
    pub fn read(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        // Room for most of them, so that one read gets all.
        let mut bytes = Vec::with_capacity(4096);
        let mut reader = self.get(name, None)?.take(limit + 1);
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed("read", name, error))?;
        if bytes.len() as u64 > limit {
            let place = self.place(name);
            return Err(crate::error::Error::damaged(format!(
                "{place} is larger than {limit} bytes"
            )));
        }
        Ok(bytes)
    }

    /// An I/O error on an object's bytes, with the object's place.
    pub fn failed(
        &self,
        doing: &str,
        name: &ObjectName,
        error: std::io::Error,
    ) -> crate::error::Error {
        crate::error::Error::io(doing, self.place(name).as_ref(), error)
    }
}
