//! A large object as it comes: in one request if it is small, else in pieces of which a few are under way at a time.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    time::Duration,
};

use object_store::{
    MultipartUpload, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayloadMut,
    path::Path as StorePath,
};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    client::Client,
    failure::{is_denied, may_pass, not_replaced},
};
use crate::{
    error::{Error, Kind, Result},
    repo::{layout::ObjectName, storage::Upload},
};

const MIB: usize = 1024 * 1024;

/// Pieces are of one size as long as they can be, since R2 wants that. S3 takes no more than 10,000: (up to which
/// number, of which size), for objects of up to 1.7 TiB.
const PIECES: [(usize, usize); 3] = [(4000, 8 * MIB), (7000, 64 * MIB), (10_000, 512 * MIB)];

/// Pieces of an object that are under way while the next one is filled.
const UNDER_WAY: usize = 2;

/// How long is waited for the store to forget what was sent.
const FAREWELL: Duration = Duration::from_secs(10);

pub struct Part {
    client: Client,
    name: ObjectName,
    path: StorePath,
    filling: PutPayloadMut,
    /// Bytes given to the store.
    sent: u64,
    pieces: usize,
    /// Begun with the first piece.
    upload: Option<Box<dyn MultipartUpload>>,
    under_way: VecDeque<JoinHandle<object_store::Result<()>>>,
    /// It takes the place of what may be there.
    replaces: bool,
}

fn empty() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(256 * 1024)
}

impl Part {
    pub fn begin(client: &Client, name: &ObjectName) -> Result<Self> {
        Ok(Self {
            client: client.clone(),
            name: name.clone(),
            path: client.path(name.as_str())?,
            filling: empty(),
            sent: 0,
            pieces: 0,
            upload: None,
            under_way: VecDeque::new(),
            replaces: false,
        })
    }

    fn failure(&self, error: &object_store::Error) -> Error {
        let why = self.client.failure("write", &self.name, error);
        match why.kind() {
            Kind::NotFound => {
                let what = format!("the store lost its upload of {}", self.name);
                Error::failed(what).because(why)
            }
            _ if self.replaces && is_denied(error) => {
                not_replaced(&self.client.place(&self.name), why)
            }
            _ => why,
        }
    }

    /// The size of the piece that is being filled.
    fn piece_size(&self) -> Result<usize> {
        let size = PIECES.iter().find(|(until, _)| self.pieces < *until);
        size.map(|(_, size)| *size).ok_or_else(|| {
            let what = format!("{} is larger than a store takes it in pieces", self.name);
            Error::failed(what)
                .hint("let it be stored in several objects, such as dumps of single databases.")
        })
    }

    fn send(&mut self) -> Result<()> {
        if self.upload.is_none() {
            let options = PutMultipartOptions {
                attributes: self.client.attributes(),
                ..PutMultipartOptions::default()
            };
            let (client, path) = (&self.client, &self.path);
            let begin = || client.patient().put_multipart_opts(path, options.clone());
            let begun = client.ask(begin);
            self.upload = Some(begun.map_err(|error| self.failure(&error))?);
        }
        while self.under_way.len() >= UNDER_WAY {
            self.settle_one()?;
        }
        if let Some(upload) = &mut self.upload {
            let payload = mem::replace(&mut self.filling, empty()).freeze();
            self.sent += payload.content_length() as u64;
            self.pieces += 1;
            let piece = upload.put_part(payload);
            self.under_way.push_back(self.client.spawn(piece));
        }
        Ok(())
    }

    /// Waits for the oldest piece under way.
    fn settle_one(&mut self) -> Result<()> {
        let Some(piece) = self.under_way.pop_front() else {
            return Ok(());
        };
        match self.client.wait(piece) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(error) => Err(Error::failed("the thread of an upload ended").because(error)),
        }
    }

    fn finish_pieces(&mut self) -> Result<()> {
        if !self.filling.is_empty() {
            self.send()?;
        }
        while !self.under_way.is_empty() {
            self.settle_one()?;
        }
        let Some(mut upload) = self.upload.take() else {
            return Ok(());
        };
        let Err(error) = self.client.wait(upload.complete()) else {
            return Ok(());
        };
        // Where the answer got lost it is done; sent again, the request found an upload that is known no more.
        let is_open = may_pass(&error) || matches!(error, object_store::Error::NotFound { .. });
        let (client, path) = (&self.client, &self.path);
        if is_open
            && let Ok(there) = client.ask(|| client.patient().head(path))
            && there.size == self.sent
        {
            return Ok(());
        }
        let failure = self.failure(&error);
        self.upload = Some(upload);
        Err(failure)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.piece_size()? - self.filling.content_length();
        let taken = bytes.len().min(room);
        self.filling.extend_from_slice(&bytes[..taken]);
        if taken == room {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Part {
    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.upload.is_some() {
            return self.finish_pieces();
        }
        let payload = mem::take(&mut self.filling).freeze();
        let options = PutOptions {
            attributes: self.client.attributes(),
            ..PutOptions::default()
        };
        let (client, path) = (&self.client, &self.path);
        let put = client.ask(|| {
            client
                .patient()
                .put_opts(path, payload.clone(), options.clone())
        });
        put.map(drop).map_err(|error| self.failure(&error))
    }

    /// As a store does it anyway: an object is what was put last, from one moment to the next.
    fn finish_over(mut self: Box<Self>) -> Result<()> {
        self.replaces = true;
        self.finish()
    }
}

impl Drop for Part {
    /// The store forgets what it has of an object that is given up; what a killed process leaves there is the
    /// business of the bucket's rules.
    fn drop(&mut self) {
        for piece in &self.under_way {
            piece.abort();
        }
        if let Some(mut upload) = self.upload.take() {
            let forgotten = self
                .client
                .wait(async { timeout(FAREWELL, upload.abort()).await });
            if !matches!(forgotten, Ok(Ok(()))) {
                tracing::warn!(
                    "an unfinished upload of {} may be left in the store",
                    self.name
                );
            }
        }
    }
}
