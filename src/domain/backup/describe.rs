//! What goes beside the parts, and the description that becomes `backup.json`.

use tracing::{info, warn};

use super::{
    config_files, relations,
    run::{Run, Timed},
    source::{Copied, Stop},
};
use crate::{
    error::Result,
    postgres::{
        page_failures::PageFailure,
        wal_name::{Segment, segment_numbers},
    },
    repo::{
        backup::{self, Backup, Method, Part, RecoverySettings, StoredObject},
        backup_id::BackupKind,
        document::FORMAT,
        edition::Edition,
        layout::BackupObject,
        object_writer::LISTS,
    },
    util::{host, units},
};

/// What is stored beside the files, from what the server tells.
pub(super) struct Beside {
    objects: Vec<StoredObject>,
    config: config_files::Stored,
}

impl Run<'_> {
    pub(super) fn store_beside(&self) -> Result<Beside> {
        let mut objects = vec![self.store_relations()?];
        let config = self.store_config(&mut objects)?;
        Ok(Beside { objects, config })
    }

    fn store_relations(&self) -> Result<StoredObject> {
        let mut out = self.object(BackupObject::Relations, LISTS, false)?;
        // No loss of data, and every night the same where the role may not enter on purpose.
        let left_out = relations::write(self.info, self.session, &mut out, self.cancel)?;
        if let Some(first) = left_out.first() {
            info!(
                "the names of relations in {} are not in the backup, such as {first}",
                units::count(left_out.len() as u64, "database")
            );
        }
        out.finish()
    }

    pub(super) fn describe(
        &self,
        (copied, times): Timed,
        Beside {
            objects: beside,
            config,
        }: Beside,
        method: Method,
    ) -> Result<Backup> {
        let Copied {
            packed,
            contents,
            manifest,
            stop,
        } = copied;
        let mut objects = vec![manifest, packed.index];
        objects.extend(beside);
        self.store_sums(&packed.parts)?;
        let size = self.facts.segment_size;
        let segment = |number| Segment::nth(contents.timeline, number, size).to_string();
        let needed = segment_numbers(contents.start_lsn, stop.lsn, size);
        Ok(Backup {
            format: FORMAT,
            id: self.id,
            kind: match self.parent {
                Some(_) => BackupKind::Incremental,
                None => BackupKind::Full,
            },
            parent: self.parent.as_ref().map(|parent| parent.backup.id),
            cluster: self.repository.layout().cluster().to_string(),
            system_id: self.facts.system_id,
            postgres_version: self.facts.version,
            timeline: contents.timeline,
            start_lsn: contents.start_lsn,
            stop_lsn: stop.lsn,
            start_time: times.start,
            stop_time: times.end,
            start_segment: segment(*needed.start()),
            stop_segment: segment(*needed.end()),
            start_segment_sha256: None,
            stop_segment_sha256: None,
            segment_size: size,
            block_size: self.facts.block_size,
            data_checksums: self.facts.data_checksums,
            method,
            standby: self.facts.standby,
            standalone: self.options.standalone,
            label: self.options.label.clone(),
            data_directory: self.facts.data_directory.display().to_string(),
            compression: self.options.compression.codec,
            level: self.options.compression.level,
            recipients: self.repository.recipients()?,
            stored_bytes: packed.parts.iter().map(|part| part.stored_bytes).sum(),
            tablespaces: contents.tablespaces,
            parts: packed.parts,
            objects,
            files: contents.files,
            bytes: contents.bytes,
            base_bytes: contents.base_bytes,
            config_files: config.files,
            config_missing: config.missing,
            page_failures: page_failures(stop),
            settings: RecoverySettings {
                max_connections: self.facts.max_connections,
                max_worker_processes: self.facts.max_worker_processes,
                max_wal_senders: self.facts.max_wal_senders,
                max_prepared_transactions: self.facts.max_prepared_transactions,
                max_locks_per_transaction: self.facts.max_locks_per_transaction,
            },
            verified: self.options.verify,
            host: host::name(),
            pgstow_version: env!("CARGO_PKG_VERSION").to_owned(),
            annotations: self.options.annotations.clone(),
        })
    }

    fn store_config(&self, objects: &mut Vec<StoredObject>) -> Result<config_files::Stored> {
        let compression = self.options.compression;
        let coding = self.repository.coding(compression.codec);
        let object = BackupObject::Config(Edition::FIRST, coding);
        let begin = || self.object(object, compression, coding.encrypted);
        let (stored, out) = config_files::write(self.facts, self.session, begin)?;
        if let Some(out) = out {
            objects.push(out.finish()?);
        }
        for missing in &stored.missing {
            warn!("a configuration file is not in the backup: {missing}");
        }
        Ok(stored)
    }

    /// What `sha256sum -c` reads.
    fn store_sums(&self, parts: &[Part]) -> Result<()> {
        let name = self
            .repository
            .layout()
            .backup_object(&self.id, BackupObject::Sums);
        let sums = backup::sums(parts);
        self.repository.storage().create(&name, sums.as_bytes())
    }
}

/// A server may say that there are some without a name for any.
fn page_failures(stop: Stop) -> Vec<PageFailure> {
    let mut failures = stop.page_failures;
    if stop.checksum_failures && failures.is_empty() {
        failures.push(PageFailure {
            file: "(the server did not name the file)".to_owned(),
            block: None,
        });
    }
    failures
}
