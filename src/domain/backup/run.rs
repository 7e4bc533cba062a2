//! Takes a base backup, step by step.

use std::{
    ops::Range,
    thread::{self, Scope},
};

use tracing::{info, warn};

use super::{
    apart,
    claim::{self, Intent, SignsOfLife},
    complete::Expected,
    contents::Contents,
    diagnosis::{self, Diagnosis},
    method,
    options::{Options, Outcome},
    own_wal::OwnSegment,
    pack::Destination,
    parent::Parent,
    seal,
    source::{Copied, Order, Source, Started, Stop, Stopped},
    stream, trace,
};
use crate::{
    domain::wal::receive::slot::ReceiverSlot,
    error::{Error, Kind, Result},
    postgres::{
        connection::Session,
        conninfo::ConnInfo,
        lsn::{Lsn, TimelineId},
        replication::Replication,
        server_facts::{self, Checkpoint, ServerFacts},
        timeline::TimelineHistory,
        wal_name::{Segment, WalName, segment_numbers},
    },
    repo::{
        backup::{Backup, Method},
        backup_id::{BackupId, BackupKind},
        codec::Compression,
        layout::BackupObject,
        object_writer::ObjectWriter,
        repository::{Repository, System},
    },
    util::{
        cancel::Cancel,
        clock::{self, Time},
        hash::Sha256,
        meter::Meter,
    },
};

/// The oldest server whose base backup stream we read (its present form came with 15).
const OLDEST: u32 = 15;
/// The newest server that the tests run.
const NEWEST_TESTED: u32 = 18;

/// Takes a base backup of the server at `info`.
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
    repository.check_encryption(&system)?;
    let mut source = method::source(options, info, &session, &facts, cancel)?;
    let receiver = match options.standalone {
        true => None,
        false => {
            let found = ReceiverSlot::find(&session, &options.slot)?;
            let slot = found.as_ref();
            diagnosis::before_copy(&session, &facts, repository, &system, options, slot)?;
            found.filter(|_| !facts.standby)
        }
    };
    seal::finish_all(repository)?;
    let checkpoint = Checkpoint::gather(&session)?;
    let behind = diagnosis::behind(&session, checkpoint.timeline, repository, &system)?;
    let mut parent = parent(
        repository,
        options,
        &session,
        &facts,
        checkpoint,
        source.as_mut(),
    )?;
    loop {
        if let Err(why) = &parent {
            info!("a full backup: {why}");
        }
        let wanted = parent.ok();
        let id = claim::claim(
            repository,
            Intent {
                kind: match wanted {
                    Some(_) => BackupKind::Incremental,
                    None => BackupKind::Full,
                },
                parent: wanted.as_ref().map(|parent| parent.backup.id),
                system_id: facts.system_id,
                timeline: checkpoint.timeline,
                lower_bound: checkpoint.redo,
                turn: options.turn,
            },
        )?;
        let run = Run {
            repository,
            system: &system,
            info,
            session: &session,
            facts: &facts,
            id,
            parent: wanted,
            behind,
            is_received: receiver.is_some(),
            options,
            meter,
            cancel,
        };
        match run.copy_and_seal(source.as_mut()) {
            Ok(Ok(outcome)) => return Ok(outcome),
            // The server can't make an incremental one: a full one then.
            Ok(Err(refused)) => {
                claim::remove_remains(repository, id)?;
                parent = Err(refused);
            }
            Err(error) => {
                if let Err(error) = repository.remove_backup(id) {
                    warn!(
                        "remains of backup {id} are left: {}; the next run removes them",
                        error.in_one_line()
                    );
                }
                return Err(error);
            }
        }
    }
}

/// The backup to build on, or why there is none.
fn parent(
    repository: &Repository,
    options: &Options,
    session: &Session,
    facts: &ServerFacts,
    now: Checkpoint,
    source: &mut dyn Source,
) -> Result<Result<Parent, String>> {
    if options.chain.full_every.is_none() {
        let why = "each is one where full_every is not set, or --full is given";
        return Ok(Err(why.to_owned()));
    }
    if source.method() == Method::Stream
        && let Some(why) = stream::why_not_incremental(session, facts)?
    {
        return Ok(Err(why));
    }
    let history = match now.timeline {
        TimelineId::FIRST => TimelineHistory::without_ancestors(now.timeline),
        other => TimelineHistory::parse(other, &source.history(other)?)?,
    };
    let parent = Parent::find(
        repository,
        facts,
        now,
        source.method(),
        history,
        options.chain,
        clock::now(),
    )?;
    Ok(match parent {
        Ok(parent) => match trace::why_missing(source, session, facts, now.timeline, &parent)? {
            Some(why) => Err(why),
            None => Ok(parent),
        },
        none => none,
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
    pub(super) system: &'a System,
    pub(super) info: &'a ConnInfo,
    pub(super) session: &'a Session,
    pub(super) facts: &'a ServerFacts,
    pub(super) id: BackupId,
    pub(super) parent: Option<Parent>,
    /// Where a standby should be, and was not when it began.
    pub(super) behind: Option<Lsn>,
    /// Whether receive-wal may bring its WAL, so that no note of the server's comes.
    pub(super) is_received: bool,
    pub(super) options: &'a Options,
    pub(super) meter: &'a Meter,
    pub(super) cancel: &'a Cancel,
}

/// With the server's clock at its start and its end.
pub(super) type Timed = (Copied, Range<Time>);

impl Run<'_> {
    /// Err is why the server can't make an incremental backup.
    fn copy_and_seal(&self, source: &mut dyn Source) -> Result<Result<Outcome, String>> {
        thread::scope(|scope| {
            let (mut life, mut own, mut beside) = (None, None, None);
            let mut started = |lsn, timeline| {
                let (repository, id) = (self.repository, self.id);
                life = Some(SignsOfLife::begin(scope, repository, id, lsn, timeline)?);
                if self.is_received {
                    let segment = Segment::holding(timeline, lsn, self.facts.segment_size);
                    own = match self.own_segment(scope, segment) {
                        // The archiver may bring the server's note.
                        Err(error) if self.facts.archiving.is_on(false) => {
                            info!("the server's own WAL is not read: {}", error.in_one_line());
                            None
                        }
                        own => Some(own?),
                    };
                }
                Ok(())
            };
            let mut stopped = || {
                self.meter.begin("describing", 0);
                beside = Some(self.store_beside()?);
                Ok(())
            };
            let copied = match self.copy(source, &mut started, &mut stopped)? {
                Ok(copied) => copied,
                Err(refused) => return Ok(Err(refused)),
            };
            let beside =
                beside.ok_or_else(|| Error::failed("nothing was told of the backup's end"))?;
            self.keep_history(source, copied.0.contents.timeline)?;
            let mut backup = self.describe(copied, beside, source.method())?;
            if let Some(first) = own {
                let last = backup.segment(*backup.needed_segments().end());
                match self.both_ends(scope, first, last) {
                    Ok([first, last]) => {
                        backup.start_segment_sha256 = Some(first);
                        backup.stop_segment_sha256 = Some(last);
                    }
                    Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                    // The server's note may come.
                    Err(error) => warn!(
                        "can't read the server's own WAL, by which that in the repository is known to be its: {}",
                        error.in_one_line()
                    ),
                }
            }
            self.seal(backup).map(Ok)
        })
    }

    fn own_segment<'scope, 'env: 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        segment: Segment,
    ) -> Result<OwnSegment<'scope>> {
        OwnSegment::begin(
            scope,
            self.info,
            segment,
            self.facts.segment_size,
            self.cancel,
        )
    }

    fn both_ends<'scope, 'env: 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        first: OwnSegment<'scope>,
        last: Segment,
    ) -> Result<[Sha256; 2]> {
        if first.segment() == last {
            return first.finish().map(|only| [only, only]);
        }
        let first = first.finish()?;
        Ok([first, self.own_segment(scope, last)?.finish()?])
    }

    fn copy(
        &self,
        source: &mut dyn Source,
        started: &mut Started<'_>,
        stopped: &mut Stopped<'_>,
    ) -> Result<Result<Timed, String>> {
        let order = Order {
            to: Destination {
                repository: self.repository,
                id: self.id,
                compression: self.options.compression,
                workers: self.options.workers,
                part_size: self.options.part_size,
                verify: self.options.verify,
            },
            options: self.options,
            parent: self.parent.as_ref(),
            meter: self.meter,
            cancel: self.cancel,
        };
        // The server may recycle the WAL that a standalone backup needs before it is copied.
        let _keeps_wal = self
            .options
            .standalone
            .then(|| self.hold_wal())
            .transpose()?;
        let start_time = server_facts::now(self.session)?;
        let expected = Expected::gather(self.session)?;
        let phase = if self.options.checkpoint_fast {
            "checkpoint"
        } else {
            "waiting for a checkpoint"
        };
        self.meter.begin(phase, 0);
        let copied = match source.copy(&order, started, stopped)? {
            Ok(copied) => copied,
            Err(refused) => return Ok(Err(refused)),
        };
        self.check_end(&copied.contents, &copied.stop)?;
        expected.check(&Expected::gather(self.session)?, &copied.contents)?;
        if self.options.standalone {
            self.check_standalone_wal(&copied.contents, &copied.stop)?;
        }
        if let Some(archived) = self.behind {
            diagnosis::warn_of_lag(self.session, archived)?;
        }
        let stop_time = server_facts::now(self.session)?;
        Ok(Ok((copied, start_time..stop_time)))
    }

    /// A temporary slot keeps the server's WAL from now on; it goes with its session.
    fn hold_wal(&self) -> Result<Replication> {
        let mut session = Replication::connect(self.info, self.cancel)?;
        // Of this try alone: the server may take a while to drop that of the one before.
        let name = format!("pgstow_base_{}_{}", std::process::id(), self.id);
        let name = name.to_lowercase().replace('-', "_");
        session.create_physical_slot(&name, true, true).map_err(|error| {
            error.hint("a standalone backup needs a free replication slot: raise max_replication_slots.")
        })?;
        Ok(session)
    }

    /// The server looks after most of this itself; what it says must fit together all the same.
    fn check_end(&self, contents: &Contents, stop: &Stop) -> Result<()> {
        if stop.lsn <= contents.start_lsn || stop.timeline != contents.timeline {
            return Err(Error::damaged(format!(
                "the backup began at {} on timeline {} and ended at {} on timeline {}",
                contents.start_lsn, contents.timeline, stop.lsn, stop.timeline
            ))
            .hint(if self.facts.standby {
                "the primary was promoted, and the standby has not replayed a checkpoint of the new timeline yet: \
                 run CHECKPOINT on the primary, wait until it is replayed, and run the backup again."
            } else {
                "if the server was promoted meanwhile, run the backup again."
            }));
        }
        let now = ServerFacts::gather(self.session)?;
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

    fn check_standalone_wal(&self, contents: &Contents, stop: &Stop) -> Result<()> {
        let size = self.facts.segment_size;
        let needed = segment_numbers(contents.start_lsn, stop.lsn, size);
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

    /// Recovery on a later timeline than the first needs its history file, which the archiver
    /// stored when the timeline began: maybe into another repository, before this one was made.
    fn keep_history(&self, source: &mut dyn Source, timeline: TimelineId) -> Result<()> {
        if timeline == TimelineId::FIRST {
            return Ok(());
        }
        let file = WalName::History(timeline);
        let name = self.repository.wal_object(self.system, file);
        let content = source.history(timeline)?;
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
                let (repository, system) = (self.repository, self.system);
                let look = || {
                    let options = self.options;
                    diagnosis::while_waiting(self.session, self.facts, repository, system, options)
                };
                // What was refused was warned of.
                refused.clone().map_or_else(look, Diagnosis::patience)
            };
            let limit = self.options.wal_limit;
            let lacks = seal::wait_for_wal(
                self.repository,
                self.system,
                &backup,
                limit,
                self.cancel,
                &mut diagnose,
            )?;
            if !lacks.is_nothing() {
                seal::keep_pending(self.repository, &backup)?;
                return Ok(Outcome::Pending {
                    backup: Box::new(backup),
                    lacks: lacks.describe(self.system),
                    why: diagnose().why,
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
        encrypted: bool,
    ) -> Result<ObjectWriter<'_>> {
        let name = self.repository.layout().backup_object(&self.id, object);
        ObjectWriter::begin(self.repository, name, compression, encrypted)
    }
}
