#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_name::WalName,
    },
    repo::{codec::Codec, coding::Coding, edition::Edition},
};

fn layout() -> Layout {
    Layout::new("main".parse().unwrap())
}

fn encrypted(codec: Codec) -> Coding {
    Coding {
        codec,
        encrypted: true,
    }
}

#[test]
fn backup_objects_read_as_they_are_written() {
    let id: BackupId = "20261121T020000Z-full".parse().unwrap();
    for object in [
        BackupObject::Started,
        BackupObject::Alive(12),
        BackupObject::Part(1, Edition::FIRST, Codec::Zstd.into()),
        BackupObject::Part(12345, Edition::FIRST, Codec::None.into()),
        BackupObject::Part(7, Edition::FIRST, encrypted(Codec::Zstd)),
        BackupObject::Part(7, Edition::FIRST, encrypted(Codec::Zstd)).anew(),
        BackupObject::Config(Edition::FIRST, Codec::Gzip.into()),
        BackupObject::Config(Edition::FIRST, encrypted(Codec::None)),
        BackupObject::Config(Edition::FIRST, encrypted(Codec::None)).anew(),
        BackupObject::Manifest,
        BackupObject::Backup,
    ] {
        let name = layout().backup_object(&id, object);
        assert_eq!(
            layout().read_backup_object(&name),
            Some((id, object)),
            "{name}"
        );
    }
    let part = BackupObject::Part(1, Edition::FIRST, Codec::Zstd.into());
    for (object, name) in [
        (part, "part-0001.tar.zst"),
        (part.anew(), "part-0001-2.tar.zst"),
        (part.anew().anew(), "part-0001-3.tar.zst"),
    ] {
        let folder = "main/base/20261121T020000Z-full/";
        let found = layout().backup_object(&id, object);
        assert_eq!(found.as_str(), format!("{folder}{name}"));
    }
    let later = part.anew().anew();
    assert!(later.is_other_edition_of(part) && part.is_other_edition_of(later));
    let plain = BackupObject::Part(1, Edition::FIRST, Codec::None.into());
    for other in [part, plain.anew(), BackupObject::Index] {
        assert!(!part.is_other_edition_of(other), "{other}");
    }
    for name in [
        "part-0001-1.tar",
        "part-0001-.tar",
        "part-0001-x.tar",
        "configs.tar",
    ] {
        assert_eq!(BackupObject::read(name), None, "{name}");
    }
}

#[test]
fn wal_files_lie_where_the_format_says() {
    let system = SystemId(7);
    for (file, name) in [
        (
            "000000010000000A000000FE",
            "main/wal/7/000000010000000A/000000010000000A000000FE.zst",
        ),
        (
            "000000010000000A000000FF.partial",
            "main/wal/7/000000010000000A/000000010000000A000000FF.partial.zst",
        ),
        ("00000002.history", "main/wal/7/00000002.history"),
        (
            "000000010000000A000000FE.00000028.backup",
            "main/wal/7/000000010000000A000000FE.00000028.backup",
        ),
    ] {
        let file: WalName = file.parse().unwrap();
        let object = layout().wal_file(system, file, Codec::Zstd.into());
        assert_eq!(object.as_str(), name);
        assert_eq!(layout().read_wal_file(system, &object).unwrap().0, file);
    }
    let file: WalName = "000000010000000A000000FE".parse().unwrap();
    let object = layout().wal_file(system, file, encrypted(Codec::Lz4));
    assert!(
        object
            .as_str()
            .ends_with("/000000010000000A000000FE.lz4.age")
    );
    let read = layout().read_wal_file(system, &object);
    assert_eq!(read, Some((file, encrypted(Codec::Lz4))));
    let stray = ObjectName("main/wal/7/000000010000000B/000000010000000A000000FE.zst".into());
    assert_eq!(layout().read_wal_file(system, &stray), None);
}

#[test]
fn pieces_read_as_they_are_written_and_are_no_wal_files() {
    let system = SystemId(7);
    let piece = Piece {
        segment: "000000010000000A000000FE".parse().unwrap(),
        from: 0x2000,
        to: 0x01_0000,
    };
    for (coding, ending) in [
        (Codec::Zstd.into(), ".zst"),
        (encrypted(Codec::Zstd), ".zst.age"),
        (Codec::None.into(), ""),
    ] {
        let name = layout().piece(system, piece, coding);
        let folder = "main/wal/7/live/000000010000000A000000FE/";
        assert_eq!(layout().pieces(system, piece.segment).as_str(), folder);
        assert_eq!(name.as_str(), format!("{folder}00002000-00010000{ending}"));
        assert_eq!(layout().read_piece(system, &name), Some((piece, coding)));
        assert_eq!(layout().read_wal_file(system, &name), None);
    }
    for stray in ["2000-10000", "00002000-00002000", "0000a000-0000b000", "x"] {
        let name = ObjectName(format!("main/wal/7/live/000000010000000A000000FE/{stray}"));
        assert_eq!(layout().read_piece(system, &name), None, "{stray}");
    }
}

#[test]
fn places_of_minimal_wal_read_as_they_are_written() {
    let (system, timeline) = (SystemId(7), TimelineId::new(17).unwrap());
    let name = layout().minimal(system, timeline, Lsn(0xA_0300_0028));
    assert_eq!(
        name.as_str(),
        "main/wal/7/minimal/00000011-0000000A03000028.json"
    );
    let read = layout().read_minimal(system, &name);
    assert_eq!(read, Some((timeline, Lsn(0xA_0300_0028))));
    for stray in [
        "0-0.json",
        "11-A03000028.json",
        "00000011-0000000a03000028.json",
        "x",
    ] {
        let name = ObjectName(format!("main/wal/7/minimal/{stray}"));
        assert_eq!(layout().read_minimal(system, &name), None, "{stray}");
    }
}

#[test]
fn pins_leases_and_results_read_as_they_are_written() {
    let id: BackupId = "20261121T020000Z-incr".parse().unwrap();
    let pin = layout().pin(&id, 12);
    assert_eq!(pin.as_str(), "main/pins/20261121T020000Z-incr-12.json");
    assert_eq!(layout().read_pin(&pin), Some((id, 12)));
    let lease = layout().lease("cleanup", 7);
    assert_eq!(lease.as_str(), "main/locks/cleanup-7.json");
    assert_eq!(layout().read_lease("cleanup", &lease), Some(7));
    assert_eq!(layout().read_lease("clean", &lease), None);
    let time: Time = "2026-11-21T02:00:00.012345Z".parse().unwrap();
    let verified = layout().verified_at(time);
    assert_eq!(
        verified.as_str(),
        "main/verified/20261121T020000.012345Z.json"
    );
    assert_eq!(layout().read_verified(&verified), Some(time));
    let drill = layout().drill_at(time);
    assert_eq!(drill.as_str(), "main/drills/20261121T020000.012345Z.json");
    assert_eq!(layout().read_drill(&drill), Some(time));
    assert_eq!(layout().read_drill(&layout().drilled_at(time)), None);
    let of_dump = layout().dump_drill_at(time);
    assert_eq!(
        of_dump.as_str(),
        "main/drills/20261121T020000.012345Z-dump.json"
    );
    assert_eq!(layout().read_dump_drill(&of_dump), Some(time));
    assert_eq!(layout().read_drill(&of_dump), None);
    assert_eq!(layout().read_dump_drill(&drill), None);
    for stray in [
        "main/pins/20261121T020000Z-incr.json",
        "main/pins/20261121T020000Z-incr-01.json",
        "main/locks/cleanup-07.json",
        "main/locks/cleanup-+7.json",
        "main/verified/x.json",
    ] {
        let name = ObjectName(stray.to_owned());
        assert_eq!(layout().read_pin(&name), None, "{stray}");
        assert_eq!(layout().read_lease("cleanup", &name), None, "{stray}");
        assert_eq!(layout().read_verified(&name), None, "{stray}");
    }
}

#[test]
fn cluster_names_stay_in_their_folder() {
    assert!("main-15_a.b".parse::<ClusterName>().is_ok());
    for bad in ["", ".", "..", "a/b", ".x", "repository.json", "ä", "a b"] {
        assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
    }
}
