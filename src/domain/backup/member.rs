//! Tar headers of the members of a part.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use tar::{EntryType, Header};

use crate::{
    error::{Error, Result},
    repo::file_index::FilePath,
};

/// Bytes of a tar block: headers take whole blocks, contents are padded to them.
pub const BLOCK: u64 = 512;

/// A file or a folder of the data directory, as it goes into a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Relative to the data directory.
    pub path: FilePath,
    pub folder: bool,
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    pub uid: u64,
    pub gid: u64,
}

impl Member {
    /// The header block, behind a pax header where the plain one has no room for the path.
    pub fn header(&self) -> Result<Vec<u8>> {
        let failed = |error| {
            Error::failed(format!("can't store {} in a tar archive", self.path)).because(error)
        };
        let path = self.path_in_tar();
        let mut blocks = Vec::with_capacity(BLOCK as usize);
        let mut header = self.blank(
            if self.folder {
                EntryType::Directory
            } else {
                EntryType::Regular
            },
            self.size,
        );
        let as_path =
            |bytes: &[u8]| -> std::path::PathBuf { Path::new(OsStr::from_bytes(bytes)).into() };
        if header.set_path(as_path(&path)).is_err() {
            let record = pax_record(b"path", &path);
            let mut extension = self.blank(EntryType::XHeader, record.len() as u64);
            extension.set_path("pax").map_err(failed)?;
            extension.set_cksum();
            blocks.extend_from_slice(extension.as_bytes());
            blocks.extend_from_slice(&record);
            blocks.resize(blocks.len() + padding(record.len() as u64), 0);
            // Readers that know no pax see the end of the path.
            let tail = &path[path.len().saturating_sub(90)..];
            header
                .set_path(as_path(tail).strip_prefix("/").unwrap_or(&as_path(tail)))
                .map_err(failed)?;
        }
        header.set_cksum();
        blocks.extend_from_slice(header.as_bytes());
        Ok(blocks)
    }

    fn path_in_tar(&self) -> Vec<u8> {
        let slash: &[u8] = if self.folder { b"/" } else { b"" };
        [&self.path.0, slash].concat()
    }

    fn blank(&self, kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(self.mode);
        header.set_mtime(self.mtime.max(0).unsigned_abs());
        header.set_uid(self.uid);
        header.set_gid(self.gid);
        header
    }
}

/// How many zero bytes follow `length` bytes of content.
pub fn padding(length: u64) -> usize {
    (length.next_multiple_of(BLOCK) - length) as usize
}

/// `LENGTH KEY=VALUE\n`, whose length counts its own digits (POSIX pax, "Extended Header").
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    // A space, an equals sign, a line feed.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_path_reads_back() {
        let long_name = [b'n'; 150];
        let deep = b"pg_tblspc/16384/PG_15_202209061/5/".repeat(9);
        for path in [
            b"PG_VERSION".as_slice(),
            b"odd \xFF\xFE \"name\"",
            &long_name,
            &deep,
        ] {
            for folder in [false, true] {
                let member = Member {
                    path: FilePath(path.strip_suffix(b"/").unwrap_or(path).into()),
                    folder,
                    size: 0,
                    mode: 0o600,
                    mtime: 7,
                    uid: 101,
                    gid: 104,
                };
                let mut archive = member.header().unwrap();
                archive.extend([0; 1024]);
                let mut archive = tar::Archive::new(&archive[..]);
                let entry = archive.entries().unwrap().next().unwrap().unwrap();
                assert_eq!(entry.path_bytes().as_ref(), member.path_in_tar());
                assert_eq!(entry.header().entry_type().is_dir(), folder);
                assert_eq!(entry.header().mode().unwrap(), 0o600);
            }
        }
    }

    #[test]
    fn a_pax_record_counts_itself() {
        assert_eq!(pax_record(b"path", b"a"), b"9 path=a\n");
        for length in [1, 80, 89, 90, 91, 92, 980, 990, 991, 992] {
            let record = pax_record(b"path", &vec![b'x'; length]);
            let digits = record.split(|byte| *byte == b' ').next().unwrap();
            assert_eq!(
                std::str::from_utf8(digits).unwrap(),
                record.len().to_string()
            );
        }
    }
}
