//! What lies in the folder of a backup. Pure.

use std::fmt;

use super::super::{coding::Coding, edition::Edition};

/// The objects of a backup's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackupObject {
    Started,
    Alive(u32),
    Part(u32, Edition, Coding),
    Config(Edition, Coding),
    Manifest,
    Index,
    Relations,
    Sums,
    Pending,
    Backup,
}

impl fmt::Display for BackupObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupObject::Started => f.write_str("started.json"),
            BackupObject::Alive(number) => write!(f, "alive-{number}.json"),
            BackupObject::Part(number, edition, coding) => {
                write!(f, "part-{number:04}{edition}.tar{}", coding.ending())
            }
            BackupObject::Config(edition, coding) => {
                write!(f, "config{edition}.tar{}", coding.ending())
            }
            BackupObject::Manifest => f.write_str("backup_manifest.zst"),
            BackupObject::Index => f.write_str("index.json.zst"),
            BackupObject::Relations => f.write_str("relations.json.zst"),
            BackupObject::Sums => f.write_str("SHA256SUMS"),
            BackupObject::Pending => f.write_str("pending.json"),
            BackupObject::Backup => f.write_str("backup.json"),
        }
    }
}

impl BackupObject {
    /// None for a name that no object of a backup has.
    pub fn read(name: &str) -> Option<Self> {
        let fixed = [
            BackupObject::Started,
            BackupObject::Manifest,
            BackupObject::Index,
            BackupObject::Relations,
            BackupObject::Sums,
            BackupObject::Pending,
            BackupObject::Backup,
        ];
        if let Some(object) = fixed.into_iter().find(|object| object.to_string() == name) {
            return Some(object);
        }
        if let Some(number) = name
            .strip_prefix("alive-")
            .and_then(|rest| rest.strip_suffix(".json"))
        {
            return number.parse().ok().map(BackupObject::Alive);
        }
        let (plain, coding) = Coding::split(name);
        let plain = plain.strip_suffix(".tar")?;
        if let Some(behind) = plain.strip_prefix("config") {
            return Some(BackupObject::Config(Edition::read(behind)?, coding));
        }
        let numbers = plain.strip_prefix("part-")?;
        let (number, behind) = numbers.split_at(numbers.find('-').unwrap_or(numbers.len()));
        let edition = Edition::read(behind)?;
        Some(BackupObject::Part(number.parse().ok()?, edition, coding))
    }

    /// The same under the name that it gets when it is stored anew, with other bytes; lists keep theirs.
    pub fn anew(self) -> Self {
        match self {
            BackupObject::Part(number, edition, coding) => {
                BackupObject::Part(number, edition.next(), coding)
            }
            BackupObject::Config(edition, coding) => BackupObject::Config(edition.next(), coding),
            list => list,
        }
    }

    /// Whether one was stored anew as the other: `backup.json` says which of both counts.
    pub fn is_other_edition_of(self, other: Self) -> bool {
        match (self, other) {
            (BackupObject::Part(number, edition, coding), BackupObject::Part(same, than, like)) => {
                (number, coding) == (same, like) && edition != than
            }
            (BackupObject::Config(edition, coding), BackupObject::Config(than, like)) => {
                coding == like && edition != than
            }
            _ => false,
        }
    }

    /// Whether both hold the same plain bytes, in whatever coding and edition.
    pub fn is_alike(self, other: Self) -> bool {
        match (self, other) {
            (BackupObject::Part(one, ..), BackupObject::Part(other, ..)) => one == other,
            (BackupObject::Config(..), BackupObject::Config(..)) => true,
            (one, other) => one == other,
        }
    }
}
