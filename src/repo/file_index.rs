//! `index.json.zst`: where in the parts each file of a backup lies. One entry a line.
//!
//! Written as the parts are written, read entry by entry: neither side ever holds the document.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, BufReader, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use serde::{Deserialize, Serialize, de};

use super::{codec::Codec, document::FORMAT};
use crate::{
    error::{Error, Result},
    util::{
        hash::{Sha256, from_hex},
        json_list::Each,
    },
};

/// A member of a part: a file or a folder of the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the data directory.
    #[serde(flatten)]
    pub path: FilePath,
    #[serde(default, skip_serializing_if = "is_false")]
    pub folder: bool,
    /// Number of the part that holds it.
    pub part: u32,
    /// Where in the part, before encryption, the frame begins that holds the tar header.
    pub frame: u64,
    /// Plain bytes of that frame before the header.
    pub offset: u32,
    /// Bytes of the file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// CRC-32C of the file's bytes; 0 for a folder.
    pub crc32c: u32,
    /// Only of files that the manifest doesn't list: WAL in a standalone backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// Only of files of relations, read from the data directory itself: what tells the next
    /// incremental backup whether the file is still the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    #[serde(flatten)]
    pub notes: PageNotes,
}

/// What the next incremental backup must know of a file's pages beside their LSNs: blocks, as
/// ascending ranges with both ends in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageNotes {
    /// Zeros, and those with a wrong checksum or an implausible header: stored again whatever their
    /// LSN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubtful: Vec<(u32, u32)>,
    /// Those that are marked as visible to all: without checksums that mark leaves no LSN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub visible: Vec<(u32, u32)>,
}

impl PageNotes {
    /// Adds those of other blocks.
    pub fn extend(&mut self, other: Self) {
        for (ranges, more) in [
            (&mut self.doubtful, other.doubtful),
            (&mut self.visible, other.visible),
        ] {
            ranges.extend(more);
            // Of two rows that are in order, which costs no more than a look at each.
            ranges.sort();
        }
    }

    /// Those of all blocks but these, which are in ascending order.
    pub fn without(&self, blocks: &[u32]) -> Self {
        let left = |ranges: &[(u32, u32)]| {
            let mut left = Vec::new();
            for &(from, to) in ranges {
                let mut from = from;
                let first = blocks.partition_point(|block| *block < from);
                let within = blocks[first..].iter().take_while(|block| **block <= to);
                for &block in within {
                    if from < block {
                        left.push((from, block - 1));
                    }
                    from = block.saturating_add(1);
                }
                if from <= to {
                    left.push((from, to));
                }
            }
            left
        };
        Self {
            doubtful: left(&self.doubtful),
            visible: left(&self.visible),
        }
    }
}

/// What the file system says of a file. Times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FactsInJson", into = "FactsInJson")]
pub struct Facts {
    pub device: u64,
    pub inode: u64,
    /// None where the file system doesn't tell.
    pub born: Option<i64>,
    /// Bytes in the data directory: of an incremental file those that it stands for.
    pub size: u64,
    pub modified: i64,
    pub changed: i64,
}

impl Facts {
    /// Whether both are of the same file, whatever was written to it between.
    pub fn is_same_file(&self, other: &Self) -> bool {
        let identity = |facts: &Self| (facts.device, facts.inode, facts.born);
        self.born.is_some() && identity(self) == identity(other)
    }
}

/// In the order of the fields: there may be a million of them.
type FactsInJson = (u64, u64, Option<i64>, u64, i64, i64);

impl From<Facts> for FactsInJson {
    fn from(facts: Facts) -> Self {
        let Facts {
            device,
            inode,
            born,
            size,
            modified,
            changed,
        } = facts;
        (device, inode, born, size, modified, changed)
    }
}

impl From<FactsInJson> for Facts {
    fn from((device, inode, born, size, modified, changed): FactsInJson) -> Self {
        Self {
            device,
            inode,
            born,
            size,
            modified,
            changed,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A path as bytes: text in JSON where it is text, else hexadecimal, as in PostgreSQL's manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "PathInJson", into = "PathInJson")]
pub struct FilePath(pub Box<[u8]>);

#[derive(Serialize, Deserialize)]
pub enum PathInJson {
    #[serde(rename = "path")]
    Text(String),
    #[serde(rename = "encoded_path")]
    Hex(String),
}

impl From<FilePath> for PathInJson {
    fn from(path: FilePath) -> Self {
        match String::from_utf8(path.0.into_vec()) {
            Ok(text) => PathInJson::Text(text),
            Err(error) => PathInJson::Hex(
                error
                    .as_bytes()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            ),
        }
    }
}

impl TryFrom<PathInJson> for FilePath {
    type Error = String;

    fn try_from(path: PathInJson) -> Result<Self, String> {
        match path {
            PathInJson::Text(text) => Ok(FilePath(text.into_bytes().into())),
            PathInJson::Hex(hex) => match from_hex(&hex) {
                Some(bytes) => Ok(FilePath(bytes.into())),
                None => Err(format!("not an encoded path: {hex:?}")),
            },
        }
    }
}

impl FilePath {
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().display().fmt(f)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().fmt(f)
    }
}

/// Writes the index, plain, into `W`.
pub struct FileIndexWriter<W> {
    writer: W,
    entries: u64,
}

impl<W: Write> FileIndexWriter<W> {
    pub fn new(mut writer: W) -> Result<Self> {
        write!(writer, "{{\"format\":{FORMAT},\"files\":[").map_err(not_written)?;
        Ok(Self { writer, entries: 0 })
    }

    pub fn add(&mut self, entry: &FileEntry) -> Result<()> {
        let separator: &[u8] = if self.entries == 0 { b"\n" } else { b",\n" };
        self.entries += 1;
        self.writer
            .write_all(separator)
            .and_then(|()| serde_json::to_writer(&mut self.writer, entry).map_err(io::Error::from))
            .map_err(not_written)
    }

    /// Ends the document and gives the writer back.
    pub fn finish(mut self) -> Result<W> {
        self.writer.write_all(b"\n]}\n").map_err(not_written)?;
        Ok(self.writer)
    }
}

fn not_written(error: io::Error) -> Error {
    Error::failed("can't write the index of files").because(error)
}

/// Reads the index in `stored`, compressed bytes, and gives each entry to `take`.
pub fn read(stored: impl Read + Send, mut take: impl FnMut(FileEntry) -> Result<()>) -> Result<()> {
    let damaged = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::damaged("the index of files can't be understood").because(error)
    };
    let plain = Codec::Zstd
        .decoder(stored)
        .map_err(|error| damaged(error.into()))?;
    let mut failed = None;
    let visitor = DocumentVisitor {
        take: &mut take,
        failed: &mut failed,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, plain));
    let result = de::Deserializer::deserialize_map(&mut json, visitor).and_then(|()| json.end());
    match (failed, result) {
        (Some(error), _) => Err(error),
        (None, result) => result.map_err(|error| damaged(error.into())),
    }
}

struct DocumentVisitor<'a, F> {
    take: &'a mut F,
    /// Why `take` refused; serde's own error can't carry it.
    failed: &'a mut Option<Error>,
}

impl<'de, F: FnMut(FileEntry) -> Result<()>> de::Visitor<'de> for DocumentVisitor<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index of files")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut complete = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format" if map.next_value::<u32>()? != FORMAT => {
                    return Err(de::Error::custom("unknown format"));
                }
                "format" => {}
                "files" => {
                    map.next_value_seed(Each::new("files", &mut *self.take, self.failed))?;
                    complete = true;
                }
                _ => {
                    map.next_value::<de::IgnoredAny>()?;
                }
            }
        }
        if complete {
            Ok(())
        } else {
            Err(de::Error::missing_field("files"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::codec::Compression;

    fn entry(path: &[u8], sha256: Option<Sha256>) -> FileEntry {
        FileEntry {
            path: FilePath(path.into()),
            folder: path.ends_with(b"5"),
            part: 1,
            frame: 12_345_678_901,
            offset: 512,
            size: 8192,
            mode: 0o600,
            mtime: 1_795_226_400,
            crc32c: 0xDEAD_BEEF,
            sha256,
            facts: None,
            notes: PageNotes::default(),
        }
    }

    #[test]
    fn notes_of_some_blocks_take_the_place_of_others() {
        let notes = |doubtful: &[(u32, u32)], visible: &[(u32, u32)]| PageNotes {
            doubtful: doubtful.to_vec(),
            visible: visible.to_vec(),
        };
        let known = notes(&[(3, 3)], &[(0, 2), (5, 9), (11, 11)]);
        let blocks = [0, 3, 4, 6, 7, 9, 11, 12];
        let mut rest = known.without(&blocks);
        assert_eq!(rest, notes(&[], &[(1, 2), (5, 5), (8, 8)]));
        assert_eq!(known.without(&[]), known);
        rest.extend(notes(&[(4, 4)], &[(0, 0), (6, 7), (12, 12)]));
        let all = [(0, 0), (1, 2), (5, 5), (6, 7), (8, 8), (12, 12)];
        assert_eq!(rest, notes(&[(4, 4)], &all));
    }

    #[test]
    fn reads_what_it_wrote() {
        let entries = [
            entry(b"base/5", None),
            entry(b"base/5/1259", None),
            entry(b"odd \"name\"\n\xFF", Some(Sha256::of(b"x"))),
        ];
        let mut writer = FileIndexWriter::new(Vec::new()).unwrap();
        for entry in &entries {
            writer.add(entry).unwrap();
        }
        let plain = writer.finish().unwrap();
        let mut stored = Vec::new();
        Compression::default()
            .framer()
            .unwrap()
            .frame(&plain, &mut stored)
            .unwrap();
        let mut back = Vec::new();
        read(&stored[..], |entry| {
            back.push(entry);
            Ok(())
        })
        .unwrap();
        assert_eq!(back, entries);
        for cut in 0..stored.len() {
            assert!(read(&stored[..cut], |_| Ok(())).is_err(), "cut at {cut}");
        }
        let stopped = read(&stored[..], |_| Err(Error::failed("enough"))).unwrap_err();
        assert_eq!(stopped.message(), "enough");
    }
}
