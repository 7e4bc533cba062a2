//! Takes a base backup, step by step.

use std::thread;

use tracing::warn;

use super::{
    apart,
    claim::{self, Intent, SignsOfLife},
    diagnosis, manifest_check,
    options::{Options, Outcome},
    pack::{Destination, Packed, Packer, pack},
    seal,
    stream::{Contents, Repacker},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        base_backup::{BackupEnd, BaseBackupOptions},
        connection::Session,
        conninfo::ConnInfo,
        file_checksum::Checksum,
        lsn::{Lsn, TimelineId},
        manifest::Summary,
        replication::Replication,
        server_facts::{self, Checkpoint, ServerFacts},
        wal_name::{Segment, WalName, segment_numbers},
    },
    repo::{
        backup_id::{BackupId, BackupKind},
        catalog::{Backup, StoredObject},
        codec::Compression,
        layout::BackupObject,
        object_writer::ObjectWriter,
        repository::{Repository, System},
    },
    util::{
        cancel::Cancel,
        clock::{self, Time},
        meter::Meter,
    },
};

/// The oldest server whose base backup stream we read (its present form came with 15).
const OLDEST: u32 = 15;
/// The newest server that the tests run.
const NEWEST_TESTED: u32 = 18;

/// Takes a full base backup of the server at `info` through its replication protocol.
pub fn run(
    repository: &Repository,
    info: &ConnInfo,
    options: &Options,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Outcome> {
    meter.begin("preparing", 0);
    let session = Session::connect(info, cancel)?;
    let facts = ServerFacts::gather(&session)?;
    check_version(&facts)?;
    apart::refuse_inside(repository.location(), &session, info, &facts)?;
    let system = repository.system(facts.system_id)?;
    let mut replication = Replication::connect(info, cancel)?;
    let identity = replication.identify_system()?;
    if identity.system_id != facts.system_id {
        return Err(Error::failed(
            "the replication connection leads to another server than the SQL connection",
        )
        .hint("connect to the server itself, not to a pooler or a load balancer."));
    }
    if !options.standalone {
        diagnosis::before_copy(&session, &facts, repository, &system)?;
    }
    seal::finish_all(repository)?;
    let id = claim::claim(
        repository,
        Intent {
            kind: BackupKind::Full,
            parent: None,
            system_id: facts.system_id,
            timeline: identity.timeline,
            lower_bound: Checkpoint::gather(&session)?.redo,
        },
    )?;
    let run = Run {
        repository,
        system,
        info,
        session,
        facts,
        id,
        options,
        meter,
        cancel,
    };
    run.copy_and_seal(replication).inspect_err(|_| {
        if let Err(error) = repository.remove_backup(id) {
            warn!(
                "remains of backup {id} are left: {}; the next run removes them",
                error.in_one_line()
            );
        }
    })
}

fn check_version(facts: &ServerFacts) -> Result<()> {
    let major = facts.major();
    if major < OLDEST {
        return Err(Error::failed(format!(
            "the server is PostgreSQL {major}; pgstow needs {OLDEST} or newer"
        )));
    }
    if major > NEWEST_TESTED {
        warn!(
            "PostgreSQL {major} is newer than the newest that this version of pgstow was tested with, {NEWEST_TESTED}"
        );
    }
    Ok(())
}

/// A backup that has its claim.
pub(super) struct Run<'a> {
    pub(super) repository: &'a Repository,
    pub(super) system: System,
    pub(super) info: &'a ConnInfo,
    pub(super) session: Session,
    pub(super) facts: ServerFacts,
    pub(super) id: BackupId,
    pub(super) options: &'a Options,
    pub(super) meter: &'a Meter,
    pub(super) cancel: &'a Cancel,
}

/// What the copy brought.
pub(super) struct Copied {
    pub(super) packed: Packed,
    pub(super) contents: Contents,
    pub(super) end: BackupEnd,
    pub(super) manifest: StoredObject,
    pub(super) start_time: Time,
    pub(super) stop_time: Time,
}

impl Run<'_> {
    fn copy_and_seal(&self, mut replication: Replication) -> Result<Outcome> {
        thread::scope(|scope| {
            let mut life = None;
            let copied = self.copy(&mut replication, &mut |lsn, timeline| {
                life = Some(SignsOfLife::begin(
                    scope,
                    self.repository,
                    self.id,
                    lsn,
                    timeline,
                )?);
                Ok(())
            })?;
            self.meter.begin("describing", 0);
            self.keep_history(&mut replication, copied.contents.timeline)?;
            let backup = self.describe(copied)?;
            self.seal(backup)
        })
    }

    fn copy(
        &self,
        replication: &mut Replication,
        on_start: &mut dyn FnMut(Lsn, TimelineId) -> Result<()>,
    ) -> Result<Copied> {
        let command = BaseBackupOptions {
            label: self.options.label.clone(),
            checkpoint_fast: self.options.checkpoint_fast,
            max_rate_kb: self.options.max_rate_kb,
            wal: self.options.standalone,
            manifest_checksums: self.options.manifest_checksums,
            verify_checksums: true,
        };
        let to = Destination {
            repository: self.repository,
            id: self.id,
            compression: self.options.compression,
            workers: self.options.workers,
            part_size: self.options.part_size,
            manifest_checksums: self.options.manifest_checksums,
            verify: self.options.verify,
        };
        // The server may recycle the WAL that a standalone backup needs before it sends it.
        let _keeps_wal = self
            .options
            .standalone
            .then(|| self.hold_wal())
            .transpose()?;
        let start_time = server_facts::now(&self.session)?;
        let phase = if self.options.checkpoint_fast {
            "checkpoint"
        } else {
            "waiting for a checkpoint"
        };
        self.meter.begin(phase, 0);
        let fill = |packer: &mut Packer<'_>| {
            let manifest = self.object(BackupObject::Manifest, Compression::default())?;
            let mut sink = Repacker::new(packer, manifest, self.meter, on_start);
            let end = replication.base_backup(&command, &mut sink)?;
            let (contents, manifest) = sink.finish()?;
            Ok((contents, manifest.finish()?, end))
        };
        let (packed, (contents, manifest, end)) = pack(to, fill, |(_, _, end), checksums| {
            self.check_manifest(end.stop_lsn, checksums)
        })?;
        self.check_end(&contents, &end)?;
        if self.options.standalone {
            self.check_standalone_wal(&contents, &end)?;
        }
        let stop_time = server_facts::now(&self.session)?;
        Ok(Copied {
            packed,
            contents,
            end,
            manifest,
            start_time,
            stop_time,
        })
    }

    /// A temporary slot keeps the server's WAL from now on; it goes with its session.
    fn hold_wal(&self) -> Result<Replication> {
        let mut session = Replication::connect(self.info, self.cancel)?;
        let name = format!("pgstow_base_{}", std::process::id());
        session.create_physical_slot(&name, true, true).map_err(|error| {
            error.hint("a standalone backup needs a free replication slot: raise max_replication_slots.")
        })?;
        Ok(session)
    }

    /// The server looks after most of this itself; what it says must fit together all the same.
    fn check_end(&self, contents: &Contents, end: &BackupEnd) -> Result<()> {
        if end.stop_lsn <= contents.start_lsn || end.timeline != contents.timeline {
            return Err(Error::damaged(format!(
                "the backup began at {} on timeline {} and ended at {} on timeline {}",
                contents.start_lsn, contents.timeline, end.stop_lsn, end.timeline
            ))
            .hint("if the server was promoted meanwhile, run the backup again."));
        }
        let now = ServerFacts::gather(&self.session)?;
        let same = |what: &str, same: bool| {
            let changed =
                || Error::failed(format!("{what} of the server changed during the backup"));
            if same {
                Ok(())
            } else {
                Err(changed().hint("run the backup again."))
            }
        };
        same(
            "the system identifier",
            now.system_id == self.facts.system_id,
        )?;
        same("the version", now.version == self.facts.version)?;
        same(
            "the state of data checksums",
            now.data_checksums == self.facts.data_checksums,
        )?;
        same(
            "the role (primary or standby)",
            now.standby == self.facts.standby,
        )
    }

    fn check_standalone_wal(&self, contents: &Contents, end: &BackupEnd) -> Result<()> {
        let size = self.facts.segment_size;
        let needed = segment_numbers(contents.start_lsn, end.stop_lsn, size);
        for number in needed {
            let segment = Segment::nth(contents.timeline, number, size);
            if !contents.wal.contains(&segment) {
                return Err(Error::damaged(format!(
                    "the server did not send {segment}, which this backup needs"
                )));
            }
        }
        Ok(())
    }

    fn check_manifest(&self, stop_lsn: Lsn, checksums: &[Checksum]) -> Result<()> {
        let read = |object| {
            let name = self.repository.layout().backup_object(&self.id, object);
            self.repository.storage().get(&name, None)
        };
        let Summary { wal_ranges, .. } = manifest_check::check(
            read(BackupObject::Index)?,
            read(BackupObject::Manifest)?,
            checksums,
        )?;
        let covers = wal_ranges.iter().any(|range| range.end == stop_lsn);
        if covers {
            Ok(())
        } else {
            Err(Error::damaged(
                "the server's manifest tells another end of the backup",
            ))
        }
    }

    /// Recovery on a later timeline than the first needs its history file, which the archiver
    /// stored when the timeline began: maybe into another repository, before this one was made.
    fn keep_history(&self, replication: &mut Replication, timeline: TimelineId) -> Result<()> {
        if timeline == TimelineId::FIRST {
            return Ok(());
        }
        let file = WalName::History(timeline);
        let name =
            self.repository
                .layout()
                .wal_file(self.system.system_id, file, self.system.wal_codec);
        let (_, content) = replication.timeline_history(timeline)?;
        match self.repository.storage().create(&name, &content) {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                if self.repository.storage().read(&name, 1 << 20)? == content {
                    return Ok(());
                }
                Err(Error::new(
                    Kind::Foreign,
                    format!("{} differs from the server's history of that timeline", self.repository.storage().place(&name)),
                )
                .hint("two servers of one system seem to have been promoted to the same timeline: find out which one is right before anything else."))
            }
            other => other,
        }
    }

    fn seal(&self, backup: Backup) -> Result<Outcome> {
        if !backup.standalone {
            self.meter.begin("waiting for WAL", 0);
            let refused = self.switch_on_primary();
            let mut diagnose = || {
                refused.clone().unwrap_or_else(|| {
                    let (repository, system) = (self.repository, &self.system);
                    diagnosis::while_waiting(&self.session, &self.facts, repository, system)
                })
            };
            let limit = self.options.wal_limit;
            let missing = seal::wait_for_wal(
                self.repository,
                &self.system,
                &backup,
                limit,
                self.cancel,
                &mut diagnose,
            )?;
            if !missing.is_empty() {
                seal::keep_pending(self.repository, &backup)?;
                return Ok(Outcome::Pending {
                    backup: Box::new(backup),
                    missing,
                    why: diagnose(),
                });
            }
        }
        seal::check_freshness(self.repository, self.id, clock::now())?;
        seal::commit(self.repository, &backup)?;
        Ok(Outcome::Sealed(Box::new(backup)))
    }

    /// A standby can't switch to a new segment, so the last one that the backup needs may stay
    /// open for long on a quiet primary. Says why the primary did not do it.
    fn switch_on_primary(&self) -> Option<String> {
        let primary = self.options.primary.as_ref();
        let primary = primary.filter(|_| self.facts.standby)?;
        let switched = Session::connect(primary, self.cancel)
            .and_then(|session| session.query_rows("SELECT pg_switch_wal()", &[]));
        let error = switched.err()?.in_one_line();
        let refused = format!("can't ask the primary to switch to a new WAL segment: {error}");
        warn!("{refused}");
        Some(refused)
    }

    pub(super) fn object(
        &self,
        object: BackupObject,
        compression: Compression,
    ) -> Result<ObjectWriter<'_>> {
        let name = self.repository.layout().backup_object(&self.id, object);
        ObjectWriter::begin(self.repository.storage(), name, compression)
    }
}
