//! BASE_BACKUP: the server sends the whole data directory, and what it noticed on the way.
//!
//! Order of messages (`src/backend/backup/basebackup_copy.c`, the same in 15 to 18): a result
//! with the start position, one with the tablespaces, one copy stream with archives and
//! manifest, a result with the end position, and the end of the command. If pages had wrong
//! checksums, an error takes the place of that end, though everything was sent.

use std::{
    ffi::OsStr,
    fmt::Write,
    io::Read,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::Duration,
};

use postgres_protocol::message::frontend::{self, CopyData};

use super::{
    auth,
    file_checksum::Algorithm,
    lsn::{Lsn, TimelineId},
    page_failures::{PageFailure, page_failures},
    replication::{Columns, Replication, columns, parse, strange, text, timeline},
    server_error::{ServerError, sqlstate},
    wire::tag,
};
use crate::error::{Error, Result};

/// A spread checkpoint takes as long as checkpoint_timeout, which is a day at most; after it
/// the server estimates the size.
const START_LIMIT: Duration = Duration::from_secs(25 * 3600);

/// A piece of an uploaded manifest.
const UPLOADED_AT_ONCE: usize = 64 << 10;

/// Longest silence while data flows; the lowest MAX_RATE sends something every second.
const IDLE_LIMIT: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub struct BaseBackupOptions {
    pub label: String,
    /// A checkpoint at once, instead of one spread over checkpoint_timeout.
    pub checkpoint_fast: bool,
    /// In KiB a second; the server takes 32 to 1048576.
    pub max_rate_kb: Option<u32>,
    /// Adds the WAL that the backup needs, under pg_wal.
    pub wal: bool,
    /// Of the files in the manifest.
    pub manifest_checksums: Algorithm,
    /// The server checks the pages that it sends, if the cluster has data checksums.
    pub verify_checksums: bool,
    /// Only what changed since the backup whose manifest was uploaded before; from 17 on.
    pub incremental: bool,
}

impl BaseBackupOptions {
    fn command(&self) -> String {
        // WAIT false: the server would wait for a broken archive_command for ever.
        // TABLESPACE_MAP false: links come as members of the base archive.
        let mut command = format!(
            "BASE_BACKUP (LABEL {}, PROGRESS true, WAIT false, TABLESPACE_MAP false, \
             CHECKPOINT '{}', WAL {}, VERIFY_CHECKSUMS {}",
            literal(&self.label),
            if self.checkpoint_fast {
                "fast"
            } else {
                "spread"
            },
            self.wal,
            self.verify_checksums,
        );
        if let Some(rate) = self.max_rate_kb {
            let _ = write!(command, ", MAX_RATE {rate}");
        }
        let checksums = self.manifest_checksums.name();
        let _ = write!(
            command,
            ", MANIFEST 'yes', MANIFEST_CHECKSUMS '{checksums}'"
        );
        if self.incremental {
            command.push_str(", INCREMENTAL true");
        }
        command.push(')');
        command
    }
}

/// A string of the replication grammar, which knows doubled quotes and no other escapes
/// (`src/backend/replication/repl_scanner.l`).
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What the server says before the first byte of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupStart {
    pub lsn: Lsn,
    pub timeline: TimelineId,
    pub tablespaces: Vec<TablespaceInfo>,
}

/// One archive to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablespaceInfo {
    /// None is the data directory itself.
    pub oid: Option<u32>,
    /// Absolute; relative to the data directory for an in-place tablespace.
    pub location: Option<PathBuf>,
    /// The server's estimate, in KiB.
    pub size_kb: Option<u64>,
}

/// Takes what the server sends, in this order: `start`, then for each tablespace `archive`
/// and its `data`, then the manifest. An error ends the backup.
pub trait BackupSink {
    fn start(&mut self, start: &BackupStart) -> Result<()>;
    /// A tar archive (`base.tar`, `16384.tar`) begins; `location` is empty for the data directory.
    fn archive(&mut self, name: &str, location: &Path) -> Result<()>;
    /// Bytes of the archive, in any pieces. The two empty blocks at its end are not sent.
    fn data(&mut self, bytes: &[u8]) -> Result<()>;
    fn manifest(&mut self, bytes: &[u8]) -> Result<()>;
}

/// How a server answers to the command.
#[derive(Debug)]
pub enum Begun {
    /// Its data comes next.
    Started(BackupStart),
    /// No incremental backup can be made now, and why. The session is as before.
    Refused(ServerError),
}

/// What the server says behind the last byte of data.
#[derive(Clone, Debug)]
pub struct BackupEnd {
    pub stop_lsn: Lsn,
    pub timeline: TimelineId,
    /// The server found pages with wrong checksums; the copy is complete all the same.
    pub checksum_failures: bool,
    /// Which ones, as far as the server's warnings name them.
    pub page_failures: Vec<PageFailure>,
    pub notices: Vec<ServerError>,
}

impl Replication {
    /// Hands the manifest of an older backup to the server: what the next incremental one builds on.
    pub fn upload_manifest(&mut self, mut manifest: impl Read) -> Result<()> {
        const COMMAND: &str = "UPLOAD_MANIFEST";
        self.command(COMMAND)?;
        self.expect(tag::COPY_IN)?;
        let mut buffer = vec![0; UPLOADED_AT_ONCE];
        loop {
            let count = manifest.read(&mut buffer).map_err(|error| {
                Error::damaged("a stored manifest can't be read").because(error)
            })?;
            if count == 0 {
                break;
            }
            let piece = CopyData::new(&buffer[..count]);
            let unsendable = |error| Error::failed("a manifest can't be sent").because(error);
            piece.map_err(unsendable)?.write(&mut self.wire.outgoing);
            self.wire.send()?;
        }
        frontend::copy_done(&mut self.wire.outgoing);
        self.wire.send()?;
        self.rest_of(COMMAND).map(drop)
    }

    /// Starts a base backup, which [`Self::receive`] receives. After an error the session is of no
    /// further use.
    pub fn begin_base_backup(&mut self, options: &BaseBackupOptions) -> Result<Begun> {
        self.wire.take_notices();
        self.wire.set_limit(START_LIMIT);
        self.command(&options.command())?;
        let start = match self.result_set()? {
            Ok(start) => start,
            Err(error)
                if options.incremental && error.code == sqlstate::NOT_IN_PREREQUISITE_STATE =>
            {
                self.expect(tag::READY)?;
                return Ok(Begun::Refused(error));
            }
            Err(error) => return Err(self.failed("BASE_BACKUP", error)),
        };
        let tablespaces = self.must_result_set()?;
        backup_start(&start, &tablespaces).map(Begun::Started)
    }

    /// Receives a base backup that has begun. After an error the session is of no further use.
    pub fn receive(&mut self, start: &BackupStart, sink: &mut dyn BackupSink) -> Result<BackupEnd> {
        sink.start(start)?;
        self.wire.set_limit(IDLE_LIMIT);
        self.expect(tag::COPY_OUT)?;
        self.copy(sink)?;
        let end = self.must_result_set()?;
        let end = end.first().ok_or_else(strange)?;
        let (stop_lsn, timeline) = (parse(end, 0)?, timeline(end, 1)?);
        let checksum_failures = self.end_of_backup()?;
        let notices = self.wire.take_notices();
        Ok(BackupEnd {
            stop_lsn,
            timeline,
            checksum_failures,
            page_failures: if checksum_failures {
                page_failures(&notices)
            } else {
                Vec::new()
            },
            notices,
        })
    }

    /// Hands on the copy stream up to its end.
    fn copy(&mut self, sink: &mut dyn BackupSink) -> Result<()> {
        let mut in_manifest = false;
        loop {
            let message = self.wire.read()?;
            match message.tag {
                tag::COPY_DATA => {}
                tag::COPY_DONE => return Ok(()),
                tag::ERROR => {
                    let error = ServerError::parse(message.body);
                    return Err(self.failed("BASE_BACKUP", error));
                }
                other => return Err(auth::unexpected(&self.wire.info, other)),
            }
            match piece(message.body).ok_or_else(strange)? {
                Piece::Data(bytes) if in_manifest => sink.manifest(bytes)?,
                Piece::Data(bytes) => sink.data(bytes)?,
                Piece::Archive { name, location } => sink.archive(name, location)?,
                Piece::Manifest => in_manifest = true,
                // How much the server has read; what arrives says the same.
                Piece::Progress(_) => {}
            }
        }
    }

    /// Rows of one result among several of a command, or what the server reports instead.
    fn result_set(&mut self) -> Result<Result<Vec<Columns>, ServerError>> {
        let mut rows = Vec::new();
        loop {
            let message = self.wire.read()?;
            match message.tag {
                tag::ROW_DESCRIPTION => {}
                tag::DATA_ROW => rows.push(columns(message.body).ok_or_else(strange)?),
                tag::COMMAND_COMPLETE => return Ok(Ok(rows)),
                tag::ERROR => return Ok(Err(ServerError::parse(message.body))),
                other => return Err(auth::unexpected(&self.wire.info, other)),
            }
        }
    }

    fn must_result_set(&mut self) -> Result<Vec<Columns>> {
        let rows = self.result_set()?;
        rows.map_err(|error| self.failed("BASE_BACKUP", error))
    }

    fn expect(&mut self, wanted: u8) -> Result<()> {
        let message = self.wire.read()?;
        match message.tag {
            tag if tag == wanted => Ok(()),
            tag::ERROR => {
                let error = ServerError::parse(message.body);
                Err(self.failed("BASE_BACKUP", error))
            }
            other => Err(auth::unexpected(&self.wire.info, other)),
        }
    }

    /// The end of the command: true if the server reports wrong checksums in its place.
    fn end_of_backup(&mut self) -> Result<bool> {
        let mut failures = false;
        loop {
            let message = self.wire.read()?;
            match message.tag {
                tag::COMMAND_COMPLETE => {}
                tag::READY => return Ok(failures),
                tag::ERROR => {
                    let error = ServerError::parse(message.body);
                    if error.code != sqlstate::DATA_CORRUPTED || error.severity != "ERROR" {
                        return Err(self.failed("BASE_BACKUP", error));
                    }
                    failures = true;
                }
                other => return Err(auth::unexpected(&self.wire.info, other)),
            }
        }
    }
}

fn backup_start(start: &[Columns], tablespaces: &[Columns]) -> Result<BackupStart> {
    let start = start.first().ok_or_else(strange)?;
    Ok(BackupStart {
        lsn: parse(start, 0)?,
        timeline: timeline(start, 1)?,
        tablespaces: tablespaces.iter().map(tablespace).collect::<Result<_>>()?,
    })
}

fn tablespace(row: &Columns) -> Result<TablespaceInfo> {
    let number = |index| match text(row, index)? {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| strange()),
    };
    let oid = number(0)?.map(u32::try_from).transpose();
    let location = row.get(1).ok_or_else(strange)?.clone();
    Ok(TablespaceInfo {
        oid: oid.map_err(|_| strange())?,
        location: location
            .filter(|path| !path.is_empty())
            .map(|path| std::ffi::OsString::from_vec(path).into()),
        size_kb: number(2)?,
    })
}

/// What a CopyData message of a base backup holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Archive { name: &'a str, location: &'a Path },
    Manifest,
    Data(&'a [u8]),
    Progress(u64),
}

/// Reads a message by its type byte; None if it is none that PostgreSQL 15 to 18 send.
pub fn piece(body: &[u8]) -> Option<Piece<'_>> {
    let (kind, rest) = body.split_first()?;
    match kind {
        b'd' => Some(Piece::Data(rest)),
        b'm' => Some(Piece::Manifest),
        b'p' => Some(Piece::Progress(u64::from_be_bytes(rest.try_into().ok()?))),
        b'n' => {
            let mut texts = rest.split(|&b| b == 0);
            let name = std::str::from_utf8(texts.next()?).ok()?;
            let location = Path::new(OsStr::from_bytes(texts.next()?));
            Some(Piece::Archive { name, location })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_or_refused() {
        let archive = |name, location| Piece::Archive {
            name,
            location: Path::new(OsStr::from_bytes(location)),
        };
        for (body, expected) in [
            (&b"dxyz"[..], Some(Piece::Data(b"xyz"))),
            (b"d", Some(Piece::Data(b""))),
            (b"m", Some(Piece::Manifest)),
            (b"p\0\0\0\0\0\0\x01\0", Some(Piece::Progress(256))),
            (b"p\0\0\0", None),
            (b"nbase.tar\0\0", Some(archive("base.tar", b""))),
            (
                b"n16384.tar\0/a \xFF\0",
                Some(archive("16384.tar", b"/a \xFF")),
            ),
            (b"n\xFF\0\0", None),
            (b"nbase.tar", None),
            (b"x", None),
            (b"", None),
        ] {
            assert_eq!(piece(body), expected, "{body:?}");
        }
    }

    #[test]
    fn the_command_quotes_the_label() {
        let options = BaseBackupOptions {
            label: r"it's \".to_owned(),
            checkpoint_fast: true,
            max_rate_kb: Some(32),
            wal: false,
            manifest_checksums: Algorithm::Crc32c,
            verify_checksums: true,
            incremental: false,
        };
        let command = options.command();
        assert!(
            command.starts_with(r"BASE_BACKUP (LABEL 'it''s \', "),
            "{command}"
        );
        assert!(command.contains("MAX_RATE 32, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')"));
    }
}
