//! Settings made of the layers: every key looked up, parsed, and blamed on its source if bad.

use std::{path::PathBuf, time::Duration};

use super::{
    keys::{self, Key},
    layers::{Found, Layers},
    parse,
};
use crate::{
    commands::options::{
        BackupSettings, ClusterSettings, LogLevel, RepoSettings, Settings, WalMode, WalSettings,
    },
    domain::retention::policy::{Keep, Policy},
    error::{Context, Error, Result},
    repo::location::Location,
};

impl Layers {
    pub fn settings(&self) -> Result<Settings> {
        Ok(Settings {
            state_dir: self.always(keys::STATE_DIR, parse::absolute_path)?,
            repos: self.repo_settings()?,
            synced: self.synced()?,
            named: self.named(),
            cluster: self.cluster_settings()?,
            archive_wal_limit: self.required(
                keys::ARCHIVE_WAL_TIME_LIMIT,
                "",
                parse::time_limit,
            )?,
            restore_wal_limit: self.required(
                keys::RESTORE_WAL_TIME_LIMIT,
                "",
                parse::time_limit,
            )?,
            wal: WalSettings {
                look_ahead: self.always(keys::WAL_LOOK_AHEAD, parse::segments)?,
                drop_above: self.optional(keys::WAL_DROP_ABOVE, "", parse::drop_above)?,
                prefetch: self.always(keys::WAL_PREFETCH, parse::segments)?,
                prefetch_size: self.always(keys::WAL_PREFETCH_SIZE, parse::prefetch_size)?,
            },
        })
    }

    /// What backups are made by. Not among the others, since PostgreSQL's own calls must not fail by them: a
    /// mistake here must not keep WAL from being archived or fetched.
    pub fn backup_settings(&self) -> Result<BackupSettings> {
        let cluster = self.cluster()?;
        Ok(BackupSettings {
            full_every: self.optional(keys::FULL_EVERY, cluster, parse::full_every)?,
            chain_max: self.required(keys::CHAIN_MAX, cluster, parse::chain_max)?,
            checkpoint: self.required(keys::CHECKPOINT, cluster, parse::checkpoint)?,
            max_rate: self.optional(keys::MAX_RATE, cluster, parse::max_rate)?,
            manifest_checksums: self.required(
                keys::MANIFEST_CHECKSUMS,
                cluster,
                parse::manifest_checksums,
            )?,
            wal_timeout: self.required(keys::WAL_TIMEOUT, cluster, parse::duration)?,
        })
    }

    pub fn log_level(&self) -> Result<LogLevel> {
        self.always(keys::LOG_LEVEL, parse::log_level)
    }

    pub fn log_file(&self) -> Result<Option<PathBuf>> {
        self.optional(keys::LOG_FILE, "", parse::absolute_path)
    }

    /// The replication slot of receive-wal.
    pub fn receive_slot(&self) -> Result<String> {
        self.required(keys::RECEIVE_WAL_SLOT, "", |text| Ok(text.to_owned()))
    }

    /// How often at most receive-wal stores a piece of the segment in progress; None: never.
    pub fn receive_live(&self) -> Result<Option<Duration>> {
        self.optional(keys::RECEIVE_WAL_LIVE, "", parse::live)
    }

    /// The value of a key of the chosen cluster that a command's option may give too.
    pub fn of_cluster<T>(&self, key: Key, parse: fn(&str) -> Result<T>) -> Result<Option<T>> {
        self.optional(key, self.cluster()?, parse)
    }

    /// As [`Layers::of_cluster`], for keys that have a default.
    pub fn of_cluster_always<T>(&self, key: Key, parse: fn(&str) -> Result<T>) -> Result<T> {
        self.required(key, self.cluster()?, parse)
    }

    /// As [`Layers::of_cluster_always`], of the first or chosen repository.
    pub fn of_repo_always<T>(&self, key: Key, parse: fn(&str) -> Result<T>) -> Result<T> {
        self.required(key, &self.repo, parse)
    }

    /// The value of a key outside of sections, which has a default.
    pub fn always<T>(&self, key: Key, parse: fn(&str) -> Result<T>) -> Result<T> {
        self.required(key, "", parse)
    }

    pub(super) fn optional<T>(
        &self,
        key: Key,
        section: &str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        let found = self.find(key, section)?;
        found
            .map(|found| parsed(key, section, &found, parse))
            .transpose()
    }

    pub(super) fn required<T>(
        &self,
        key: Key,
        section: &str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<T> {
        self.optional(key, section, parse)?
            .ok_or_else(|| Error::usage(format!("{} isn't set", key.path(section))))
    }

    fn repo_settings(&self) -> Result<Vec<RepoSettings>> {
        let mut repos = Vec::new();
        for name in self.repos() {
            // Only who names it means it.
            if !self.one_repo && self.wal_mode(name)? == WalMode::Sync {
                continue;
            }
            repos.extend(self.one_repo_settings(name)?);
        }
        Ok(repos)
    }

    /// All repositories of the file, whichever was chosen, and how each comes to its WAL.
    pub fn every_repo(&self) -> Result<Vec<(WalMode, RepoSettings)>> {
        // The first of them must be none that is filled.
        self.synced()?;
        let mut all = Vec::new();
        for name in &self.file.repos {
            let mode = self.wal_mode(name)?;
            all.extend(self.one_repo_settings(name)?.map(|repo| (mode, repo)));
        }
        Ok(all)
    }

    /// All of the file but the first or chosen one, as far as their settings are well: what is wrong with another
    /// repository must not keep anybody from the chosen one.
    pub fn other_repos(&self) -> Vec<RepoSettings> {
        let is_elsewhere = self.is_elsewhere(&self.repo).unwrap_or(true);
        let others = self.file.repos.iter();
        let others = others.filter(|name| !is_elsewhere && **name != self.repo);
        others
            .filter_map(|name| self.one_repo_settings(name).ok().flatten())
            .collect()
    }

    /// Those that may take the place of the first one: who names one means it.
    pub fn repos_instead(&self) -> Vec<RepoSettings> {
        match self.one_repo {
            true => Vec::new(),
            false => self.other_repos(),
        }
    }

    /// None: there is no such section, and nothing else tells its place.
    fn one_repo_settings(&self, name: &str) -> Result<Option<RepoSettings>> {
        let Some(location) = self.location(name)? else {
            // A section without URL is a mistake; no section at all is no repository.
            if self.file.repos.is_empty() {
                return Ok(None);
            }
            let what = format!("{}: [repo.{name}] has no url", self.path.display());
            return Err(Error::usage(what).hint(
                "set url to the absolute path of a folder, or to a bucket: s3://bucket/folder.",
            ));
        };
        Ok(Some(RepoSettings {
            name: name.to_owned(),
            location,
            compression: self.required(keys::COMPRESSION, name, str::parse)?,
            part_size: self.required(keys::PART_SIZE, name, parse::part_size)?,
            verify_after_write: self.required(keys::VERIFY_AFTER_WRITE, name, parse::yes_or_no)?,
            retention: self.retention(name)?,
            keys: self.keys(name)?,
        }))
    }

    fn wal_mode(&self, repo: &str) -> Result<WalMode> {
        match self.is_elsewhere(repo)? {
            true => Ok(WalMode::Push),
            false => self.required(keys::WAL_MODE, repo, parse::wal_mode),
        }
    }

    /// Names and places of all repositories that `sync` fills.
    fn synced(&self) -> Result<Vec<(String, Location)>> {
        let mut synced = Vec::new();
        for (number, name) in self.file.repos.iter().enumerate() {
            if self.wal_mode(name)? != WalMode::Sync {
                continue;
            }
            if number == 0 {
                let what = format!("[repo.{name}] is the first, and has wal_mode = \"sync\"");
                return Err(Error::usage(what).hint(
                    "put it behind the one that WAL is pushed to, from which it is filled.",
                ));
            }
            let location = self.location(name)?;
            synced.extend(location.map(|location| (name.clone(), location)));
        }
        Ok(synced)
    }

    /// Whether `sync` fills any.
    pub fn fills_any(&self) -> Result<bool> {
        Ok(!self.synced()?.is_empty())
    }

    fn retention(&self, repo: &str) -> Result<Policy> {
        let elsewhere = self.is_elsewhere(repo)?;
        let rule = |key| -> Result<Option<Keep>> {
            let keep = self.optional(key, repo, parse::keep)?.flatten();
            Ok(keep.filter(|_| !elsewhere))
        };
        Ok(Policy {
            full: rule(keys::RETENTION_FULL)?,
            days: rule(keys::RETENTION_DAYS)?,
            daily: rule(keys::RETENTION_DAILY)?,
            weekly: rule(keys::RETENTION_WEEKLY)?,
            monthly: rule(keys::RETENTION_MONTHLY)?,
            yearly: rule(keys::RETENTION_YEARLY)?,
            min: self.required(keys::RETENTION_MIN, repo, parse::count)?,
            older_wal: self.required(keys::RETENTION_WAL, repo, parse::older_wal)?,
            zone: self.required(keys::RETENTION_TIME_ZONE, repo, parse::time_zone)?,
        })
    }

    fn cluster_settings(&self) -> Result<ClusterSettings> {
        let name = self.cluster()?;
        Ok(ClusterSettings {
            must_be_named: self.must_name_cluster(),
            name: name
                .parse()
                .context(|| "bad name of the cluster".to_owned())?,
            connection: self.connection_settings(name)?,
            data_dir: self.optional(keys::DATA_DIR, name, parse::absolute_path)?,
            bindir: self.optional(keys::BINDIR, name, parse::path)?,
            jobs: self.required(keys::JOBS, name, parse::jobs)?,
            primary_host: self.optional(keys::PRIMARY_HOST, name, parse::text)?,
            primary_port: self.optional(keys::PRIMARY_PORT, name, parse::port)?,
        })
    }
}

pub(super) fn parsed<T>(
    key: Key,
    section: &str,
    found: &Found,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<T> {
    parse(&found.text).context(|| format!("{}: bad value for {}", found.source, key.path(section)))
}
