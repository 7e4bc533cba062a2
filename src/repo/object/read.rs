//! An object's bytes as they come. What was cut off is asked for again from where it ended, by object_store.

use std::{
    io::{self, Read},
    ops::Range,
};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{GetOptions, GetRange};

use super::client::Client;
use crate::{
    error::{Error, Result},
    repo::layout::ObjectName,
};

pub struct Reader {
    client: Client,
    name: ObjectName,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    /// What came and was not read yet.
    held: Bytes,
}

/// Asks for an object, or for a range of it that is not empty.
pub fn open(client: &Client, name: &ObjectName, range: Option<Range<u64>>) -> Result<Reader> {
    let options = GetOptions {
        range: range.clone().map(GetRange::Bounded),
        ..GetOptions::default()
    };
    let path = client.path(name.as_str())?;
    let found = client.ask(|| client.patient().get_opts(&path, options.clone()));
    let found = found.map_err(|error| client.failure("read", name, &error))?;
    if let Some(range) = range
        && found.range != range
    {
        let (place, end) = (client.place(name), found.range.end);
        let wanted = range.end;
        return Err(Error::damaged(format!(
            "{place} ends at byte {end}, before byte {wanted}"
        )));
    }
    Ok(Reader {
        client: client.clone(),
        name: name.clone(),
        stream: found.into_stream(),
        held: Bytes::new(),
    })
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            match self.client.wait(self.stream.next()) {
                None => return Ok(0),
                Some(Ok(bytes)) => self.held = bytes,
                Some(Err(error)) => {
                    return Err(self.client.failure("read", &self.name, &error).into());
                }
            }
        }
        let count = self.held.len().min(into.len());
        self.held.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}
