//! Reads an object of another host, several requests ahead. A connection that breaks is made anew: objects don't change.

use std::{
    collections::VecDeque,
    io::{self, Read, SeekFrom},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use bytes::{Buf, BytesMut};
use openssh_sftp_client::{Error as SftpError, file::File};
use tokio::{io::AsyncSeek, task::JoinHandle};

use super::{
    failure::{failure, is_answer},
    session::{Session, Sessions},
    upload::{PIECE, UNDER_WAY},
};
use crate::error::{Error, Result};

/// How often a connection may break while one object is read.
const BREAKS: u32 = 5;

pub struct RemoteReader {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    path: PathBuf,
    file: File,
    here: BytesMut,
    /// Where what is asked for next begins; behind `here` and what is under way.
    asked: u64,
    end: u64,
    under_way: VecDeque<(u64, JoinHandle<std::result::Result<BytesMut, SftpError>>)>,
    breaks: u32,
}

/// The object's file, and how long it is.
pub fn open(sessions: &Arc<Sessions>, path: &Path) -> Result<(Arc<Session>, File, u64)> {
    let place = sessions.remote.place(path);
    let mut used = None;
    let opened = sessions.ask("read", &place, |session| {
        used = Some(Arc::clone(&session));
        let path = path.to_owned();
        async move {
            let mut file = session.sftp.open(&path).await?;
            let found = file.metadata().await?;
            Ok((file, found))
        }
    })?;
    let (file, found) = opened.map_err(|error| failure("read", &place, &error))?;
    let length = found
        .len()
        .filter(|_| found.file_type().is_none_or(|kind| kind.is_file()));
    match (used, length) {
        (Some(session), Some(length)) => Ok((session, file, length)),
        _ => Err(Error::failed(format!("{place} is no file"))),
    }
}

impl RemoteReader {
    pub fn new(
        sessions: &Arc<Sessions>,
        path: PathBuf,
        (session, file): (Arc<Session>, File),
        range: std::ops::Range<u64>,
    ) -> Self {
        Self {
            sessions: Arc::clone(sessions),
            session,
            path,
            file,
            here: BytesMut::new(),
            asked: range.start,
            end: range.end,
            under_way: VecDeque::new(),
            breaks: 0,
        }
    }

    fn ask_ahead(&mut self) {
        while self.under_way.len() < UNDER_WAY && self.asked < self.end {
            let (at, length) = (self.asked, (self.end - self.asked).min(PIECE as u64));
            let file = self.file.clone();
            let piece = self.sessions.spawn(piece(file, at, length));
            self.under_way.push_back((at, piece));
            self.asked += length;
        }
    }

    fn next_piece(&mut self) -> Result<()> {
        loop {
            self.ask_ahead();
            let Some((at, piece)) = self.under_way.pop_front() else {
                return Ok(());
            };
            let place = self.sessions.remote.place(&self.path);
            match self.sessions.wait(piece) {
                Ok(Ok(bytes)) => {
                    self.here = bytes;
                    return Ok(());
                }
                Ok(Err(error)) if is_answer(&error) || is_short(&error) => {
                    return Err(failure("read", &place, &error));
                }
                Ok(Err(error)) => {
                    self.sessions.forget(&self.session);
                    self.breaks += 1;
                    if self.breaks > BREAKS {
                        let error = failure("read", &place, &error);
                        return Err(self.sessions.broken(&self.session, error));
                    }
                    self.under_way.clear();
                    self.asked = at;
                    (self.session, self.file, _) = open(&self.sessions, &self.path)?;
                }
                Err(error) => {
                    return Err(Error::failed("the thread of a reader ended").because(error));
                }
            }
        }
    }
}

async fn piece(mut file: File, at: u64, length: u64) -> std::result::Result<BytesMut, SftpError> {
    let length = length as usize;
    let mut whole = BytesMut::with_capacity(length);
    while whole.len() < length {
        // Where it is after a short answer, the client does not know.
        let here = at + whole.len() as u64;
        Pin::new(&mut file).start_seek(SeekFrom::Start(here))?;
        let missing = (length - whole.len()) as u32;
        match file
            .read(missing, BytesMut::with_capacity(missing as usize))
            .await?
        {
            Some(bytes) => whole.unsplit(bytes),
            None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }
    Ok(whole)
}

fn is_short(error: &SftpError) -> bool {
    matches!(error, SftpError::IOError(error) if error.kind() == io::ErrorKind::UnexpectedEof)
}

impl Read for RemoteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.here.is_empty() {
            self.next_piece()?;
        }
        let count = buffer.len().min(self.here.len());
        self.here.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Drop for RemoteReader {
    fn drop(&mut self) {
        for (_, piece) in &self.under_way {
            piece.abort();
        }
    }
}
