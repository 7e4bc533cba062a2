//! Names of dumps, for people: which database, when, and how long it is meant to stay. Pure.
//!
//! `main_shop_20261121T020000Z_daily`, in a folder that `dump.path_format` chooses. Names are never
//! taken apart but for time and class: what was dumped stands in the dump's description.

use std::{fmt, str::FromStr};

use chrono::NaiveDateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{codec::Codec, coding::Coding};
use crate::{
    error::{Error, Result},
    util::{
        clock::{Time, whole_seconds},
        hash::Sha256,
    },
};

const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Bytes of a database in a name. PostgreSQL's own names have up to 63, of which each may need three.
const LONGEST: usize = 100;

/// What roles and tablespaces are called, as no file of a database is.
const GLOBALS: &str = "@globals";

/// The folder of links, beside those of databases.
pub(super) const LATEST: &str = "latest";

/// How long a dump is meant to stay: each has a rule of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Daily,
    Weekly,
    Monthly,
    Yearly,
    /// Never removed by a rule.
    Manual,
}

impl Class {
    pub const ALL: [Class; 5] = [
        Class::Daily,
        Class::Weekly,
        Class::Monthly,
        Class::Yearly,
        Class::Manual,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Class::Daily => "daily",
            Class::Weekly => "weekly",
            Class::Monthly => "monthly",
            Class::Yearly => "yearly",
            Class::Manual => "manual",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Class {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Class::ALL.into_iter().find(|class| class.word() == text);
        found.ok_or_else(|| {
            Error::usage(format!("not a class of dumps: {text:?}"))
                .hint("a class is daily, weekly, monthly, yearly or manual.")
        })
    }
}

/// What a dump holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Database(String),
    /// Roles and tablespaces: what belongs to no database.
    Globals,
}

impl Subject {
    /// As descriptions have it: none is the globals.
    pub fn of(database: Option<&str>) -> Self {
        database.map_or(Subject::Globals, |name| Subject::Database(name.to_owned()))
    }

    pub fn database(&self) -> Option<&str> {
        match self {
            Subject::Database(name) => Some(name),
            Subject::Globals => None,
        }
    }

    /// What people mean by a word: `@globals` are the roles and tablespaces, and a database of that name is meant
    /// where it is in quotes, as it is shown.
    pub fn of_word(word: &str) -> Self {
        let in_quotes = |word: &str| word.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
        match word {
            GLOBALS => Subject::Globals,
            _ => match in_quotes(word) {
                Some(name) if name == GLOBALS => Subject::Database(name),
                _ => Subject::Database(word.to_owned()),
            },
        }
    }

    /// As in names: no database's has the `@`.
    pub fn in_names(&self) -> String {
        match self {
            Subject::Database(name) => plain(name),
            Subject::Globals => GLOBALS.to_owned(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Database(name) if name == GLOBALS => f.pad("\"@globals\""),
            Subject::Database(name) => f.pad(name),
            Subject::Globals => f.pad(GLOBALS),
        }
    }
}

/// A database's name where it has to be one of a file: letters and digits of any script, `-`, `_` and
/// `.` stay, all else becomes `%` and two hexadecimal digits for each byte; and the first of a name that is ours.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for (at, letter) in name.char_indices() {
        let is_ours = at == 0 && name == LATEST;
        let stays =
            letter.is_alphanumeric() || matches!(letter, '-' | '_') || (letter == '.' && at > 0);
        if stays && !is_ours {
            plain.push(letter);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in letter.encode_utf8(&mut bytes).bytes() {
            plain.push_str(&format!("%{byte:02X}"));
        }
    }
    if plain.len() > LONGEST {
        let hash = Sha256::of(name.as_bytes()).to_string();
        let mut end = LONGEST - 9;
        while !plain.is_char_boundary(end) {
            end -= 1;
        }
        plain.truncate(end);
        plain.push_str(&format!("~{}", &hash[..8]));
    }
    plain
}

/// Which folder below `dumps/` a dump goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFormat {
    /// One for each database.
    Database,
    /// None.
    Flat,
    /// One for each month: `2026-11`.
    Monthly,
    /// One for each day: `2026-11-21`.
    Daily,
}

/// The beginning of every dump's name: so short that names fit into every file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpPrefix(String);

impl FromStr for DumpPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = (1..=63).contains(&text.len()) && !text.starts_with(['.', '-']);
        if good && text.chars().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage(format!("not a beginning of names: {text:?}"))
            .hint("write up to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit."))
    }
}

/// Names one dump of a cluster: folder and stem, to which the endings of its objects are put.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DumpName {
    /// Empty, or a path without slashes at its ends.
    folder: String,
    stem: String,
}

impl DumpName {
    /// `time` loses its fraction of a second.
    pub fn new(
        path: PathFormat,
        prefix: &DumpPrefix,
        subject: &Subject,
        time: Time,
        class: Class,
    ) -> Self {
        let subject = subject.in_names();
        let stamp = whole_seconds(time).format(STAMP);
        Self {
            stem: format!("{}_{subject}_{stamp}_{class}", prefix.0),
            folder: match path {
                PathFormat::Database => subject,
                PathFormat::Flat => String::new(),
                PathFormat::Monthly => time.format("%Y-%m").to_string(),
                PathFormat::Daily => time.format("%Y-%m-%d").to_string(),
            },
        }
    }

    /// A path below `dumps/` without an ending; None for what names no dump.
    pub(super) fn read(path: &str) -> Option<Self> {
        let (folder, stem) = path.rsplit_once('/').unwrap_or(("", path));
        let name = Self {
            folder: folder.to_owned(),
            stem: stem.to_owned(),
        };
        let hidden = path
            .split('/')
            .any(|part| part.starts_with('.') || part.is_empty());
        (!hidden && name.parts().is_some()).then_some(name)
    }

    fn parts(&self) -> Option<(Time, Class)> {
        let (rest, class) = self.stem.rsplit_once('_')?;
        let (_, stamp) = rest.rsplit_once('_')?;
        let time = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?.and_utc();
        // The parser is more lenient than the format.
        (time.format(STAMP).to_string() == stamp).then_some((time, class.parse().ok()?))
    }

    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// What people call the dump by.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// What is the same of all dumps that are made of one database in one way.
    pub(super) fn series(&self) -> String {
        let words: Vec<&str> = self.stem.rsplitn(3, '_').collect();
        words
            .last()
            .map_or(String::new(), |first| (*first).to_owned())
    }

    /// When its run began.
    pub fn time(&self) -> Time {
        self.parts().map_or(Time::UNIX_EPOCH, |(time, _)| time)
    }

    pub fn class(&self) -> Class {
        self.parts().map_or(Class::Manual, |(_, class)| class)
    }
}

/// The path below `dumps/`, without an ending.
impl fmt::Display for DumpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.folder.as_str() {
            "" => f.write_str(&self.stem),
            folder => write!(f, "{folder}/{}", self.stem),
        }
    }
}

impl Serialize for DumpName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DumpName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DumpName::read(&text)
            .ok_or_else(|| de::Error::custom(format!("not a dump's name: {text:?}")))
    }
}

/// The format of a dump, as pg_dump calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DumpFormat {
    Custom,
    /// SQL; the only one that pgstow compresses.
    Plain,
    /// The folder that pg_dump makes, in a tar archive.
    Directory,
    Tar,
}

impl DumpFormat {
    pub const ALL: [DumpFormat; 4] = [
        DumpFormat::Custom,
        DumpFormat::Plain,
        DumpFormat::Directory,
        DumpFormat::Tar,
    ];

    /// pg_dump's word for it.
    pub fn word(self) -> &'static str {
        match self {
            DumpFormat::Custom => "custom",
            DumpFormat::Plain => "plain",
            DumpFormat::Directory => "directory",
            DumpFormat::Tar => "tar",
        }
    }
}

impl fmt::Display for DumpFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// An object of a dump, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DumpObject {
    /// `.started.json`: somebody is making it.
    Started,
    Data(DumpFormat, Coding),
    /// `.sha256`, for `sha256sum -c`.
    Sums,
    /// `.json`: the commit point.
    Description,
}

impl DumpObject {
    /// What stands behind a dump's name.
    pub fn ending(self) -> String {
        match self {
            DumpObject::Started => ".started.json".to_owned(),
            DumpObject::Data(DumpFormat::Custom, coding) => format!(".dump{}", coding.ending()),
            DumpObject::Data(DumpFormat::Plain, coding) => format!(".sql{}", coding.ending()),
            DumpObject::Data(DumpFormat::Directory, coding) => {
                format!(".dir.tar{}", coding.ending())
            }
            DumpObject::Data(DumpFormat::Tar, coding) => format!(".tar{}", coding.ending()),
            DumpObject::Sums => ".sha256".to_owned(),
            DumpObject::Description => ".json".to_owned(),
        }
    }

    /// The name of a dump's data without the ending.
    pub fn stem(name: &str) -> Option<&str> {
        match Self::split(name) {
            Some((stem, DumpObject::Data(..))) => Some(stem),
            _ => None,
        }
    }

    /// A path without the ending, and which object that names; None for what is no object of a dump.
    pub(super) fn split(path: &str) -> Option<(&str, Self)> {
        // The longer ending first, where one is the end of another.
        let fixed = [
            DumpObject::Started,
            DumpObject::Sums,
            DumpObject::Description,
        ];
        for object in fixed {
            if let Some(rest) = path.strip_suffix(&object.ending()) {
                return Some((rest, object));
            }
        }
        let (plain, coding) = Coding::split(path);
        DumpFormat::ALL.into_iter().find_map(|format| {
            let rest =
                plain.strip_suffix(&DumpObject::Data(format, Codec::None.into()).ending())?;
            Some((rest, DumpObject::Data(format, coding)))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(database: &str, path: PathFormat) -> DumpName {
        DumpName::new(
            path,
            &"main".parse().unwrap(),
            &Subject::Database(database.to_owned()),
            "2026-11-21T02:00:00.7Z".parse().unwrap(),
            Class::Daily,
        )
    }

    #[test]
    fn names_read_as_they_are_written() {
        for (path, shown) in [
            (
                PathFormat::Database,
                "shop/main_shop_20261121T020000Z_daily",
            ),
            (PathFormat::Flat, "main_shop_20261121T020000Z_daily"),
            (
                PathFormat::Monthly,
                "2026-11/main_shop_20261121T020000Z_daily",
            ),
            (
                PathFormat::Daily,
                "2026-11-21/main_shop_20261121T020000Z_daily",
            ),
        ] {
            let name = name("shop", path);
            assert_eq!(name.to_string(), shown);
            assert_eq!(DumpName::read(shown), Some(name.clone()));
            assert_eq!(name.time().to_rfc3339(), "2026-11-21T02:00:00+00:00");
            assert_eq!(name.class(), Class::Daily);
        }
        for bad in [
            "",
            "latest/shop",
            "a/main_shop_20261121T020000Z_hourly",
            "a/main_shop_20261121T0200Z_daily",
            ".a/main_shop_20261121T020000Z_daily",
            "a//main_shop_20261121T020000Z_daily",
            "../main_shop_20261121T020000Z_daily",
        ] {
            assert_eq!(DumpName::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn roles_and_a_database_are_never_taken_for_each_other() {
        let database = |name: &str| Subject::Database(name.to_owned());
        for (word, subject) in [
            ("shop", database("shop")),
            ("\"shop\"", database("\"shop\"")),
            ("@globals", Subject::Globals),
            ("\"@globals\"", database("@globals")),
            ("@Globals", database("@Globals")),
        ] {
            assert_eq!(Subject::of_word(word), subject, "{word}");
        }
        for subject in [Subject::Globals, database("@globals"), database("shop")] {
            assert_eq!(Subject::of_word(&subject.to_string()), subject);
        }
    }

    #[test]
    fn every_database_has_a_name_of_its_own_that_is_one_of_a_file() {
        for (database, shown) in [
            ("shop", "shop"),
            ("Größe-1_a.b", "Größe-1_a.b"),
            ("..", "%2E."),
            ("a/b c", "a%2Fb%20c"),
            ("@globals", "%40globals"),
            // The folder of links.
            ("latest", "%6Catest"),
            ("latest2", "latest2"),
            ("%41", "%2541"),
            ("a\nb", "a%0Ab"),
        ] {
            assert_eq!(Subject::Database(database.to_owned()).in_names(), shown);
        }
        let long = |last: &str| name(&("/".repeat(62) + last), PathFormat::Flat);
        assert_ne!(long("a"), long("b"));
        let prefix: DumpPrefix = "x".repeat(63).parse().unwrap();
        let subject = Subject::Database("ä/".repeat(21));
        let longest = DumpName::new(
            PathFormat::Flat,
            &prefix,
            &subject,
            Time::UNIX_EPOCH,
            Class::Monthly,
        );
        let longest = format!("{longest}.started.json");
        // A file that is being written has more around its name (`util/fs`).
        assert!(longest.len() < 255 - 40, "{}", longest.len());
    }

    #[test]
    fn objects_read_as_they_are_written() {
        for (object, ending) in [
            (DumpObject::Started, ".started.json"),
            (DumpObject::Description, ".json"),
            (DumpObject::Sums, ".sha256"),
            (
                DumpObject::Data(DumpFormat::Custom, Codec::None.into()),
                ".dump",
            ),
            (
                DumpObject::Data(DumpFormat::Plain, Codec::None.into()),
                ".sql",
            ),
            (
                DumpObject::Data(DumpFormat::Plain, Codec::Gzip.into()),
                ".sql.gz",
            ),
            (
                DumpObject::Data(DumpFormat::Plain, Codec::Zstd.into()),
                ".sql.zst",
            ),
            (
                DumpObject::Data(DumpFormat::Directory, Codec::None.into()),
                ".dir.tar",
            ),
            (
                DumpObject::Data(DumpFormat::Tar, Codec::None.into()),
                ".tar",
            ),
            (
                DumpObject::Data(
                    DumpFormat::Custom,
                    Coding {
                        codec: Codec::None,
                        encrypted: true,
                    },
                ),
                ".dump.age",
            ),
        ] {
            assert_eq!(object.ending(), ending);
            let path = format!("a/b{ending}");
            assert_eq!(DumpObject::split(&path), Some(("a/b", object)));
        }
        assert_eq!(DumpObject::split("a/b.txt"), None);
    }
}
