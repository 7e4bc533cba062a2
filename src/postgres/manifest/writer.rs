//! Writes a manifest, byte for byte as the server does.

use std::io::{self, Write};

use super::{File, VERSION_KEY, WalRange};
use crate::{
    postgres::lsn::SystemId,
    util::hash::{Sha256, Sha256Writer},
};

/// Takes the files of a backup in any order, then what WAL it needs.
pub struct Writer<W> {
    out: Sha256Writer<W>,
    /// What ends the line before the next file.
    separator: &'static str,
}

impl<W: Write> Writer<W> {
    /// Version 2 with a system identifier, version 1 (before PostgreSQL 17) without.
    pub fn new(out: W, system: Option<SystemId>) -> io::Result<Self> {
        let mut out = Sha256Writer::new(out);
        match system {
            None => write!(out, "{{ \"{VERSION_KEY}\": 1,\n\"Files\": [")?,
            Some(system) => write!(
                out,
                "{{ \"{VERSION_KEY}\": 2,\n\"System-Identifier\": {system},\n\"Files\": ["
            )?,
        }
        Ok(Self {
            out,
            separator: "\n",
        })
    }

    pub fn file(&mut self, file: &File) -> io::Result<()> {
        let out = &mut self.out;
        write!(out, "{}{{ ", self.separator)?;
        self.separator = ",\n";
        match str::from_utf8(&file.path) {
            Ok(path) => {
                out.write_all(b"\"Path\": ")?;
                // Escapes what PostgreSQL's escape_json escapes, in the same way.
                serde_json::to_writer(&mut *out, path)?;
            }
            Err(_) => {
                out.write_all(b"\"Encoded-Path\": \"")?;
                for byte in &file.path {
                    write!(out, "{byte:02x}")?;
                }
                out.write_all(b"\"")?;
            }
        }
        write!(out, ", \"Size\": {}, \"Last-Modified\": ", file.size)?;
        serde_json::to_writer(&mut *out, &file.last_modified)?;
        if let Some(checksum) = &file.checksum {
            let algorithm = checksum.algorithm().name();
            write!(
                out,
                ", \"Checksum-Algorithm\": \"{algorithm}\", \"Checksum\": \"{checksum}\""
            )?;
        }
        out.write_all(b" }")
    }

    /// Ends the document; `ranges` newest timeline first. Gives the writer back, and the
    /// checksum that stands in the last line.
    pub fn finish(mut self, ranges: &[WalRange]) -> io::Result<(W, Sha256)> {
        self.out.write_all(b"\n],\n\"WAL-Ranges\": [\n")?;
        let mut separator = "";
        for range in ranges {
            write!(
                self.out,
                "{separator}{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}",
                range.timeline, range.start, range.end
            )?;
            separator = ",\n";
        }
        self.out.write_all(b"\n],\n")?;
        let (mut out, checksum) = self.out.finish();
        writeln!(out, "\"Manifest-Checksum\": \"{checksum}\"}}")?;
        Ok((out, checksum))
    }
}
