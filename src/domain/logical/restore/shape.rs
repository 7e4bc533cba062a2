//! What kind of dump a file is, told by its first bytes: people rename files.

use std::{
    io::{self, Read},
    path::Path,
};

use crate::{
    error::{Error, IoContext, Result},
    postgres::archive_toc::MAGIC,
    repo::{
        codec::Codec,
        coding::Coding,
        crypt::{Keys, is_encrypted},
    },
};

/// How it has to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// SQL.
    Plain(Coding),
    /// An archive in one file, of custom or tar format.
    Archive(Coding),
    /// A folder of pg_dump's directory format, in a tar archive.
    Packed(Coding),
    /// Such a folder itself.
    Folder,
}

/// A block of tar (`struct posix_header`): the name of a member, then what it is, at the end the magic.
const BLOCK: usize = 512;
const USTAR: usize = 257;

/// Enough to tell.
const HEAD: usize = BLOCK;

impl Shape {
    /// Of what is at `path`; `keys` open what is encrypted.
    pub fn of(path: &Path, keys: &Keys) -> Result<Self> {
        if path.is_dir() {
            return match path.join("toc.dat").is_file() {
                true => Ok(Shape::Folder),
                false => Err(Error::failed(format!(
                    "{} is no dump: a folder of pg_dump's has a toc.dat",
                    path.display()
                ))),
            };
        }
        let opened = || std::fs::File::open(path).at("read", path);
        let unreadable = |error| {
            Error::passed(error, |error| {
                Error::damaged(format!("{} can't be unpacked", path.display())).because(error)
            })
        };
        let stored = head(opened()?).at("read", path)?;
        let encrypted = is_encrypted(&stored);
        let coding = Coding {
            codec: match encrypted {
                false => codec(&stored),
                true => {
                    let outer = Coding {
                        codec: Codec::None,
                        encrypted,
                    };
                    let inner = outer.decoder(keys, opened()?).and_then(head);
                    codec(&inner.map_err(unreadable)?)
                }
            },
            encrypted,
        };
        let plain = coding.decoder(keys, opened()?).and_then(head);
        let plain = plain.map_err(unreadable)?;
        if plain.is_empty() {
            return Err(Error::damaged(format!("{} is empty", path.display())));
        }
        let shape = Self::of_plain(&plain, coding);
        match shape {
            Shape::Plain(_) if plain.iter().any(is_no_text) => Err(Error::failed(format!(
                "{} is no dump: neither SQL nor an archive of pg_dump's",
                path.display()
            ))
            .hint("if another program compressed it (xz, bzip2, zip), unpack it first.")),
            shape => Ok(shape),
        }
    }

    fn of_plain(head: &[u8], coding: Coding) -> Self {
        if head.starts_with(MAGIC) {
            return Shape::Archive(coding);
        }
        if head.len() < BLOCK || !head[USTAR..].starts_with(b"ustar") {
            return Shape::Plain(coding);
        }
        // pg_dump's own begins with its table of contents.
        match head.starts_with(b"toc.dat\0") {
            true => Shape::Archive(coding),
            false => Shape::Packed(coding),
        }
    }

    pub fn coding(self) -> Coding {
        match self {
            Shape::Plain(coding) | Shape::Archive(coding) | Shape::Packed(coding) => coding,
            Shape::Folder => Codec::None.into(),
        }
    }
}

/// Whether no text has such a byte, in any encoding of PostgreSQL's: psql would take what follows for its commands.
fn is_no_text(byte: &u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

fn head(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// RFC 1952, and the frames of zstd and lz4.
fn codec(head: &[u8]) -> Codec {
    match head {
        [0x1F, 0x8B, ..] => Codec::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Codec::Zstd,
        [0x04, 0x22, 0x4D, 0x18, ..] => Codec::Lz4,
        _ => Codec::None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    fn tar(first: &str) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        archive.append_data(&mut header, first, &b"x"[..]).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn each_kind_is_known_by_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let none = Keys::default();
        let gzip = |bytes: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        for (bytes, shape) in [
            (b"PGDMP...".to_vec(), Shape::Archive(Codec::None.into())),
            (gzip(b"PGDMP..."), Shape::Archive(Codec::Gzip.into())),
            (tar("toc.dat"), Shape::Archive(Codec::None.into())),
            (tar("main/toc.dat"), Shape::Packed(Codec::None.into())),
            (b"-- x\n".to_vec(), Shape::Plain(Codec::None.into())),
            (gzip(b"SELECT 1;"), Shape::Plain(Codec::Gzip.into())),
            (
                zstd::encode_all(&b"SELECT 1;"[..], 1).unwrap(),
                Shape::Plain(Codec::Zstd.into()),
            ),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(Shape::of(&path, &none).unwrap(), shape);
        }
        fs::write(&path, "").unwrap();
        assert!(Shape::of(&path, &none).is_err());
        assert!(Shape::of(folder.path(), &none).is_err());
        fs::write(folder.path().join("toc.dat"), "x").unwrap();
        assert_eq!(Shape::of(folder.path(), &none).unwrap(), Shape::Folder);
        assert!(Shape::of(&folder.path().join("absent"), &none).is_err());
    }
}
