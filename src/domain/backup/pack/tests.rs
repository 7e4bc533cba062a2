//! What was packed is found again, by its index and by tar alone.

#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    sync::mpsc::sync_channel,
};

use super::{
    Destination, Ended, FRAME, Filling, Laid, Load, Packed, Packer, Piece, pack,
    stages::{Written, finish},
};
use crate::{
    domain::backup::member::{BLOCK, Member},
    error::{Error, Result},
    postgres::file_checksum::{Algorithm, Hasher},
    repo::{
        backup::Part,
        backup_id::{BackupId, BackupKind},
        codec::{Codec, Compression},
        edition::Edition,
        file_index::{self, FileEntry, FilePath, PageNotes},
        layout::BackupObject,
        location::Location,
        repository::Repository,
    },
    util::{
        clock,
        hash::{Crc32c, Sha256},
    },
};

fn member(path: &str, size: usize) -> Member {
    Member {
        path: FilePath(path.as_bytes().into()),
        folder: path.ends_with("folder"),
        size: size as u64,
        mode: 0o600,
        mtime: 1,
        uid: 0,
        gid: 0,
    }
}

/// Bytes that compress somewhat, different for each file.
fn content(seed: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| ((at * 31 + seed * 7) >> (at % 5)) as u8)
        .collect()
}

fn repository(folder: &std::path::Path) -> Repository {
    let location = Location::Folder(folder.into());
    Repository::open_or_create(&location, "main".parse().unwrap())
        .unwrap()
        .0
}

/// A new backup in `repository`.
fn destination(repository: &Repository) -> Destination<'_> {
    Destination {
        repository,
        id: BackupId::next(clock::now(), BackupKind::Full, None, Default::default()).0,
        compression: Compression::default(),
        workers: 2,
        part_size: 1 << 30,
        verify: true,
    }
}

fn packed(folder: &std::path::Path, text: &str, sizes: &[usize]) -> (Repository, BackupId, Packed) {
    let repository = repository(folder);
    let to = Destination {
        compression: text.parse().unwrap(),
        part_size: 8 << 20,
        ..destination(&repository)
    };
    let id = to.id;
    let fill = |packer: &mut Packer<'_>| {
        packer.member(&member("a folder", 0), false)?;
        // Every other file goes to the packer itself, the rest to the workers.
        for (number, size) in sizes.iter().enumerate() {
            if number % 2 == 0 {
                pushed(packer, number, *size)?;
            } else {
                loaded(packer, number, *size)?;
            }
        }
        packer.wait()
    };
    let mut seen = Vec::new();
    let mut each = |member: &Ended| {
        seen.push(member.entry.path.to_string());
        Ok(())
    };
    let (packed, ()) = pack(to, Algorithm::Crc32c, &mut each, fill, |()| Ok(())).unwrap();
    let files = (0..sizes.len()).map(|number| format!("file {number}"));
    let expected: Vec<String> = std::iter::once("a folder".to_owned())
        .chain(files)
        .collect();
    assert_eq!(seen, expected);
    (repository, id, packed)
}

fn pushed(packer: &mut Packer<'_>, number: usize, size: usize) -> Result<()> {
    packer.member(&member(&format!("file {number}"), size), false)?;
    content(number, size)
        .chunks(100_000)
        .try_for_each(|piece| packer.data(piece))
}

fn loaded(packer: &mut Packer<'_>, number: usize, size: usize) -> Result<()> {
    packer.make_room(size as u64)?;
    for begin in (0..size.max(1)).step_by(FRAME) {
        let slice = Slice {
            number,
            size,
            begin,
        };
        packer.load(Box::new(slice), FRAME.min(size) as u64)?;
    }
    Ok(())
}

/// A piece of a file, as a worker reads it.
struct Slice {
    number: usize,
    size: usize,
    begin: usize,
}

impl Load for Slice {
    fn read(self: Box<Self>, frame: &mut Filling<'_>) -> Result<Laid> {
        let member = member(&format!("file {}", self.number), self.size);
        let content = content(self.number, self.size);
        let bytes = &content[self.begin..self.size.min(self.begin + FRAME)];
        if self.begin == 0 {
            frame.begin(&member)?;
        }
        frame.room(bytes.len()).copy_from_slice(bytes);
        let is_last = self.begin + bytes.len() == self.size;
        if is_last {
            frame.end(member.size);
        }
        let crc32c = crc32c::crc32c(bytes);
        let entry = FileEntry {
            path: member.path,
            folder: false,
            part: 0,
            frame: 0,
            offset: 0,
            size: member.size,
            mode: member.mode,
            mtime: member.mtime,
            crc32c,
            sha256: None,
            facts: None,
            notes: PageNotes::default(),
        };
        let piece = Piece {
            bytes: bytes.len() as u64,
            crc32c,
            notes: PageNotes::default(),
        };
        Ok(match (self.begin, is_last) {
            (0, true) => Laid::Members(vec![Ended {
                entry,
                checksum: None,
            }]),
            (0, false) => Laid::First(entry, piece),
            (_, false) => Laid::Next(piece),
            (_, true) => Laid::Last(piece),
        })
    }
}

#[test]
fn each_file_is_found_at_its_place_and_each_part_is_a_whole_archive() {
    let sizes = [
        0,
        1,
        512,
        FRAME - 1024,
        FRAME,
        5 << 20,
        7_000_001,
        9 << 20,
        3,
    ];
    for text in ["zstd:1", "gzip:1", "lz4", "none"] {
        let folder = tempfile::tempdir().unwrap();
        let (repository, id, packed) = packed(folder.path(), text, &sizes);
        let codec = text.parse::<Compression>().unwrap().codec;
        let object = |part| {
            repository
                .layout()
                .backup_object(&id, BackupObject::Part(part, Edition::FIRST, codec.into()))
        };
        assert!(packed.parts.len() > 2);

        let mut names = Vec::new();
        for part in &packed.parts {
            let stored = repository
                .storage()
                .get(&object(part.number), None)
                .unwrap();
            let mut archive = tar::Archive::new(codec.decoder(stored).unwrap());
            for entry in archive.entries().unwrap() {
                names.push(entry.unwrap().path().unwrap().display().to_string());
            }
        }
        assert_eq!(names.len(), sizes.len() + 1, "{text}");

        let mut number = 0;
        let index = repository.layout().backup_object(&id, BackupObject::Index);
        file_index::read(repository.storage().get(&index, None).unwrap(), |entry| {
            if entry.folder {
                return Ok(());
            }
            let name = object(entry.part);
            let end = repository.storage().head(&name).unwrap().size;
            let stored = repository
                .storage()
                .get(&name, Some(entry.frame..end))
                .unwrap();
            let mut plain = codec.decoder(stored).unwrap();
            let skip = u64::from(entry.offset) + BLOCK;
            std::io::copy(&mut plain.by_ref().take(skip), &mut std::io::sink()).unwrap();
            let mut bytes = Vec::new();
            plain.take(entry.size).read_to_end(&mut bytes).unwrap();
            assert!(bytes == content(number, sizes[number]), "{text}: {entry:?}");
            assert_eq!(entry.crc32c, crc32c::crc32c(&bytes));
            number += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(number, sizes.len());
    }
}

#[test]
fn a_source_that_fails_or_ends_early_stores_no_index() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let to = destination(&repository);
    let error = |fill: &dyn Fn(&mut Packer<'_>) -> Result<()>, check| {
        let each = &mut |_: &Ended| Ok(());
        pack(to, Algorithm::Crc32c, each, fill, |()| check)
            .unwrap_err()
            .message()
            .to_owned()
    };
    let gone = error(&|_| Err(Error::failed("the network is gone")), Ok(()));
    assert_eq!(gone, "the network is gone");
    let short = |packer: &mut Packer<'_>| {
        packer.member(&member("x", 10), false)?;
        packer.data(b"short")
    };
    let short = error(&short, Ok(()));
    assert!(short.contains("5 bytes early"), "{short}");
    let long = |packer: &mut Packer<'_>| {
        packer.member(&member("x", 3), false)?;
        packer.data(b"long")
    };
    let long = error(&long, Ok(()));
    assert!(long.contains("longer"), "{long}");
    let objects = repository
        .storage()
        .list(&repository.layout().base(), None)
        .unwrap()
        .count();
    assert_eq!(objects, 0);
    let refused = error(
        &|_| Ok(()),
        Err(Error::damaged("differs from the manifest")),
    );
    assert_eq!(refused, "differs from the manifest");
}

#[test]
fn a_part_that_reads_back_other_than_it_was_written_fails_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let to = destination(&repository);
    let stored = b"a part";
    let finished = |number, crc32c, stored_bytes, verify| {
        let to = Destination { verify, ..to };
        let object = BackupObject::Part(number, Edition::FIRST, Codec::Zstd.into());
        let object = repository.layout().backup_object(&to.id, object);
        let mut upload = repository.storage().put_part(&object).unwrap();
        upload.write_all(stored).unwrap();
        let sha256 = Sha256::of(stored);
        let part = Part {
            number,
            name: object.file_name().to_owned(),
            plain_bytes: 10240,
            stored_bytes,
            sha256,
            unencrypted_sha256: sha256,
        };
        let (written, parts) = sync_channel(1);
        let one = Written {
            upload,
            object,
            part,
            crc32c: Crc32c(crc32c),
        };
        assert!(written.send(one).is_ok());
        drop(written);
        finish(to, &parts).map(|parts| parts.len())
    };
    let (crc, length) = (crc32c::crc32c(stored), stored.len() as u64);
    assert_eq!(finished(1, crc, length, true).unwrap(), 1);
    assert_eq!(finished(2, crc ^ 1, length, false).unwrap(), 1);
    for (number, crc, length) in [(3, crc ^ 1, length), (4, crc, length + 1)] {
        let error = finished(number, crc, length, true).unwrap_err();
        assert!(error.message().contains("reads back other"), "{error}");
    }
}

#[test]
fn what_the_manifest_lists_is_hashed_as_the_manifest_does() {
    let files = [
        ("empty", 0, false),
        ("wal", 5, true),
        ("large", 3 << 20, false),
    ];
    for algorithm in Algorithm::ALL {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let to = Destination {
            verify: false,
            ..destination(&repository)
        };
        let fill = |packer: &mut Packer<'_>| {
            packer.member(&member("a folder", 0), false)?;
            for (number, (name, size, hash)) in files.iter().enumerate() {
                packer.member(&member(name, *size), *hash)?;
                content(number, *size)
                    .chunks(100_000)
                    .try_for_each(|piece| packer.data(piece))?;
            }
            Ok(())
        };
        let mut checksums = Vec::new();
        let mut each = |member: &Ended| {
            checksums.extend(member.checksum.clone());
            Ok(())
        };
        pack(to, algorithm, &mut each, fill, |()| Ok(())).unwrap();
        let expected = [0, 2].map(|number: usize| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&content(number, files[number].1));
            hasher.finish()
        });
        match algorithm {
            Algorithm::Crc32c => assert_eq!(checksums, []),
            _ => assert_eq!(checksums, expected),
        }
    }
}
