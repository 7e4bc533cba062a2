//! PostgreSQL's backup manifest: a JSON document of all files of a backup, read and written one
//! file at a time, so that a million files need no more memory than one.
//!
//! Layout: `src/backend/backup/backup_manifest.c`; what readers accept:
//! `src/common/parse_manifest.c`.

mod reader;
mod writer;

pub use reader::read;
pub use writer::Writer;

use super::{
    file_checksum::Checksum,
    lsn::{Lsn, SystemId, TimelineId},
};
use crate::util::{clock::Time, hash::Sha256};

/// Its name in a data directory.
pub const NAME: &str = "backup_manifest";

/// The first key, and with it the version of the document.
const VERSION_KEY: &str = "PostgreSQL-Backup-Manifest-Version";

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative to the data directory, tablespaces under `pg_tblspc/<oid>/`. Any bytes: names of
    /// files need not be UTF-8.
    pub path: Vec<u8>,
    pub size: u64,
    /// As [`last_modified`] writes it. For people: PostgreSQL's readers take any text.
    pub last_modified: String,
    /// None where the backup was taken with `MANIFEST_CHECKSUMS 'NONE'`.
    pub checksum: Option<Checksum>,
}

/// WAL that must be replayed for the backup to become consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalRange {
    pub timeline: TimelineId,
    pub start: Lsn,
    pub end: Lsn,
}

/// A manifest but for its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// 1, or 2 with the system identifier.
    pub version: u32,
    pub system: Option<SystemId>,
    pub files: u64,
    /// Newest timeline first.
    pub wal_ranges: Vec<WalRange>,
    /// Of every byte before the last line, as that line says.
    pub checksum: Sha256,
}

/// `2026-11-21 03:46:44 GMT`.
pub fn last_modified(time: Time) -> String {
    time.format("%Y-%m-%d %H:%M:%S GMT").to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind, Result};

    /// Of pg_basebackup 15 to 18, each with files of odd names; 16 with SHA224, 18 without
    /// checksums and with every path encoded.
    const REAL: [(u32, &[u8]); 4] = [
        (
            15,
            include_bytes!("../../../tests/data/backup_manifest/15.zst"),
        ),
        (
            16,
            include_bytes!("../../../tests/data/backup_manifest/16.zst"),
        ),
        (
            17,
            include_bytes!("../../../tests/data/backup_manifest/17.zst"),
        ),
        (
            18,
            include_bytes!("../../../tests/data/backup_manifest/18.zst"),
        ),
    ];

    fn real() -> impl Iterator<Item = (u32, Vec<u8>)> {
        REAL.into_iter()
            .map(|(major, bytes)| (major, zstd::decode_all(bytes).unwrap()))
    }

    fn read_all(bytes: &[u8]) -> Result<(Summary, Vec<File>)> {
        let mut files = Vec::new();
        let summary = read(bytes, |file| {
            files.push(file);
            Ok(())
        })?;
        Ok((summary, files))
    }

    fn write_all(summary: &Summary, files: &[File]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), summary.system).unwrap();
        for file in files {
            writer.file(file).unwrap();
        }
        let (bytes, checksum) = writer.finish(&summary.wal_ranges).unwrap();
        let (again, same) = read_all(&bytes).unwrap();
        assert_eq!((again.checksum, &same[..]), (checksum, files));
        bytes
    }

    #[test]
    fn manifests_of_real_servers_come_back_byte_for_byte() {
        for (major, bytes) in real() {
            let (summary, files) = read_all(&bytes).unwrap();
            assert_eq!(summary.version, if major < 17 { 1 } else { 2 });
            assert_eq!(summary.files, files.len() as u64);
            assert!(files.len() > 900);
            assert_eq!(summary.wal_ranges.len(), 1);
            for name in [
                &b"odd \"name\" \\ \t\n \x01\x7f \xC3\xA9 \xE4\xB8\x96"[..],
                b"latin\xE9",
                b"base/1/1259",
            ] {
                assert!(files.iter().any(|file| file.path == name), "{major}");
            }
            let checksum = files[0].checksum.as_ref().map(Checksum::algorithm);
            let expected = [Some("CRC32C"), Some("SHA224"), Some("CRC32C"), None];
            assert_eq!(
                checksum.map(|algorithm| algorithm.name()),
                expected[major as usize - 15]
            );
            let written = write_all(&summary, &files);
            if major < 18 {
                assert!(written == bytes, "{major}");
            }
        }
    }

    #[test]
    fn any_changed_byte_is_found() {
        let (_, bytes) = real().next().unwrap();
        let end = bytes.len();
        for at in (0..end).step_by(997).chain(end - 120..end) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let error = read_all(&changed).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{at}: {error}");
        }
        for length in (0..end).step_by(4999).chain(end - 120..end) {
            assert!(read_all(&bytes[..length]).is_err(), "{length}");
        }
        let mut longer = bytes;
        longer.extend_from_slice(b"\n");
        assert!(read_all(&longer).is_err());
    }

    #[test]
    fn an_error_of_the_one_who_reads_comes_through() {
        let (_, bytes) = real().next().unwrap();
        let error = read(&bytes[..], |_| Err(Error::new(Kind::Interrupted, "enough"))).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Interrupted, "enough")
        );
    }

    /// A manifest whose checksum is right, but for what is in it.
    fn signed(body: &str) -> Vec<u8> {
        let body = format!("{body}\n");
        let sum = Sha256::of(body.as_bytes());
        format!("{body}\"Manifest-Checksum\": \"{sum}\"}}\n").into_bytes()
    }

    #[test]
    fn what_postgresql_refuses_is_refused() {
        let version = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n";
        let file = "\"Last-Modified\": \"x\" }";
        for (body, wrong) in [
            (format!("{version}\"Files\": [],\n\"WAL-Ranges\": [],"), ""),
            ("{ \"Files\": [],".to_owned(), "must come first"),
            ("[],".to_owned(), "expected a backup manifest"),
            (version.replace('1', "3"), "version 3"),
            (version.replace('1', "2"), "System-Identifier"),
            (format!("{version}\"Other\": 1,"), "Other"),
            (
                format!("{version}\"Files\": [ {{ \"Size\": 1, {file} ],"),
                "Path",
            ),
            (
                format!(
                    "{version}\"Files\": [ {{ \"Path\": \"a\", \"Encoded-Path\": \"61\", \"Size\": 1, {file} ],"
                ),
                "both",
            ),
            (
                format!("{version}\"Files\": [ {{ \"Encoded-Path\": \"6\", \"Size\": 1, {file} ],"),
                "hexadecimal",
            ),
            (
                format!("{version}\"Files\": [ {{ \"Path\": \"a\", {file} ],"),
                "Size",
            ),
            (
                format!("{version}\"Files\": [ {{ \"Path\": \"a\", \"Size\": -1, {file} ],"),
                "-1",
            ),
            (
                format!(
                    "{version}\"Files\": [ {{ \"Path\": \"a\", \"Size\": 1, \"Checksum\": \"00\", {file} ],"
                ),
                "without",
            ),
            (
                format!(
                    "{version}\"Files\": [],\n\"WAL-Ranges\": [ {{ \"Timeline\": 0, \"Start-LSN\": \"0/1\", \"End-LSN\": \"0/2\" }} ],"
                ),
                "nonzero",
            ),
        ] {
            match read_all(&signed(&body)) {
                Ok(_) => assert_eq!(wrong, "", "{body}"),
                Err(error) => assert!(
                    !wrong.is_empty() && error.in_one_line().contains(wrong),
                    "{body}: {}",
                    error.in_one_line()
                ),
            }
        }
    }
}
