//! `backup_manifest` in the restored folder, so that pg_verifybackup can judge it; a server takes no
//! notice of it. Of an incremental backup it lists the files that were put together.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{
    chain::Chain,
    contents::Contents,
    folders::{Owner, give},
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        backup_label,
        file_checksum::{Algorithm, Checksum, Hasher},
        incremental, manifest,
    },
    repo::{
        backup::Backup, codec::Codec, file_index::FilePath, layout::BackupObject,
        repository::Repository,
    },
    util::{
        cancel::Cancel,
        fs::{NewFile, write_over},
        hash::{Sha256Reader, copy},
        workers,
    },
};

/// Files whose entries are made at a time: no list of all is held.
const AT_ONCE: usize = 1024;

pub struct ManifestFile<'a> {
    pub repository: &'a Repository,
    pub backup: &'a Backup,
    pub contents: &'a Contents,
    pub data_dir: &'a Path,
    pub owner: Option<Owner>,
    pub workers: usize,
    pub cancel: &'a Cancel,
}

impl ManifestFile<'_> {
    pub fn put(&self) -> Result<()> {
        let name = self
            .repository
            .layout()
            .backup_object(&self.backup.id, BackupObject::Manifest);
        let storage = self.repository.storage();
        let failed = |error| storage.failed("read", &name, error);
        let path = self.data_dir.join("backup_manifest");
        let mut stored = Sha256Reader::new(storage.get(&name, None)?);
        let mut file = NewFile::create(&path, 0o600)?;
        {
            let mut plain = Codec::Zstd.decoder(&mut stored).map_err(failed)?;
            match &self.contents.chain {
                None => copy(&mut plain, &mut file).map(drop).map_err(failed)?,
                Some(chain) => {
                    let again = || {
                        let stored = storage.get(&name, None)?;
                        Codec::Zstd.decoder(stored).map_err(failed)
                    };
                    self.write_combined(chain, &mut plain, again, &mut file)?;
                }
            }
        }
        copy(&mut stored, &mut io::sink()).map_err(failed)?;
        self.backup
            .check_object(BackupObject::Manifest, stored.finish())
            .map_err(|error| error.context(format!("can't restore {}", storage.place(&name))))?;
        file.publish_over()?;
        give(&path, self.owner)
    }

    /// The stored one is read twice, so that no list of all files is held: what stands in front of
    /// the files depends on what comes behind them.
    fn write_combined<R: Read>(
        &self,
        chain: &Chain,
        stored: impl Read,
        again: impl FnOnce() -> Result<R>,
        out: &mut impl Write,
    ) -> Result<()> {
        let summary = manifest::read(stored, |_| Ok(()))?;
        let failed = |error| Error::failed("can't write the manifest").because(error);
        // An entry is written in many short pieces.
        let out = BufWriter::new(out);
        let mut writer = manifest::Writer::new(out, summary.system).map_err(failed)?;
        let mut batch = Vec::with_capacity(AT_ONCE);
        let mut write = |batch: &mut Vec<manifest::File>| {
            self.bring_up_to_date(chain, batch)?;
            batch
                .drain(..)
                .try_for_each(|file| writer.file(&file))
                .map_err(failed)
        };
        manifest::read(again()?, |file| {
            batch.push(file);
            match batch.len() {
                AT_ONCE => write(&mut batch),
                _ => Ok(()),
            }
        })?;
        write(&mut batch)?;
        let (mut out, _) = writer.finish(&summary.wal_ranges).map_err(failed)?;
        out.flush().map_err(failed)
    }

    /// Has the entries tell of the files as they are now in the data directory.
    fn bring_up_to_date(&self, chain: &Chain, files: &mut [manifest::File]) -> Result<()> {
        let files = Mutex::new(files.iter_mut());
        let work = || {
            loop {
                self.cancel.check()?;
                let next = files.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(file) = next else { return Ok(()) };
                self.look_at(chain, file)?;
            }
        };
        workers::run(self.workers, work).map(drop)
    }

    fn look_at(&self, chain: &Chain, file: &mut manifest::File) -> Result<()> {
        if let Some(plain) = incremental::plain_path(&file.path) {
            let members = &self.contents.members;
            let number = chain
                .find(members, &plain)
                .ok_or_else(|| Error::damaged("the manifest and the index list other files"))?;
            file.path = plain;
            if let (Some(Algorithm::Crc32c), Some(crc32c)) =
                (algorithm(file), self.contents.crc32c(number))
            {
                // No block was put on it: it is what was unpacked, and checked then.
                file.size = self.contents.size(number);
                file.checksum = Some(Hasher::Crc32c(crc32c).finish());
                return Ok(());
            }
        } else if file.path != backup_label::NAME.as_bytes() {
            return Ok(());
        }
        let path = FilePath(file.path.clone().into());
        let path = self.data_dir.join(path.as_path());
        let (size, sum) = sum(&path, algorithm(file).unwrap_or(Algorithm::Crc32c))?;
        file.size = size;
        file.checksum = file.checksum.is_some().then_some(sum);
        Ok(())
    }
}

fn algorithm(file: &manifest::File) -> Option<Algorithm> {
    file.checksum.as_ref().map(Checksum::algorithm)
}

/// What the label says once the backup is put together: that of a full one.
pub fn put_label(data_dir: &Path, mode: u32, owner: Option<Owner>) -> Result<()> {
    let path = data_dir.join(backup_label::NAME);
    let label = std::fs::read(&path).at("read", &path)?;
    write_over(&path, mode, &backup_label::plain(&label))?;
    give(&path, owner)
}

/// Length and checksum of a file.
fn sum(path: &Path, algorithm: Algorithm) -> Result<(u64, Checksum)> {
    let mut hasher = Hasher::new(algorithm);
    let mut file = File::open(path).at("read", path)?;
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((size, hasher.finish())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path, error)),
        }
    }
}
