//! What dumps are made by, and which are kept. Read apart from the others, as what backups are made by: a
//! mistake here must not keep WAL from being archived.

use super::{
    keys::{self, Key},
    layers::Layers,
    parse,
    source::Source,
};
use crate::{
    commands::options::DumpSettings,
    domain::{
        logical::{request::Choice, retention::Rules},
        monitor::checks::Wanted,
        retention::policy::Keep,
    },
    error::{Context, Error, Result},
    repo::{
        codec::{Codec, Compression},
        dump_name::DumpFormat,
    },
};

impl Layers {
    pub fn dump_settings(&self) -> Result<DumpSettings> {
        let format = self.always(keys::DUMP_FORMAT, parse::dump_format)?;
        let codec = self.always(keys::DUMP_COMPRESSION, parse::dump_codec)?;
        let level = self.optional(keys::DUMP_LEVEL, "", |text| level(text, format, codec))?;
        let prefix = self.optional(keys::DUMP_PREFIX, "", str::parse)?;
        Ok(DumpSettings {
            databases: self.names(keys::DUMP_DATABASES)?,
            exclude: self.names(keys::DUMP_EXCLUDE)?,
            compression: compression(codec, level.filter(|_| format == DumpFormat::Plain))?,
            level: level.filter(|_| format != DumpFormat::Plain),
            format,
            row_counts: self.always(keys::DUMP_ROW_COUNTS, parse::row_counts)?,
            globals: self.always(keys::DUMP_GLOBALS, parse::yes_or_no)?,
            prefix: match prefix {
                Some(prefix) => prefix,
                None => self.cluster()?.parse()?,
            },
            path: self.always(keys::DUMP_PATH_FORMAT, parse::path_format)?,
            verify: self.always(keys::DUMP_VERIFY, parse::yes_or_no)?,
            retention: self.dump_rules(&self.repo)?,
        })
    }

    /// Whether the file has a section of dumps: then they are made here.
    pub fn speaks_of_dumps(&self) -> bool {
        self.file.dumps
    }

    /// What `monitor` misses. A list that old scripts connect by asks for no dumps.
    pub fn wanted_dumps(&self) -> Result<Wanted> {
        let databases = self.find(keys::DUMP_DATABASES, "")?;
        let own = keys::DUMP_DATABASES.variable("");
        let is_own = databases.is_some_and(|found| found.source == Source::Env(own));
        Ok(Wanted {
            spoken_of: self.speaks_of_dumps() || is_own,
            choice: Choice {
                names: self.names(keys::DUMP_DATABASES)?,
                exclude: self.names(keys::DUMP_EXCLUDE)?,
            },
            globals: self.always(keys::DUMP_GLOBALS, parse::yes_or_no)?,
        })
    }

    pub(super) fn names(&self, key: Key) -> Result<Vec<String>> {
        Ok(self.optional(key, "", parse::names)?.unwrap_or_default())
    }

    /// The rules of repository `repo`: its own, else those of `[dump]`. The defaults hold for the first
    /// repository alone, and none for one that is elsewhere than the file says: nobody spoke of that.
    fn dump_rules(&self, repo: &str) -> Result<Rules> {
        let elsewhere = self.is_elsewhere(repo)?;
        let is_first = self.file.repos.first().is_none_or(|first| first == repo);
        let rule = |own: Key, all: Key| -> Result<Option<Keep>> {
            if let Some(keep) = self.optional(own, repo, parse::keep)? {
                return Ok(keep.filter(|_| !elsewhere));
            }
            let found = self.find(all, "")?;
            let by_default = found.is_none_or(|found| found.source == Source::Default);
            let keep = self.optional(all, "", parse::keep)?.flatten();
            Ok(keep.filter(|_| !elsewhere && (is_first || !by_default)))
        };
        let min = match self.optional(keys::REPO_DUMP_RETENTION_MIN, repo, parse::count)? {
            Some(min) => min,
            None => self.always(keys::DUMP_RETENTION_MIN, parse::count)?,
        };
        Ok(Rules {
            daily: rule(keys::REPO_DUMP_RETENTION_DAILY, keys::DUMP_RETENTION_DAILY)?,
            weekly: rule(
                keys::REPO_DUMP_RETENTION_WEEKLY,
                keys::DUMP_RETENTION_WEEKLY,
            )?,
            monthly: rule(
                keys::REPO_DUMP_RETENTION_MONTHLY,
                keys::DUMP_RETENTION_MONTHLY,
            )?,
            yearly: rule(
                keys::REPO_DUMP_RETENTION_YEARLY,
                keys::DUMP_RETENTION_YEARLY,
            )?,
            days: rule(keys::REPO_DUMP_RETENTION_DAYS, keys::DUMP_RETENTION_DAYS)?,
            min,
        })
    }
}

/// Of plain dumps and of globals.
fn compression(codec: Codec, level: Option<u32>) -> Result<Compression> {
    let text = match level.filter(|_| codec != Codec::None) {
        Some(level) => format!("{codec}:{level}"),
        None => codec.to_string(),
    };
    text.parse().context(|| "dump.level".to_owned())
}

/// Of plain dumps that of `codec`, else pg_dump's own.
fn level(text: &str, format: DumpFormat, codec: Codec) -> Result<u32> {
    let (of, levels) = match (format, codec) {
        (DumpFormat::Plain, Codec::Zstd) => ("zstd", 1..=22),
        (DumpFormat::Plain, Codec::Gzip) => ("gzip", 1..=9),
        (DumpFormat::Custom | DumpFormat::Directory, _) => ("pg_dump's own compression", 0..=9),
        // Nothing is compressed.
        (DumpFormat::Plain | DumpFormat::Tar, _) => ("", 0..=u32::MAX),
    };
    let level = parse::count(text)?;
    match levels.contains(&level) {
        true => Ok(level),
        false => {
            let (first, last) = levels.into_inner();
            Err(
                Error::usage(format!("{of} has no level {level}")).hint(format!(
                    "write {first} to {last}; zstd, which plain dumps may have (--format plain --compression zstd), has \
                     levels 1 to 22."
                )),
            )
        }
    }
}
