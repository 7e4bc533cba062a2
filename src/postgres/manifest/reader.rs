//! Reads a manifest file by file, and checks its own checksum.

use std::{
    fmt,
    io::{self, BufReader, Read},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, Visitor},
};
use sha2::Digest;

use super::{File, Summary, VERSION_KEY, WalRange};
use crate::{
    error::{Error, Result},
    postgres::{
        file_checksum::Checksum,
        lsn::{Lsn, SystemId, TimelineId},
    },
    util::{
        hash::{Sha256, from_hex},
        json_list::Each,
    },
};

/// Reads a manifest and gives each of its files to `each`, whose error ends the reading.
///
/// The checksum stands in the last line: act on the files only after this returned.
pub fn read(reader: impl Read, mut each: impl FnMut(File) -> Result<()>) -> Result<Summary> {
    let mut reader = BufReader::with_capacity(64 << 10, AllButLastLine::new(reader));
    let mut failed = None;
    let mut json = serde_json::Deserializer::from_reader(&mut reader);
    let parsed = Document {
        each: &mut each,
        failed: &mut failed,
    }
    .deserialize(&mut json)
    .and_then(|summary| json.end().map(|()| summary));
    if let Some(error) = failed {
        return Err(error);
    }
    let summary = parsed.map_err(|error| {
        Error::damaged("the backup manifest does not read as one").because(error)
    })?;
    let found = reader.into_inner().finish()?;
    if found != summary.checksum {
        return Err(Error::damaged(format!(
            "the backup manifest is damaged: its checksum is {}, its bytes give {found}",
            summary.checksum
        )));
    }
    Ok(summary)
}

/// Hashes what passes, but for the last line.
struct AllButLastLine<R> {
    inner: R,
    hasher: sha2::Sha256,
    /// The line that may be the last, from its first byte on.
    line: Vec<u8>,
}

/// Longer than the last line can be, which holds a key and 64 digits.
const LONG_LINE: usize = 1024;

impl<R> AllButLastLine<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: sha2::Sha256::new(),
            line: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
        // A newline at the very end may belong to the last line.
        let before = self.line.len().saturating_sub(1);
        let newline = self.line[..before].iter().rposition(|byte| *byte == b'\n');
        let mut passed = newline.map_or(0, |at| at + 1);
        if self.line.len() - passed > LONG_LINE {
            // Not the last line of a manifest. If it is, the checksum won't fit.
            passed = self.line.len();
        }
        self.hasher.update(&self.line[..passed]);
        self.line.drain(..passed);
    }

    fn finish(self) -> Result<Sha256> {
        if self.line.starts_with(b"\"Manifest-Checksum\"") && self.line.ends_with(b"\n") {
            Ok(Sha256(self.hasher.finalize().into()))
        } else {
            Err(Error::damaged(
                "the backup manifest does not end with a line that holds its checksum",
            ))
        }
    }
}

impl<R: Read> Read for AllButLastLine<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.take(&buffer[..count]);
        Ok(count)
    }
}

/// The whole document; our own error lies in `failed` where `each` gave one.
struct Document<'a, F> {
    each: &'a mut F,
    failed: &'a mut Option<Error>,
}

impl<'de, F: FnMut(File) -> Result<()>> DeserializeSeed<'de> for Document<'_, F> {
    type Value = Summary;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Summary, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(File) -> Result<()>> Visitor<'de> for Document<'_, F> {
    type Value = Summary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a backup manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Summary, A::Error> {
        if map.next_key::<String>()?.as_deref() != Some(VERSION_KEY) {
            return Err(de::Error::custom(format!("{VERSION_KEY} must come first")));
        }
        let version: u32 = map.next_value()?;
        if !(1..=2).contains(&version) {
            return Err(de::Error::custom(format!(
                "version {version} of backup manifests is unknown"
            )));
        }
        let mut system = None;
        let mut files = None;
        let mut wal_ranges = None;
        let mut checksum = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "System-Identifier" if version > 1 => {
                    once(&mut system, &key, SystemId(map.next_value()?))?;
                }
                "Files" => {
                    let each = &mut *self.each;
                    let take = |Listed(file)| each(file);
                    let seed = Each::new("files", take, &mut *self.failed);
                    once(&mut files, &key, map.next_value_seed(seed)?)?;
                }
                "WAL-Ranges" => {
                    let ranges: Vec<Range> = map.next_value()?;
                    let ranges = ranges.into_iter().map(WalRange::from).collect();
                    once(&mut wal_ranges, &key, ranges)?;
                }
                "Manifest-Checksum" => once(&mut checksum, &key, map.next_value()?)?,
                _ => return Err(de::Error::custom(format!("unknown field {key:?}"))),
            }
        }
        if version > 1 && system.is_none() {
            return Err(de::Error::missing_field("System-Identifier"));
        }
        Ok(Summary {
            version,
            system,
            files: files.ok_or_else(|| de::Error::missing_field("Files"))?,
            wal_ranges: wal_ranges.ok_or_else(|| de::Error::missing_field("WAL-Ranges"))?,
            checksum: checksum.ok_or_else(|| de::Error::missing_field("Manifest-Checksum"))?,
        })
    }
}

fn once<T, E: de::Error>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format!("{key} is there twice"))),
    }
}

#[derive(Deserialize)]
#[serde(try_from = "Entry")]
struct Listed(File);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Last-Modified")]
    last_modified: String,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

impl TryFrom<Entry> for Listed {
    type Error = Error;

    fn try_from(entry: Entry) -> Result<Self> {
        let path = match (entry.path, entry.encoded_path) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(hex)) => {
                from_hex(&hex).ok_or_else(|| Error::damaged("Encoded-Path is not hexadecimal"))?
            }
            (Some(_), Some(_)) => return Err(Error::damaged("both Path and Encoded-Path")),
            (None, None) => return Err(Error::damaged("neither Path nor Encoded-Path")),
        };
        let checksum = match (entry.algorithm, entry.checksum) {
            (Some(algorithm), Some(hex)) => Some(Checksum::parse(algorithm.parse()?, &hex)?),
            (None, None) => None,
            _ => return Err(Error::damaged("a checksum without its algorithm")),
        };
        Ok(Self(File {
            path,
            size: entry.size,
            last_modified: entry.last_modified,
            checksum,
        }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    #[serde(rename = "Timeline")]
    timeline: TimelineId,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

impl From<Range> for WalRange {
    fn from(range: Range) -> Self {
        Self {
            timeline: range.timeline,
            start: range.start,
            end: range.end,
        }
    }
}
