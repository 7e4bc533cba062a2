//! Holds what was stored against the server's manifest: the same files, sizes and checksums.

use std::{
    io::Read,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use crate::{
    error::{Error, Result},
    postgres::{
        control,
        file_checksum::{Algorithm, Checksum, Hasher},
        manifest::{self, File, Summary},
    },
    repo::{
        codec::Codec,
        file_index::{self, FileEntry, FilePath},
    },
};

/// Files on the way from one reader to the other.
const AHEAD: usize = 256;

/// What a comparison comes across.
pub enum Compared {
    /// An entry of the index, with the checksum that the manifest has of it and the index
    /// hasn't: one that is no CRC-32C.
    Entry(FileEntry, Option<Checksum>),
    /// A file, and how the two differ on it.
    Differs(FilePath, String),
}

pub const OTHER_CHECKSUM: &str = "has another checksum in the manifest";

/// Compares a new backup with the manifest. `hashed` are the checksums of its files that were
/// computed as the bytes passed; none if the manifest is to have CRC-32C.
pub fn check(
    index: impl Read + Send,
    stored_manifest: impl Read + Send,
    hashed: &[Checksum],
) -> Result<Summary> {
    let mut hashed = hashed.iter();
    let mut first = None;
    let mut differences = 0;
    let (read, summary) = compare(index, stored_manifest, &mut |found| {
        let (file, problem) = match found {
            Compared::Entry(entry, listed) => {
                if !is_listed(&entry) || hashed.next() == listed.as_ref() {
                    return Ok(());
                }
                (entry.path, OTHER_CHECKSUM.to_owned())
            }
            Compared::Differs(file, problem) => (file, problem),
        };
        differences += 1;
        first.get_or_insert_with(|| format!("{file} {problem}"));
        Ok(())
    });
    let summary = read.and(summary)?;
    match first {
        None => Ok(summary),
        Some(first) => Err(Error::damaged(format!(
            "what was stored differs from the server's manifest in {differences} places, first: {first}"
        ))
        .hint("check the memory of both hosts and the network between them, then run the backup again.")),
    }
}

/// Compares the index with the manifest, both as stored, entry by entry: the server lists the
/// files in the order in which it sends them. `take` gets each entry and each difference; its
/// error ends the comparison.
///
/// Returns how reading the index ended, and reading the manifest, which counts only if the
/// index was read to its end.
pub fn compare(
    index: impl Read + Send,
    stored_manifest: impl Read + Send,
    take: &mut dyn FnMut(Compared) -> Result<()>,
) -> (Result<()>, Result<Summary>) {
    let (sender, files) = sync_channel(AHEAD);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let stopped = || Error::failed("the comparison was stopped");
            let plain = Codec::Zstd
                .decoder(stored_manifest)
                .map_err(|error| Error::damaged("the manifest can't be read").because(error))?;
            let summary =
                manifest::read(plain, |file| sender.send(Some(file)).map_err(|_| stopped()))?;
            sender.send(None).map_err(|_| stopped())?;
            Ok(summary)
        });
        let mut listed = Listed {
            files,
            control: None,
            whole: false,
        };
        let read = file_index::read(index, |entry| {
            let checksum = compare_one(&entry, &mut listed, take)?;
            take(Compared::Entry(entry, checksum))
        });
        let read = read.and_then(|()| listed.rest(take));
        drop(listed);
        let summary = reader
            .join()
            .unwrap_or_else(|_| Err(Error::failed("reading the manifest panicked")));
        (read, summary)
    })
}

/// The manifest's files in the order of the parts, where pg_control comes last.
struct Listed {
    /// None behind the last file.
    files: Receiver<Option<File>>,
    control: Option<File>,
    /// The manifest was read to its end; one that broke off says nothing of what is not in it.
    whole: bool,
}

impl Listed {
    fn next(&mut self, path: &[u8]) -> Option<File> {
        loop {
            match self.files.recv() {
                Ok(Some(file))
                    if file.path == control::PATH.as_bytes()
                        && path != control::PATH.as_bytes() =>
                {
                    self.control = Some(file);
                }
                Ok(Some(file)) => return Some(file),
                Ok(None) => self.whole = true,
                Err(_) if self.whole => return self.control.take(),
                Err(_) => return None,
            }
        }
    }

    /// Behind the last entry of the index.
    fn rest(&mut self, take: &mut dyn FnMut(Compared) -> Result<()>) -> Result<()> {
        while let Some(file) = self.next(b"") {
            let path = FilePath(file.path.into());
            let problem = "is in the manifest, but in no part".to_owned();
            take(Compared::Differs(path, problem))?;
        }
        Ok(())
    }
}

/// Folders, and the WAL of a standalone backup, are in no manifest.
fn is_listed(entry: &FileEntry) -> bool {
    !entry.folder && entry.sha256.is_none()
}

/// The checksum in the manifest, if comparing it takes the file's bytes.
fn compare_one(
    entry: &FileEntry,
    listed: &mut Listed,
    take: &mut dyn FnMut(Compared) -> Result<()>,
) -> Result<Option<Checksum>> {
    if !is_listed(entry) {
        return Ok(None);
    }
    let mut differs = |problem| take(Compared::Differs(entry.path.clone(), problem));
    let Some(file) = listed.next(&entry.path.0) else {
        if listed.whole {
            differs("is not in the manifest".to_owned())?;
        }
        return Ok(None);
    };
    if *file.path != *entry.path.0 {
        differs(format!(
            "stands where the manifest has {}",
            FilePath(file.path.into())
        ))?;
        return Ok(None);
    }
    if file.size != entry.size {
        differs(format!(
            "has {} bytes, in the manifest {}",
            entry.size, file.size
        ))?;
    }
    let Some(checksum) = file.checksum else {
        return Ok(None);
    };
    if checksum.algorithm() != Algorithm::Crc32c {
        return Ok(Some(checksum));
    }
    if checksum != Hasher::Crc32c(entry.crc32c).finish() {
        differs(OTHER_CHECKSUM.to_owned())?;
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        error::Kind,
        postgres::manifest::Writer,
        repo::{codec::Compression, file_index::FileIndexWriter},
        util::hash::Sha256,
    };

    const FILES: [&str; 3] = ["PG_VERSION", "base/1/1259", "global/pg_control"];

    fn checksum(algorithm: Algorithm, bytes: &str) -> Checksum {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes.as_bytes());
        hasher.finish()
    }

    fn compressed(plain: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        let mut framer = Compression::default().framer().unwrap();
        framer.frame(plain, &mut stored).unwrap();
        stored
    }

    /// Of files that contain their own names, of a folder and of WAL.
    fn index() -> Vec<u8> {
        let mut writer = FileIndexWriter::new(Vec::new()).unwrap();
        for path in [FILES[0], "base", FILES[1], "pg_wal/x", FILES[2]] {
            let entry = FileEntry {
                path: FilePath(path.as_bytes().into()),
                folder: path == "base",
                part: 1,
                frame: 0,
                offset: 0,
                size: path.len() as u64,
                mode: 0o600,
                mtime: 0,
                crc32c: crc32c::crc32c(path.as_bytes()),
                sha256: path.starts_with("pg_wal").then(|| Sha256::of(b"")),
                facts: None,
                notes: file_index::PageNotes::default(),
            };
            writer.add(&entry).unwrap();
        }
        compressed(&writer.finish().unwrap())
    }

    /// In the server's order, which has pg_control before the other files of its folder.
    fn manifest(change: impl Fn(&mut File)) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), None).unwrap();
        for path in [FILES[0], FILES[2], FILES[1]] {
            let mut file = File {
                path: path.into(),
                size: path.len() as u64,
                last_modified: String::new(),
                checksum: None,
            };
            change(&mut file);
            writer.file(&file).unwrap();
        }
        compressed(&writer.finish(&[]).unwrap().0)
    }

    #[test]
    fn every_algorithm_is_compared() {
        for algorithm in Algorithm::ALL {
            let hashed: Vec<Checksum> = match algorithm {
                Algorithm::Crc32c => Vec::new(),
                _ => FILES.map(|path| checksum(algorithm, path)).into(),
            };
            let check = |changed: &str, with: Algorithm| {
                let manifest = manifest(|file| {
                    let path = str::from_utf8(&file.path).unwrap();
                    file.checksum = Some(match path == changed {
                        true => checksum(with, "other bytes"),
                        false => checksum(algorithm, path),
                    });
                });
                check(&index()[..], &manifest[..], &hashed)
            };
            assert_eq!(check("", algorithm).unwrap().files, 3);
            for file in FILES {
                for with in [algorithm, Algorithm::Crc32c, Algorithm::Sha384] {
                    let error = check(file, with).unwrap_err();
                    let text = format!("places, first: {file} {OTHER_CHECKSUM}");
                    assert!(error.message().ends_with(&text), "{with:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn files_and_sizes_are_compared() {
        let check = |manifest: &[u8]| match check(&index()[..], manifest, &[]) {
            Ok(_) => String::new(),
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(check(&manifest(|_| ())), "");
        let other = manifest(|file| file.path.retain(|byte| *byte != b'1'));
        assert!(check(&other).ends_with("base/1/1259 stands where the manifest has base//259"));
        let larger = manifest(|file| file.size += u64::from(file.path == control::PATH.as_bytes()));
        assert!(check(&larger).ends_with("global/pg_control has 17 bytes, in the manifest 18"));
    }

    #[test]
    fn a_manifest_that_breaks_off_says_nothing_of_files_behind() {
        let whole = zstd::decode_all(&manifest(|_| ())[..]).unwrap();
        for cut in 0..whole.len() {
            let manifest = compressed(&whole[..cut]);
            let (read, summary) = compare(&index()[..], &manifest[..], &mut |found| {
                assert!(matches!(found, Compared::Entry(..)), "cut at {cut}");
                Ok(())
            });
            read.unwrap();
            assert_eq!(summary.unwrap_err().kind(), Kind::Damaged);
        }
    }
}
