//! A WAL file that PostgreSQL wants archived: opened, and checked as far as that is possible
//! without the repository. The server may be broken, so nothing is believed that can be checked.

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    content::TEXT_LIMIT,
    content::check_text,
    pass::{PIECE, pass},
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{control::Control, lsn::SystemId, wal_header::WalHeader, wal_name::WalName},
    repo::repository::System,
};

#[derive(Debug)]
pub struct Offered {
    name: WalName,
    path: PathBuf,
    file: File,
    length: u64,
    system: SystemId,
    /// Of segments only.
    header: Option<WalHeader>,
}

impl Offered {
    /// Opens `path`, which is to be archived as `name`. History and backup files don't say whose
    /// they are: that is read from pg_control in `data_dir`.
    pub fn open(path: &Path, name: WalName, data_dir: &Path) -> Result<Self> {
        Self::of(path, name, || Ok(Control::read(data_dir)?.system))
    }

    /// Opens the history file that lies in the same folder, and so is of the same system.
    pub fn beside(&self, history: WalName) -> Result<Self> {
        let path = self.path.with_file_name(history.to_string());
        Self::of(&path, history, || Ok(self.system))
    }

    fn of(path: &Path, name: WalName, system: impl FnOnce() -> Result<SystemId>) -> Result<Self> {
        // Before it is opened: opening a FIFO would wait for a writer.
        if !path.metadata().at("read", path)?.is_file() {
            return Err(Error::failed(format!(
                "{} is not a regular file",
                path.display()
            )));
        }
        let mut file = File::open(path).at("read", path)?;
        let length = file.metadata().at("read", path)?.len();
        let header = match name.segment() {
            Some(segment) => {
                let header = WalHeader::read(&mut file, path)?;
                header.check(segment, length)?;
                Some(header)
            }
            None => None,
        };
        let system = match header {
            Some(header) => header.system,
            None => system()?,
        };
        let offered = Self {
            name,
            path: path.to_owned(),
            file,
            length,
            system,
            header,
        };
        if header.is_none() {
            offered.check_text()?;
        }
        Ok(offered)
    }

    pub fn name(&self) -> WalName {
        self.name
    }

    /// Whose WAL it is.
    pub fn system(&self) -> SystemId {
        self.system
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn header(&self) -> Option<&WalHeader> {
        self.header.as_ref()
    }

    /// Whether it agrees with what `init` registered for its system.
    pub fn check_system(&self, system: &System) -> Result<()> {
        let Some(header) = &self.header else {
            return Ok(());
        };
        let (size, major) = (header.segment_size.bytes(), header.major.number());
        let (registered, registered_major) = (system.segment_size.bytes(), system.postgres_major);
        if (size, major) == (registered, registered_major) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Foreign,
            format!(
                "WAL segment {} is of PostgreSQL {major} with segments of {size} bytes, but system {} \
                 was registered as PostgreSQL {registered_major} with {registered} bytes",
                self.name, self.system
            ),
        )
        .hint("pg_upgrade gives a new system identifier and pg_resetwal can change the segment size: register what this is now under another --cluster name."))
    }

    /// Gives all bytes to `sink`, in pieces of at most `piece`; an error if they aren't as many as
    /// at the beginning.
    pub fn send(&self, piece: usize, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).at("read", &self.path)?;
        let unreadable = |error| Error::io("read", &self.path, error);
        // One byte more than expected, so that a file that grew is seen.
        let found = pass(file, piece, self.length + 1, unreadable, sink)?;
        if found == self.length {
            return Ok(());
        }
        Err(Error::damaged(format!(
            "{} changed while it was read: it had {} bytes",
            self.path.display(),
            self.length
        )))
    }

    /// Some of its bytes, all of which must be there.
    pub fn range(&self, range: Range<u32>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; range.len()];
        self.file
            .read_exact_at(&mut bytes, range.start.into())
            .at("read", &self.path)?;
        Ok(bytes)
    }

    fn check_text(&self) -> Result<()> {
        if self.length > TEXT_LIMIT {
            return Err(Error::damaged(format!(
                "{} has {} bytes: it is no history file",
                self.path.display(),
                self.length
            )));
        }
        let mut text = Vec::new();
        self.send(PIECE, |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        check_text(self.name, &text)
            .map_err(|error| error.context(format!("can't use {}", self.path.display())))
    }
}
