//! What was packed is found again, by its index and by tar alone.

#![allow(clippy::unwrap_used)]

use std::io::Read;

use super::{Destination, Packed, pack, packer::FRAME};
use crate::{
    domain::backup::member::{BLOCK, Member},
    error::Error,
    repo::{
        backup_id::{BackupId, BackupKind},
        codec::Compression,
        file_index::{self, FilePath},
        layout::BackupObject,
        location::Location,
        repository::Repository,
    },
    util::clock,
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

fn packed(folder: &std::path::Path, text: &str, sizes: &[usize]) -> (Repository, BackupId, Packed) {
    let location = Location::Folder(folder.into());
    let repository = Repository::open_or_create(&location, "main".parse().unwrap())
        .unwrap()
        .0;
    let (id, _) = BackupId::next(clock::now(), BackupKind::Full, None);
    let to = Destination {
        repository: &repository,
        id,
        compression: text.parse().unwrap(),
        workers: 2,
        part_size: 8 << 20,
        verify: true,
    };
    let (packed, ()) = pack(to, |packer| {
        packer.member(&member("a folder", 0), false)?;
        for (number, size) in sizes.iter().enumerate() {
            packer.member(&member(&format!("file {number}"), *size), false)?;
            content(number, *size)
                .chunks(100_000)
                .try_for_each(|piece| packer.data(piece))?;
        }
        Ok(())
    })
    .unwrap();
    (repository, id, packed)
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
                .backup_object(&id, BackupObject::Part(part, codec))
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
    let location = Location::Folder(folder.path().into());
    let repository = Repository::open_or_create(&location, "main".parse().unwrap())
        .unwrap()
        .0;
    let (id, _) = BackupId::next(clock::now(), BackupKind::Full, None);
    let to = Destination {
        repository: &repository,
        id,
        compression: Compression::default(),
        workers: 2,
        part_size: 1 << 30,
        verify: true,
    };
    let error = pack(to, |_| Err::<(), _>(Error::failed("the network is gone"))).unwrap_err();
    assert_eq!(error.message(), "the network is gone");
    let error = pack(to, |packer| {
        packer.member(&member("x", 10), false)?;
        packer.data(b"short")
    })
    .unwrap_err();
    assert!(error.message().contains("5 bytes early"), "{error}");
    let error = pack(to, |packer| {
        packer.member(&member("x", 3), false)?;
        packer.data(b"long")
    })
    .unwrap_err();
    assert!(error.message().contains("longer"), "{error}");
    let objects = repository
        .storage()
        .list(&repository.layout().base(), None)
        .unwrap()
        .count();
    assert_eq!(objects, 0);
}
