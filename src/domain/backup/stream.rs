//! Files from the server's stream: works from any host, through one connection.

use std::sync::{Mutex, PoisonError};

use super::{
    manifest_check,
    pack::{Ended, Packer, pack},
    regrown::Regrown,
    repack::{Incremental, Repacker},
    source::{Copied, Order, Source, Started, Stop, Stopped},
};
use crate::{
    error::{Error, Result},
    postgres::{
        base_backup::{BaseBackupOptions, Begun},
        connection::Session,
        conninfo::ConnInfo,
        file_checksum::Checksum,
        lsn::{Lsn, TimelineId},
        manifest::Summary,
        replication::Replication,
        server_facts::{self, ServerFacts},
        wal_name::WalName,
        wal_summary,
    },
    repo::{
        backup::{Backup, Method},
        codec::Codec,
        layout::BackupObject,
        repository::Repository,
    },
    util::cancel::Cancel,
};

/// A walsender session that sends the data directory.
pub struct Stream<'a> {
    info: &'a ConnInfo,
    session: &'a Session,
    facts: &'a ServerFacts,
    replication: Replication,
}

impl<'a> Stream<'a> {
    pub fn connect(
        info: &'a ConnInfo,
        session: &'a Session,
        facts: &'a ServerFacts,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut replication = Replication::connect(info, cancel)?;
        let identity = replication.identify_system()?;
        if identity.system_id != facts.system_id {
            return Err(Error::failed(
                "the replication connection leads to another server than the SQL connection",
            )
            .hint("connect to the server itself, not to a pooler or a load balancer."));
        }
        Ok(Self {
            info,
            session,
            facts,
            replication,
        })
    }

    /// Gives up what the server is sending, and is ready for another backup.
    fn begin_anew(&mut self, cancel: &Cancel) -> Result<()> {
        *self = Self::connect(self.info, self.session, self.facts, cancel)?;
        Ok(())
    }

    /// The server finds out what has changed since the backup of this manifest.
    fn upload_manifest(&mut self, repository: &Repository, parent: &Backup) -> Result<()> {
        let layout = repository.layout();
        let name = layout.backup_object(&parent.id, BackupObject::Manifest);
        let storage = repository.storage();
        let plain = Codec::Zstd.decoder(storage.get(&name, None)?);
        let plain = plain.map_err(|error| storage.failed("read", &name, error))?;
        self.replication.upload_manifest(plain)
    }
}

/// Why a server can't send incremental backups, as far as it is known without trying.
pub fn why_not_incremental(session: &Session, facts: &ServerFacts) -> Result<Option<String>> {
    if facts.major() < 17 {
        return Ok(Some(format!(
            "a stream of PostgreSQL {} can't be incremental",
            facts.major()
        )));
    }
    if !wal_summary::are_right(facts.version) {
        return Ok(Some(
            "this minor release of PostgreSQL forgets changes of visibility maps; 17.11 and 18.6 don't"
                .to_owned(),
        ));
    }
    let on = server_facts::summarizes_wal(session)?;
    Ok((!on).then(|| "summarize_wal is off".to_owned()))
}

impl Source for Stream<'_> {
    fn method(&self) -> Method {
        Method::Stream
    }

    fn copy(
        &mut self,
        order: &Order<'_>,
        started: &mut Started<'_>,
        stopped: &mut Stopped<'_>,
    ) -> Result<Result<Copied, String>> {
        let options = order.options;
        let command = BaseBackupOptions {
            label: options.label.clone(),
            checkpoint_fast: options.checkpoint_fast,
            max_rate_kb: options.max_rate_kb,
            wal: options.standalone,
            manifest_checksums: options.manifest_checksums,
            verify_checksums: true,
            incremental: order.parent.is_some(),
        };
        if let Some(parent) = order.parent {
            self.upload_manifest(order.to.repository, &parent.backup)?;
        }
        let start = match self.replication.begin_base_backup(&command)? {
            Begun::Started(start) => start,
            Begun::Refused(error) => return Ok(Err(error.message)),
        };
        let regrown = match order.parent {
            None => None,
            Some(parent) => {
                let (from, to) = (parent.backup.start_lsn, start.lsn);
                Some(Regrown::gather(self.session, from, to)?)
            }
        };
        // What the manifest will list, where that is not the CRC-32C that the index has.
        let hashed = Mutex::new(Vec::new());
        let hashes = || hashed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut each = |member: &Ended| {
            hashes().extend(member.checksum.clone());
            Ok(())
        };
        let fill = |packer: &mut Packer<'_>| {
            let manifest = order.object(BackupObject::Manifest)?;
            let incremental = regrown.as_ref().map(|regrown| Incremental {
                block_size: self.facts.block_size,
                regrown,
            });
            let mut sink = Repacker::new(packer, manifest, order.meter, started, incremental);
            let end = self.replication.receive(&start, &mut sink)?;
            let (contents, manifest) = sink.finish()?;
            Ok((contents, manifest.finish()?, end))
        };
        let packed = pack(
            order.to,
            options.manifest_checksums,
            &mut each,
            fill,
            |(_, _, end)| {
                check_manifest(order, end.stop_lsn, &hashes())?;
                stopped()
            },
        );
        if let Some(path) = regrown.and_then(|regrown| regrown.found()) {
            self.begin_anew(order.cancel)?;
            return Ok(Err(format!(
                "{path} was cut off and has grown again: PostgreSQL would bring deleted rows back"
            )));
        }
        let (packed, (contents, manifest, end)) = packed?;
        Ok(Ok(Copied {
            packed,
            contents,
            manifest,
            stop: Stop {
                lsn: end.stop_lsn,
                timeline: end.timeline,
                page_failures: end.page_failures,
                checksum_failures: end.checksum_failures,
            },
        }))
    }

    fn history(&mut self, timeline: TimelineId) -> Result<Vec<u8>> {
        let (_, content) = self.replication.timeline_history(timeline)?;
        Ok(content)
    }

    fn backup_notes(&self) -> Result<Option<Vec<WalName>>> {
        server_facts::backup_notes(self.session)
    }
}

/// The server's manifest lists the same files as the index, and tells the same end.
fn check_manifest(order: &Order<'_>, stop_lsn: Lsn, hashed: &[Checksum]) -> Result<()> {
    let repository = order.to.repository;
    let read = |object| {
        let name = repository.layout().backup_object(&order.to.id, object);
        repository.storage().get(&name, None)
    };
    let Summary { wal_ranges, .. } = manifest_check::check(
        read(BackupObject::Index)?,
        read(BackupObject::Manifest)?,
        hashed,
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
