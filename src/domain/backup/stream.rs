//! Files from the server's stream: works from any host, through one connection.

use std::sync::{Mutex, PoisonError};

use super::{
    manifest_check,
    pack::{Ended, Packer, pack},
    repack::Repacker,
    source::{Copied, Order, Source, Started, Stop},
};
use crate::{
    error::{Error, Result},
    postgres::{
        base_backup::BaseBackupOptions,
        file_checksum::Checksum,
        lsn::{Lsn, TimelineId},
        manifest::Summary,
        replication::Replication,
    },
    repo::{catalog::Method, layout::BackupObject},
};

/// A walsender session that sends the data directory.
pub struct Stream {
    replication: Replication,
}

impl Stream {
    pub fn new(replication: Replication) -> Self {
        Self { replication }
    }
}

impl Source for Stream {
    fn method(&self) -> Method {
        Method::Stream
    }

    fn copy(&mut self, order: &Order<'_>, started: &mut Started<'_>) -> Result<Copied> {
        let options = order.options;
        let command = BaseBackupOptions {
            label: options.label.clone(),
            checkpoint_fast: options.checkpoint_fast,
            max_rate_kb: options.max_rate_kb,
            wal: options.standalone,
            manifest_checksums: options.manifest_checksums,
            verify_checksums: true,
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
            let mut sink = Repacker::new(packer, manifest, order.meter, started);
            let end = self.replication.base_backup(&command, &mut sink)?;
            let (contents, manifest) = sink.finish()?;
            Ok((contents, manifest.finish()?, end))
        };
        let (packed, (contents, manifest, end)) = pack(
            order.to,
            options.manifest_checksums,
            &mut each,
            fill,
            |(_, _, end)| check_manifest(order, end.stop_lsn, &hashes()),
        )?;
        Ok(Copied {
            packed,
            contents,
            manifest,
            stop: Stop {
                lsn: end.stop_lsn,
                timeline: end.timeline,
                page_failures: end.page_failures,
                checksum_failures: end.checksum_failures,
            },
        })
    }

    fn history(&mut self, timeline: TimelineId) -> Result<Vec<u8>> {
        let (_, content) = self.replication.timeline_history(timeline)?;
        Ok(content)
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
