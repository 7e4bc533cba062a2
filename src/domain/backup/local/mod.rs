//! Files from the server's data directory, on its host: read by several workers at once, between
//! the two calls of the low-level backup API.
//!
//! Order: start; walk; the workers read all files; then pg_control is read, since a standby is
//! consistent where that says; stop. Last into the backup go backup_label, the WAL if that was
//! asked for, and pg_control: what was cut off before can't be started.

mod bundle;
mod feed;
mod large;
mod listing;
mod member;
mod reader;
mod scan;

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tracing::info;

use self::{
    feed::{Base, Feed},
    large::Large,
    listing::Listing,
    reader::{Pages, Reader},
    scan::Scan,
};
use super::{
    contents::Contents,
    member::Member,
    pack::{Packer, pack},
    source::{self, Copied, Order, Source, Started, Stop},
    summaries::{Geometry, Summaries},
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        backup_label::{self, BackupLabel},
        connection::Session,
        control::{self, Control},
        low_level_backup::{LowLevelBackup, Stopped},
        lsn::{Lsn, TimelineId},
        manifest::WalRange,
        server_facts::{self, Checkpoint, ServerFacts},
        wal_name::{Segment, WalName, segment_numbers},
        wal_summary,
    },
    repo::{
        backup::Method,
        file_index::FilePath,
        layout::BackupObject,
        tablespace::{Location, Tablespace},
    },
    util::{clock, pace::Pace},
};

/// The data directory of a server that runs here.
pub struct Local<'a> {
    root: PathBuf,
    session: &'a Session,
    facts: &'a ServerFacts,
}

impl<'a> Local<'a> {
    pub fn new(root: PathBuf, session: &'a Session, facts: &'a ServerFacts) -> Self {
        Self {
            root,
            session,
            facts,
        }
    }
}

impl Source for Local<'_> {
    fn method(&self) -> Method {
        Method::Local
    }

    fn copy(
        &mut self,
        order: &Order<'_>,
        started: &mut Started<'_>,
        stopped: &mut source::Stopped<'_>,
    ) -> Result<Result<Copied, String>> {
        let options = order.options;
        let control = Control::read(&self.root)?;
        let backup = LowLevelBackup::start(self.session, &options.label, options.checkpoint_fast)?;
        let (start, timeline) = (backup.start, Checkpoint::gather(self.session)?.timeline);
        started(start, timeline)?;
        let mut contents = Contents::new(start, timeline);
        contents.tablespaces = self.tablespaces()?;
        let items = Scan::run(
            &self.root,
            control.major,
            control.catalog_version,
            &contents.tablespaces,
            &self.facts.config_files,
        )?;
        let summaries = self.summaries(order, start, timeline, &control)?;
        order.meter.begin("copying", items.bytes);
        let manifest = order.object(BackupObject::Manifest)?;
        let system = (control.major.manifest_version() > 1).then_some(control.system);
        let mut listing = Listing::new(manifest, system, contents)?;
        let reader = Arc::new(Reader {
            root: self.root.clone(),
            pages: Pages {
                checked: control.has_data_checksums(),
                size: control.block_size as usize,
                in_segment: control.relation_segment_blocks,
                start,
            },
            checksums: options.manifest_checksums,
            meter: order.meter.clone(),
            pace: Pace::new(
                options.max_rate_kb.map(|rate| u64::from(rate) * 1024),
                order.cancel,
            ),
            failures: Mutex::default(),
        });
        let fill = |packer: &mut Packer<'_>| {
            thread::scope(|scope| {
                let base = order.parent.map(|parent| {
                    Ok(Base {
                        since: parent.since(),
                        files: parent.files(scope, order.to.repository)?,
                        summaries: summaries.as_ref(),
                    })
                });
                let feed = Feed::new(order, self.session, &reader);
                feed.all(&items, base.transpose()?, packer)
            })?;
            packer.wait()?;
            self.end(order, backup, &reader, packer)
        };
        let mut each = |member: &_| listing.add(member);
        let checksums = options.manifest_checksums;
        let (packed, stop) = pack(order.to, checksums, &mut each, fill, |_| stopped())?;
        let (contents, manifest) = listing.finish(WalRange {
            timeline,
            start,
            end: stop.lsn,
        })?;
        Ok(Ok(Copied {
            packed,
            contents,
            manifest: manifest.finish()?,
            stop,
        }))
    }

    fn history(&mut self, timeline: TimelineId) -> Result<Vec<u8>> {
        let name = WalName::History(timeline).to_string();
        let path = self.root.join("pg_wal").join(name);
        fs::read(&path).at("read", &path)
    }

    fn backup_notes(&self) -> Result<Option<Vec<WalName>>> {
        let folder = self.root.join("pg_wal");
        let mut notes = Vec::new();
        for entry in folder.read_dir().at("list", &folder)? {
            let name = entry.at("list", &folder)?.file_name();
            let name = name.to_str().and_then(|name| name.parse().ok());
            notes.extend(name.filter(|name| matches!(name, WalName::BackupHistory(..))));
        }
        Ok(Some(notes))
    }
}

impl Local<'_> {
    /// The server's summaries of the WAL between the parent's start and this one's. Where they don't
    /// tell everything, files that changed are read to find the blocks.
    fn summaries(
        &self,
        order: &Order<'_>,
        start: Lsn,
        timeline: TimelineId,
        control: &Control,
    ) -> Result<Option<Summaries>> {
        let Some(parent) = order.parent else {
            return Ok(None);
        };
        order.meter.begin("reading summaries of the WAL", 0);
        let found = if !wal_summary::are_right(self.facts.version) {
            Err("this version of PostgreSQL has none that can be relied on".to_owned())
        } else if parent.history.own != timeline {
            Err(format!("the server came to timeline {timeline} meanwhile"))
        } else {
            Summaries::gather(
                &self.root,
                &parent.history.between(parent.backup.start_lsn, start),
                Geometry {
                    block: control.block_size,
                    in_segment: control.relation_segment_blocks,
                },
                || server_facts::summarizes_wal(self.session),
                order.cancel,
            )?
        };
        match found {
            Ok(summaries) => {
                info!("summaries of the WAL tell which blocks have changed");
                Ok(Some(summaries))
            }
            Err(why) => {
                info!("files that have changed are read, without summaries of the WAL: {why}");
                Ok(None)
            }
        }
    }

    fn tablespaces(&self) -> Result<Vec<Tablespace>> {
        let found = server_facts::tablespaces(self.session)?;
        let spaces = found.into_iter().map(|(oid, place)| Tablespace {
            oid,
            in_place: place.is_relative(),
            location: Location(place),
            bytes: 0,
        });
        Ok(spaces.collect())
    }

    /// Ends the backup on the server once all files were read, and stores what comes last.
    fn end(
        &self,
        order: &Order<'_>,
        backup: LowLevelBackup<'_>,
        reader: &Arc<Reader>,
        packer: &mut Packer<'_>,
    ) -> Result<Stop> {
        let start = backup.start;
        if let Some(parent) = order.parent.filter(|parent| start < parent.backup.stop_lsn) {
            return Err(Error::failed(format!(
                "the backup starts at {start}, before the end of backup {}",
                parent.backup.id
            ))
            .hint("take a full backup."));
        }
        let control = control::read_bytes(&self.root)?;
        let Stopped { lsn, label } = backup.stop()?;
        let said = BackupLabel::parse(&label)?;
        if said.start != start {
            return Err(Error::damaged(format!(
                "the server started the backup at {start}, and its backup_label says {}",
                said.start
            )));
        }
        let label = match order.parent {
            None => label,
            Some(parent) => backup_label::incremental(label, self.facts.major(), parent.from()),
        };
        let own = fs::metadata(&self.root).at("read", &self.root)?;
        small(packer, &own, backup_label::NAME, &label)?;
        if order.options.standalone {
            self.store_wal(packer, reader, &own, said.start_timeline, start, lsn)?;
        }
        small(packer, &own, control::PATH, &control)?;
        let failures = reader.failures.lock();
        let mut page_failures = failures.unwrap_or_else(PoisonError::into_inner).clone();
        page_failures.sort();
        // A standby may have followed its primary to another timeline.
        let now = Control::read(&self.root)?;
        let replayed = now.min_recovery_timeline.filter(|_| self.facts.standby);
        Ok(Stop {
            lsn,
            timeline: replayed.unwrap_or(now.timeline),
            checksum_failures: !page_failures.is_empty(),
            page_failures,
        })
    }

    /// The segments from `start` to `stop` and all histories, as the server adds them to a stream:
    /// marked as archived, since another cluster's archive has them.
    fn store_wal(
        &self,
        packer: &mut Packer<'_>,
        reader: &Arc<Reader>,
        own: &Metadata,
        timeline: TimelineId,
        start: Lsn,
        stop: Lsn,
    ) -> Result<()> {
        let size = self.facts.segment_size;
        let segments = segment_numbers(start, stop, size)
            .map(|number| WalName::Segment(Segment::nth(timeline, number, size)));
        let folder = self.root.join("pg_wal");
        let mut histories = Vec::new();
        for entry in fs::read_dir(&folder).at("list", &folder)? {
            let name = entry.at("list", &folder)?.file_name();
            let name = name.to_str().and_then(|name| name.parse().ok());
            histories.extend(name.filter(|name| matches!(name, WalName::History(_))));
        }
        for name in segments.chain(histories) {
            let path = FilePath(format!("pg_wal/{name}").into_bytes().into());
            let Some((file, found)) = reader.open(&path)? else {
                return Err(Error::damaged(format!(
                    "the server has no {name} any more, which this backup needs"
                ))
                .hint("run the backup again."));
            };
            let hash = matches!(name, WalName::Segment(_));
            Large::new(Arc::clone(reader), path, file, &found).pack_in_order(packer, hash)?;
            small(
                packer,
                own,
                &format!("pg_wal/archive_status/{name}.done"),
                &[],
            )?;
        }
        Ok(())
    }
}

/// Stores a file that is not read from the data directory, with its owner and as readable.
fn small(packer: &mut Packer<'_>, own: &Metadata, path: &str, bytes: &[u8]) -> Result<()> {
    let member = Member {
        path: FilePath(OsStr::new(path).as_encoded_bytes().into()),
        folder: false,
        size: bytes.len() as u64,
        mode: 0o600 | (own.mode() & 0o040),
        mtime: clock::now().timestamp(),
        uid: own.uid().into(),
        gid: own.gid().into(),
    };
    packer.member(&member, false)?;
    if bytes.is_empty() {
        return Ok(());
    }
    packer.data(bytes)
}
