//! An object on its way to another host: a temporary file beside its place, which gets its name by a link, which fails where
//! there is one.

use std::{
    collections::VecDeque,
    io::{self, SeekFrom, Write},
    path::{Path, PathBuf},
    pin::Pin,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use openssh_sftp_client::{Error as SftpError, file::File, metadata::Permissions};
use tokio::{io::AsyncSeek, task::JoinHandle, time::timeout};

use super::{
    failure::{failure, is_answer, is_missing},
    session::{Session, Sessions},
};
use crate::{
    error::{Error, Kind, Result},
    repo::storage::Upload,
    util::{
        fs::{TEMPORARY, folder_of},
        host,
    },
};

/// What OpenSSH's server takes at once.
pub const PIECE: usize = 255 * 1024;

/// Pieces whose answer is not there yet, so that a distant host doesn't slow us down.
pub const UNDER_WAY: usize = 8;

/// How long is waited for the other host to forget what was sent.
const FAREWELL: Duration = Duration::from_secs(10);

/// Tells the temporary files of a process apart.
static COUNT: AtomicU64 = AtomicU64::new(0);

pub struct RemoteUpload {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    filling: BytesMut,
    sent: u64,
    under_way: VecDeque<JoinHandle<std::result::Result<(), SftpError>>>,
    is_over: bool,
}

impl RemoteUpload {
    pub fn begin(sessions: &Arc<Sessions>, name: &str) -> Result<Self> {
        let path = sessions.remote.at(name);
        let temporary = temporary(&path);
        let place = sessions.remote.place(&path);
        // It is there nearly always, so it is made only after it was missed.
        for attempt in 0..4 {
            let mut begun = None;
            let file = sessions.ask("create", &place, |session| {
                begun = Some(Arc::clone(&session));
                let temporary = temporary.clone();
                async move { create(&session, &temporary).await }
            })?;
            match (file, begun) {
                (Ok(file), Some(session)) => {
                    return Ok(Self {
                        sessions: Arc::clone(sessions),
                        session,
                        path,
                        temporary,
                        file,
                        filling: BytesMut::new(),
                        sent: 0,
                        under_way: VecDeque::new(),
                        is_over: false,
                    });
                }
                (Err(error), _) if is_missing(&error) && attempt < 3 => {
                    make_folders(sessions, folder_of(&path))?;
                }
                (Err(error), _) => return Err(failure("create", &place, &error)),
                (Ok(_), None) => break,
            }
        }
        Err(Error::failed(format!("can't create {place}")))
    }

    fn failed(&self, error: &SftpError) -> Error {
        let failed = failure("write", &self.sessions.remote.place(&self.path), error);
        let failed = match failed.kind() {
            // Of an object that is written, "not found" would mean another thing.
            Kind::NotFound => Error::failed("somebody removed it meanwhile").because(failed),
            _ => failed,
        };
        if is_answer(error) {
            return failed;
        }
        self.sessions.forget(&self.session);
        self.sessions.broken(&self.session, failed)
    }

    fn send(&mut self) -> Result<()> {
        while self.under_way.len() >= UNDER_WAY {
            self.settle_one()?;
        }
        let piece = self.filling.split();
        let mut file = self.file.clone();
        let at = self.sent;
        self.sent += piece.len() as u64;
        self.under_way.push_back(self.sessions.spawn(async move {
            Pin::new(&mut file).start_seek(SeekFrom::Start(at))?;
            file.write_all(&piece).await
        }));
        Ok(())
    }

    /// Waits for the oldest piece under way.
    fn settle_one(&mut self) -> Result<()> {
        let Some(piece) = self.under_way.pop_front() else {
            return Ok(());
        };
        match self.sessions.wait(piece) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(error) => Err(Error::failed("the thread of an upload ended").because(error)),
        }
    }

    fn publish(&mut self) -> Result<()> {
        let (sftp, path, temporary) = (&self.session.sftp, &self.path, &self.temporary);
        let linked = self.sessions.wait(sftp.fs().hard_link(temporary, path));
        if let Err(error) = linked {
            let is_there =
                is_answer(&error) && self.sessions.wait(sftp.fs().symlink_metadata(path)).is_ok();
            if is_there {
                let what = format!("there is {} already", self.sessions.remote.place(path));
                return Err(Error::new(Kind::AlreadyExists, what));
            }
            return Err(self.failed(&error));
        }
        let removed = self.sessions.wait(sftp.fs().remove_file(temporary));
        self.is_over = removed.is_ok();
        self.sync_name()
    }

    fn publish_over(&mut self) -> Result<()> {
        let sftp = &self.session.sftp;
        let mut fs = sftp.fs();
        let renamed = self.sessions.wait(fs.rename(&self.temporary, &self.path));
        renamed.map_err(|error| self.failed(&error))?;
        self.is_over = true;
        self.sync_name()
    }

    /// The name, too: a file system with a journal writes it with the file that has it.
    fn sync_name(&mut self) -> Result<()> {
        let synced = self.sessions.wait(self.file.sync_all());
        synced.map_err(|error| self.failed(&error))
    }
}

impl Write for RemoteUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for RemoteUpload {
    fn settle(&mut self) -> Result<()> {
        if !self.filling.is_empty() {
            self.send()?;
        }
        while !self.under_way.is_empty() {
            self.settle_one()?;
        }
        let synced = self.sessions.wait(self.file.sync_all());
        synced.map_err(|error| self.failed(&error))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.settle()?;
        self.publish()
    }

    fn finish_over(mut self: Box<Self>) -> Result<()> {
        self.settle()?;
        self.publish_over()
    }
}

impl Drop for RemoteUpload {
    fn drop(&mut self) {
        for piece in &self.under_way {
            piece.abort();
        }
        if self.is_over {
            return;
        }
        let sftp = &self.session.sftp;
        let removed = self
            .sessions
            .wait(async { timeout(FAREWELL, sftp.fs().remove_file(&self.temporary)).await });
        if !matches!(removed, Ok(Ok(()))) {
            let left = self.sessions.remote.place(&self.temporary);
            tracing::warn!("{left} may be left there: cleanup removes it after 7 days");
        }
    }
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (host, process) = (host::name(), process::id());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{host}-{process}-{count}{TEMPORARY}"))
}

async fn create(session: &Session, path: &Path) -> std::result::Result<File, SftpError> {
    let mut options = session.sftp.options();
    // Read, too, or its metadata could not be asked for.
    let mut file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .await?;
    file.set_permissions(mode(false)).await?;
    Ok(file)
}

/// Only the user there and its group may see what a backup holds.
fn mode(is_folder: bool) -> Permissions {
    let mut mode = Permissions::new();
    mode.set_read_by_owner(true)
        .set_write_by_owner(true)
        .set_read_by_group(true)
        .set_execute_by_owner(is_folder)
        .set_execute_by_group(is_folder);
    mode
}

/// Makes `folder` and those above it that are missing.
fn make_folders(sessions: &Sessions, folder: &Path) -> Result<()> {
    let place = sessions.remote.place(folder);
    let mut above: Vec<&Path> = folder.ancestors().collect();
    // Not the root of the file system.
    above.pop();
    let mut result = Ok(());
    for folder in above.into_iter().rev() {
        let made = sessions.ask("create", &place, |session| async move {
            let mut fs = session.sftp.fs();
            fs.dir_builder()
                .permissions(mode(true))
                .create(folder)
                .await
        })?;
        // What is there already is a failure, too: the last one decides.
        result = made;
    }
    match result {
        Ok(()) => Ok(()),
        Err(error) => {
            let found = sessions.ask("look at", &place, |session| async move {
                session.sftp.fs().metadata(folder).await
            })?;
            found
                .map(drop)
                .map_err(|_| failure("create folder", &place, &error))
        }
    }
}
