//! A stored object that is read from wherever its reader wants, a window at a time: so a store is asked for no
//! more than is needed.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use super::{layout::ObjectName, storage::Storage};

pub struct Ranged {
    storage: Arc<dyn Storage>,
    name: ObjectName,
    /// Bytes of the object.
    length: u64,
    /// Bytes that are asked for at once, until it is first read elsewhere than from the beginning on, and then.
    head: u64,
    window: u64,
    at: u64,
    open: Option<Box<dyn Read + Send>>,
}

impl Ranged {
    pub fn new(
        storage: Arc<dyn Storage>,
        name: ObjectName,
        length: u64,
        head: u64,
        window: u64,
    ) -> Self {
        Self {
            storage,
            name,
            length,
            head,
            window,
            at: 0,
            open: None,
        }
    }
}

impl Read for Ranged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let fresh = self.open.is_none();
            let reader = match &mut self.open {
                Some(reader) => reader,
                None if self.at >= self.length => return Ok(0),
                none => {
                    let end = self.at.saturating_add(self.head).min(self.length);
                    none.insert(self.storage.get(&self.name, Some(self.at..end))?)
                }
            };
            let count = reader.read(buffer)?;
            self.at += count as u64;
            // The window is used up; one that gives nothing at all is the end.
            if count > 0 || fresh {
                return Ok(count);
            }
            self.open = None;
        }
    }
}

impl Seek for Ranged {
    /// Knows no seeking from the end.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        let at = at.ok_or(io::ErrorKind::Unsupported)?;
        if at != self.at {
            self.at = at;
            self.open = None;
            self.head = self.window;
        }
        Ok(at)
    }
}
