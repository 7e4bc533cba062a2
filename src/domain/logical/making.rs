//! Makes the dump of one database.

use std::{fs::File, io::Write, path::Path, thread};

use tracing::{info, warn};

use super::{
    census, claim,
    class::{self, ClassWish},
    remains::OF_DUMP,
    request::Request,
    snapshot::Held,
    store::{self, DataWriter, Shelf},
    tap::{self, Head, Tap, Tapped},
    toc::Toc,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{client_programs::ClientPrograms, conninfo::ConnInfo, lsn::SystemId, socket},
    repo::{
        codec::Compression,
        document::FORMAT,
        dump::{Dump, DumpContents, DumpLocale, Snapshot, StoredDump},
        dump_name::{Class, DumpFormat, DumpName, DumpObject, Subject},
        repository::Repository,
    },
    util::{
        cancel::Cancel,
        clock::{self, Time},
        host,
        meter::Meter,
        process::{self, NO_LIMIT},
        scratch::Scratch,
    },
};

/// What all dumps of a run have in common.
pub struct Maker<'a> {
    pub repository: &'a Repository,
    pub programs: &'a ClientPrograms,
    pub info: &'a ConnInfo,
    pub request: &'a Request,
    pub system_id: SystemId,
    /// As PostgreSQL's server_version_num.
    pub server_version: u32,
    /// When the run began: in the names of all its dumps.
    pub time: Time,
    /// Good dumps that the repository has, of the same part of their databases.
    pub earlier: Vec<(Subject, Time, Class)>,
    pub meter: &'a Meter,
    pub cancel: &'a Cancel,
}

/// What was read of the server.
pub(super) struct Read {
    pub data: StoredDump,
    pub format: DumpFormat,
    pub compression: Compression,
    /// As the program was told.
    pub options: Vec<String>,
    pub owner: Option<String>,
    pub locale: Option<DumpLocale>,
    pub database_bytes: Option<u64>,
    pub snapshot: Option<Snapshot>,
    pub contents: Option<DumpContents>,
    pub missing: Vec<String>,
}

impl Maker<'_> {
    /// Claims a name, has `read` store the data under it, and makes a dump of that.
    pub(super) fn make(
        &self,
        subject: &Subject,
        read: impl FnOnce(&DumpName) -> Result<Read>,
    ) -> Result<Dump> {
        let Self {
            repository,
            request,
            ..
        } = self;
        let begun = clock::now();
        let class = self.class_of(subject);
        let name = claim::claim(repository, self.time, |time| {
            DumpName::new(request.path, &request.prefix, subject, time, class)
        })?;
        let made = read(&name).and_then(|read| {
            let dump = self.describe(subject, &name, begun, read)?;
            store::commit(repository, &dump).map(|()| dump)
        });
        if made.is_err() {
            claim::give_up(repository, &name);
        }
        made
    }

    fn class_of(&self, subject: &Subject) -> Class {
        match self.request.class {
            ClassWish::This(class) => class,
            ClassWish::Auto => {
                let own = self.earlier.iter().filter(|(other, ..)| other == subject);
                let own: Vec<_> = own.map(|(_, time, class)| (*time, *class)).collect();
                class::due(self.time, &own)
            }
        }
    }

    fn describe(
        &self,
        subject: &Subject,
        name: &DumpName,
        begun: Time,
        read: Read,
    ) -> Result<Dump> {
        Ok(Dump {
            format: FORMAT,
            name: name.clone(),
            class: name.class(),
            cluster: self.repository.layout().cluster().to_string(),
            system_id: self.system_id,
            database: subject.database().map(str::to_owned),
            owner: read.owner,
            locale: read.locale,
            dump_format: read.format,
            compression: read.compression.codec,
            level: read.compression.level,
            recipients: self.repository.recipients()?,
            data: read.data,
            run: Some(self.time),
            begun,
            ended: clock::now(),
            server_version: self.server_version,
            client_version: self.programs.version().to_owned(),
            database_bytes: read.database_bytes,
            options: read.options,
            snapshot: read.snapshot,
            contents: read.contents,
            missing: read.missing,
            verified: self.request.reread,
            host: host::name(),
            pgstow_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Dumps a database.
    pub fn database(&self, database: &str) -> Result<Dump> {
        let subject = Subject::Database(database.to_owned());
        let info = self.info.clone().with_database(database);
        self.make(&subject, |name| {
            let mut left = info.retries;
            loop {
                match self.read(&info, name) {
                    Err(error) if left > 0 && is_about_connecting(&error) => {
                        warn!("{}; trying again", error.in_one_line());
                        left -= 1;
                        socket::pause(info.delay, self.cancel)?;
                    }
                    other => return other,
                }
            }
        })
    }

    /// pg_dump stores the data while a session of ours, in the same snapshot, sees what is in it.
    fn read(&self, info: &ConnInfo, name: &DumpName) -> Result<Read> {
        let request = self.request;
        let part = self.cancel.part();
        let held = Held::take(info, &part)?;
        self.meter.begin(&format!("dumping {}", info.database), 0);
        let (head, tapped) = match request.format {
            DumpFormat::Custom | DumpFormat::Tar if !request.selection.is_all() => {
                let (head, tapped) = tap::head();
                (Some(head), Some(tapped))
            }
            _ => (None, None),
        };
        let (owner, locale) = (held.owner()?, held.locale()?);
        let (data, seen, database_bytes) = thread::scope(|scope| {
            let dumping = scope.spawn(|| {
                let stored = match request.format {
                    DumpFormat::Directory => self.store_directory(info, name, &held.id, &part),
                    _ => self.store_stream(info, name, &held.id, head, &part),
                };
                if stored.is_err() {
                    // Nobody needs the count any more.
                    part.set();
                }
                stored
            });
            let database_bytes = held.database_bytes().ok();
            let seen = self.look(&held, info, tapped, &part);
            (dumping.join(), seen, database_bytes)
        });
        let data = data.map_err(|_| Error::failed("the dump's thread ended early"))?;
        let data = data.map_err(with_cure)?;
        self.cancel.check()?;
        let (contents, missing) = match seen {
            Ok((contents, missing)) => (Some(contents), missing),
            Err(error) => (None, vec![format!("contents: {}", error.in_one_line())]),
        };
        Ok(Read {
            data,
            format: request.format,
            compression: request.own_compression(),
            options: request.options(),
            owner: Some(owner),
            locale: Some(locale),
            database_bytes,
            snapshot: Some(held.snapshot.clone()),
            contents,
            missing,
        })
    }

    fn look(
        &self,
        held: &Held,
        info: &ConnInfo,
        tapped: Option<Tapped>,
        cancel: &Cancel,
    ) -> Result<(DumpContents, Vec<String>)> {
        let toc = match tapped {
            // All that there is.
            None if self.request.selection.is_all() => None,
            None => Some(self.toc_beside(held, info, cancel)?),
            Some(archive) => Some(Toc::of_archive(self.programs, archive, cancel)?),
        };
        held.ask(|session| census::look(session, toc.as_ref(), self.request.row_counts))
    }

    /// What a dump without a table of contents holds, as a second pg_dump tells, which is stopped before
    /// the first row.
    fn toc_beside(&self, held: &Held, info: &ConnInfo, cancel: &Cancel) -> Result<Toc> {
        let mut command = self.pg_dump(info, &held.id)?;
        command
            .args(self.request.selection.options())
            .args(["--format=custom", "--compress=0"]);
        let (mut head, tapped) = tap::head();
        thread::scope(|scope| {
            // What is wrong with it shows in what pg_restore gets.
            scope.spawn(move || process::run_to_any_end(&mut command, &mut head, NO_LIMIT, cancel));
            Toc::of_archive(self.programs, tapped, cancel)
        })
    }

    fn pg_dump(&self, info: &ConnInfo, snapshot: &str) -> Result<std::process::Command> {
        let mut command = self.programs.command("pg_dump", info)?;
        command.arg(format!("--snapshot={snapshot}"));
        Ok(command)
    }

    fn store_stream(
        &self,
        info: &ConnInfo,
        name: &DumpName,
        snapshot: &str,
        head: Option<Head>,
        cancel: &Cancel,
    ) -> Result<StoredDump> {
        let request = self.request;
        let mut command = self.pg_dump(info, snapshot)?;
        command.args(request.options());
        let data = self.begin(name, request.format, request.own_compression())?;
        let mut tap = Tap::new(data, head);
        let end = process::run_to_any_end(&mut command, &mut tap, NO_LIMIT, cancel)?;
        tell(&end.success()?);
        tap.into_inner().finish()
    }

    /// Workers of pg_dump write files side by side, which only a folder can take.
    fn store_directory(
        &self,
        info: &ConnInfo,
        name: &DumpName,
        snapshot: &str,
        cancel: &Cancel,
    ) -> Result<StoredDump> {
        let scratch = Scratch::make(OF_DUMP, false)?;
        let folder = scratch.path().join("dump");
        info!(
            "the directory format goes through {}",
            scratch.path().display()
        );
        let mut command = self.pg_dump(info, snapshot)?;
        command
            .args(self.request.options())
            .arg(format!("--jobs={}", self.request.jobs))
            .arg("--file")
            .arg(&folder);
        tell(
            &process::run_to_any_end(&mut command, &mut std::io::sink(), NO_LIMIT, cancel)?
                .success()?,
        );
        let mut data = self.begin(name, DumpFormat::Directory, self.request.own_compression())?;
        archive(&folder, name.stem(), &mut data, cancel)?;
        data.finish()
    }

    /// Data of this format, compressed by us.
    pub(super) fn begin(
        &self,
        name: &DumpName,
        format: DumpFormat,
        compression: Compression,
    ) -> Result<DataWriter<'_>> {
        let shelf = Shelf {
            repository: self.repository,
            reread: self.request.reread,
            meter: self.meter,
            cancel: self.cancel,
        };
        let object = DumpObject::Data(format, self.repository.coding(compression.codec));
        DataWriter::begin(shelf, name, object, compression)
    }
}

/// A tar archive of `folder`, under `name`, in the order of its files' names.
fn archive(folder: &Path, name: &str, out: &mut impl Write, cancel: &Cancel) -> Result<()> {
    let failed = |error| Error::passed(error, |error| Error::io("pack", folder, error));
    let mut archive = tar::Builder::new(out);
    archive.append_dir(name, folder).map_err(failed)?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        files.push(entry.at("list", folder)?.file_name());
    }
    files.sort();
    for file in files {
        cancel.check()?;
        let path = folder.join(&file);
        let mut opened = File::open(&path).at("read", &path)?;
        archive
            .append_file(Path::new(name).join(&file), &mut opened)
            .map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

/// What a program that succeeded said.
pub(super) fn tell(words: &str) {
    for line in words.lines() {
        if line.contains("warning:") {
            warn!("{line}");
        } else {
            info!("{line}");
        }
    }
}

/// With what to do about what servers say often.
fn with_cure(error: Error) -> Error {
    match error.in_one_line().contains("conflict with recovery") {
        true => error.hint(
            "this standby ends what is in the way of its replay: let it wait, by a longer max_standby_streaming_delay and \
             max_standby_archive_delay there (-1: as long as it takes), or by hot_standby_feedback = on; or dump from the \
             primary.",
        ),
        false => error,
    }
}

/// Our own session had just been let in: what keeps pg_dump out may pass.
fn is_about_connecting(error: &Error) -> bool {
    const MAY_PASS: [&str; 5] = [
        "Connection refused",
        "too many clients",
        "remaining connection slots",
        "the database system is",
        "too many connections",
    ];
    let line = error.in_one_line();
    error.kind() == Kind::Failed
        && line.contains("pg_dump: error: connection to server")
        && MAY_PASS.iter().any(|words| line.contains(words))
}
