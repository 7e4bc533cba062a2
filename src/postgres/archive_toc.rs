//! The table of contents that pg_dump puts at the beginning of its archives (custom), or into `toc.dat`
//! (tar, directory): what is in it, under which exact names, and what needs what (`ReadHead` and
//! `ReadToc` in `src/bin/pg_dump/pg_backup_archiver.c`).

use std::io::{self, Read};

use crate::error::{Error, Result};

pub const MAGIC: &[u8] = b"PGDMP";

/// The oldest format that is read: that of pg_dump 8.4 (K_VERS_1_11 in `pg_backup_archiver.h`).
const OLDEST: Version = Version(1, 11);
/// pg_dump 12 to 15 write 1.14, 16 writes 1.15, 17 and 18 write 1.16.
const WITH_ACCESS_METHOD: Version = Version(1, 14);
const WITH_ALGORITHM: Version = Version(1, 15);
const WITH_KIND: Version = Version(1, 16);

/// SECTION_POST_DATA of `teSection` in `src/bin/pg_dump/pg_backup.h`.
const POST_DATA: i64 = 4;

/// Longer ones are no names; what is defined by more text than that is not looked at.
const LONGEST: usize = 1 << 20;

/// Entries whose definitions somebody looks at.
const DEFINED: [&str; 6] = [
    "DATABASE",
    "DATABASE PROPERTIES",
    "ENCODING",
    "ACL",
    "DEFAULT ACL",
    "POLICY",
];

/// Of those of others there may be very many.
const OF_DATABASE: &str = "DATABASE ";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u8, u8);

/// What is told of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveToc {
    /// What was dumped.
    pub database: Option<String>,
    /// Such as `15.19 (Debian 15.19-0+deb12u1)`.
    pub server_version: Option<String>,
    pub client_version: Option<String>,
    /// In the order in which they are restored.
    pub entries: Vec<TocEntry>,
}

/// An object, or the rows of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TocEntry {
    pub id: u32,
    /// Such as `TABLE` or `FK CONSTRAINT`.
    pub what: String,
    /// Whether it comes behind all rows.
    pub late: bool,
    pub schema: Option<String>,
    /// Of what belongs to a table: its name, a space, and the own one.
    pub name: String,
    pub owner: String,
    /// Its SQL, of a few kinds.
    pub definition: Option<String>,
    /// Ids of entries that it needs.
    pub needs: Vec<u32>,
}

impl TocEntry {
    /// Whether it is a table that has rows, here or elsewhere.
    pub fn is_table(&self) -> bool {
        ["TABLE", "FOREIGN TABLE"].contains(&self.what.as_str())
    }

    /// Whether it is a view whose rows are stored.
    pub fn is_materialized(&self) -> bool {
        self.what == "MATERIALIZED VIEW"
    }

    /// Whether its name is one of those among which each is there once in a schema.
    pub fn is_relation(&self) -> bool {
        self.is_table()
            || self.is_materialized()
            || ["VIEW", "SEQUENCE"].contains(&self.what.as_str())
    }
}

impl ArchiveToc {
    /// Reads the beginning of an archive; what follows is left unread.
    pub fn read(input: impl Read) -> Result<Self> {
        let mut input = Input {
            bytes: input,
            integer: 4,
            offset: 8,
            latin1: false,
        };
        input.toc().map_err(|error| {
            Error::passed(error, |error| {
                Error::damaged("the archive's table of contents can't be read").because(error)
            })
        })
    }

    /// How the database itself was made.
    pub fn creation(&self) -> Option<&str> {
        self.of_database()?.definition.as_deref()
    }

    /// Whose it was; None: it is not told.
    pub fn owner(&self) -> Option<&str> {
        let owner = self.of_database()?.owner.as_str();
        (!owner.is_empty()).then_some(owner)
    }

    fn of_database(&self) -> Option<&TocEntry> {
        self.entries.iter().find(|entry| entry.what == "DATABASE")
    }
}

struct Input<R> {
    bytes: R,
    /// Bytes of a whole number, beside that for its sign.
    integer: u8,
    /// Bytes of an offset, beside that for its state.
    offset: u8,
    /// Whether texts are in that encoding.
    latin1: bool,
}

fn wrong(what: &str) -> io::Error {
    Error::damaged(format!(
        "the archive's table of contents can't be read: {what}"
    ))
    .into()
}

impl<R: Read> Input<R> {
    fn toc(&mut self) -> io::Result<ArchiveToc> {
        let mut magic = [0; MAGIC.len()];
        self.bytes.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(wrong("it does not begin as one"));
        }
        let version = Version(self.byte()?, self.byte()?);
        let _revision = self.byte()?;
        if version < OLDEST || version.0 > 1 {
            let Version(major, minor) = version;
            return Err(wrong(&format!("its format is {major}.{minor}")));
        }
        (self.integer, self.offset) = (self.byte()?, self.byte()?);
        if !(1..=8).contains(&self.integer) || !(1..=8).contains(&self.offset) {
            return Err(wrong("its numbers have no known size"));
        }
        // archCustom and archTar; that of a directory says that it were one of tar.
        let is_custom = match self.byte()? {
            1 => true,
            3 | 5 => false,
            other => return Err(wrong(&format!("its kind is {other}"))),
        };
        match version >= WITH_ALGORITHM {
            true => drop(self.byte()?),
            false => drop(self.number()?),
        }
        // When it was made: seconds, minutes, hours, day, month, year, daylight saving.
        for _ in 0..7 {
            self.number()?;
        }
        let mut toc = ArchiveToc {
            database: self.text()?,
            server_version: self.text()?,
            client_version: self.text()?,
            entries: Vec::new(),
        };
        for _ in 0..self.number()? {
            let entry = self.entry(version, is_custom)?;
            toc.entries.push(entry);
        }
        Ok(toc)
    }

    fn entry(&mut self, version: Version, is_custom: bool) -> io::Result<TocEntry> {
        let id = self.number()?;
        let id = u32::try_from(id).map_err(|_| wrong("an entry has no id"))?;
        let _has_data = self.number()?;
        // Catalog and OID.
        self.skip()?;
        self.skip()?;
        let name = self.text()?.unwrap_or_default();
        let what = self.text()?.unwrap_or_default();
        let late = self.number()? == POST_DATA;
        let is_defined = DEFINED.contains(&what.as_str()) || name.starts_with(OF_DATABASE);
        let definition = match is_defined {
            true => self.text()?,
            false => self.skip().map(|()| None)?,
        };
        if what == "ENCODING" {
            let definition = definition.as_deref().unwrap_or_default();
            self.latin1 = definition.contains("'LATIN1'");
        }
        // How it is dropped, and how its rows are read.
        self.skip()?;
        self.skip()?;
        let schema = self.text()?.filter(|schema| !schema.is_empty());
        self.skip()?;
        if version >= WITH_ACCESS_METHOD {
            self.skip()?;
        }
        if version >= WITH_KIND {
            self.number()?;
        }
        let owner = self.text()?.unwrap_or_default();
        // Whether it had OIDs.
        self.skip()?;
        let mut needs = Vec::new();
        while let Some(id) = self.text()? {
            needs.push(
                id.parse()
                    .map_err(|_| wrong("an entry needs what is none"))?,
            );
        }
        match is_custom {
            true => self.pass(1 + u64::from(self.offset))?,
            false => self.skip()?,
        }
        Ok(TocEntry {
            id,
            what,
            late,
            schema,
            name,
            owner,
            definition,
            needs,
        })
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// A sign, and bytes of which the lowest comes first.
    fn number(&mut self) -> io::Result<i64> {
        let negative = self.byte()? != 0;
        let mut bytes = [0; 8];
        self.bytes
            .read_exact(&mut bytes[..usize::from(self.integer)])?;
        let number = i64::from_le_bytes(bytes);
        Ok(if negative {
            number.wrapping_neg()
        } else {
            number
        })
    }

    /// The length of what follows; None: there is none.
    fn length(&mut self) -> io::Result<Option<u64>> {
        Ok(u64::try_from(self.number()?).ok())
    }

    /// In the encoding of the database: of others than UTF-8 and LATIN1 what is not ASCII can't be read.
    fn text(&mut self) -> io::Result<Option<String>> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        if length > LONGEST as u64 {
            return self.pass(length).map(|()| Some(String::new()));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.bytes).take(length).read_to_end(&mut bytes)?;
        match read as u64 == length {
            // Its signs are the first 256 of Unicode.
            true if self.latin1 => Ok(Some(bytes.into_iter().map(char::from).collect())),
            true => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn skip(&mut self) -> io::Result<()> {
        let length = self.length()?.unwrap_or_default();
        self.pass(length)
    }

    fn pass(&mut self, length: u64) -> io::Result<()> {
        match io::copy(&mut (&mut self.bytes).take(length), &mut io::sink())? == length {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn number(number: i32) -> Vec<u8> {
        let sign = u8::from(number < 0);
        [&[sign], number.abs().to_le_bytes().as_slice()].concat()
    }

    fn text(text: Option<&str>) -> Vec<u8> {
        match text {
            Some(text) => [number(text.len() as i32), text.as_bytes().to_vec()].concat(),
            None => number(-1),
        }
    }

    /// An archive of one table, as pg_dump of `minor` would begin it.
    fn archive(minor: u8, kind: u8) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, minor, 0, 4, 8, kind]);
        bytes.extend(if minor >= 15 { vec![1] } else { number(-1) });
        for part in [1, 2, 3, 21, 10, 126, 0] {
            bytes.extend(number(part));
        }
        for word in ["shop", "15.19", "16.1"] {
            bytes.extend(text(Some(word)));
        }
        bytes.extend(number(1));
        bytes.extend(number(215));
        bytes.extend(number(0));
        for word in ["1259", "16386", "accounts", "TABLE"] {
            bytes.extend(text(Some(word)));
        }
        bytes.extend(number(2));
        for word in [
            Some("CREATE TABLE"),
            Some("DROP TABLE"),
            None,
            Some("pub lic"),
            Some(""),
        ] {
            bytes.extend(text(word));
        }
        if minor >= 14 {
            bytes.extend(text(Some("heap")));
        }
        if minor >= 16 {
            bytes.extend(number(114));
        }
        for word in [
            Some("post gres"),
            Some("false"),
            Some("7"),
            Some("12"),
            None,
        ] {
            bytes.extend(text(word));
        }
        match kind {
            1 => bytes.extend([2; 9]),
            _ => bytes.extend(text(Some("3321.dat"))),
        }
        bytes
    }

    #[test]
    fn every_version_and_kind_is_read() {
        for (minor, kind) in [(11, 1), (14, 1), (14, 3), (15, 1), (16, 1), (16, 3)] {
            let bytes = archive(minor, kind);
            let toc = ArchiveToc::read(bytes.as_slice()).unwrap();
            assert_eq!(toc.database.as_deref(), Some("shop"));
            assert_eq!(toc.client_version.as_deref(), Some("16.1"));
            let expected = TocEntry {
                id: 215,
                what: "TABLE".to_owned(),
                late: false,
                schema: Some("pub lic".to_owned()),
                name: "accounts".to_owned(),
                owner: "post gres".to_owned(),
                definition: None,
                needs: vec![7, 12],
            };
            assert_eq!(toc.entries, [expected], "1.{minor} {kind}");
            for end in 0..bytes.len() {
                assert!(ArchiveToc::read(&bytes[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn others_are_refused() {
        for bytes in [
            b"PGDMQ".as_slice(),
            b"PGDMP\x01\x0A\0\x04\x08\x01",
            b"PGDMP\x02\0\0\x04\x08\x01",
            b"PGDMP\x01\x0E\0\x40\x08\x01",
            b"PGDMP\x01\x0E\0\x04\x08\x07",
        ] {
            assert!(ArchiveToc::read(bytes).is_err(), "{bytes:?}");
        }
    }
}
