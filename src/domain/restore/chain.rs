//! An incremental backup's files, put together with those of the backups that it builds on.
//!
//! The full backup comes first, then the blocks of each incremental one on top, oldest first:
//! every part is read once and in its order, nothing is kept elsewhere meanwhile, and of older backups
//! only what the newest one is made of. What a crash leaves is what any unpacking leaves: a folder
//! without pg_control, which comes from the newest backup as its last file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    contents::{Contents, Found},
    unpack::Unpack,
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        backup_label,
        file_checksum::{Algorithm, Checksum, Hasher},
        incremental::{self, STUB},
        manifest,
    },
    repo::{catalog::Backup, file_index::FilePath, repository::Repository},
    util::{cancel::Cancel, fs::write_over},
};

/// The backups that one builds on.
#[derive(Debug)]
pub struct Chain {
    /// Newest first; the last one is a full one.
    older: Vec<Backup>,
    /// The files of the newest backup that are put together, by their plain paths.
    files: BTreeMap<Box<[u8]>, Built>,
}

/// Length and checksum of files, by their paths.
pub type Sums = BTreeMap<Box<[u8]>, (u64, Checksum)>;

/// How a file is put together.
#[derive(Clone, Copy, Debug)]
struct Built {
    /// The backup that has it whole, as a place in `older`; None until it is found.
    whole: Option<u32>,
    /// Of the whole file; holds for the result as long as no block is put on top of it.
    crc32c: Option<u32>,
    size: u64,
}

impl Chain {
    /// Finds out what `newest`, whose files are `contents`, is made of; None for a full backup.
    /// An error if anything that it needs is not there.
    pub fn load(
        repository: &Repository,
        newest: &Backup,
        contents: &Contents,
    ) -> Result<Option<Self>> {
        let Some(mut parent) = newest.parent else {
            return Ok(None);
        };
        let mut chain = Self {
            older: Vec::new(),
            files: BTreeMap::new(),
        };
        for member in &contents.members {
            if let Some(path) = incremental::plain_path(&member.path.0) {
                let built = Built {
                    whole: None,
                    crc32c: (member.size == STUB).then_some(0),
                    size: 0,
                };
                chain.files.insert(path.into(), built);
            }
        }
        let mut lacking = chain.files.len();
        loop {
            let backup = repository.backup(parent)?;
            if (backup.system_id, backup.block_size) != (newest.system_id, newest.block_size)
                || chain.older.iter().any(|known| known.id == backup.id)
            {
                return Err(Error::damaged(format!(
                    "backup {} can't build on backup {}",
                    newest.id, backup.id
                )));
            }
            let wanted = lacking;
            let seen = chain.look_into(&Contents::load(repository, &backup)?, &mut lacking);
            if seen != wanted {
                return Err(Error::damaged(format!(
                    "backup {} lacks {} files that backup {} builds on",
                    backup.id,
                    wanted - seen,
                    newest.id
                )));
            }
            let next = backup.parent;
            chain.older.push(backup);
            match next {
                _ if lacking == 0 => return Ok(Some(chain)),
                Some(next) => parent = next,
                None => {
                    return Err(Error::damaged(format!(
                        "{lacking} files of backup {} are whole in none of the backups that it builds on",
                        newest.id
                    )));
                }
            }
        }
    }

    /// Looks for the files that are not whole yet in the next older backup; how many of them it has.
    fn look_into(&mut self, contents: &Contents, lacking: &mut usize) -> usize {
        let number = self.older.len() as u32;
        let mut seen = 0;
        for member in contents.members.iter().filter(|member| !member.folder) {
            let plain = incremental::plain_path(&member.path.0);
            let path = plain.as_deref().unwrap_or(&member.path.0);
            let Some(built) = self.files.get_mut(path) else {
                continue;
            };
            if built.whole.is_some() {
                continue;
            }
            seen += 1;
            if plain.is_none() {
                built.whole = Some(number);
                built.size = member.size;
                built.crc32c = built.crc32c.map(|_| member.crc32c);
                *lacking -= 1;
            } else if member.size != STUB {
                built.crc32c = None;
            }
        }
        seen
    }

    /// Unpacks what the newest backup's files are built on; `newest` unpacks the rest. How many
    /// bytes were written.
    pub fn unpack(&self, newest: &Unpack<'_>) -> Result<u64> {
        let mut written = 0;
        for (number, backup) in self.older.iter().enumerate().rev() {
            let contents = Contents::load(newest.repository, backup)?;
            let found: Vec<Found> = contents
                .members
                .iter()
                .map(|member| {
                    let plain = incremental::plain_path(&member.path.0);
                    let built = self.files.get(plain.as_deref().unwrap_or(&member.path.0));
                    let whole = built.and_then(|built| built.whole);
                    let needed = match plain {
                        _ if member.folder => false,
                        None => whole == Some(number as u32),
                        // On top of what an older one has.
                        Some(_) => whole > Some(number as u32),
                    };
                    if needed { Found::Nothing } else { Found::Same }
                })
                .collect();
            let older = Unpack {
                backup,
                contents: &contents,
                found: &found,
                ..*newest
            };
            written += older.work()?;
        }
        Ok(written)
    }

    /// What the label says once the backup is put together: that of a full one.
    pub fn put_label(&self, data_dir: &Path, mode: u32) -> Result<()> {
        let path = data_dir.join(backup_label::NAME);
        let label = fs::read(&path).at("read", &path)?;
        write_over(&path, mode, &backup_label::plain(&label))
    }

    /// The manifest's entry of a file, as it is now in `data_dir`. `sums` are those of [`Self::sums`].
    pub fn listed(
        &self,
        mut file: manifest::File,
        data_dir: &Path,
        sums: &Sums,
    ) -> Result<manifest::File> {
        if file.path == backup_label::NAME.as_bytes() {
            let path = data_dir.join(backup_label::NAME);
            let algorithm = file.checksum.as_ref().map(Checksum::algorithm);
            let (size, sum) = sum(&path, algorithm.unwrap_or(Algorithm::Crc32c))?;
            (file.size, file.checksum) = (size, Some(sum));
        } else if let Some(path) = incremental::plain_path(&file.path) {
            let (size, sum) = sums
                .get(&*path)
                .ok_or_else(|| Error::damaged("the manifest and the index list other files"))?;
            (file.path, file.size, file.checksum) = (path, *size, Some(sum.clone()));
        }
        Ok(file)
    }

    /// Length and checksum of every file that was put together. Read are only those of which blocks
    /// were put on others.
    pub fn sums(
        &self,
        data_dir: &Path,
        algorithm: Algorithm,
        workers: usize,
        cancel: &Cancel,
    ) -> Result<Sums> {
        let files: Vec<(&Box<[u8]>, &Built)> = self.files.iter().collect();
        let next = AtomicUsize::new(0);
        let sums = Mutex::new(Ok(BTreeMap::new()));
        thread::scope(|scope| {
            for _ in 0..workers.max(1) {
                scope.spawn(|| {
                    while let Some((path, built)) = files.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let sum = cancel.check().and_then(|()| {
                            built.sum(
                                &data_dir.join(FilePath((*path).clone()).as_path()),
                                algorithm,
                            )
                        });
                        let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
                        match (&mut *sums, sum) {
                            (Ok(sums), Ok(sum)) => drop(sums.insert((*path).clone(), sum)),
                            (Ok(_), Err(error)) => *sums = Err(error),
                            (Err(_), _) => return,
                        }
                    }
                });
            }
        });
        sums.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Built {
    fn sum(&self, path: &Path, algorithm: Algorithm) -> Result<(u64, Checksum)> {
        if let (Some(crc32c), Algorithm::Crc32c) = (self.crc32c, algorithm) {
            let size = fs::metadata(path).at("look at", path)?.len();
            if size == self.size {
                return Ok((size, Hasher::Crc32c(crc32c).finish()));
            }
        }
        sum(path, algorithm)
    }
}

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
