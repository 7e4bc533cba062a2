//! An object that must not exist yet: one request that the store refuses where it does (If-None-Match).
//!
//! An answer that got lost leaves open whether the object was made. Sent again, the request is refused if it was: so
//! who is refused after a doubt looks whether the object there is its own.

use std::{
    io::{self, Read, Write},
    thread,
    time::{Duration, Instant},
};

use object_store::{
    ObjectStoreExt, PutMode, PutOptions, PutPayload, PutPayloadMut, path::Path as StorePath,
};

use super::{
    client::Client,
    failure::{is_denied, not_replaced},
    read,
    wire::{Outcome, PATIENCE},
};
use crate::{
    error::{Error, Kind, Result},
    repo::{layout::ObjectName, storage::Upload},
};

/// Pieces in which bytes are gathered.
const BLOCK: usize = 256 * 1024;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Held in memory until it is whole: the objects that are created so are WAL segments and small documents.
pub struct Create {
    client: Client,
    name: ObjectName,
    path: StorePath,
    bytes: PutPayloadMut,
}

impl Create {
    pub fn begin(client: &Client, name: &ObjectName) -> Result<Self> {
        Ok(Self {
            client: client.clone(),
            name: name.clone(),
            path: client.path(name.as_str())?,
            bytes: PutPayloadMut::new().with_block_size(BLOCK),
        })
    }
}

impl Write for Create {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Create {
    fn finish(self: Box<Self>) -> Result<()> {
        let Self {
            client,
            name,
            path,
            bytes,
        } = *self;
        let payload = bytes.freeze();
        let mode = client.create_mode();
        if mode == PutMode::Overwrite {
            look(&client, &name, &path)?;
        }
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut doubt = false;
        loop {
            let outcome = Outcome::default();
            let mut options = PutOptions {
                mode: mode.clone(),
                attributes: client.attributes(),
                ..PutOptions::default()
            };
            options.extensions.insert(outcome.clone());
            let put = client.once().put_opts(&path, payload.clone(), options);
            let Err(error) = client.wait(put) else {
                return Ok(());
            };
            let error = client.failure("create", &name, &error);
            let kind = match outcome.is_refused() {
                true => Kind::AlreadyExists,
                false => error.kind(),
            };
            match kind {
                Kind::AlreadyExists if doubt && holds(&client, &name, &payload)? => return Ok(()),
                Kind::AlreadyExists => {
                    let what = format!("there is {} already", client.place(&name));
                    return Err(Error::new(kind, what).because(error));
                }
                // Of an object that is created, "not found" would mean another thing.
                Kind::NotFound => {
                    let what = format!("can't create {}", client.place(&name));
                    return Err(Error::failed(what).because(error));
                }
                _ if !outcome.may_pass() || begun.elapsed() + pause > PATIENCE => {
                    return Err(error);
                }
                _ => doubt = true,
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn finish_over(self: Box<Self>) -> Result<()> {
        let client = &self.client;
        let payload = self.bytes.freeze();
        let put = client.ask(|| {
            let options = PutOptions {
                attributes: client.attributes(),
                ..PutOptions::default()
            };
            let store = client.patient();
            store.put_opts(&self.path, payload.clone(), options)
        });
        put.map(drop).map_err(|error| {
            let why = client.failure("replace", &self.name, &error);
            match is_denied(&error) {
                true => not_replaced(&client.place(&self.name), why),
                false => why,
            }
        })
    }
}

/// Where the store would overwrite what is there. Who writes between the look and the put is overwritten all the same.
fn look(client: &Client, name: &ObjectName, path: &StorePath) -> Result<()> {
    match client.ask(|| client.patient().head(path)) {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(client.failure("look at", name, &error)),
        Ok(_) => {
            let what = format!("there is {} already", client.place(name));
            Err(Error::new(Kind::AlreadyExists, what))
        }
    }
}

/// Whether the object there has these bytes.
fn holds(client: &Client, name: &ObjectName, wanted: &PutPayload) -> Result<bool> {
    let mut there = read::open(client, name, None)?;
    let mut same = |piece: &[u8]| -> io::Result<bool> {
        let mut found = vec![0; piece.len()];
        match there.read_exact(&mut found) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            other => other.map(|()| found == piece),
        }
    };
    let failed = |error| {
        Error::passed(error, |error| {
            Error::failed(format!("can't read {}", client.place(name))).because(error)
        })
    };
    for piece in wanted {
        if !same(piece).map_err(failed)? {
            return Ok(false);
        }
    }
    let behind = there.read(&mut [0]).map_err(failed)?;
    Ok(behind == 0)
}
